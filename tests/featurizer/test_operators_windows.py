"""Sliding windows of moments, extremes and quantiles, against a fresh look at each window."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.feature import Batch
from featurizer.operators.counts import Places
from featurizer.operators.moments import WindowMoments
from featurizer.operators.ranks import COUNT, FIRST, LAST, WindowRank
from featurizer.operators.windows import WindowExtreme, WindowSum
from tests.featurizer.test_operators import batch, fixed

NAN = math.nan
Fresh = Callable[[list[float]], float]
WINDOW = 10


def spread(values: list[float], ddof: int = 0) -> float:
    if len(values) <= ddof:
        return NAN
    mean = math.fsum(values) / len(values)
    return math.fsum((x - mean) ** 2 for x in values) / (len(values) - ddof)


def quantile(q: float) -> Fresh:
    return lambda values: float(np.quantile(values, q)) if values else NAN


class Moment:
    """One of a window's moments, as an operator of one column."""

    def __init__(self, length: int, what: str, *args: Any) -> None:
        self.moments, self.what, self.args = WindowMoments(length), what, args

    def begin(self, now: int) -> None:
        self.moments.begin(now)

    def scan(self, values: Any, given: Batch) -> tuple[Any, Any]:
        reads, updates = self.moments.scan(values.reshape(1, -1), given)
        if self.what in ("count", "mean_x"):
            return getattr(reads, self.what), getattr(updates, self.what)
        return getattr(reads, self.what)(*self.args), getattr(updates, self.what)(*self.args)


# how the operator is made, and what a window of values should give
KINDS: dict[str, tuple[Callable[[int], Any], Fresh]] = {
    "sum": (WindowSum, math.fsum),
    "mean": (
        lambda n: Moment(n, "mean_x"),
        lambda values: math.fsum(values) / len(values) if values else NAN,
    ),
    "count of moments": (lambda n: Moment(n, "count"), lambda values: float(len(values))),
    "variance": (lambda n: Moment(n, "variance"), lambda values: spread(values)),
    "sample variance": (lambda n: Moment(n, "variance", 1), lambda values: spread(values, 1)),
    "std": (lambda n: Moment(n, "std"), lambda values: math.sqrt(spread(values))),
    "min": (WindowExtreme, lambda values: min(values, default=NAN)),
    "max": (
        lambda n: WindowExtreme(n, largest=True),
        lambda values: max(values, default=NAN),
    ),
    "median": (lambda n: WindowRank(n, 0.5), quantile(0.5)),
    "quantile": (lambda n: WindowRank(n, 0.9), quantile(0.9)),
    "first": (lambda n: WindowRank(n, FIRST), lambda values: values[0] if values else NAN),
    "last": (lambda n: WindowRank(n, LAST), lambda values: values[-1] if values else NAN),
    "count": (lambda n: WindowRank(n, COUNT), lambda values: float(len(values))),
}

TIMES = st.lists(st.sampled_from([0, 0, 1, 2, 3, 25]), max_size=30).map(
    lambda steps: np.cumsum(steps).tolist() if steps else []
)
VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, 60_000.1, NAN])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KINDS))
@given(times=TIMES, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_window_of_time_equals_a_fresh_look(
    name: str, times: list[int], data: st.DataObject
) -> None:
    make, fresh = KINDS[name]
    values = [data.draw(VALUES) for _ in times]
    instants = sorted(data.draw(st.lists(st.integers(0, 150), min_size=1)))
    known = [(t, x) for t, x in zip(times, values, strict=True) if x == x]
    reads, updates = make(WINDOW).scan(fixed(values), batch(times, instants, materialise=True))
    for now, value in [*zip(instants, reads, strict=True), *_last_updates(times, updates)]:
        if known and known[0][0] <= now - WINDOW:
            expected = fresh([x for t, x in known if now - WINDOW < t <= now])
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-9)
        else:
            assert math.isnan(value)


def _last_updates(times: list[int], updates: Any) -> list[tuple[int, float]]:
    """The value after the last update of each instant."""
    return list(dict(zip(times, updates, strict=True)).items())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(KINDS) - {"sum"}))
@given(times=TIMES, data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_window_of_so_many_updates_equals_a_fresh_look(
    name: str, times: list[int], data: st.DataObject
) -> None:
    make, fresh = KINDS[name]
    values = [data.draw(VALUES) for _ in times]
    operator, places = make(5), Places()
    operator.begin(0)
    given_batch = batch(times, materialise=True)
    _, updates = operator.scan(fixed(values), places.clocked(fixed([values]), given_batch))
    for i, value in enumerate(updates):
        known = [x for x in values[: i + 1] if x == x]
        if len(known) >= 5:
            np.testing.assert_allclose(value, fresh(known[-5:]), rtol=1e-12, atol=1e-9)
        else:
            assert math.isnan(value)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_window_has_the_same_bits_in_chunks_pickled_and_wherever_it_started(name: str) -> None:
    make, _ = KINDS[name]
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.integers(0, 3, 3000))
    values = 60_000.0 + 0.1 * np.cumsum(rng.integers(-3, 4, 3000))
    values[700:1500] = values[700]
    values[1800:] -= 5000.0
    whole = make(200).scan(fixed(values), batch(times, materialise=True))[1]
    operator, parts = make(200), []
    cuts = [0, *sorted(rng.integers(0, 3000, 40).tolist()), 3000]
    for begin, end in itertools.pairwise(cuts):
        operator = pickle.loads(pickle.dumps(operator))
        part = batch(times[begin:end], materialise=True)
        if begin < end:
            parts.append(operator.scan(fixed(values[begin:end]), part)[1])
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    for start in (50, 333, 1000, 1666):
        part = batch(times[start:], materialise=True)
        late = make(200).scan(fixed(values[start:]), part)[1]
        warm = ~np.isnan(late)
        assert warm.any()
        assert late[warm].tobytes() == whole[start:][warm].tobytes()


