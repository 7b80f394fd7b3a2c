"""What a value was some time ago, and how far it has moved since."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.feature import Batch, Output, output
from featurizer.operators.windows import BEYOND, NOTHING, SPARE, passed

__all__ = ["LAGGED", "LOG_RETURN", "Lagged"]

LAGGED: Final = 0
"""Read the value of *lag* ago."""
LOG_RETURN: Final = 1
"""Read log(value now / value of *lag* ago); NaN unless both are positive."""

# places in the integer state
_LAG, _MODE, _HEAD, _TAIL, _UPDATE, _READ = range(6)
_FIRST_CAPACITY = 1024
"""Places at first: with fewer, a second of busy quotes is scanned in small pieces."""


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
        self._times = np.full(_FIRST_CAPACITY + SPARE, BEYOND)
        self._values = np.zeros(_FIRST_CAPACITY + SPARE)

    def scan(self, values: NDArray[Any], batch: Batch, room: NDArray[Any] | None = None) -> Output:
        """Absorb a batch's updates; return the values at its reads, and after updates if asked.

        Args:
            values: The updates. Shape (n,), read-only.
            batch: When the updates came, and what is read when.
            room: Takes the values at the reads, where given: most often `batch.room`. Shape (m,).
        """
        reads = np.empty(len(batch.read_times)) if room is None else room
        updates = np.empty(len(batch.times)) if batch.materialise else NOTHING
        given = (batch.times, values, batch.read_times, batch.read_counts)
        while not _scan(
            *given, self._ints, self._current, self._times, self._values, reads, updates
        ):
            self._times = np.concatenate([self._times, self._times])
            self._values = np.concatenate([self._values, self._values])
        return output((reads, updates))


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
    """Scan from where the state says; return False when there is no room for what is held."""
    n, m, materialise = len(times), len(read_times), len(updates) > 0
    capacity = len(held_times) - SPARE
    lag, head, tail = ints[_LAG], ints[_HEAD], ints[_TAIL]
    logs = ints[_MODE] == LOG_RETURN
    i, q, current = ints[_UPDATE], ints[_READ], last[0]
    while True:
        # updates, while there is room for them
        begin, before = i, current
        while i < n and tail < capacity:
            # no turn depends on the value: it is written, and stays if it is another one
            x = values[i]
            held_times[tail], held[tail] = times[i], x
            same = (x == current) | ((x != x) & (current != current))
            tail += int((tail == 0) | (not same))
            current = x
            i += 1
        held_times[tail : tail + SPARE] = BEYOND
        # what is read before the next of them
        q_begin, start = q, head
        while q < m and read_counts[q] <= i:
            since = read_times[q] - lag
            head = passed(held_times, head + 1, since) - 1
            place = read_counts[q] - 1
            newest = values[place] if place >= begin else before
            if lag == 0:  # later updates of the instant are held already: they are not meant
                reads[q] = newest
            else:
                reads[q] = held[head] if held_times[head] <= since else np.nan
            if logs:
                reads[q] = _ratio(newest, reads[q])
            q += 1
        if materialise:
            for j in range(begin, i):
                since = times[j] - lag
                start = passed(held_times, start + 1, since) - 1
                if lag == 0:
                    updates[j] = values[j]
                else:
                    updates[j] = held[start] if held_times[start] <= since else np.nan
                if logs:
                    updates[j] = _ratio(values[j], updates[j])
            head = max(head, start)
        if logs:
            _take_logs(reads[q_begin:q])
            if materialise:
                _take_logs(updates[begin:i])
        if i >= n and q >= m:
            break
        # what lies before the newest value at or before now - lag is never read again
        head = passed(held_times, head + 1, times[i] - lag) - 1
        if head <= capacity // 2:
            ints[_HEAD], ints[_TAIL], ints[_UPDATE], ints[_READ] = head, tail, i, q
            last[0] = current
            return False
        for j in range(head, tail):
            held_times[j - head], held[j - head] = held_times[j], held[j]
        tail -= head
        head = 0
    ints[_HEAD], ints[_TAIL], ints[_UPDATE], ints[_READ] = head, tail, 0, 0
    last[0] = current
    return True


@kernel
def _ratio(after: float, before: float) -> float:
    return after / before if after > 0.0 and before > 0.0 else np.nan


@kernel
def _take_logs(ratios: NDArray[Any]) -> None:
    """Take logarithms in a loop of their own: a call in the midst of one slows all of it."""
    for j in range(len(ratios)):
        ratios[j] = math.log(ratios[j]) if ratios[j] == ratios[j] else np.nan
