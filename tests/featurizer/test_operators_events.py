"""Operators that count by the event or forget, against plain loops; and the as-of join."""

from __future__ import annotations

import math
import pickle
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.emission import Emission
from featurizer.feature import Input, Market, Pointwise
from featurizer.graph import FeatureGraph
from featurizer.operators.changes import CHANGES, EventLag, Total, change
from featurizer.operators.recursions import (
    EventMean,
    EventMoments,
    ExponentialMoments,
    event_weight,
)
from featurizer.operators.waves import waves
from tests.featurizer.feature_markets import (
    MS,
    A,
    B,
    config,
    joined,
    market,
    markets,
    pieces,
    quotes,
    records,
    same_bits,
    total_order,
)
from tests.featurizer.test_operators import batch, fixed

NAN = math.nan
VALUES = st.lists(st.sampled_from([1.0, 2.0, 5.0, -3.0, 0.0, NAN]), max_size=25)


@given(values=VALUES, first=st.sampled_from([1, 3]))
def test_a_mean_by_the_event_is_the_sum_of_its_weights(values: list[float], first: int) -> None:
    means = EventMean(0.25, first).scan(fixed(values))
    for i, mean in enumerate(means):
        known = [x for x in values[: i + 1] if x == x]
        if len(known) < first:
            assert math.isnan(mean)
            continue
        later = known[first:]
        weights = [0.25 * 0.75 ** (len(later) - 1 - k) for k in range(len(later))]
        expected = sum(known[:first]) / first * 0.75 ** len(later)
        expected += sum(w * x for w, x in zip(weights, later, strict=True))
        assert mean == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(pairs=st.lists(st.tuples(*[st.sampled_from([1.0, 2.0, 60_000.0, NAN])] * 2), max_size=20))
def test_moments_by_the_event_are_the_sums_of_their_weights(
    pairs: list[tuple[float, float]],
) -> None:
    values = [[x for x, _ in pairs], [y for _, y in pairs]]
    found = EventMoments(3.0).scan(fixed(values).reshape(2, -1))
    for i in range(len(pairs)):
        known = [(x, y) for x, y in pairs[: i + 1] if x == x and y == y]
        if not known:
            assert np.isnan(found[:, i]).all()
            continue
        kept = 0.5 ** (1 / 3)
        weights = [(1 - kept) * kept ** (len(known) - 1 - k) for k in range(len(known))]
        weights[0] = kept ** (len(known) - 1)
        check_moments(found[:, i], known, weights)


