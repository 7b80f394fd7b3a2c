"""Sums and extremes over sliding windows that never drift, wherever the run started.

Time is cut into buckets as long as the window, counted from the epoch. A window (now - length,
now] then covers the end of one bucket and the beginning of the next: what it sums to is a suffix
of the previous bucket and a prefix of the present one (the van Herk scheme). Nothing is ever
subtracted, so no error builds up; and what is added in which order depends on the records and the
bucket alone, so chunks and starts leave no trace in the last bit.

A kernel takes a bucket's updates first, then its reads: two loops without a turn in them are three
times as fast as one that asks at each step what comes next.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.feature import Batch, Output, output

__all__ = [
    "BEYOND",
    "NEVER",
    "NOTHING",
    "SPARE",
    "WindowExtreme",
    "WindowSum",
    "WindowSums",
    "passed",
]

Array = NDArray[Any]

NEVER: Final = -(2**63)
"""An instant before all others."""
BEYOND: Final = 2**63 - 1
"""An instant after all others: it stands behind the last of some held instants."""
SPARE: Final = 4
"""Places behind held instants for `BEYOND`: `passed` looks at so many at once."""

NOTHING: Final = np.empty(0)
"""Values that nobody asked for."""

_SUM: Final = 0
_LEAST: Final = 1
_LARGEST: Final = 2

# places in the integer state
_WHAT, _LENGTH, _BUCKET_END, _SLOT, _CURRENT, _PREVIOUS, _HEAD, _FIRST, _UPDATE, _READ = range(10)
_FIRST_CAPACITY = 64


class _Window:
    """Two buckets of one column, and what the window over them comes to."""

    __slots__ = ("_folded", "_held", "_ints", "_times")

    def __init__(self, what: int, length: int) -> None:
        self._ints = np.zeros(10, np.int64)
        self._ints[_WHAT], self._ints[_LENGTH] = what, length
        self._ints[_BUCKET_END] = self._ints[_FIRST] = NEVER
        self._folded = np.full(1, 0.0 if what == _SUM else np.nan)
        self._times = np.full((2, _FIRST_CAPACITY + SPARE), BEYOND)
        self._held = np.zeros((2, _FIRST_CAPACITY + SPARE))

    def scan(self, values: Array, batch: Batch, room: Array | None = None) -> Output:
        """Absorb a batch's updates; return the values at its reads, and after updates if asked.

        Args:
            values: The updates. Shape (n,), read-only.
            batch: When the updates came, and what is read when.
            room: Takes the values at the reads, where given: most often `batch.room`. Shape (m,).
        """
        reads = np.empty(len(batch.read_times)) if room is None else room
        updates = np.empty(len(batch.times)) if batch.materialise else NOTHING
        given = (batch.times, values, batch.read_times, batch.read_counts)
        while not _scan(*given, self._ints, self._folded, self._times, self._held, reads, updates):
            self._times = np.concatenate([self._times, self._times], axis=1)
            self._held = np.concatenate([self._held, self._held], axis=1)
        return output((reads, updates))


class WindowSum(_Window):
    """The sum over (now - length, now].

    An update of NaN is left out. A sum is NaN until a first update lies at or before now - length:
    only then does the whole window lie in what was seen. An empty window sums to zero.

    Memory: the updates of two windows, but for those that add nothing.
    """

    __slots__ = ()

    def __init__(self, length_ns: int) -> None:
        super().__init__(_SUM, length_ns)


class WindowSums:
    """Sums of several columns, as `WindowSum`; an update with a NaN in any of them is left out."""

    __slots__ = ("_sums",)

    def __init__(self, length_ns: int, columns: int) -> None:
        self._sums = [WindowSum(length_ns) for _ in range(columns)]

    def scan(self, values: Array, batch: Batch) -> tuple[Array, Array]:
        """Absorb a batch's updates; return the sums at its reads, and after its updates if asked.

        Args:
            values: What each update adds. Shape (columns, n), read-only.
            batch: When the updates came, and what is read when.

        Returns:
            Sums at the reads, shape (columns, m), and after updates, shape (columns, n or 0).
        """
        missing = np.isnan(values).any(axis=0)
        if missing.any():
            values = values.copy()
            values[:, missing] = np.nan
            values.flags.writeable = False
        found = [one.scan(column, batch) for one, column in zip(self._sums, values, strict=True)]
        return np.stack([one.reads for one in found]), np.stack([one.updates for one in found])


class WindowExtreme(_Window):
    """The smallest (or largest) value of (now - length, now].

    An update of NaN is left out. NaN until a first update lies at or before now - length, and
    where the window is empty. In place of instants any numbers that never decrease will do.

    Memory: the updates of two windows.
    """

    __slots__ = ()

    def __init__(self, length: int, *, largest: bool = False) -> None:
        super().__init__(_LARGEST if largest else _LEAST, length)

    def begin(self, now: int) -> None:
        """Say that all after *now* is seen: a window from there on is warm."""
        if self._ints[_FIRST] == NEVER:
            self._ints[_FIRST] = now


@kernel
def passed(held_times: Array, head: int, since: int) -> int:
    """Return the first place from *head* on whose instant is after *since*.

    Instants never decrease, and `SPARE` times `BEYOND` stands behind the last. Several are looked
    at together: how many a window loses with an update is anybody's guess, the processor's too.
    """
    while True:
        gone = (
            int(held_times[head] <= since)
            + int(held_times[head + 1] <= since)
            + int(held_times[head + 2] <= since)
            + int(held_times[head + 3] <= since)
        )
        head += gone
        if gone < SPARE:
            return head


@kernel
def _scan(
    times: Array,
    values: Array,
    read_times: Array,
    read_counts: Array,
    ints: Array,
    folded: Array,
    held_times: Array,
    held: Array,
    reads: Array,
    updates: Array,
) -> bool:
    """Scan from where the state says; return False when the present bucket is full."""
    n, m = len(times), len(read_times)
    materialise = len(updates) > 0
    capacity = held_times.shape[1] - SPARE
    what, length, end, slot = ints[_WHAT], ints[_LENGTH], ints[_BUCKET_END], ints[_SLOT]
    current, previous, head = ints[_CURRENT], ints[_PREVIOUS], ints[_HEAD]
    first, i, q = ints[_FIRST], ints[_UPDATE], ints[_READ]
    prefix = folded[0]
    prefixes = updates if materialise else np.empty(n)
    full = False
    while True:
        # the updates of this bucket, with what it comes to after each
        begin, before = i, prefix
        own_times, own_values = held_times[slot], held[slot]
        j = i
        while first == NEVER and j < n and times[j] < end:
            if values[j] == values[j]:
                first = times[j]
            j += 1
        if what == _SUM:
            # no turn depends on a value: each is written, and stays if it adds something
            while i < n and times[i] < end and current < capacity:
                x = values[i]
                x = x if x == x else 0.0
                own_times[current] = times[i]
                own_values[current] = x
                current += int(x != 0.0)
                prefix += x
                prefixes[i] = prefix
                i += 1
        else:
            while i < n and times[i] < end:
                x = values[i]
                if x == x:
                    if current == capacity:
                        break
                    own_times[current] = times[i]
                    own_values[current] = x
                    current += 1
                    prefix = _folded(what, prefix, x)
                prefixes[i] = prefix
                i += 1
        full = i < n and times[i] < end
        # what is read before the next of them, or before the bucket ends
        old_times, suffixes = held_times[1 - slot], held[1 - slot]
        start = head
        while q < m and read_counts[q] <= i and read_times[q] < end:
            since = read_times[q] - length
            head = passed(old_times, head, since)
            place = read_counts[q] - 1
            own = prefixes[place] if place >= begin else before
            reads[q] = np.nan
            if first <= since and first != NEVER:
                reads[q] = _folded(what, suffixes[head], own)
            q += 1
        if materialise:
            for j in range(begin, i):
                since = times[j] - length
                start = passed(old_times, start, since)
                value = _folded(what, suffixes[start], prefixes[j])
                updates[j] = value if first <= since and first != NEVER else np.nan
            head = max(head, start)
        if full or (i >= n and q >= m):
            break
        # a new bucket: the present one becomes the previous, as suffixes
        now = times[i] if q >= m or read_counts[q] > i else read_times[q]
        previous = 0
        nothing = 0.0 if what == _SUM else np.nan
        if now < end + length:
            previous = current
            suffix = nothing
            for j in range(current - 1, -1, -1):
                suffix = _folded(what, held[slot, j], suffix)
                held[slot, j] = suffix
            slot = 1 - slot
        held_times[1 - slot, previous : previous + SPARE] = BEYOND
        held[1 - slot, previous] = nothing
        current, head, prefix = 0, 0, nothing
        end = (now // length + 1) * length
    ints[_BUCKET_END], ints[_SLOT], ints[_FIRST] = end, slot, first
    ints[_CURRENT], ints[_PREVIOUS], ints[_HEAD] = current, previous, head
    ints[_UPDATE], ints[_READ] = (i, q) if full else (0, 0)
    folded[0] = prefix
    return not full


@kernel
def _folded(what: int, older: float, newer: float) -> float:
    """Put together two parts of a window; NaN is the extreme of nothing, equal ones: the newer."""
    if what == _SUM:
        return older + newer
    if newer != newer:
        return older
    if what == _LEAST:
        return older if older < newer else newer
    return older if older > newer else newer
