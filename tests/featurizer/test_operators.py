from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featurizer.feature import Batch
from featurizer.operators.asof import Lagged
from featurizer.operators.exponential import ExponentialMean
from featurizer.operators.returns import SquaredReturns
from featurizer.operators.windows import WindowSums

SECOND = 1_000_000_000


def fixed(values: Any, dtype: Any = np.float64) -> NDArray[Any]:
    array = np.array(values, dtype)
    array.flags.writeable = False
    return array


def batch(times: Any, read_times: Any = (), *, materialise: bool = False) -> Batch:
    """Updates, and reads that each include all updates by their instant."""
    times, read_times = fixed(times, np.int64), fixed(read_times, np.int64)
    counts = fixed(times.searchsorted(read_times, "right"), np.int64)
    picks = fixed([*(counts - 1), len(times) - 1], np.int64)
    return Batch(times, (), read_times, counts, picks, materialise)


def sums(operator: WindowSums, times: Any, values: Any, reads: Any) -> list[float]:
    return operator.scan(fixed([values]), batch(times, reads))[0][0].tolist()


def test_a_window_sum_leaves_out_its_first_bound_and_takes_in_its_last() -> None:
    operator = WindowSums(10, 1)
    assert str(sums(operator, [0, 4, 10], [1, 2, 4], [0, 4, 9, 10, 13, 14, 19, 20])) == (
        "[nan, nan, nan, 6.0, 6.0, 4.0, 4.0, 0.0]"
    )


def test_a_window_sum_after_a_silence_longer_than_two_windows_starts_anew() -> None:
    operator = WindowSums(10, 1)
    assert sums(operator, [0, 1, 100], [1, 2, 4], [50, 100, 105]) == [0.0, 4.0, 4.0]


def test_a_window_sum_takes_instants_before_1970() -> None:
    assert sums(WindowSums(10, 1), [-25, -15, -11], [1, 2, 4], [-15, -6, -5]) == [2.0, 6.0, 4.0]


def test_an_update_of_nan_is_left_out_of_every_column() -> None:
    operator = WindowSums(10, columns=2)
    values = fixed([[1.0, np.nan, 3.0], [10.0, 20.0, np.nan]])
    reads, _ = operator.scan(values, batch([0, 5, 10], [10, 15]))
    assert reads.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("columns", [1, 3])
def test_window_sums_grow_in_the_middle_of_a_scan_and_lose_nothing(columns: int) -> None:
    rng = np.random.default_rng(columns)
    times = np.sort(rng.integers(0, 1000, 2000))
    values = rng.integers(1, 100, (columns, 2000)).astype(np.float64)
    reads, updates = WindowSums(100, columns).scan(
        fixed(values), batch(times, range(0, 1000, 7), materialise=True)
    )
    for place, now in enumerate(range(0, 1000, 7)):
        inside = (times > now - 100) & (times <= now)
        if times[0] <= now - 100:
            assert reads[:, place].tolist() == values[:, inside].sum(axis=1).tolist()
    last = (times > times[-1] - 100).nonzero()[0]
    assert updates[:, -1].tolist() == values[:, last].sum(axis=1).tolist()


@pytest.mark.slow
def test_a_window_sum_does_not_drift_and_does_not_remember_a_jump() -> None:
    # huge values that have left the window would leave their rounding behind in a running sum
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.integers(1, 10, 300_000))
    values = rng.random(300_000) * 1e-9
    values[1000:250_000] += 1e15
    length = 5000
    at = [int(times[-1]), int(times[280_000])]
    for now, value in zip(
        sorted(at), sums(WindowSums(length, 1), times, values, sorted(at)), strict=True
    ):
        exact = math.fsum(values[(times > now - length) & (times <= now)])
        assert value == pytest.approx(exact, rel=1e-13)


def test_a_window_sum_has_the_same_bits_wherever_the_run_started() -> None:
    rng = np.random.default_rng(6)
    times = np.cumsum(rng.integers(0, 10, 5000))
    values = rng.random(5000)
    reads = np.arange(15_000, int(times[-1]), 11)
    whole = sums(WindowSums(3000, 1), times, values, reads)
    for begin in (1, 777, 1500):
        assert sums(WindowSums(3000, 1), times[begin:], values[begin:], reads) == whole


def test_an_operators_memory_depends_on_its_window_not_on_the_run() -> None:
    for operator, shape in ((WindowSums(1000, 1), (1, -1)), (Lagged(1000), (-1,))):
        sizes = []
        for turn in range(20):
            times = np.arange(1000) * 10 + turn * 10_000
            operator.scan(fixed(times % 17).reshape(shape), batch(times))
            sizes.append(len(pickle.dumps(operator)))
        assert sizes[-1] == sizes[2]
        assert sizes[-1] < 20_000


