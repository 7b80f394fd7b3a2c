"""Numbers about a result, against plain loops, the standard library and known distributions."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.metrics import (
    annualised_ratio,
    block_bootstrap,
    correlation,
    drawdown,
    horizon_rows,
    information_coefficient,
    paired_drop,
    quantiles_ms,
)

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
CURVES = st.lists(st.floats(1, 1000), min_size=3, max_size=30)


def simple_returns(curve: list[float]) -> list[float]:
    return [after / before - 1 for before, after in itertools.pairwise(curve)]


@given(CURVES)
@settings(max_examples=60, deadline=None)
def test_sharpe_is_mean_over_deviation_of_returns_times_the_root_of_samples_a_year(curve):
    returns = simple_returns(curve)
    ratio = annualised_ratio(np.array(curve), DAY)
    spread = statistics.stdev(returns)
    if spread < 1e-12:
        return  # what rounding leaves of no variation at all is nobody's promise
    assert ratio == pytest.approx(statistics.mean(returns) / spread * math.sqrt(365), rel=1e-6)


@given(CURVES)
@settings(max_examples=60, deadline=None)
def test_sortino_counts_the_losses_alone_in_its_deviation(curve):
    returns = simple_returns(curve)
    ratio = annualised_ratio(np.array(curve), SECOND, downside=True)
    losses = [min(r, 0.0) for r in returns]
    spread = math.sqrt(sum(loss * loss for loss in losses) / len(returns))
    if spread == 0:
        assert ratio is None
        return
    assert ratio == pytest.approx(
        statistics.mean(returns) / spread * math.sqrt(365 * 86_400), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize(
    "curve", [[], [1.0], [1.0, 2.0], [5.0, 5.0, 5.0], [1.0, 0.0, 1.0], [1.0, -1.0, 1.0]]
)
def test_sharpe_is_undefined_without_samples_variation_or_money(curve):
    assert annualised_ratio(np.array(curve), SECOND) is None


def test_sharpe_does_not_depend_on_the_size_of_the_account():
    curve = np.array([100.0, 101.0, 99.0, 103.0])
    assert annualised_ratio(curve, DAY) == pytest.approx(annualised_ratio(curve * 1e6, DAY))


@given(st.lists(st.floats(-1e6, 1e6), max_size=40))
@settings(max_examples=60, deadline=None)
def test_drawdown_is_the_distance_to_the_highest_value_before(curve):
    highest, expected = -math.inf, []
    for value in curve:
        highest = max(highest, value)
        expected.append(highest - value)
    assert drawdown(np.array(curve)).tolist() == expected


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
@settings(max_examples=60, deadline=None)
def test_quantiles_interpolate_between_the_sorted_values(durations):
    ordered = sorted(durations)

    def point(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return (ordered[low] + (ordered[high] - ordered[low]) * (place - low)) / 1e6

    found = quantiles_ms(np.array(durations))
    expected = {"p50": point(0.5), "p95": point(0.95), "p99": point(0.99)}
    assert found == {name: pytest.approx(v, rel=1e-9, abs=1e-6) for name, v in expected.items()}


def test_quantiles_of_nothing_are_none():
    assert quantiles_ms(np.empty(0)) == {"p50": None, "p95": None, "p99": None}


PAIRS = st.lists(
    st.tuples(st.floats(-1e3, 1e3, width=32), st.floats(-1e3, 1e3, width=32)),
    min_size=10,
    max_size=40,
)


@given(PAIRS)
@settings(max_examples=60, deadline=None)
def test_the_coefficient_is_pearsons(pairs):
    first, second = (list(side) for side in zip(*pairs, strict=True))
    found = correlation(np.array(first), np.array(second))
    if len(set(first)) < 2 or len(set(second)) < 2:
        assert found is None
        return
    if min(statistics.stdev(first), statistics.stdev(second)) < 1e-6:
        return
    assert found == pytest.approx(statistics.correlation(first, second), abs=1e-6)


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300))
@settings(max_examples=60, deadline=None)
def test_the_coefficient_does_not_depend_on_units(one, other):
    first = np.arange(12.0)
    second = np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])
    expected = correlation(first, second)
    assert correlation(first / 12 * one, second / 12 * other) == pytest.approx(expected, abs=1e-9)


def test_pairs_that_are_not_finite_are_left_out():
    generator = np.random.default_rng(3)
    first, second = generator.normal(size=(2, 30))
    expected = correlation(first[:20], second[:20])
    first[20:25], second[25:] = np.nan, np.inf
    assert correlation(first, second) == expected


def test_too_few_pairs_have_no_coefficient():
    nine = np.arange(9.0)
    assert correlation(nine, nine) is None
    assert information_coefficient(nine, nine, nine, SECOND) == (None, None)


def overlapping(generator: np.random.Generator, size: int, lap: int) -> tuple[np.ndarray, ...]:
    """Return pairs of a known correlation (0.5) whose neighbours share most of their noise."""
    noise = generator.normal(size=(3, size + lap))
    sums = np.lib.stride_tricks.sliding_window_view(noise, lap, axis=1).sum(axis=2)[:, :size]
    return sums[0] + sums[2], sums[1] + sums[2]


@pytest.mark.slow
def test_the_interval_covers_a_known_coefficient_about_as_often_as_it_says():
    generator = np.random.default_rng(11)
    times = np.arange(2000) * SECOND
    inside = wide = 0
    runs = 60
    for seed in range(runs):
        first, second = overlapping(generator, 2000, 10)
        value, interval = information_coefficient(
            first, second, times, 10 * SECOND, resamples=200, seed=seed
        )
        assert value is not None
        assert interval is not None
        inside += interval[0] <= 0.5 <= interval[1]
        # as if neighbours were independent
        _, naive = information_coefficient(first, second, times, 0, resamples=200, seed=seed)
        assert naive is not None
        wide += interval[1] - interval[0] > naive[1] - naive[0]
    assert inside >= 0.85 * runs
    assert wide == runs


def test_a_block_spans_twice_the_horizon_at_the_mean_rate():
    assert horizon_rows(np.arange(101) * 100_000_000, SECOND) == 20
    assert horizon_rows(np.array([5]), SECOND) == 1
    assert horizon_rows(np.array([5, 5, 5]), SECOND) == 1


def test_blocks_of_a_resample_are_whole_runs_of_neighbours():
    table = np.arange(100.0)[:, None]
    seen: list[np.ndarray] = []

    def keep(resample: np.ndarray) -> float:
        seen.append(resample[:, 0])
        return 0.0

    block_bootstrap(table, keep, 7, 30, 0)
    assert {len(rows) for rows in seen} == {100}
    for rows in seen:
        for place in range(0, 98, 7):
            steps = np.diff(rows[place : place + 7])
            assert (steps == 1).all()


def test_the_interval_is_the_same_for_the_same_seed_and_another_for_another():
    first, second = overlapping(np.random.default_rng(2), 400, 3)
    times = np.arange(400) * SECOND
    same = [information_coefficient(first, second, times, SECOND, seed=s)[1] for s in (5, 5, 6)]
    assert same[0] == same[1] != same[2]


def test_an_interval_of_too_few_blocks_is_not_given():
    first, second = overlapping(np.random.default_rng(2), 400, 3)
    times = np.arange(400) * SECOND
    value, interval = information_coefficient(first, second, times, 30 * SECOND)
    assert value is not None
    assert interval is None
    assert paired_drop(first, second, second[::-1], times, 300 * SECOND)[1] is None


def test_the_paired_drop_is_the_difference_of_the_coefficients():
    generator = np.random.default_rng(4)
    predicted, noise, far = generator.normal(size=(3, 600))
    near = predicted + noise
    drop, interval = paired_drop(predicted, near, far, np.arange(600) * SECOND, SECOND)
    expected = statistics.correlation(predicted.tolist(), near.tolist())
    expected -= statistics.correlation(predicted.tolist(), far.tolist())
    assert drop == pytest.approx(expected)
    assert interval is not None
    assert 0 < interval[0] < drop < interval[1]


def test_a_drop_between_equal_runs_is_zero():
    first, second = overlapping(np.random.default_rng(2), 400, 3)
    drop, interval = paired_drop(first, second, second, np.arange(400) * SECOND, SECOND)
    assert drop == 0
    assert interval == (0, 0)