@pytest.mark.slow
@given(times=TIMES, data=st.data())
@settings(max_examples=60, deadline=None)
def test_rolling_covariance_beta_and_correlation_equal_a_fresh_look(
    times: list[int], data: st.DataObject
) -> None:
    pairs = [(data.draw(VALUES), data.draw(VALUES)) for _ in times]
    instants = sorted(data.draw(st.lists(st.integers(0, 150), min_size=1)))
    reads, _ = WindowMoments(WINDOW, columns=2).scan(
        fixed([[x for x, _ in pairs], [y for _, y in pairs]]), batch(times, instants)
    )
    results = (reads.covariance(), reads.beta(), reads.correlation())
    known = [(t, *pair) for t, pair in zip(times, pairs, strict=True) if pair == pair]
    known = [row for row in known if row[1] == row[1] and row[2] == row[2]]
    for place, now in enumerate(instants):
        inside = [(x, y) for t, x, y in known if now - WINDOW < t <= now]
        expected = [NAN] * 3
        if known and known[0][0] <= now - WINDOW and inside:
            mean_x = math.fsum(x for x, _ in inside) / len(inside)
            mean_y = math.fsum(y for _, y in inside) / len(inside)
            xx = math.fsum((x - mean_x) ** 2 for x, _ in inside)
            yy = math.fsum((y - mean_y) ** 2 for _, y in inside)
            xy = math.fsum((x - mean_x) * (y - mean_y) for x, y in inside)
            moves_x, moves_y = len({x for x, _ in inside}) > 1, len({y for _, y in inside}) > 1
            expected[0] = xy / len(inside)
            expected[1] = xy / yy if moves_y else NAN
            expected[2] = xy / math.sqrt(xx * yy) if moves_x and moves_y else NAN
        found = [result[place] for result in results]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_window_of_equal_values_has_no_variance_at_all() -> None:
    values = [60_000.1] * 40
    _, updates = WindowMoments(7).scan(fixed([values]), batch(range(40), materialise=True))
    assert updates.variance()[7:].tolist() == [0.0] * 33
    assert updates.z_score(fixed(values))[7:].tolist() == [0.0] * 33


def test_a_z_score_is_the_distance_from_the_mean_in_deviations() -> None:
    values = [0.0, 0.0, 4.0, 8.0]
    _, updates = WindowMoments(2).scan(fixed([values]), batch(range(4), materialise=True))
    assert str(updates.z_score(fixed(values)).tolist()) == "[nan, nan, 1.0, 1.0]"


def worst_error(count: int, length: int) -> float:
    """The largest error of a sliding variance, over max(variance, tick²)."""
    rng = np.random.default_rng(8)
    tick = 0.1
    steps = rng.integers(-2, 3, count)
    steps[count // 4 : count // 3] = 0
    prices = 60_000.0 + tick * np.cumsum(steps)
    for at in range(count // 10, count, count // 10):
        prices[at:] += 500.0 * tick * (-1) ** at * (1 + at % 7)
    times = np.cumsum(rng.integers(0, 3, count))
    # reads everywhere, and around the jumps
    at = np.unique(np.concatenate([rng.integers(length * 2, count, 120), *(
        np.arange(jump - 2, min(jump + 3, count)) for jump in range(count // 10, count, count // 10)
    )]))  # fmt: skip
    reads, _ = WindowMoments(length).scan(fixed([prices]), batch(times, times[at]))
    worst = 0.0
    for place, variance in zip(at, reads.variance(), strict=True):
        begin = times.searchsorted(times[place] - length, "right")
        end = times.searchsorted(times[place], "right")
        # in whole ticks nothing is rounded away
        ticks = np.rint(prices[begin:end] / tick).astype(np.int64) - 600_000
        n, total, squares = len(ticks), int(ticks.sum()), int((ticks * ticks).sum())
        exact = (n * squares - total * total) / (n * n) * tick * tick
        worst = max(worst, abs(variance - exact) / max(exact, tick * tick))
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("length", [1000, 100_000])
def test_a_sliding_variance_stays_accurate_over_two_million_prices(length: int) -> None:
    assert worst_error(2_000_000, length) < 1e-9