def test_a_lagged_value_is_the_last_one_of_its_instant_bound_included() -> None:
    reads, updates = Lagged(5).scan(
        fixed([1.0, 2.0, 3.0, 4.0]), batch([0, 0, 3, 8], [4, 5, 7, 8, 13], materialise=True)
    )
    assert str(reads.tolist()) == "[nan, 2.0, 2.0, 3.0, 4.0]"
    assert str(updates.tolist()) == "[nan, nan, nan, 3.0]"


def test_a_lagged_nan_is_read_as_one() -> None:
    reads, _ = Lagged(5).scan(fixed([1.0, np.nan, np.nan, 2.0]), batch([0, 1, 2, 3], [5, 6, 7, 8]))
    assert str(reads.tolist()) == "[1.0, nan, nan, 2.0]"


def test_a_lag_of_nothing_is_the_newest_update_and_no_later_one_of_its_instant() -> None:
    values = fixed([1.0, 2.0, -0.0, 0.0, np.nan, 3.0])
    times = [5, 5, 5, 5, 5, 6]
    counts = fixed([0, 1, 2, 3, 4, 5, 6], np.int64)
    reads = fixed([5, 5, 5, 5, 5, 5, 6], np.int64)
    given = batch(times, reads, materialise=True)._replace(read_counts=counts)
    whole = Lagged(0).scan(values, given)
    assert str(whole.reads.tolist()) == "[nan, 1.0, 2.0, -0.0, 0.0, nan, 3.0]"
    assert str(whole.updates.tolist()) == "[1.0, 2.0, -0.0, 0.0, nan, 3.0]"
    singly = Lagged(0)
    for i in range(6):
        one = batch(times[i : i + 1], times[i : i + 1])
        found = singly.scan(fixed(values[i : i + 1]), one).reads
        assert found.tobytes() == whole.reads[i + 1 : i + 2].tobytes() or np.isnan(found[0])


def test_a_repeated_value_takes_no_room_in_a_lag() -> None:
    operator = Lagged(10**9)
    operator.scan(fixed(np.repeat([1.0, 2.0, np.nan], 5000)), batch(np.arange(15_000)))
    assert len(pickle.dumps(operator)) < len(pickle.dumps(Lagged(10**9))) + 100


def test_reading_an_exponential_mean_does_not_move_it() -> None:
    times, values = [0, 10, 35], [1.0, 5.0, 2.0]
    read_often, _ = ExponentialMean(7).scan(fixed(values), batch(times, range(50)))
    read_once, _ = ExponentialMean(7).scan(fixed(values), batch(times, [49]))
    assert read_often[-1] == read_once[0]


def test_an_exponential_mean_halves_the_distance_in_each_half_life() -> None:
    reads, _ = ExponentialMean(10).scan(fixed([0.0, 8.0]), batch([0, 100], [100, 110, 120, 130]))
    np.testing.assert_allclose(reads, [0.0, 4.0, 6.0, 7.0], rtol=1e-15)


def test_an_exponential_mean_passes_over_nan() -> None:
    reads, _ = ExponentialMean(10).scan(
        fixed([np.nan, 1.0, np.nan, 3.0]), batch([0, 5, 10, 20], [0, 5, 15, 20, 30])
    )
    assert str(reads.tolist()) == "[nan, 1.0, 1.0, 1.0, 2.0]"


def test_squared_returns_pass_over_what_is_no_price() -> None:
    squares = SquaredReturns().scan(fixed([np.nan, 1.0, math.e, 0.0, -1.0, np.inf, 1.0, 1.0]))
    assert str(squares.round(12).tolist()) == "[nan, nan, 1.0, nan, nan, nan, 1.0, 0.0]"


def test_growing_late_and_with_a_ring_that_has_turned_loses_nothing() -> None:
    # few updates at first, so that reads lie behind and the ring's head has moved when it fills
    times = np.concatenate([np.arange(0, 5000, 10), np.arange(5000, 7000)])
    values = np.arange(1.0, len(times) + 1)
    reads = np.arange(0, 7000, 13)
    lagged = Lagged(500).scan(fixed(values), batch(times, reads)).reads
    summed = sums(WindowSums(500, 1), times, values, reads)
    for now, past, total in zip(reads[40:], lagged[40:], summed[40:], strict=True):
        assert past == values[(times <= now - 500).nonzero()[0][-1]]
        assert total == values[(times > now - 500) & (times <= now)].sum()
