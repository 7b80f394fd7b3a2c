"""The smallest and the largest value of a sliding window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.feature import Batch, Output

__all__ = ["WindowExtreme"]

# places in the integer state
_LENGTH, _HEAD, _SIZE, _FIRST, _UPDATE, _READ = range(6)
_NEVER = -(2**63)
_FIRST_CAPACITY = 64


class WindowExtreme:
    """The smallest (or largest) value of (now - length, now].

    An update of NaN is left out. NaN until a first update lies at or before now - length, and
    where the window is empty. In place of instants any numbers that never decrease will do.

    Memory: within the window, the values that no later one has undercut.
    """

    __slots__ = ("_ints", "_sign", "_times", "_values")

    def __init__(self, length: int, *, largest: bool = False) -> None:
        self._ints = np.zeros(6, np.int64)
        self._ints[_LENGTH], self._ints[_FIRST] = length, _NEVER
        self._sign = -1.0 if largest else 1.0
        self._times = np.zeros(_FIRST_CAPACITY, np.int64)
        self._values = np.zeros(_FIRST_CAPACITY)

    def begin(self, now: int) -> None:
        """Say that all after *now* is seen: a window from there on is warm."""
        if self._ints[_FIRST] == _NEVER:
            self._ints[_FIRST] = now

    def scan(self, values: NDArray[Any], batch: Batch) -> Output:
        """Absorb a batch's updates; return the extremes at its reads, and after updates if asked.

        Args:
            values: The updates. Shape (n,), read-only.
            batch: When the updates came, and what is read when.
        """
        reads = np.empty(len(batch.read_times))
        updates = np.empty(len(batch.times) if batch.materialise else 0)
        given = (batch.times, values, batch.read_times, batch.read_counts, self._sign)
        while not _scan(*given, self._ints, self._times, self._values, reads, updates):
            head = int(self._ints[_HEAD])
            self._times = np.concatenate([np.roll(self._times, -head), self._times])
            self._values = np.concatenate([np.roll(self._values, -head), self._values])
            self._ints[_HEAD] = 0
        return Output(reads, updates)


@kernel
def _scan(
    times: NDArray[Any],
    values: NDArray[Any],
    read_times: NDArray[Any],
    read_counts: NDArray[Any],
    sign: float,
    ints: NDArray[Any],
    held_times: NDArray[Any],
    held: NDArray[Any],
    reads: NDArray[Any],
    updates: NDArray[Any],
) -> bool:
    """Scan from where the state says; return False when the ring is full."""
    n, m = len(times), len(read_times)
    materialise = len(updates) > 0
    mask = len(held) - 1  # capacities are powers of two
    length, head, size, first = ints[_LENGTH], ints[_HEAD], ints[_SIZE], ints[_FIRST]
    i, q = ints[_UPDATE], ints[_READ]
    limit = read_counts[q] if q < m else n
    full = False
    while True:
        reading = i >= limit
        if reading and q >= m:
            break
        now = read_times[q] if reading else times[i]
        while size > 0 and held_times[head] <= now - length:
            head = (head + 1) & mask
            size -= 1
        if not reading:
            x = sign * values[i]
            if x == x:
                while size > 0 and held[(head + size - 1) & mask] >= x:
                    size -= 1
                if size > mask:
                    full = True
                    break
                held_times[(head + size) & mask] = now
                held[(head + size) & mask] = x
                size += 1
                if first == _NEVER:
                    first = now
            i += 1
            if not materialise:
                continue
        value = np.nan
        if size > 0 and first <= now - length:
            value = sign * held[head]
        if reading:
            reads[q] = value
            q += 1
            limit = read_counts[q] if q < m else n
        else:
            updates[i - 1] = value
    ints[_HEAD], ints[_SIZE], ints[_FIRST] = head, size, first
    ints[_UPDATE], ints[_READ] = (i, q) if full else (0, 0)
    return not full
