"""What the strategies that wake on bars do, on bars made by hand."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.errors import ScenarioError
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategies import BuyAndHold, MeanReversion
from backtester.strategy import Strategy
from featurizer.catalog import Catalog
from tests.backtester.worlds import ALPHA, MS, at, content, instrument, since

MINUTE = 60_000 * MS


def trades_of(result: Any) -> list[tuple[float, float]]:
    """Return (ms of sending, signed quantity) of each order."""
    frame = result.orders
    return [
        (since(sent), side * quantity)
        for sent, side, quantity in zip(
            frame["sent_at"].to_physical().to_list(),
            frame["side"].to_list(),
            frame["quantity"].to_list(),
            strict=True,
        )
    ]


def bars_run(
    root: Path,
    strategy: Any,
    closes: list[float],
    mode: Any = None,
    window_rows: int = 8192,
    **settings: Any,
) -> Any:
    """Run a strategy on one-minute bars that open where the one before closed."""
    catalog = Catalog.create(root / "bars", [instrument()])
    opens = [closes[0], *closes[:-1]]
    times = np.array([at(0) + (n + 1) * MINUTE for n in range(len(closes))])
    table = {
        "event_time": times,
        "receipt_time": times + 250 * MS,
        "sequence": np.arange(len(closes)),
        "open_time": times - MINUTE,
        "open": np.array(opens),
        "high": np.maximum(opens, closes),
        "low": np.minimum(opens, closes),
        "close": np.array(closes),
        "volume": np.full(len(closes), 1000.0),
    }
    catalog.write(ALPHA, "bars", table)
    until = (len(closes) + 1) * 60_000
    scenario = Scenario.model_validate(content(catalog.root, [ALPHA], until=until, **settings))
    run = Run(scenario, strategy, Catalog(catalog.root), {}, mode=mode, keep_trace=True)
    return run.execute(window_rows)


def test_what_fell_out_of_its_band_is_bought_and_sold_again_at_its_mean(tmp_path):
    closes = [100.0, 101.0, 100.0, 101.0, 90.0, 91.0, 96.0, 97.0, 97.0, 97.0]
    reversion = MeanReversion(periods=5, entry=1.5, quantity=1.0)
    result = bars_run(tmp_path, reversion, closes)
    z = {
        n: (closes[n] - statistics.fmean(closes[n - 4 : n + 1]))
        / statistics.pstdev(closes[n - 4 : n + 1])
        for n in range(4, len(closes))
    }
    entered = min(n for n in z if z[n] < -1.5)
    left = min(n for n in z if n > entered and z[n] >= 0)
    minutes = [(entered + 1) * 60_000 + 250.0, (left + 1) * 60_000 + 250.0]
    assert trades_of(result) == [(minutes[0], 1.0), (minutes[1], -1.0)]
    # each fills at the open of the first bar that begins after it: not inside the bar under way
    opens = [closes[0], *closes[:-1]]
    assert result.fills["price"].to_list() == [opens[entered + 2], opens[left + 2]]


def test_a_rise_is_sold_unless_it_may_only_be_long(tmp_path):
    closes = [100.0, 101.0, 100.0, 101.0, 112.0, 111.0, 111.0]
    short = bars_run(tmp_path / "a", MeanReversion(5, 1.5, 1.0), closes)
    flat = bars_run(tmp_path / "b", MeanReversion(5, 1.5, 1.0, long_only=True), closes)
    assert trades_of(short)[0][1] == -1.0
    assert len(flat.orders) == 0


def test_it_buys_on_bars_where_there_are_no_quotes(tmp_path):
    result = bars_run(tmp_path, BuyAndHold(quantity=0.5), [100.0, 101.0, 102.0, 103.0])
    assert trades_of(result) == [(60_250.0, 0.5)]
    assert result.fills["price"].to_list() == [102.0 - 1.0]


def test_too_few_periods_are_refused():
    with pytest.raises(ValueError, match="`periods` must be at least 2"):
        MeanReversion(periods=1)


def test_an_overload_told_by_quotes_needs_quotes(tmp_path):
    overload = {"overload": {"kind": "activity", "quotes": 2, "per": "10ms"}}
    with pytest.raises(ScenarioError, match=r"activity needs quotes of SIM.ALPHA: the catalog"):
        bars_run(tmp_path, BuyAndHold(), [100.0, 101.0], execution=overload)


def test_a_strategy_that_wants_quotes_is_refused_where_there_are_bars_alone(tmp_path):
    class Quoted(Strategy):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            ctx.buy(ALPHA, 0.1)

    with pytest.raises(ScenarioError, match=r"`Quoted.on_quote` needs quotes of SIM.ALPHA"):
        bars_run(tmp_path, Quoted(), [100.0, 101.0])


def test_without_quotes_there_is_none_to_look_up_and_the_close_is_the_price_of_a_decision(tmp_path):
    class Looks(Strategy):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_bar(self, ctx: Any, bar: Any) -> None:
            self.seen.append((ctx.quote(), ctx.book().bids))
            ctx.buy(ALPHA, 0.1)

    strategy = Looks()
    result = bars_run(tmp_path, strategy, [100.0, 101.0, 102.0], window_rows=1)
    assert strategy.seen == [(None, ())] * 3
    assert result.orders["decision_mid"].to_list() == [100.0, 101.0, 102.0]
    assert result.orders["staleness_ns"].to_list() == [250 * MS] * 3
