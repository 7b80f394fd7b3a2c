"""From one update to another: lags, changes and running totals by the event."""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel, readonly
from featurizer.feature import Batch

__all__ = ["CHANGES", "EventLag", "Total", "change"]

Array = NDArray[Any]
Change = Literal["value", "difference", "ratio", "log_return"]
CHANGES: Final = ("value", "difference", "ratio", "log_return")


class EventLag:
    """The value *lag* updates ago, or the change since: difference, ratio or log return.

    Updates of NaN are left out: their own result is that of the last one before. NaN until there
    are so many updates; a log return too unless both values are positive.

    Memory: *lag* values.
    """

    __slots__ = ("_last", "_ring", "_seen", "_what")

    def __init__(self, lag: int, what: Change = "value") -> None:
        self._ring = np.full(lag + 1, np.nan)
        self._seen = np.zeros(1, np.int64)
        self._last = np.full(1, np.nan)
        self._what = what

    def scan(self, values: Array) -> Array:
        """Return the result after each of some more values. Shape (n,), read-only, as is it.

        Example:
            >>> EventLag(1, "difference").scan(readonly(np.array([1.0, 3.0, 2.0]))).tolist()
            [nan, 2.0, -1.0]
        """
        lagged, latest = np.empty(len(values)), np.empty(len(values))
        _scan_lag(values, self._seen, self._ring, self._last, lagged, latest)
        return readonly(change(self._what, lagged, latest))


def change(what: Change, before: Array, after: Array) -> Array:
    """Return how far values have moved. Shape (n,), as are both.

    Args:
        what: `value` (the one before), `difference`, `ratio` (after / before, NaN where that is 0)
            or `log_return` (NaN unless both are positive).
        before: The values before.
        after: The values after.
    """
    if what == "value":
        return before
    if what == "difference":
        return after - before
    if what == "ratio":
        return np.divide(after, before, out=np.full(len(before), np.nan), where=before != 0.0)
    logs = np.empty(len(before))
    _log_returns(readonly(before), readonly(after), logs)
    return logs


@kernel
def _scan_lag(
    values: Array, seen: Array, ring: Array, last: Array, lagged: Array, latest: Array
) -> None:
    count, size = seen[0], len(ring)
    for i in range(len(values)):
        x = values[i]
        if x == x:
            ring[count % size] = x
            last[0] = x
            count += 1
        latest[i] = last[0]
        lagged[i] = ring[count % size] if count >= size else np.nan
    seen[0] = count


@kernel
def _log_returns(before: Array, after: Array, logs: Array) -> None:
    for i in range(len(before)):
        known = before[i] > 0.0 and after[i] > 0.0
        logs[i] = math.log(after[i] / before[i]) if known else np.nan


class Total:
    """The sum of the updates since the last multiple of a period since the epoch.

    It starts anew at each such instant, which it includes; an update of NaN is left out. NaN until
    the first restart after the first update: only from there on has all been seen.

    Memory: constant.
    """

    __slots__ = ("_state",)

    def __init__(self, reset_ns: int) -> None:
        # the period, the present one's number, and whether it was seen from its beginning
        self._state = (np.array([reset_ns, 0, -1]), np.zeros(1))

    def scan(self, values: Array, batch: Batch) -> tuple[Array, Array]:
        """Absorb a batch's updates; return totals at its reads, and after updates if asked.

        Args:
            values: The updates. Shape (n,), read-only.
            batch: When the updates came, and what is read when.
        """
        reads = np.empty(len(batch.read_times))
        updates = np.empty(len(batch.times) if batch.materialise else 0)
        given = (batch.times, values, batch.read_times, batch.read_counts)
        _scan_total(*given, *self._state, reads, updates)
        return reads, updates


@kernel
def _scan_total(
    times: Array,
    values: Array,
    read_times: Array,
    read_counts: Array,
    ints: Array,
    total: Array,
    reads: Array,
    updates: Array,
) -> None:
    n, m = len(times), len(read_times)
    i = q = 0
    limit = read_counts[0] if m > 0 else n
    while True:
        reading = i >= limit
        if reading and q >= m:
            break
        now = read_times[q] if reading else times[i]
        period = now // ints[0]
        if ints[2] < 0:
            if not reading and values[i] == values[i]:
                ints[1], ints[2] = period, 0
        elif period != ints[1]:
            ints[1], ints[2], total[0] = period, 1, 0.0
        if not reading and values[i] == values[i]:
            total[0] += values[i]
        value = total[0] if ints[2] == 1 else np.nan
        if reading:
            reads[q] = value
            q += 1
            limit = read_counts[q] if q < m else n
        else:
            if len(updates) > 0:
                updates[i] = value
            i += 1
