"""What a value was some time ago, and how far it has moved since."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.feature import Batch, Output

__all__ = ["LAGGED", "LOG_RETURN", "Lagged"]

LAGGED: Final = 0
"""Read the value of *lag* ago."""
LOG_RETURN: Final = 1
"""Read log(value now / value of *lag* ago); NaN unless both are positive."""

# places in the integer state
_LAG, _MODE, _HEAD, _SIZE, _UPDATE, _READ = range(6)
_FIRST_CAPACITY = 64


class Lagged:
    """The value as of now - lag, bound included, or the log return since then.

    At each instant the last update counts. NaN until there is an update at or before now - lag; an
    update of NaN is a value like any other, and read as such.

    Memory: the changes of value within one lag (a repeated value takes no room).
    """

    __slots__ = ("_current", "_ints", "_times", "_values")

    def __init__(self, lag_ns: int, mode: int = LAGGED) -> None:
        self._ints = np.zeros(6, np.int64)
        self._ints[_LAG] = lag_ns
        self._ints[_MODE] = mode
        self._current = np.full(1, np.nan)
        self._times = np.zeros(_FIRST_CAPACITY, np.int64)
        self._values = np.zeros(_FIRST_CAPACITY)

    def scan(self, values: NDArray[Any], batch: Batch) -> Output:
        """Absorb a batch's updates; return the values at its reads, and after updates if asked.

        Args:
            values: The updates. Shape (n,), read-only.
            batch: When the updates came, and what is read when.
        """
        reads = np.empty(len(batch.read_times))
        updates = np.empty(len(batch.times) if batch.materialise else 0)
        given = (batch.times, values, batch.read_times, batch.read_counts)
        while not _scan(
            *given, self._ints, self._current, self._times, self._values, reads, updates
        ):
            self._grow()
        return Output(reads, updates)

    def _grow(self) -> None:
        """Double the ring, its oldest entry first."""
        head = int(self._ints[_HEAD])
        self._times = np.concatenate([np.roll(self._times, -head), self._times])
        self._values = np.concatenate([np.roll(self._values, -head), self._values])
        self._ints[_HEAD] = 0


@kernel
def _scan(
    times: NDArray[Any],
    values: NDArray[Any],
    read_times: NDArray[Any],
    read_counts: NDArray[Any],
    ints: NDArray[Any],
    last: NDArray[Any],
    held_times: NDArray[Any],
    held: NDArray[Any],
    reads: NDArray[Any],
    updates: NDArray[Any],
) -> bool:
    """Scan from where the state says; return False when the ring is full."""
    n, m = len(times), len(read_times)
    materialise = len(updates) > 0
    capacity = len(held)
    mask = capacity - 1  # capacities are powers of two
    lag, mode, head, size = ints[_LAG], ints[_MODE], ints[_HEAD], ints[_SIZE]
    i, q = ints[_UPDATE], ints[_READ]
    current = last[0]
    limit = read_counts[q] if q < m else n
    full = False
    while True:
        reading = i >= limit
        if reading and q >= m:
            break
        now = read_times[q] if reading else times[i]
        x = current if reading else values[i]
        same = x == current or (x != x and current != current)
        changed = not reading and (size == 0 or not same)
        if reading or (changed and size == capacity):
            # what lies before the newest value at or before now - lag is never read again
            while size > 1 and held_times[(head + 1) & mask] <= now - lag:
                head = (head + 1) & mask
                size -= 1
        if changed:
            if size == capacity:
                full = True
                break
            place = (head + size) & mask
            held_times[place] = now
            held[place] = x
            size += 1
            current = x
        if not reading:
            i += 1
            if not materialise:
                continue
            while size > 1 and held_times[(head + 1) & mask] <= now - lag:
                head = (head + 1) & mask
                size -= 1
        value = np.nan
        if size > 0 and held_times[head] <= now - lag:
            value = held[head]
        if mode == LOG_RETURN:
            value = math.log(current / value) if current > 0.0 and value > 0.0 else np.nan
        if reading:
            reads[q] = value
            q += 1
            limit = read_counts[q] if q < m else n
        else:
            updates[i - 1] = value
    ints[_HEAD], ints[_SIZE] = head, size
    ints[_UPDATE], ints[_READ] = (i, q) if full else (0, 0)
    last[0] = current
    return not full
