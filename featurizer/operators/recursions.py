"""Averages that forget by the event, and moments that forget by the event or with time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel, readonly
from featurizer.feature import Batch

__all__ = ["EventMean", "EventMoments", "ExponentialMoments", "event_weight"]

Array = NDArray[Any]


def event_weight(half_life: float) -> float:
    """Return the weight of the newest of many updates, if a weight halves every *half_life*."""
    return 1.0 - 0.5 ** (1.0 / half_life)


class EventMean:
    """mean + weight · (x - mean) at each update x: an exponential average by the event.

    It starts as the plain average of the first *first* updates, NaN until there are so many. An
    update of NaN is left out: the mean holds.

    Memory: constant.
    """

    __slots__ = ("_state",)

    def __init__(self, weight: float, first: int = 1) -> None:
        self._state = np.array([np.nan, 0.0, weight, float(first)])

    def scan(self, values: Array) -> Array:
        """Return the mean after each of some more values. Shape (n,), read-only, as is the result.

        Example:
            >>> EventMean(0.5).scan(readonly(np.array([1.0, 3.0, 3.0]))).tolist()
            [1.0, 2.0, 2.5]
        """
        means = np.empty(len(values))
        _scan_mean(values, self._state, means)
        return readonly(means)


@kernel
def _scan_mean(values: Array, state: Array, means: Array) -> None:
    mean, seen, weight, first = state[0], state[1], state[2], state[3]
    for i in range(len(values)):
        x = values[i]
        if x == x:
            if seen == 0.0:
                mean = x
            else:
                mean += (x - mean) * (1.0 / (seen + 1.0) if seen < first else weight)
            seen = min(seen + 1.0, first)
        means[i] = mean if seen >= first else np.nan
    state[0], state[1] = mean, seen


class EventMoments:
    """Exponential means, variances and covariance of two columns by the event.

    A weight halves with every *half_life* updates; the first update counts as what was before. An
    update with a NaN in either column is left out.

    Memory: constant.
    """

    __slots__ = ("_state",)

    def __init__(self, half_life: float) -> None:
        self._state = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, event_weight(half_life)])

    def scan(self, values: Array) -> Array:
        """Return mean x, mean y, var x, var y and cov after each update. Shape (5, n).

        Args:
            values: Shape (2, n), read-only.
        """
        moments = np.empty((5, values.shape[1]))
        _scan_moments(values, self._state, moments)
        return readonly(moments)


@kernel
def _scan_moments(values: Array, state: Array, moments: Array) -> None:
    weight = state[6]
    for i in range(values.shape[1]):
        x, y = values[0, i], values[1, i]
        if x == x and y == y:
            if state[5] == 0.0:
                state[0], state[1], state[5] = x, y, 1.0
            dx, dy = x - state[0], y - state[1]
            state[0] += weight * dx
            state[1] += weight * dy
            state[2] = (1.0 - weight) * (state[2] + weight * dx * dx)
            state[3] = (1.0 - weight) * (state[3] + weight * dy * dy)
            state[4] = (1.0 - weight) * (state[4] + weight * dx * dy)
        for k in range(5):
            moments[k, i] = state[k] if state[5] == 1.0 else np.nan


class ExponentialMoments:
    """Exponential means, variances and covariance over time of two values held.

    As `featurizer.operators.exponential.ExponentialMean`: a value weighs as long as it was in
    force, halved with every half-life since; of several updates at one instant the last counts;
    the first values count as in force from ever. An update with a NaN in either column is left out.

    Memory: constant.
    """

    __slots__ = ("_since", "_state")

    def __init__(self, half_life_ns: int) -> None:
        # means, variances, covariance; then the values in force, and the rate of forgetting
        self._state = np.full(8, np.nan)
        self._state[7] = math.log(2.0) / half_life_ns
        self._since = np.zeros(1, np.int64)

    def scan(self, values: Array, batch: Batch) -> tuple[Array, Array]:
        """Absorb a batch's updates; return moments at its reads, and after updates if asked.

        Args:
            values: Shape (2, n), read-only.
            batch: When the updates came, and what is read when.

        Returns:
            Mean x, mean y, var x, var y, cov at the reads, shape (5, m), and after updates,
            shape (5, n or 0).
        """
        reads = np.empty((5, len(batch.read_times)))
        updates = np.empty((5, len(batch.times) if batch.materialise else 0))
        given = (batch.times, values, batch.read_times, batch.read_counts)
        _scan_held(*given, self._state, self._since, reads, updates)
        return reads, updates


@kernel
def _scan_held(
    times: Array,
    values: Array,
    read_times: Array,
    read_counts: Array,
    state: Array,
    since: Array,
    reads: Array,
    updates: Array,
) -> None:
    n, m = len(times), len(read_times)
    materialise = updates.shape[1] > 0
    i = q = 0
    limit = read_counts[0] if m > 0 else n
    now_state = np.empty(5)
    while True:
        reading = i >= limit
        if reading and q >= m:
            break
        now = read_times[q] if reading else times[i]
        x = state[5] if reading else values[0, i]
        y = state[6] if reading else values[1, i]
        # repeated values change nothing, so their interval is not cut in two
        changed = not reading and x == x and y == y and not (x == state[5] and y == state[6])
        if now > since[0] and (reading or materialise or changed):
            keep = math.exp(-state[7] * (now - since[0]))
            dx, dy = state[0] - state[5], state[1] - state[6]
            now_state[0], now_state[1] = state[5] + keep * dx, state[6] + keep * dy
            now_state[2] = keep * (state[2] + (1.0 - keep) * dx * dx)
            now_state[3] = keep * (state[3] + (1.0 - keep) * dy * dy)
            now_state[4] = keep * (state[4] + (1.0 - keep) * dx * dy)
        else:
            for k in range(5):  # to the bit: nothing has been forgotten in no time
                now_state[k] = state[k]
        if changed:
            if state[5] != state[5]:
                now_state[0], now_state[1] = x, y
                now_state[2] = now_state[3] = now_state[4] = 0.0
            for k in range(5):
                state[k] = now_state[k]
            state[5], state[6] = x, y
            since[0] = now
        if reading:
            for k in range(5):
                reads[k, q] = now_state[k]
            q += 1
            limit = read_counts[q] if q < m else n
        else:
            if materialise:
                for k in range(5):
                    updates[k, i] = now_state[k]
            i += 1
