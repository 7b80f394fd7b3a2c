"""The eight definitions against plain loops written from their formulas."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.emission import Emission
from featurizer.feature import Market, Stepwise
from featurizer.graph import FeatureGraph
from tests.featurizer.feature_markets import MS, A, config, market, quotes, received, trades

Series = list[tuple[int, float]]


def read(feature: tuple[str, dict[str, Any]], streams: Any, instants: list[int]) -> list[float]:
    """The values of a feature of the records at some instants."""
    name, params = feature
    graph = FeatureGraph(config((name, "x", params)), [A], Emission.scheduled())
    graph.schedule(np.array(instants, np.int64))
    return graph.push(streams, max(instants) + 1).values[:, 0].tolist()


def naive_mid(mids: Series, now: int) -> float:
    return next((x for t, x in reversed(mids) if t <= now), math.nan)


def naive_log_return(mids: Series, now: int, window: int) -> float:
    return math.log(naive_mid(mids, now) / naive_mid(mids, now - window))


def naive_volatility(mids: Series, now: int, window: int) -> float:
    squares = [(t, math.log(x / before) ** 2) for (_, before), (t, x) in pairwise(mids) if t <= now]
    if not squares or squares[0][0] > now - window:
        return math.nan
    return math.sqrt(math.fsum(square for t, square in squares if t > now - window))


def naive_flow(signed: Series, now: int, window: int) -> float:
    seen = [(t, q) for t, q in signed if t <= now]
    if not seen or seen[0][0] > now - window:
        return math.nan
    bought = math.fsum(q for t, q in seen if t > now - window and q > 0)
    sold = math.fsum(-q for t, q in seen if t > now - window and q < 0)
    return (bought - sold) / (bought + sold) if bought + sold else 0.0


def naive_ema(mids: Series, now: int, half_life: int) -> float:
    """The weights of each stretch of time in which a value was in force, summed up."""
    seen = [(t, x) for t, x in mids if t <= now]
    if not seen:
        return math.nan

    def weight(t: int) -> float:
        return 0.5 ** ((now - t) / half_life)

    ends = [t for t, _ in seen[1:]] + [now]
    stretches = [x * (weight(end) - weight(t)) for (t, x), end in zip(seen, ends, strict=True)]
    return math.fsum([seen[0][1] * weight(seen[0][0]), *stretches])


WINDOW = 6
ORACLES = {
    "price.MidPrice": ({}, naive_mid),
    "price.LogReturn": (
        {"window": f"{WINDOW}ms"},
        lambda mids, now: naive_log_return(mids, now, WINDOW * MS),
    ),
    "volatility.RealisedVolatility": (
        {"window": f"{WINDOW}ms"},
        lambda mids, now: naive_volatility(mids, now, WINDOW * MS),
    ),
    "smoothing.Ema": (
        {"half_life": f"{WINDOW}ms"},
        lambda mids, now: naive_ema(mids, now, WINDOW * MS),
    ),
    "smoothing.Lag": ({"lag": f"{WINDOW}ms"}, lambda mids, now: naive_mid(mids, now - WINDOW * MS)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ORACLES))
@given(times=received(60), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_feature_of_the_mid_equals_a_plain_loop(
    name: str, times: list[int], data: st.DataObject
) -> None:
    params, oracle = ORACLES[name]
    mids = [float(data.draw(st.integers(95, 105))) for _ in times]
    instants = sorted(
        {*times, *data.draw(st.lists(st.integers(0, 200).map(lambda t: t * MS // 2), min_size=1))}
    )
    values = read((name, params), market(quotes(times, mids)), instants)
    series = list(zip(times, mids, strict=True))
    expected = [oracle(series, now) for now in instants]  # type: ignore[operator]
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.slow
@given(times=received(60), data=st.data())
@settings(max_examples=40, deadline=None)
def test_trade_volume_imbalance_equals_a_plain_loop(times: list[int], data: st.DataObject) -> None:
    signed = [data.draw(st.sampled_from([-2.5, -1.0, 0.1, 3.0])) for _ in times]
    instants = sorted({*times, *range(0, 100 * MS, MS)})
    values = read(
        ("flow.TradeVolumeImbalance", {"window": "6ms"}), market(trades(times, signed)), instants
    )
    series = list(zip(times, signed, strict=True))
    expected = [naive_flow(series, now, 6 * MS) for now in instants]
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)


# a day at the market: five quotes and five trades, worked out by hand
TIMES = [0, 10, 20, 20, 50]
MIDS = [100.0, 101.0, 99.0, 100.0, 102.0]
INSTANTS = [0, 10, 20, 29, 30, 50, 70]


def by_hand(name: str, params: dict[str, Any]) -> list[float]:
    times = [t * MS for t in TIMES]
    sizes = {"bid_quantity": [1.0, 3.0, 1.0, 2.0, 5.0], "ask_quantity": [1.0, 1.0, 3.0, 2.0, 0.0]}
    streams = market(quotes(times, MIDS, **sizes), trades(times, [1.0, -1.0, 2.0, 2.0, -3.0]))
    return read((name, params), streams, [t * MS for t in INSTANTS])


LOG = math.log
NAN = math.nan


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("price.MidPrice", {}, [100, 101, 100, 100, 100, 102, 102]),
        (
            "spread.RelativeSpread",
            {},
            [1 / 100, 1 / 101, 1 / 100, 1 / 100, 1 / 100, 1 / 102, 1 / 102],
        ),
        ("book.Imbalance", {}, [0, 0.5, 0, 0, 0, 1, 1]),
        # at 20 the window reaches back to 0, at 29 to 9, at 30 to 10
        (
            "price.LogReturn",
            {"window": "20ms"},
            [NAN, NAN, 0, 0, LOG(100 / 101), LOG(102 / 100), 0],
        ),
        # returns at 10 (+), 20 (-), 20 (+), 50 (+); at 30 the one of 10 has left
        (
            "volatility.RealisedVolatility",
            {"window": "20ms"},
            [
                NAN,
                NAN,
                NAN,
                NAN,
                math.hypot(LOG(99 / 101), LOG(100 / 99)),
                LOG(102 / 100),
                0,
            ],
        ),
        # at 20: 4 bought, 1 sold since 0; at 30: 4 bought since 10; at 70 nothing is left
        ("flow.TradeVolumeImbalance", {"window": "20ms"}, [NAN, NAN, 0.6, 0.6, 1, -1, 0]),
        # one half-life at 100, then one at 101; the 99 of 20 is in force for no time
        (
            "smoothing.Ema",
            {"half_life": "10ms"},
            [
                100,
                100,
                100.5,
                100 + 0.5 ** (1 + 0.9),
                100.25,
                100.0625,
                102 - (102 - 100.0625) / 4,
            ],
        ),
        ("smoothing.Lag", {"lag": "20ms"}, [NAN, NAN, 100, 100, 101, 100, 102]),
        ("smoothing.Lag", {"lag": "0ms"}, [100, 101, 100, 100, 100, 102, 102]),
    ],
)
def test_a_feature_has_the_values_worked_out_by_hand(
    name: str, params: dict[str, Any], expected: list[float]
) -> None:
    np.testing.assert_allclose(by_hand(name, params), expected, rtol=1e-13, atol=1e-16)


def test_a_feature_is_made_from_the_feature_that_it_names() -> None:
    features = (
        ("smoothing.Lag", "before", {"lag": "10ms", "source": "imbalance"}),
        ("book.Imbalance", "imbalance", {}),
    )
    sizes = {"bid_quantity": [3.0, 1.0], "ask_quantity": [1.0, 3.0]}
    graph = FeatureGraph(config(*features), [A], Emission.grid(10 * MS))
    rows = graph.push(market(quotes([0, 10 * MS], [1.0, 1.0], **sizes)), 11 * MS)
    assert str(rows.values.tolist()) == "[[nan, 0.5], [0.5, -0.5]]"


def test_values_of_one_feature_agree_as_read_and_as_another_ones_input() -> None:
    features = (
        ("smoothing.Ema", "ema", {"half_life": "3ms"}),
        ("smoothing.Lag", "same", {"lag": "0ms", "feature": "ema"}),
    )
    times = [0, 0, MS, 4 * MS, 9 * MS]
    graph = FeatureGraph(config(*features), [A])
    values = graph.push(market(quotes(times, [1.0, 2.0, 3.0, 3.0, 1.0])), 9 * MS).values
    assert values[:, 0].tobytes() == values[:, 1].tobytes()


class CountTrades(Stepwise):
    """Trades since the start, and the time since the last one in milliseconds."""

    per: int = 1

    def inputs(self) -> tuple[Any, ...]:
        return (Market("trades", ("price",)),)

    def start(self) -> list[int]:
        return [0, 0]

    def update(self, state: list[int], time: int, *values: float) -> None:
        state[0] += 1
        state[1] = time

    def read(self, state: list[int], time: int) -> float:
        return state[0] / self.per + (time - state[1]) / MS / 100


def test_a_feature_in_plain_python_is_read_between_its_updates() -> None:
    feature = (f"{__name__}.CountTrades", {"per": 2})
    streams = market(trades([MS, MS, 3 * MS], [1.0] * 3))
    assert read(feature, streams, [MS, 2 * MS, 3 * MS]) == [1.0, 1.01, 1.5]
