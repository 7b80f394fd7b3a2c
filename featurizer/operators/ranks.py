"""Quantiles, first and last value, and count of a sliding window."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.feature import Batch, Output

__all__ = ["COUNT", "FIRST", "LAST", "WindowRank"]

FIRST: Final = -1.0
"""Read the oldest value of the window."""
LAST: Final = -2.0
"""Read the newest value of the window."""
COUNT: Final = -3.0
"""Read how many values the window holds; 0 where it is empty."""

# places in the integer state
_LENGTH, _HEAD, _SIZE, _FIRST, _UPDATE, _READ = range(6)
_NEVER = -(2**63)
_FIRST_CAPACITY = 64


class WindowRank:
    """A quantile of (now - length, now], or its `FIRST` or `LAST` value, or its `COUNT`.

    Between two values a quantile is interpolated linearly, as in `numpy.quantile`: 0.5 is the
    median. An update of NaN is left out. NaN until a first update lies at or before now - length,
    and where the window is empty. In place of instants any numbers that never decrease will do.

    Memory: the updates of the window. A quantile shifts a sorted window at each update: for windows
    of some ten thousand updates at most.
    """

    __slots__ = ("_ints", "_ordered", "_times", "_values", "_what")

    def __init__(self, length: int, what: float) -> None:
        self._ints = np.zeros(6, np.int64)
        self._ints[_LENGTH], self._ints[_FIRST] = length, _NEVER
        self._what = what
        self._times = np.zeros(_FIRST_CAPACITY, np.int64)
        self._values = np.zeros(_FIRST_CAPACITY)
        self._ordered = np.zeros(_FIRST_CAPACITY)

    def begin(self, now: int) -> None:
        """Say that all after *now* is seen: a window from there on is warm."""
        if self._ints[_FIRST] == _NEVER:
            self._ints[_FIRST] = now

    def scan(self, values: NDArray[Any], batch: Batch, room: NDArray[Any] | None = None) -> Output:
        """Absorb a batch's updates; return the values at its reads, and after updates if asked.

        Args:
            values: The updates. Shape (n,), read-only.
            batch: When the updates came, and what is read when.
            room: Takes the values at the reads, where given: most often `batch.room`. Shape (m,).
        """
        reads = np.empty(len(batch.read_times)) if room is None else room
        updates = np.empty(len(batch.times) if batch.materialise else 0)
        given = (batch.times, values, batch.read_times, batch.read_counts, self._what)
        while not _scan(
            *given, self._ints, self._times, self._values, self._ordered, reads, updates
        ):
            head = int(self._ints[_HEAD])
            self._times = np.concatenate([np.roll(self._times, -head), self._times])
            self._values = np.concatenate([np.roll(self._values, -head), self._values])
            self._ordered = np.concatenate([self._ordered, self._ordered])
            self._ints[_HEAD] = 0
        return Output(reads, updates)


@kernel
def _scan(
    times: NDArray[Any],
    values: NDArray[Any],
    read_times: NDArray[Any],
    read_counts: NDArray[Any],
    what: float,
    ints: NDArray[Any],
    held_times: NDArray[Any],
    held: NDArray[Any],
    ordered: NDArray[Any],
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
            if what >= 0.0:
                _close(ordered, _place(ordered, size, held[head]), size)
            head = (head + 1) & mask
            size -= 1
        if not reading:
            x = values[i] + 0.0  # -0.0 becomes 0.0: equal values must not differ in their bits
            if x == x:
                if size > mask:
                    full = True
                    break
                if what >= 0.0:
                    _insert(ordered, _place(ordered, size, x), size, x)
                held_times[(head + size) & mask] = now
                held[(head + size) & mask] = x
                size += 1
                if first == _NEVER:
                    first = now
            i += 1
            if not materialise:
                continue
        value = np.nan
        if first != _NEVER and first <= now - length:
            if what == COUNT:
                value = float(size)
            elif size > 0:
                if what >= 0.0:
                    at = what * (size - 1)
                    low = int(at)
                    value = ordered[low]
                    if at > low:
                        value += (ordered[low + 1] - value) * (at - low)
                else:
                    value = held[head] if what == FIRST else held[(head + size - 1) & mask]
        if reading:
            reads[q] = value
            q += 1
            limit = read_counts[q] if q < m else n
        else:
            updates[i - 1] = value
    ints[_HEAD], ints[_SIZE], ints[_FIRST] = head, size, first
    ints[_UPDATE], ints[_READ] = (i, q) if full else (0, 0)
    return not full


@kernel
def _close(ordered: NDArray[Any], at: int, size: int) -> None:
    """Take out a value. On a slice no index can be negative: the loop moves whole blocks."""
    part = ordered[at:size]
    for j in range(len(part) - 1):
        part[j] = part[j + 1]


@kernel
def _insert(ordered: NDArray[Any], at: int, size: int, x: float) -> None:
    """Put in a value."""
    part = ordered[at : size + 1]
    for j in range(len(part) - 1, 0, -1):
        part[j] = part[j - 1]
    part[0] = x


@kernel
def _place(ordered: NDArray[Any], size: int, x: float) -> int:
    """Return where the first value at or above x stands."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low
