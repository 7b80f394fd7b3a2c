"""Means, variances and covariances over sliding windows, exact over millions of updates.

The same buckets as in `featurizer.operators.windows`, with mergeable partial moments (count, means,
sums of squared deviations: Welford 1962; Chan, Golub and LeVeque 1979) in place of sums. Partials
hold deviations from a value of the window itself (the last of the previous bucket, the first of the
present one), so a price of 60 000 costs no digits of a variance of a tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.feature import Batch

__all__ = ["Moments", "WindowMoments"]

Array = NDArray[Any]

# places in the integer state
_LENGTH, _BUCKET_END, _SLOT, _CURRENT, _PREVIOUS, _HEAD, _FIRST, _UPDATE, _READ = range(9)
# what is kept of each update, then of the suffix that it begins; for one column the first two
_MEAN_X, _XX, _MEAN_Y, _YY, _XY = range(5)
_NEVER = -(2**63)
_FIRST_CAPACITY = 64


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of windows. Each: shape (k,); NaN while warming up; of one column, no y.

    Attributes:
        count: How many updates the window holds.
        mean_x, mean_y: NaN where it is empty.
        xx, yy, xy: Sums of the products of deviations from the means.
    """

    count: Array
    mean_x: Array
    xx: Array
    mean_y: Array
    yy: Array
    xy: Array

    def variance(self, ddof: int = 0) -> Array:
        """Return the variance of x; NaN for *ddof* updates or fewer."""
        return self._over(self.xx, ddof)

    def std(self, ddof: int = 0) -> Array:
        """Return the standard deviation of x."""
        return np.sqrt(self._over(self.xx, ddof))

    def covariance(self, ddof: int = 0) -> Array:
        """Return the covariance of x and y."""
        return self._over(self.xy, ddof)

    def beta(self) -> Array:
        """Return the slope of x regressed on y; NaN where y stands still."""
        return np.divide(self.xy, self.yy, out=np.full(len(self.xy), np.nan), where=self.yy > 0.0)

    def correlation(self) -> Array:
        """Return the correlation of x and y, from -1 to 1; NaN where one stands still."""
        size = np.sqrt(self.xx) * np.sqrt(self.yy)
        known = np.divide(self.xy, size, out=np.full(len(size), np.nan), where=size > 0.0)
        return np.minimum(np.maximum(known, -1.0), 1.0)

    def z_score(self, x: Array) -> Array:
        """Return (x - mean) / std; 0 where the window's values are all x, NaN if all another."""
        off = x - self.mean_x
        std = self.std()
        still = np.where(off == 0.0, 0.0, np.nan)
        return np.divide(off, std, out=still, where=~(std == 0.0))

    def _over(self, sums: Array, ddof: int) -> Array:
        n = self.count - ddof
        return np.divide(sums, n, out=np.full(len(n), np.nan), where=~(n <= 0.0))


class WindowMoments:
    """Moments of one or two columns over (now - length, now].

    An update with a NaN in any column is left out. NaN until a first update lies at or before
    now - length. In place of instants any numbers that never decrease will do: with the places of
    updates, the window holds the last *length* of them.

    Memory: the updates of two windows.
    """

    __slots__ = ("_held", "_ints", "_pivots", "_present", "_times")

    def __init__(self, length: int, columns: int = 1) -> None:
        self._ints = np.zeros(9, np.int64)
        self._ints[_LENGTH] = length
        self._ints[_BUCKET_END] = self._ints[_FIRST] = _NEVER
        self._pivots = np.zeros(4)  # x and y of either slot
        self._present = np.zeros(5)
        self._times = np.zeros((2, _FIRST_CAPACITY), np.int64)
        self._held = np.zeros((2, 2 if columns == 1 else 5, _FIRST_CAPACITY))

    def begin(self, now: int) -> None:
        """Say that all after *now* is seen: a window from there on is warm. Later calls do nothing.

        For windows over the last so many updates, whose first place is known.
        """
        if self._ints[_FIRST] == _NEVER:
            self._ints[_FIRST] = now

    def scan(self, values: Array, batch: Batch) -> tuple[Moments, Moments]:
        """Absorb a batch's updates; return the moments at its reads, and after updates if asked.

        Args:
            values: One row a column. Shape (columns, n), read-only.
            batch: When the updates came, and what is read when.
        """
        fields = 6 if len(values) == 2 else 3
        reads = np.empty((fields, len(batch.read_times)))
        updates = np.empty((fields, len(batch.times) if batch.materialise else 0))
        given = (batch.times, values, batch.read_times, batch.read_counts)
        while not _scan(
            *given, self._ints, self._pivots, self._present, self._times, self._held, reads, updates
        ):
            self._times = np.concatenate([self._times, self._times], axis=1)
            self._held = np.concatenate([self._held, self._held], axis=2)
        return _moments(reads), _moments(updates)


def _moments(rows: Array) -> Moments:
    none = np.empty(0)
    mean_y, yy, xy = (rows[3], rows[4], rows[5]) if len(rows) == 6 else (none, none, none)
    return Moments(rows[0], rows[1], rows[2], mean_y, yy, xy)


