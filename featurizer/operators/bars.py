"""Bars: what happened between two closes, visible at the close.

A time bar covers [open, close), as exchanges' candles do, and is complete at its close: no record
of that instant belongs to it. A bar of ticks, volume or turnover closes with the trade that fills
it, and includes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel, readonly
from featurizer.feature import Batch, Output

__all__ = ["BarSeries", "LastBar", "MeasuredBars", "TimeBars"]

Array = NDArray[Any]

# rows of a table of bars, and of the bar that is being made
OPEN, HIGH, LOW, CLOSE, VOLUME, TURNOVER, COUNT = range(7)
_NEVER = -(2**63)


class BarSeries(NamedTuple):
    """The bars that closed in one push. Every array is read-only.

    Attributes:
        closes: Instants of the closes. Shape (k,).
        table: Rows OPEN, HIGH, LOW, CLOSE, VOLUME, TURNOVER, COUNT. Shape (7, k).
        read_counts: How many of these bars each read of the batch includes. Shape (m,).
        update_counts: The same for each update; empty where updates are not wanted.
    """

    closes: Array
    table: Array
    read_counts: Array
    update_counts: Array

    def places(self, period_ns: int) -> Batch:
        """Return a batch of the bars, their clock being their place on the grid of closes.

        With it, a window of length N holds the last N bars.
        """
        places = readonly(self.closes // period_ns)
        none = readonly(np.empty(0, np.int64))
        return Batch(places, (), none, none, readonly(np.array([len(places) - 1])), True)


class LastBar:
    """A value of the last closed bar: NaN before the first."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.nan

    def output(self, values: Array, series: BarSeries) -> Output:
        """Return the values at a batch's reads and updates; hold the last one.

        Args:
            values: One for each bar. Shape (k,).
            series: The bars.
        """
        known = np.empty(len(values) + 1)
        known[0], known[1:] = self.value, values
        self.value = float(known[-1])
        return Output(known[series.read_counts], known[series.update_counts])


class TimeBars:
    """Bars that close at each multiple of a period since the epoch.

    An interval without an update has the last price as its open, high, low and close, and no
    volume. The first bar is the first to open after the first update. An update with a NaN is
    left out.

    Memory: constant.
    """

    __slots__ = ("_ints", "_present")

    def __init__(self, period_ns: int) -> None:
        # the period, the next close, whether the present bar was seen from its open
        self._ints = np.array([period_ns, _NEVER, 0])
        self._present = np.zeros(7)

    def scan(self, price: Array, quantity: Array, batch: Batch) -> BarSeries:
        """Absorb a batch's updates; return the bars that closed by its last read or update.

        Args:
            price: Shape (n,), read-only.
            quantity: Shape (n,), read-only; may be negative (a signed volume).
            batch: When the updates came, and what is read when.
        """
        update_counts = np.empty(len(batch.times) if batch.materialise else 0, np.int64)
        read_counts = np.empty(len(batch.read_times), np.int64)
        room = self._room(batch)
        closes, table = np.empty(room, np.int64), np.empty((7, room))
        given = (batch.times, price, quantity, batch.read_times, batch.read_counts)
        done = _scan_time(
            *given, self._ints, self._present, closes, table, read_counts, update_counts
        )
        return BarSeries(
            readonly(closes[:done]),
            readonly(np.ascontiguousarray(table[:, :done])),
            read_counts,
            update_counts,
        )

    def _room(self, batch: Batch) -> int:
        """Return how many bars can close in a batch at most."""
        ends = [int(times[-1]) for times in (batch.times, batch.read_times) if len(times)]
        since = int(self._ints[1])
        if since == _NEVER:
            since = int(batch.times[0]) if len(batch.times) else max(ends, default=0)
        return max(max(ends, default=since) - since, 0) // int(self._ints[0]) + 2


