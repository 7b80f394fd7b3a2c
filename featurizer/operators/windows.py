"""Sums over sliding time windows that never drift and do not know where the run started.

Time is cut into buckets as long as the window, counted from the epoch. A window (now - length,
now] then covers the end of one bucket and the beginning of the next: a sum over it is a suffix
sum of the previous bucket plus a prefix sum of the present one (the van Herk scheme). Nothing is
ever subtracted, so no error builds up; and what is added in which order depends on the records and
the bucket alone, so chunks and starts leave no trace in the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.feature import Batch

__all__ = ["WindowSums"]

# places in the integer state
_LENGTH, _BUCKET_END, _SLOT, _CURRENT, _PREVIOUS, _HEAD, _FIRST, _UPDATE, _READ = range(9)
_NEVER = -(2**63)
_FIRST_CAPACITY = 64


class WindowSums:
    """Sums of several columns over (now - length, now].

    An update with a NaN in any column is left out. A sum is NaN until a first update lies at or
    before now - length: only then does the whole window lie in what was seen. An empty window
    sums to zero.

    Memory: the updates of two windows, but for those that add nothing.
    """

    __slots__ = ("_held", "_ints", "_sums", "_times")

    def __init__(self, length_ns: int, columns: int = 1) -> None:
        self._ints = np.zeros(9, np.int64)
        self._ints[_LENGTH] = length_ns
        self._ints[_BUCKET_END] = self._ints[_FIRST] = _NEVER
        self._sums = np.zeros(columns)
        self._times = np.zeros((2, _FIRST_CAPACITY), np.int64)
        self._held = np.zeros((2, columns, _FIRST_CAPACITY))

    def scan(self, values: NDArray[Any], batch: Batch) -> tuple[NDArray[Any], NDArray[Any]]:
        """Absorb a batch's updates; return the sums at its reads, and after its updates if asked.

        Args:
            values: What each update adds. Shape (columns, n), read-only.
            batch: When the updates came, and what is read when.

        Returns:
            Sums at the reads, shape (columns, m), and after updates, shape (columns, n or 0).
        """
        columns = len(values)
        reads = np.empty((columns, len(batch.read_times)))
        updates = np.empty((columns, len(batch.times) if batch.materialise else 0))
        given = (batch.times, values, batch.read_times, batch.read_counts)
        while not _scan(*given, self._ints, self._sums, self._times, self._held, reads, updates):
            self._times = np.concatenate([self._times, self._times], axis=1)
            self._held = np.concatenate([self._held, self._held], axis=2)
        return reads, updates


@kernel
def _scan(
    times: NDArray[Any],
    values: NDArray[Any],
    read_times: NDArray[Any],
    read_counts: NDArray[Any],
    ints: NDArray[Any],
    sums: NDArray[Any],
    held_times: NDArray[Any],
    held: NDArray[Any],
    reads: NDArray[Any],
    updates: NDArray[Any],
) -> bool:
    """Scan from where the state says; return False when the present bucket is full."""
    n, m, columns = len(times), len(read_times), len(values)
    materialise = updates.shape[1] > 0
    capacity = held_times.shape[1]
    length, end, slot, first = ints[_LENGTH], ints[_BUCKET_END], ints[_SLOT], ints[_FIRST]
    current, previous, head = ints[_CURRENT], ints[_PREVIOUS], ints[_HEAD]
    i, q = ints[_UPDATE], ints[_READ]
    limit = read_counts[q] if q < m else n
    full = False
    while True:
        reading = i >= limit
        if reading and q >= m:
            break
        now = read_times[q] if reading else times[i]
        if now >= end:  # a new bucket: the present one becomes the previous, as suffix sums
            previous = 0
            if now < end + length:
                previous = current
                for c in range(columns):
                    for j in range(current - 2, -1, -1):
                        held[slot, c, j] += held[slot, c, j + 1]
                slot = 1 - slot
            current, head = 0, 0
            for c in range(columns):
                sums[c] = 0.0
            end = (now // length + 1) * length
        if not reading:
            known, moves = True, False
            for c in range(columns):
                known = known and values[c, i] == values[c, i]
                moves = moves or values[c, i] != 0.0
            if known and moves:  # what adds nothing takes no room
                if current == capacity:
                    full = True
                    break
                held_times[slot, current] = now
                for c in range(columns):
                    held[slot, c, current] = values[c, i]
                    sums[c] += values[c, i]
                current += 1
            if known and first == _NEVER:
                first = now
            i += 1
            if not materialise:
                continue
        while head < previous and held_times[1 - slot, head] <= now - length:
            head += 1
        warm = first != _NEVER and first <= now - length
        for c in range(columns):
            value = np.nan
            if warm:
                value = sums[c] + (held[1 - slot, c, head] if head < previous else 0.0)
            if reading:
                reads[c, q] = value
            else:
                updates[c, i - 1] = value
        if reading:
            q += 1
            limit = read_counts[q] if q < m else n
    ints[_BUCKET_END], ints[_SLOT], ints[_FIRST] = end, slot, first
    ints[_CURRENT], ints[_PREVIOUS], ints[_HEAD] = current, previous, head
    ints[_UPDATE], ints[_READ] = (i, q) if full else (0, 0)
    return not full