@kernel
def _scan(
    times: Array,
    values: Array,
    read_times: Array,
    read_counts: Array,
    ints: Array,
    pivots: Array,
    present: Array,
    held_times: Array,
    held: Array,
    reads: Array,
    updates: Array,
) -> bool:
    """Scan from where the state says; return False when the present bucket is full."""
    n, m = len(times), len(read_times)
    pair = len(values) == 2
    materialise = updates.shape[1] > 0
    capacity = held_times.shape[1]
    length, end, slot, first = ints[_LENGTH], ints[_BUCKET_END], ints[_SLOT], ints[_FIRST]
    current, previous, head = ints[_CURRENT], ints[_PREVIOUS], ints[_HEAD]
    i, q = ints[_UPDATE], ints[_READ]
    mean_x, xx, mean_y, yy, xy = present[0], present[1], present[2], present[3], present[4]
    limit = read_counts[q] if q < m else n
    full = False
    while True:
        reading = i >= limit
        if reading and q >= m:
            break
        now = read_times[q] if reading else times[i]
        if now >= end:  # a new bucket: the present one becomes the previous, as suffix moments
            previous = 0
            if now < end + length:
                previous = current
                _fold(held[slot], pivots[2 * slot : 2 * slot + 2], current, pair)
                slot = 1 - slot
            current, head = 0, 0
            mean_x, xx, mean_y, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0
            end = (now // length + 1) * length
        if not reading:
            x = values[0, i]
            y = values[1, i] if pair else 0.0
            if x == x and y == y:
                if current == capacity:
                    full = True
                    break
                if current == 0:
                    pivots[2 * slot], pivots[2 * slot + 1] = x, y
                held_times[slot, current] = now
                held[slot, _MEAN_X, current] = x
                current += 1
                dx = (x - pivots[2 * slot]) - mean_x
                mean_x += dx / current
                rest = (x - pivots[2 * slot]) - mean_x
                xx += dx * rest
                if pair:
                    held[slot, _MEAN_Y, current - 1] = y
                    dy = (y - pivots[2 * slot + 1]) - mean_y
                    mean_y += dy / current
                    yy += dy * ((y - pivots[2 * slot + 1]) - mean_y)
                    xy += dy * rest
                if first == _NEVER:
                    first = now
            i += 1
            if not materialise:
                continue
        while head < previous and held_times[1 - slot, head] <= now - length:
            head += 1
        out, place = (reads, q) if reading else (updates, i - 1)
        if first == _NEVER or first > now - length:
            for field in range(len(out)):
                out[field, place] = np.nan
        else:
            old = 1 - slot
            a, b = float(previous - head), float(current)
            out[0, place] = a + b
            # a part without updates has no weight, whatever its moments say
            share = b / (a + b) if a + b > 0.0 else np.nan
            pivot = pivots[2 * old] if a > 0.0 else pivots[2 * slot]
            mean_a = held[old, _MEAN_X, head] if a > 0.0 else 0.0
            shift = (pivots[2 * slot] - pivot) + (mean_x - mean_a) if b > 0.0 else 0.0
            out[1, place] = pivot + (mean_a + shift * share)
            out[2, place] = (held[old, _XX, head] if a > 0.0 else 0.0) + (
                xx + shift * shift * a * share if b > 0.0 else 0.0
            )
            if pair:
                pivot = pivots[2 * old + 1] if a > 0.0 else pivots[2 * slot + 1]
                mean_a = held[old, _MEAN_Y, head] if a > 0.0 else 0.0
                other = (pivots[2 * slot + 1] - pivot) + (mean_y - mean_a) if b > 0.0 else 0.0
                out[3, place] = pivot + (mean_a + other * share)
                out[4, place] = (held[old, _YY, head] if a > 0.0 else 0.0) + (
                    yy + other * other * a * share if b > 0.0 else 0.0
                )
                out[5, place] = (held[old, _XY, head] if a > 0.0 else 0.0) + (
                    xy + shift * other * a * share if b > 0.0 else 0.0
                )
        if reading:
            q += 1
            limit = read_counts[q] if q < m else n
    ints[_BUCKET_END], ints[_SLOT], ints[_FIRST] = end, slot, first
    ints[_CURRENT], ints[_PREVIOUS], ints[_HEAD] = current, previous, head
    ints[_UPDATE], ints[_READ] = (i, q) if full else (0, 0)
    present[0], present[1], present[2], present[3], present[4] = mean_x, xx, mean_y, yy, xy
    return not full


@kernel
def _fold(held: Array, pivots: Array, count: int, pair: bool) -> None:
    """Turn the values of a bucket into the moments of each of its suffixes, about its last value.

    The last value lies in every suffix, and is the same wherever the run started.
    """
    if count == 0:
        return
    pivots[0] = held[_MEAN_X, count - 1]
    if pair:
        pivots[1] = held[_MEAN_Y, count - 1]
    mean_x, xx, mean_y, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(count - 1, -1, -1):
        n = float(count - j)
        x = held[_MEAN_X, j] - pivots[0]
        dx = x - mean_x
        mean_x += dx / n
        xx += dx * (x - mean_x)
        if pair:
            y = held[_MEAN_Y, j] - pivots[1]
            dy = y - mean_y
            mean_y += dy / n
            yy += dy * (y - mean_y)
            xy += dy * (x - mean_x)
            held[_MEAN_Y, j], held[_YY, j], held[_XY, j] = mean_y, yy, xy
        held[_MEAN_X, j], held[_XX, j] = mean_x, xx
