"""Exponentially weighted averages over time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.feature import Batch, Output, output
from featurizer.operators.windows import NOTHING

__all__ = ["ExponentialMean"]


class ExponentialMean:
    """The average over time of the value held, weighted by 2 ** (-age / half-life).

    Between two updates the older value holds, so a value counts for as long as it was in force;
    of several updates at one instant the last counts. It starts at the first value. An update of
    NaN is left out. Reading between updates moves nothing: the average of now is worked out anew.

    Memory: constant.
    """

    __slots__ = ("_floats", "_since")

    def __init__(self, half_life_ns: int) -> None:
        # the average at `since`, the value held from then on, and the rate of forgetting
        self._floats = np.array([np.nan, np.nan, math.log(2.0) / half_life_ns])
        self._since = np.zeros(1, np.int64)

    def scan(self, values: NDArray[Any], batch: Batch, room: NDArray[Any] | None = None) -> Output:
        """Absorb a batch's updates; return the averages at its reads, and after updates if asked.

        Args:
            values: The updates. Shape (n,), read-only.
            batch: When the updates came, and what is read when.
            room: Takes the values at the reads, where given: most often `batch.room`. Shape (m,).
        """
        reads = np.empty(len(batch.read_times)) if room is None else room
        updates = np.empty(len(batch.times)) if batch.materialise else NOTHING
        given = (batch.times, values, batch.read_times, batch.read_counts)
        _scan(*given, self._floats, self._since, reads, updates)
        return output((reads, updates))


@kernel
def _scan(
    times: NDArray[Any],
    values: NDArray[Any],
    read_times: NDArray[Any],
    read_counts: NDArray[Any],
    floats: NDArray[Any],
    since: NDArray[Any],
    reads: NDArray[Any],
    updates: NDArray[Any],
) -> None:
    n, m = len(times), len(read_times)
    materialise = len(updates) > 0
    mean, held, rate = floats[0], floats[1], floats[2]
    start = since[0]
    i = q = 0
    limit = read_counts[0] if m > 0 else n
    while True:
        reading = i >= limit
        if reading and q >= m:
            break
        now = read_times[q] if reading else times[i]
        x = held if reading else values[i]
        # a repeated value changes nothing, so its interval is not cut in two
        changed = not reading and x == x and x != held
        value = mean
        if (reading or materialise or changed) and now > start and mean != held:
            value = held + (mean - held) * math.exp(-rate * (now - start))
        if changed:
            if held != held:
                value = x
            mean, held, start = value, x, now
        if reading:
            reads[q] = value
            q += 1
            limit = read_counts[q] if q < m else n
        else:
            if materialise:
                updates[i] = value
            i += 1
    floats[0], floats[1] = mean, held
    since[0] = start
