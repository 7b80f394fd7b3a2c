"""The reference features, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.reference.examples import COIN, MS, quote, scenario, trade
from tests.reference.features import MISSING, FeatureRow
from tests.reference.scenario import Feature, Features, Instrument
from tests.reference.simulator import simulate


def rows_of(
    *columns: Feature, sampling: Any = "raw", trades: Any = (), quotes: Any = (), **more: Any
) -> list[FeatureRow]:
    features = Features(columns=columns, sampling=sampling, **more)
    records = {(COIN, "quotes"): quotes, (COIN, "trades"): trades}
    return simulate(scenario(features=features), records).rows


def values_of(*columns: Feature, **more: Any) -> list[float]:
    return [row.values[0] for row in rows_of(*columns, **more)]


def windowed(definition: str, length: str = "10ms") -> Feature:
    name = {"Ema": "half_life", "Lag": "lag"}.get(definition, "window")
    return Feature(definition, "x", {name: length})


def test_quote_features_are_their_formulas() -> None:
    row = quote(10, 99, 101)
    row["bid_quantity"], row["ask_quantity"] = 3.0, 1.0
    columns = [Feature(name, name) for name in ("MidPrice", "RelativeSpread", "Imbalance")]
    assert rows_of(*columns, quotes=[row])[0].values == (100.0, 0.02, 0.5)


def test_a_late_record_counts_when_it_arrives_and_rows_keep_the_newest_event() -> None:
    quotes = [quote(10, 99, 101, seen=40), quote(20, 103, 105, seen=30)]
    rows = rows_of(Feature("MidPrice", "mid"), quotes=quotes)
    assert [(r.emitted_at // MS, r.values[0], r.event_time // MS) for r in rows] == [
        (30, 104.0, 20),
        (40, 100.0, 20),
    ]


def test_a_record_of_before_the_start_counts_if_it_reaches_us_in_the_run() -> None:
    early = [quote(-5, 99, 101, seen=5), quote(-6, 99, 101, seen=-1)]
    rows = rows_of(Feature("MidPrice", "mid"), quotes=early)
    assert [(r.emitted_at // MS, r.event_time // MS) for r in rows] == [(5, -5)]


def test_a_grid_row_includes_what_arrives_at_its_instant_and_comes_before_any_record() -> None:
    mid = Feature("MidPrice", "mid")
    quotes = [quote(400, 99, 101), quote(401, 103, 105)]
    rows = rows_of(mid, sampling=400 * MS, quotes=quotes, compute_latency=7 * MS)
    assert [(r.emitted_at // MS, r.visible_at // MS) for r in rows] == [
        (0, 7),
        (400, 407),
        (800, 807),
    ]
    assert math.isnan(rows[0].values[0])
    assert rows[0].event_time == MISSING
    assert [r.values[0] for r in rows[1:]] == [100.0, 104.0]


def test_rows_of_one_stream_see_what_stands_before_it_in_the_order_of_the_instant() -> None:
    columns = (Feature("MidPrice", "mid"), windowed("TradeVolumeImbalance"))
    trades = [trade(0, 1.0, 1), trade(20, 1.0, -1)]
    quotes = [quote(20, 99, 101)]
    by_quote = rows_of(*columns, sampling=(COIN, "quotes"), quotes=quotes, trades=trades)
    # Quotes stand before trades, so the sale of the same instant is not seen yet: nothing traded.
    assert [r.values for r in by_quote] == [(100.0, 0.0)]
    by_trade = rows_of(*columns, sampling=(COIN, "trades"), quotes=quotes, trades=trades)
    assert by_trade[1].values == (100.0, -1.0)


def test_a_row_of_every_second_record_counts_from_the_first() -> None:
    mid = Feature("MidPrice", "mid")
    quotes = [quote(at, 99, 101) for at in (10, 20, 30, 40, 50)]
    rows = rows_of(mid, sampling=(COIN, "quotes"), every=2, quotes=quotes)
    assert [r.emitted_at // MS for r in rows] == [20, 40]


def test_a_trade_window_forgets_at_its_length_and_keeps_what_is_younger() -> None:
    trades = [trade(0, 5.0, 1), trade(10, 3.0, 1), trade(19, 1.0, -1), trade(40, 2.0, -1)]
    values = values_of(windowed("TradeVolumeImbalance"), trades=trades)
    assert math.isnan(values[0])
    assert values[1:] == [1.0, 0.5, -1.0]  # 0 has left at 10; 3 against 1 at 19; alone at 40


def test_a_trade_window_empties_in_silence() -> None:
    tvi = windowed("TradeVolumeImbalance", "100ms")
    values = values_of(tvi, sampling=100 * MS, trades=[trade(50, 1.0, 1), trade(150, 1.0, 1)])
    assert math.isnan(values[0])
    assert math.isnan(values[1])
    assert values[2:4] == [1.0, 0.0]


def test_a_log_return_reads_the_value_that_held_at_the_windows_start() -> None:
    quotes = [quote(0, 100, 100), quote(9, 110, 110), quote(10, 120, 120), quote(25, 130, 130)]
    values = values_of(windowed("LogReturn"), quotes=quotes)
    assert [math.isnan(v) for v in values] == [True, True, False, False]
    assert values[2:] == [math.log(1.2), math.log(130 / 120)]


def test_realised_volatility_takes_the_root_of_the_squares_in_the_window() -> None:
    prices = ((0, 100), (5, 110), (12, 100), (15, 110), (40, 110))
    quotes = [quote(at, price, price) for at, price in prices]
    values = values_of(windowed("RealisedVolatility"), quotes=quotes)
    step = math.log(1.1)
    assert [math.isnan(v) for v in values] == [True, True, True, False, False]
    # The first return was at 5, so 15 is the first instant with a whole window; 5 has left it.
    assert values[3] == pytest.approx(step * math.sqrt(2))
    assert values[4] == 0.0


def test_an_average_weighs_each_value_by_how_long_it_held() -> None:
    quotes = [quote(0, 100, 100), quote(10, 200, 200), quote(20, 200, 200)]
    # At 10 the new value has not been in force yet; at 20 it has been for one half-life.
    assert values_of(windowed("Ema"), quotes=quotes) == [100.0, 100.0, 150.0]
    in_silence = values_of(windowed("Ema"), sampling=20 * MS, quotes=quotes[:2])
    assert in_silence[:3] == [100.0, 150.0, 187.5]


def test_a_lag_reads_the_value_that_held_then() -> None:
    quotes = [quote(0, 100, 100), quote(10, 200, 200), quote(19, 300, 300)]
    values = values_of(windowed("Lag"), quotes=quotes)
    assert math.isnan(values[0])
    assert values[1:] == [100.0, 100.0]


def test_a_row_names_the_instrument_of_its_label_feature() -> None:
    other = Instrument("SIM.OTHER", *(scenario().instruments[0].tick_size,) * 2)
    columns = (Feature("MidPrice", "mid", {"instrument": "SIM.OTHER"}),)
    features = Features(columns=columns, label_feature="mid")
    settings = scenario(instruments=(*scenario().instruments, other), features=features)
    rows = simulate(settings, {("SIM.OTHER", "quotes"): [quote(1, 99, 101)]}).rows
    assert [(r.instrument, r.values) for r in rows] == [(1, (100.0,))]
