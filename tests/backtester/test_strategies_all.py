"""Promises of every strategy that is shipped; a new one cannot be forgotten."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest

import backtester.strategies
from backtester.loading import load_strategy
from backtester.strategy import Strategy
from tests.backtester.test_strategies_bars import bars_run
from tests.backtester.worlds import ALPHA, BETA, MS, ON_FEATURE, Quote, Trade, play

PAGE = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text()
SHIPPED = sorted(backtester.strategies.__all__)

FEATURES = {
    "sampling": "10ms",
    "feature_configs": [
        {"feature_definition": "price.MidPrice", "name": "mid"},
        {"feature_definition": "book.Imbalance", "name": "imbalance"},
        {
            "feature_definition": "volatility.RealisedVolatility",
            "name": "volatility",
            "params": {"window": "50ms"},
        },
        {"feature_definition": "price.MidPrice", "name": "x", "params": {"instrument": ALPHA}},
        {"feature_definition": "price.MidPrice", "name": "y", "params": {"instrument": BETA}},
        {
            "feature_definition": "cross.RollingBeta",
            "name": "beta",
            "params": {"other": BETA, "window": "100ms", "every": "10ms"},
        },
    ],
}

PARAMS: dict[str, dict[str, Any]] = {
    "BuyAndHold": {"quantity": 0.5},
    "Grid": {"spacing_bps": 50.0, "quantity": 0.5},
    "ImbalanceTaker": {"threshold": 0.3, "hold": 40 * MS, "quantity": 0.5},
    "MLStrategy": {"buy_delta": 0.0, "sell_delta": 0.0, "quantity": 0.5},
    "MarketMaker": {"gamma": 0.01, "kappa": 2.0, "quantity": 0.5},
    "MeanReversion": {"periods": 10, "entry": 1.5, "quantity": 0.5},
    "Pairs": {"quantity": 0.5, "periods": 15, "entry": 1.2},
    "Twap": {"quantity": 2.0, "duration": 500 * MS, "slices": 7},
}


def wave(count: int, middle: float, swing: float) -> list[Quote]:
    """Return quotes 3 ms apart whose mid goes up and down, with quantities that change."""
    quotes = []
    for n in range(count):
        level = middle + round(swing * (math.sin(n / 9) + 0.4 * math.sin(n / 2.3)))
        sizes = {"bid_quantity": 1.0 + n * 7 % 11, "ask_quantity": 1.0 + n * 5 % 13}
        quotes.append(Quote(n * 3, level - 0.5, level + 0.5, **sizes, received=n * 3 + n % 4))
    return quotes


def trades_of(quotes: list[Quote]) -> list[Trade]:
    """Return a trade through the best price of every third quote, of either side in turn."""
    return [
        Trade(q.happened + 1, (q.bid - 1 if n % 2 else q.ask + 1), 0.7, -1 if n % 2 else 1)
        for n, q in enumerate(quotes[::3])
    ]


def run(folder: Path, name: str, mode: str, rows: int) -> Any:
    strategy = getattr(backtester.strategies, name)(**PARAMS[name])
    if name == "MeanReversion":
        closes = [100 + round(6 * math.sin(n / 4)) for n in range(80)]
        return bars_run(folder / f"{mode}-{rows}", strategy, closes, mode=mode, window_rows=rows)
    quotes = {ALPHA: wave(200, 100, 4), BETA: wave(190, 200, 3)}
    asks = ON_FEATURE | {"service_time": "2ms", "features": ["mid", "imbalance"]}
    extra = {"inference": asks} if name == "MLStrategy" else {}
    return play(
        folder,
        strategy,
        quotes,
        # trades of either side, so that resting orders fill
        trades={instrument: trades_of(rows) for instrument, rows in quotes.items()},
        featurizer=FEATURES,
        entry="2ms",
        response="1ms",
        until=650,
        leverage=3,
        mode=mode,
        window_rows=rows,
        **extra,
    )


def test_every_strategy_has_an_example_here_and_a_line_on_the_page():
    assert sorted(PARAMS) == SHIPPED
    assert [name for name in SHIPPED if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_it_can_be_had_from_a_scenario_with_nothing_but_its_name(name):
    strategy = load_strategy(f"backtester.strategies.{name}", {})
    assert isinstance(strategy, Strategy)
    told = type(strategy).__doc__ or ""
    known = inspect.signature(type(strategy)).parameters
    assert [param for param in known if f"        {param}: " not in told] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_it_trades_and_neither_windows_nor_lockstep_change_what_it_does(tmp_path, name):
    results = [
        run(tmp_path, name, *how) for how in (("ahead", 8192), ("ahead", 7), ("lockstep", 7))
    ]
    assert len(results[0].fills) >= 1
    assert len({result.trace_digest for result in results}) == 1