@kernel
def _scan_time(
    times: Array,
    price: Array,
    quantity: Array,
    read_times: Array,
    read_counts: Array,
    ints: Array,
    present: Array,
    closes: Array,
    table: Array,
    bars_read: Array,
    bars_updated: Array,
) -> int:
    n, m = len(times), len(read_times)
    period, close, whole = ints[0], ints[1], ints[2]
    done = i = q = 0
    limit = read_counts[0] if m > 0 else n
    while True:
        reading = i >= limit
        if reading and q >= m:
            break
        now = read_times[q] if reading else times[i]
        while close != _NEVER and close <= now:
            if whole == 1:
                closes[done] = close
                for k in range(7):
                    table[k, done] = present[k]
                done += 1
            whole = 1
            close += period
            present[OPEN] = present[HIGH] = present[LOW] = present[CLOSE]
            present[VOLUME] = present[TURNOVER] = present[COUNT] = 0.0
        if reading:
            bars_read[q] = done
            q += 1
            limit = read_counts[q] if q < m else n
            continue
        x, v = price[i], quantity[i]
        if x == x and v == v:
            if close == _NEVER:
                close = (now // period + 1) * period
            _add(present, x, v)
        if len(bars_updated) > 0:
            bars_updated[i] = done
        i += 1
    ints[1], ints[2] = close, whole
    return done


@kernel
def _add(present: Array, x: float, v: float) -> None:
    if present[COUNT] == 0.0:
        present[OPEN] = present[HIGH] = present[LOW] = x
    present[HIGH] = max(present[HIGH], x)
    present[LOW] = min(present[LOW], x)
    present[CLOSE] = x
    present[VOLUME] += v
    present[TURNOVER] += x * v
    present[COUNT] += 1.0


class MeasuredBars:
    """Bars that close with the update that brings their measure to a size.

    What that update has too much is not carried over. Measuring starts anew at each multiple of
    *reset* since the epoch, and an unfinished bar is dropped there: so bars do not depend on where
    a run began. None closes before the first restart after the first update.

    Memory: constant.
    """

    __slots__ = ("_ints", "_present")

    def __init__(self, size: float, reset_ns: int) -> None:
        # the reset, the present period's number, whether it was seen from its beginning
        self._ints = np.array([reset_ns, 0, -1])
        # the bar being made, its measure, its size
        self._present = np.zeros(9)
        self._present[8] = size

    def scan(self, price: Array, quantity: Array, measure: Array, batch: Batch) -> BarSeries:
        """Absorb a batch's updates; return the bars that they closed.

        Args:
            price: Shape (n,), read-only.
            quantity: Shape (n,), read-only.
            measure: What each update adds to its bar's measure. Shape (n,), read-only.
            batch: When the updates came, and what is read when.
        """
        n = len(batch.times)
        counts, closes, table = np.zeros(n + 1, np.int64), np.empty(n, np.int64), np.empty((7, n))
        done = _scan_measure(
            batch.times, price, quantity, measure, self._ints, self._present, closes, table,
            counts[1:],
        )  # fmt: skip
        return BarSeries(
            readonly(closes[:done]),
            readonly(np.ascontiguousarray(table[:, :done])),
            counts[batch.read_counts],
            counts[1:] if batch.materialise else counts[:0],
        )


@kernel
def _scan_measure(
    times: Array,
    price: Array,
    quantity: Array,
    measure: Array,
    ints: Array,
    present: Array,
    closes: Array,
    table: Array,
    counts: Array,
) -> int:
    done = 0
    for i in range(len(times)):
        x, v = price[i], quantity[i]
        if x == x and v == v:
            period = times[i] // ints[0]
            if ints[2] < 0:
                ints[1], ints[2] = period, 0
            elif period != ints[1]:
                ints[1], ints[2] = period, 1
                present[COUNT] = 0.0
            if ints[2] == 1:
                if present[COUNT] == 0.0:
                    present[VOLUME] = present[TURNOVER] = present[7] = 0.0
                _add(present, x, v)
                present[7] += measure[i]
                if present[7] >= present[8]:
                    closes[done] = times[i]
                    for k in range(7):
                        table[k, done] = present[k]
                    done += 1
                    present[COUNT] = 0.0
        counts[i] = done
    return done
