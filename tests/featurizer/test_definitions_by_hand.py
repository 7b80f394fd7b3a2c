"""Every definition on a few records, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from featurizer.definitions.lookup import all_definitions
from tests.featurizer.definition_worlds import read
from tests.featurizer.feature_markets import MS, A, B, market, records
from tests.featurizer.hand_markets import (
    BARS,
    CLOSES,
    DAY,
    LOG,
    NAN,
    READS,
    day,
    ms,
    stream_of,
)

RX40, RX60, RX70, RX80 = LOG(102 / 103), LOG(105 / 102), LOG(104 / 105), LOG(106 / 104)
RX30, RY30, RY40 = LOG(103 / 101), LOG(51 / 50), LOG(52 / 51)
RY60, RY70, RY80 = LOG(50 / 52), LOG(51 / 50), LOG(50 / 51)
V30 = RX30**2
V40 = (V30 + RX40**2) / 2
V60 = (V40 / 2 + RX60**2) / 2
V70 = (V60 + RX70**2) / 2
HOUR = 3_600_000_000_000
TABLE = [[-0.4, -0.1, 0.1, 0.4], [-1.0, -0.2, 0.2, 1.0]]
TEN = {"window": "20ms", "every": "10ms"}

CASES: dict[str, tuple[str, dict[str, Any], list[int], list[float]]] = {
    # 101, 99 and 100 of 10 and 20; then 99 and 100 of 20; then 102; then nothing
    "rolling.Rolling": (
        "day",
        {"window": "20ms", "statistic": "median"},
        DAY,
        [NAN, NAN, 100, 100, 99.5, 102, NAN],
    ),
    # (bid · ask quantity + ask · bid quantity) / both: at 10, (100.5 + 3 · 101.5) / 4
    "price.WeightedMid": ("day", {}, DAY, [100, 101.25, 100, 100, 100, 102.5, 102.5]),
    # shares of the bid 0.5, 0.75, 0.5 (two ticks wide), 1
    "price.MicroPrice": (
        "day",
        {"tick_size": 1.0, "adjustments": TABLE},
        DAY,
        [100.1, 101.4, 100.2, 100.2, 100.2, 102.4, 102.4],
    ),
    "spread.AbsoluteSpread": ("day", {}, DAY, [1, 1, 2, 2, 2, 1, 1]),
    # bought at 100.5 over 100, sold at 100.5 under 101, bought at 100.5 over 100, sold at 101.5
    "spread.EffectiveSpread": ("day", {}, DAY, [0.01, 1 / 101, 0.01, 0.01, 0.01, 1 / 102, 1 / 102]),
    # contributions 3 + 1 at 10, -3 - 3 and 2 + 3 at 20, 5 + 2 at 50
    "book.OrderFlowImbalance": ("day", {"window": "20ms"}, DAY, [NAN, NAN, NAN, NAN, -1, 7, 0]),
    "flow.SignedVolume": ("day", {"window": "20ms"}, DAY, [NAN, NAN, 3, 3, 4, -3, 0]),
    "flow.TradeIntensity": ("day", {"window": "20ms"}, DAY, [NAN, NAN, 150, 150, 100, 50, 0]),
    # averages 500.5 / 5, then 400 / 4, then the one trade, then none
    "flow.VwapDeviation": (
        "day",
        {"window": "20ms"},
        DAY,
        [NAN, NAN, 0.4 / 100.1, 0.4 / 100.1, 0.005, 0, NAN],
    ),
    # moves and volumes of the bars closing at 30: 0, 4; 40: 0, 0; 50: 0, 0; 60: 1, -3; 70: 0, 0
    "flow.KyleLambda": (
        "day",
        TEN,
        [20, 30, 40, 50, 60, 69, 70],
        [NAN, NAN, 0, NAN, -1 / 3, -1 / 3, -1 / 3],
    ),
    # the bar [20, 30) holds 2 at 99.5 and 2 at 100.5; nothing trades in [30, 50)
    "bars.TimeBar": (
        "day",
        {"every": "10ms", "field": "low"},
        [10, 20, 29, 30, 40, 59, 60],
        [NAN, 100.5, 100.5, 99.5, 100.5, 100.5, 101.5],
    ),
    # [0, 10) was not seen from its beginning; 16 is alone, and 31 too
    "bars.TickBar": (
        "trades",
        {"ticks": 2, "reset": "10ms", "field": "open"},
        CLOSES,
        [NAN, NAN, 12, 12, 12, 14, 14, 17, 17],
    ),
    # 1 + 1 + 2 at 14, 1 + 3 at 18, 2 + 2 at 24
    "bars.VolumeBar": (
        "trades",
        {"volume": 3.0, "reset": "10ms", "field": "close"},
        CLOSES,
        [NAN, NAN, NAN, 14, 14, 14, 16, 18, 18],
    ),
    # 12 + 13 + 28 at 14, 15 + 48 at 18, 34 + 36 at 24
    "bars.DollarBar": (
        "trades",
        {"turnover": 40.0, "reset": "10ms", "field": "vwap"},
        CLOSES,
        [NAN, NAN, NAN, 13.25, 13.25, 13.25, 15.75, 17.5, 17.5],
    ),
    # moves 2, -1, 0, 3, -1, 2: rises 1, .5, 1.75, .875, 1.4375; falls .5, .25, .125, .5625, .28125
    "technical.Rsi": (
        "steps",
        {"every": "10ms", "periods": 2},
        BARS,
        [NAN, NAN, 200 / 3, 200 / 3, 280 / 3, 1400 / 23, 920 / 11],
    ),
    # closes less their averages 102, 102, 102, 104, 104, 316 / 3: 1, 0, 0, 1, 0, 2 / 3
    "technical.Macd": (
        "steps",
        {"every": "10ms", "fast": 1, "slow": 2, "signal": 2, "line": "histogram"},
        BARS,
        [NAN, NAN, -1 / 2, -1 / 6, 5 / 18, -13 / 54, 23 / 162],
    ),
    # half of two closes' distance is their deviation
    "technical.Bollinger": (
        "steps",
        {"every": "10ms", "periods": 2, "line": "upper"},
        BARS,
        [NAN, 104, 103.5, 102, 106.5, 105.5, 107],
    ),
    # ranges 6 (107 over 101), 1, 0, 3, 1, 2
    "technical.Atr": (
        "steps",
        {"every": "10ms", "periods": 2},
        BARS,
        [NAN, NAN, 3.5, 1.75, 2.375, 1.6875, 1.84375],
    ),
    "volatility.ExponentialVolatility": (
        "steps",
        {"every": "10ms", "decay": 0.5},
        BARS[:6],
        [NAN, *map(math.sqrt, [V30, V40, V40 / 2, V60, V70])],
    ),
    "cross.Spread": (
        "steps",
        {"other": B, "hedge": 2.0},
        [0, 10, 20, 30, 50, 70],
        [0, 1, 1, -2, 5, 6],
    ),
    "cross.Ratio": (
        "steps",
        {"other": B},
        [0, 10, 20, 30, 50, 70],
        [2, 2.02, 103 / 51, 102 / 52, 2.1, 2.12],
    ),
    "cross.LeadReturn": (
        "steps",
        {"other": B, "window": "20ms"},
        [10, 20, 30, 50, 70],
        [
            NAN,
            LOG(51 / 50) - LOG(103 / 100),
            LOG(52 / 50) - LOG(102 / 101),
            LOG(50 / 52) - LOG(105 / 102),
            -LOG(106 / 105),
        ],
    ),
    # two returns a window: the slope between two points
    "cross.RollingBeta": (
        "steps",
        {"other": B, **TEN},
        BARS,
        [
            NAN,
            NAN,
            (RX40 - RX30) / (RY40 - RY30),
            RX40 / RY40,
            RX60 / RY60,
            (RX70 - RX60) / (RY70 - RY60),
            (RX80 - RX70) / (RY80 - RY70),
        ],
    ),
    "cross.RollingCorrelation": ("steps", {"other": B, **TEN}, BARS, [NAN, NAN, 1, -1, -1, -1, -1]),
    "calendar.TimeOfDay": (
        "steps",
        {},
        [h * HOUR // MS for h in (0, 3, 6, 12, 18, 24)],
        [0, math.sqrt(0.5), 1, 0, -1, 0],
    ),
    # 1 January 1970 was a Thursday
    "calendar.DayOfWeek": (
        "steps",
        {},
        [h * HOUR // MS for h in (0, 23, 24, 72, 96, 120)],
        [math.sin(math.tau * day / 7) for day in (3, 3, 4, 6, 0, 1)],
    ),
    # best two: 1 + 4 against 2 + 4 (101 was removed), 5 + 1 against 6 + 4, 1 + 4 against 2 + 6
    "book.DepthImbalance": (
        "depth",
        {"levels": 2},
        READS,
        [NAN, NAN, -1 / 11, -4 / 16, -3 / 13, NAN, -3 / 13],
    ),
    "book.DepthWeightedMid": (
        "depth",
        {"levels": 1},
        READS,
        [NAN, NAN, 303 / 3, 1112 / 11, 301 / 3, NAN, 301 / 3],
    ),
    # within 1.5 of a mid of 100.5, then 101, then 100
    "book.Liquidity": ("depth", {"bps": 150.0}, READS, [NAN, NAN, 3, 11, 3, NAN, 3]),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_definition_has_the_values_worked_out_by_hand(name: str) -> None:
    source, params, instants, expected = CASES[name]
    values = read(name, params, stream_of(source), ms(instants))
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)


def test_every_definition_is_worked_out_by_hand_here_or_with_the_first_eight() -> None:
    first = {
        "price.MidPrice",
        "spread.RelativeSpread",
        "book.Imbalance",
        "price.LogReturn",
        "volatility.RealisedVolatility",
        "flow.TradeVolumeImbalance",
        "smoothing.Ema",
        "smoothing.Lag",
    }
    assert first | set(CASES) == set(all_definitions())


@pytest.mark.parametrize(
    ("name", "params", "stream", "expected"),
    [
        ("technical.Bollinger", {"periods": 2, "line": "lower"}, "steps", [NAN, 100, 101.5, 102]),
        (
            "technical.Bollinger",
            {"periods": 2, "line": "width"},
            "steps",
            [NAN, 4 / 102, 2 / 102.5, 0],
        ),
        ("technical.Bollinger", {"periods": 2}, "steps", [NAN, 0.75, 0.25, 0.5]),
        ("technical.Macd", {"fast": 1, "slow": 2, "signal": 2}, "steps", [NAN, 1, 0, 0]),
        (
            "technical.Macd",
            {"fast": 1, "slow": 2, "signal": 2, "line": "signal"},
            "steps",
            [NAN, NAN, 0.5, 1 / 6],
        ),
        ("bars.TimeBar", {"field": "open"}, "day", [100.5, 99.5, 100.5, 100.5]),
        ("bars.TimeBar", {"field": "high"}, "day", [100.5, 100.5, 100.5, 100.5]),
        ("bars.TimeBar", {"field": "volume"}, "day", [1, 4, 0, 0]),
        ("bars.TimeBar", {"field": "vwap"}, "day", [100.5, 100, 100.5, 100.5]),
    ],
)
def test_another_line_or_field_has_the_values_worked_out_by_hand(
    name: str, params: dict[str, Any], stream: str, expected: list[float]
) -> None:
    values = read(name, {"every": "10ms", **params}, stream_of(stream), ms([20, 30, 40, 50]))
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_a_bar_is_visible_at_its_close_without_waiting_for_a_trade_and_not_before() -> None:
    values = read("bars.TimeBar", {"every": "10ms"}, day(), [20 * MS - 1, 20 * MS, 10**9])
    assert str(values) == "[nan, 100.5, 101.5]"


def test_a_record_at_the_close_belongs_to_the_next_bar() -> None:
    stream = market(records(A, "trades", ms([0, 10, 20]), price=[1.0, 2.0, 3.0]))
    assert read("bars.TimeBar", {"every": "10ms"}, stream, ms([20, 30])) == [2.0, 3.0]


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("sum", [300, 199, 102, 0]),
        ("mean", [100, 99.5, 102, NAN]),
        ("variance", [2 / 3, 0.25, 0, NAN]),
        ("std", [math.sqrt(2 / 3), 0.5, 0, NAN]),
        ("z_score", [0, 1, 0, NAN]),
        ("min", [99, 99, 102, NAN]),
        ("max", [101, 100, 102, NAN]),
        ("quantile", [99.5, 99.25, 102, NAN]),
        ("first", [101, 99, 102, NAN]),
        ("last", [100, 100, 102, NAN]),
        ("count", [3, 2, 1, 0]),
    ],
)
def test_a_rolling_statistic_has_the_values_worked_out_by_hand(
    statistic: str, expected: list[float]
) -> None:
    params = {"window": "20ms", "statistic": statistic, "quantile": 0.25}
    values = read("rolling.Rolling", params, day(), ms([20, 30, 50, 70]))
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-15)
