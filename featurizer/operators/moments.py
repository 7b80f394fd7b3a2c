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

from featurizer.feature import Batch
from featurizer.operators.moments_scan import BUCKET_END, FIRST, LENGTH, divide, scan
from featurizer.operators.windows import BEYOND, NEVER, SPARE

__all__ = ["Moments", "WindowMoments"]

Array = NDArray[Any]

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
        quotients = np.empty(len(sums))
        divide(sums, self.count, ddof, quotients)
        return quotients


class WindowMoments:
    """Moments of one or two columns over (now - length, now].

    An update with a NaN in any column is left out. NaN until a first update lies at or before
    now - length. In place of instants any numbers that never decrease will do: with the places of
    updates, the window holds the last *length* of them.

    Memory: the updates of two windows.

    Args:
        length: Of the window, ns.
        columns: One, or two.
        means_only: Of one column: leave out its sums of squares.
    """

    __slots__ = ("_fields", "_held", "_ints", "_pivots", "_present", "_times")

    def __init__(self, length: int, columns: int = 1, *, means_only: bool = False) -> None:
        self._fields = 6 if columns == 2 else 2 if means_only else 3
        self._ints = np.zeros(10, np.int64)
        self._ints[LENGTH] = length
        self._ints[BUCKET_END] = self._ints[FIRST] = NEVER
        self._pivots = np.zeros(4)  # x and y of either slot
        self._present = np.zeros(5)
        self._times = np.full((2, _FIRST_CAPACITY + SPARE), BEYOND)
        self._held = np.zeros((2, self._fields - 1, _FIRST_CAPACITY + SPARE))

    def begin(self, now: int) -> None:
        """Say that all after *now* is seen: a window from there on is warm. Later calls do nothing.

        For windows over the last so many updates, whose first place is known.
        """
        if self._ints[FIRST] == NEVER:
            self._ints[FIRST] = now

    def scan(self, values: Array, batch: Batch) -> tuple[Moments, Moments]:
        """Absorb a batch's updates; return the moments at its reads, and after updates if asked.

        Args:
            values: One row a column. Shape (columns, n), read-only.
            batch: When the updates came, and what is read when.
        """
        reads = np.empty((self._fields, len(batch.read_times)))
        updates = np.empty((self._fields, len(batch.times) if batch.materialise else 0))
        given = (batch.times, values, batch.read_times, batch.read_counts)
        while not scan(
            *given, self._ints, self._pivots, self._present, self._times, self._held, reads, updates
        ):
            self._times = np.concatenate([self._times, self._times], axis=1)
            self._held = np.concatenate([self._held, self._held], axis=2)
        return _moments(reads), _moments(updates)


def _moments(rows: Array) -> Moments:
    none = np.empty(0)
    return Moments(*rows, *[none] * (6 - len(rows)))