def check_moments(found: Any, pairs: list[tuple[float, float]], weights: list[float]) -> None:
    """Compare mean x, mean y, var x, var y and cov with weighted sums."""
    rows = list(zip(weights, pairs, strict=True))
    mean_x = math.fsum(w * x for w, (x, _) in rows)
    mean_y = math.fsum(w * y for w, (_, y) in rows)
    expected = [
        mean_x,
        mean_y,
        math.fsum(w * (x - mean_x) ** 2 for w, (x, _) in rows),
        math.fsum(w * (y - mean_y) ** 2 for w, (_, y) in rows),
        math.fsum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in rows),
    ]
    scale = max(1.0, max(abs(v) for pair in pairs for v in pair) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.slow
@given(
    steps=st.lists(st.sampled_from([0, 0, 1, 3, 40]), min_size=1, max_size=15),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_moments_over_time_weigh_each_value_by_how_long_it_was_in_force(
    steps: list[int], data: st.DataObject
) -> None:
    times = np.cumsum(steps).tolist()
    pairs = [tuple(data.draw(st.sampled_from([1.0, 2.0, 7.0, NAN])) for _ in "xy") for _ in times]
    values = fixed([[x for x, _ in pairs], [y for _, y in pairs]])
    instants = sorted(data.draw(st.lists(st.integers(0, 200), min_size=1)))
    given_batch = batch(times, instants, materialise=True)
    reads, updates = ExponentialMoments(10).scan(values, given_batch)
    for place, now in enumerate(instants):
        known = [
            (t, pair)
            for t, pair in zip(times, pairs, strict=True)
            if t <= now and not any(math.isnan(v) for v in pair)
        ]
        if not known:
            assert np.isnan(reads[:, place]).all()
            continue
        ends = [t for t, _ in known[1:]] + [now]
        weights = [
            0.5 ** ((now - end) / 10) - 0.5 ** ((now - t) / 10)
            for (t, _), end in zip(known, ends, strict=True)
        ]
        weights[0] += 0.5 ** ((now - known[0][0]) / 10)
        check_moments(reads[:, place], [pair for _, pair in known], weights)
    alone, _ = ExponentialMoments(10).scan(values, batch(times, [times[-1]]))
    np.testing.assert_array_equal(alone[:, 0], updates[:, -1])


def test_the_newest_of_many_updates_weighs_what_a_half_life_leaves() -> None:
    assert event_weight(1.0) == 0.5
    weight = event_weight(4.0)
    assert (1 - weight) ** 4 == pytest.approx(0.5, rel=1e-15)


@given(values=VALUES, lag=st.sampled_from([1, 3]), what=st.sampled_from(CHANGES))
def test_a_lag_by_the_event_counts_known_updates(values: list[float], lag: int, what: Any) -> None:
    found = EventLag(lag, what).scan(fixed(values))
    for i, value in enumerate(found):
        known = [x for x in values[: i + 1] if x == x]
        if len(known) <= lag:
            assert math.isnan(value)
            continue
        before, after = known[-1 - lag], known[-1]
        expected = {
            "value": before,
            "difference": after - before,
            "ratio": after / before if before else NAN,
            "log_return": math.log(after / before) if before > 0 and after > 0 else NAN,
        }[what]
        np.testing.assert_allclose(value, expected, rtol=1e-13)


def test_a_change_is_one_of_four() -> None:
    before, after = fixed([2.0, 0.0]), fixed([3.0, 1.0])
    assert change("difference", before, after).tolist() == [1.0, 1.0]
    assert str(change("ratio", before, after).tolist()) == "[1.5, nan]"
    assert str(change("log_return", before, after).tolist()) == f"[{math.log(1.5)}, nan]"
    assert change("value", before, after).tolist() == [2.0, 0.0]


def test_a_total_starts_anew_at_each_multiple_of_its_period() -> None:
    times, values = [3, 8, 10, 14, 14, 35], [1.0, 2.0, 4.0, NAN, 8.0, 16.0]
    reads, updates = Total(10).scan(
        fixed(values), batch(times, [0, 9, 10, 19, 20, 34, 35], materialise=True)
    )
    assert str(reads.tolist()) == "[nan, nan, 4.0, 12.0, 0.0, 0.0, 16.0]"
    assert str(updates.tolist()) == "[nan, nan, 4.0, 4.0, 12.0, 16.0]"


@pytest.mark.parametrize(
    "make",
    [
        lambda: EventMean(0.3, 4),
        lambda: EventLag(7, "log_return"),
    ],
)
def test_an_operator_by_the_event_has_the_same_bits_in_chunks(make: Any) -> None:
    rng = np.random.default_rng(2)
    values = rng.random(500) + 1.0
    whole = make().scan(fixed(values))
    operator, parts = make(), []
    for i in range(0, 500, 7):
        operator = pickle.loads(pickle.dumps(operator))
        parts.append(operator.scan(fixed(values[i : i + 7])))
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_a_wave_has_the_same_bits_alone_and_in_company() -> None:
    turns = np.random.default_rng(4).random(1000)
    many = waves(turns, False)
    alone = [waves(turns[i : i + 1], False)[0] for i in range(1000)]
    assert many.tolist() == alone
    np.testing.assert_allclose(many, np.sin(2 * np.pi * turns), rtol=0, atol=1e-15)


class TradeAgainstMids(Pointwise):
    """A trade's quantity, and the mids of two instruments as of it."""

    joined: ClassVar[bool] = True

    def inputs(self) -> tuple[Input, ...]:
        return (Market("trades", ("quantity",), A), "mid", "mid_b")

    def value(self, quantity: Any, mid: Any, mid_b: Any) -> Any:
        return quantity * 1e6 + mid * 1e3 + mid_b


JOINED = (
    ("price.MidPrice", "mid", {}),
    ("price.MidPrice", "mid_b", {"instrument": B}),
    (f"{__name__}.TradeAgainstMids", "joined", {}),
    ("smoothing.Lag", "lagged", {"lag": "0ms", "feature": "joined"}),
    ("spread.EffectiveSpread", "effective", {}),
)


@pytest.mark.slow
@given(streams=markets(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_an_as_of_join_holds_the_others_as_of_each_record_of_the_first(
    streams: Any, data: st.DataObject
) -> None:
    order = total_order(streams)
    end = (order[-1][0] if order else 0) + 1

    def graph() -> FeatureGraph:
        return FeatureGraph(config(*JOINED), [A, B], Emission.raw())

    whole = graph().push(streams, end)
    latest: dict[Any, float] = {}
    value = NAN
    for row, (_, _, key, i) in enumerate(order):
        columns = streams[key].columns
        if key[1] == "quotes":
            latest[key] = 0.5 * (columns["bid_price"][i] + columns["ask_price"][i])
        else:
            mid, mid_b = (latest.get((name, "quotes"), NAN) for name in (A, B))
            value = columns["quantity"][i] * 1e6 + mid * 1e3 + mid_b
        np.testing.assert_array_equal(whole.values[row, 2:4], [value, value])
    made = graph()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=8)))
    parts, at = [], 0
    for piece in pieces(streams, cuts):
        at += sum(len(stream) for stream in piece.values())
        parts.append(made.push(piece, order[at - 1][0] if at else 0))
    parts.append(made.push({}, end))
    assert same_bits(whole, joined(parts))


@pytest.mark.parametrize("times", [[5], [4, 5]])
def test_an_as_of_join_remembers_what_came_in_a_push_without_a_record_of_its_own(
    times: list[int],
) -> None:
    graph = FeatureGraph(config("spread.EffectiveSpread"), [A], Emission.grid(10 * MS), MS)
    graph.push(market(quotes([t * MS for t in times], [100.0] * len(times))), 5 * MS)
    rows = graph.push(market(records(A, "trades", [6 * MS], price=[101.0])), 11 * MS)
    assert rows.values.tolist() == [[0.02]]


def test_a_quote_of_a_trades_own_instant_is_part_of_its_join_and_a_later_one_is_not() -> None:
    streams = market(
        quotes([5 * MS, 6 * MS], [100.0, 200.0]),
        records(A, "trades", [5 * MS], price=[101.0]),
    )
    graph = FeatureGraph(config("spread.EffectiveSpread"), [A], Emission.grid(MS), 5 * MS)
    assert graph.push(streams, 8 * MS).values[:, 0].tolist() == [0.02, 0.02, 0.02]
