"""The levels of a depth book as sorted columns, changed row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtester.account import InstrumentUnits
from backtester.venue.matching import DEPTH, TAPE_WIDTH
from backtester.venue.tape import Tape, whole_steps
from clock.compiled import kernel
from featurizer.market import Records

__all__ = ["Levels", "depth_rows"]

Array = NDArray[Any]

_FIRST_CAPACITY = 256


class Levels:
    """Both sides of a book.

    Attributes:
        counts: Levels of the bid and of the ask side. Shape (2,).
        keys: Ticks, asks' negated, ascending: the best level is the last. Shape (2, capacity).
        lots: Quantity of each, above zero. Shape (2, capacity).
    """

    __slots__ = ("counts", "keys", "lots")

    def __init__(self) -> None:
        self.counts = np.zeros(2, np.int64)
        self.keys = np.zeros((2, _FIRST_CAPACITY), np.int64)
        self.lots = np.zeros((2, _FIRST_CAPACITY), np.int64)

    def make_room(self, more: int) -> None:
        """Make sure that *more* levels fit on either side."""
        needed = int(self.counts.max()) + more
        if needed > self.keys.shape[1]:
            shape = (2, 2 * needed)
            keys, lots = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            keys[:, : self.keys.shape[1]], lots[:, : self.lots.shape[1]] = self.keys, self.lots
            self.keys, self.lots = keys, lots

    def apply(self, rows: Array) -> None:
        """Set the levels that the depth rows of a part of a tape name."""
        self.make_room(len(rows))
        _apply(rows, self.counts, self.keys, self.lots)

    def best(self, side: int) -> int:
        """Return the best price of a side in ticks, 0 where it is empty."""
        which = 0 if side > 0 else 1
        count = self.counts[which]
        return int(self.keys[which, count - 1]) * side if count else 0

    def worst(self, side: int) -> int:
        """Return the last price of a side in ticks, 0 where it is empty."""
        which = 0 if side > 0 else 1
        return int(self.keys[which, 0]) * side if self.counts[which] else 0

    def at(self, side: int, ticks: int) -> int:
        """Return the lots displayed at a price, 0 where there is no such level."""
        which = 0 if side > 0 else 1
        count = int(self.counts[which])
        place = int(self.keys[which, :count].searchsorted(ticks * side))
        found = place < count and self.keys[which, place] == ticks * side
        return int(self.lots[which, place]) if found else 0

    def side(self, side: int) -> tuple[Array, Array]:
        """Return prices in ticks and lots of a side, best first."""
        which = 0 if side > 0 else 1
        count = int(self.counts[which])
        return (
            self.keys[which, :count][::-1] * side,
            self.lots[which, :count][::-1],
        )


def depth_rows(
    depth: Records,
    unit: InstrumentUnits,
    levels: Levels,
    *,
    times: Array | None = None,
    ends: Array | None = None,
) -> Tape:
    """Return a window's depth records as rows, and bring the levels to the window's end.

    A snapshot becomes the rows that remove what it does not hold, then its own. Rows that say
    nothing new are left out.

    Args:
        depth: The records.
        unit: Steps of the instrument.
        levels: The book before them; changed.
        times: Instants that the rows carry; by default `event_time`.
        ends: Filled with the number of rows that each record and those before it became.

    Raises:
        ScenarioError: If a price or quantity is not a whole number of ticks or lots.
    """
    ticks = whole_steps(depth, "price", float(unit.tick_size))
    lots = whole_steps(depth, "quantity", float(unit.lot_size))
    most = 2 * len(depth) + int(levels.counts.sum())
    levels.make_room(len(depth))
    instants = depth.event_time if times is None else times
    counts = np.empty(len(depth), np.int64) if ends is None else ends
    stamps, rows = np.empty(most, np.int64), np.zeros((most, TAPE_WIDTH), np.int64)
    size = _annotate(
        instants,
        depth.columns["side"],
        ticks,
        lots,
        depth.columns["is_snapshot"],
        (levels.counts, levels.keys, levels.lots),
        (stamps, rows),
        counts,
    )
    return Tape(stamps[:size], rows[:size])


@kernel
def _annotate(
    instants: Array,
    sides: Array,
    ticks: Array,
    lots: Array,
    flags: Array,
    levels: tuple[Array, Array, Array],
    out: tuple[Array, Array],
    ends: Array,
) -> int:
    counts, keys, _ = levels
    _, rows = out
    n, size, batch_end = len(instants), 0, 0
    for i in range(n):
        if flags[i] != 0 and i >= batch_end:
            batch_end = i + 1
            while batch_end < n and flags[batch_end] != 0 and instants[batch_end] == instants[i]:
                batch_end += 1
            for which in range(2):
                side = 1 - 2 * which
                for place in range(counts[which] - 1, -1, -1):
                    key = keys[which, place]
                    if not _holds(sides, ticks, i, batch_end, side, key * side):
                        rows[size, 1] = side
                        rows[size, 2] = key * side
                        size = _note(instants[i], size, levels, out)
        rows[size, 1], rows[size, 2], rows[size, 3] = sides[i], ticks[i], lots[i]
        size = _note(instants[i], size, levels, out)
        ends[i] = size
    return size


@kernel
def _holds(sides: Array, ticks: Array, begin: int, end: int, side: int, price: int) -> bool:
    """Return whether a snapshot has a level."""
    for i in range(begin, end):  # noqa: SIM110  # numba compiles no generators
        if sides[i] == side and ticks[i] == price:
            return True
    return False


@kernel
def _note(
    instant: int, size: int, levels: tuple[Array, Array, Array], out: tuple[Array, Array]
) -> int:
    """Set the level of the last row, and keep the row if that says something new."""
    counts, keys, sizes = levels
    times, rows = out
    side, lots = rows[size, 1], rows[size, 3]
    before = _set(side, rows[size, 2], lots, counts, keys, sizes)
    if before == lots:
        rows[size, 1] = rows[size, 2] = rows[size, 3] = 0
        return size
    times[size] = instant
    rows[size, 0] = DEPTH
    rows[size, 4] = before
    rows[size, 5] = keys[0, counts[0] - 1] if counts[0] > 0 else 0
    rows[size, 6] = -keys[1, counts[1] - 1] if counts[1] > 0 else 0
    return size + 1


@kernel
def _apply(rows: Array, counts: Array, keys: Array, sizes: Array) -> None:
    for i in range(len(rows)):
        if rows[i, 0] == DEPTH:
            _set(rows[i, 1], rows[i, 2], rows[i, 3], counts, keys, sizes)


@kernel
def _set(side: int, ticks: int, lots: int, counts: Array, keys: Array, sizes: Array) -> int:
    """Give a level another quantity, make it, or remove it; return what it had before."""
    which = 0 if side > 0 else 1
    key, count = ticks * side, counts[which]
    place = count
    while place > 0 and keys[which, place - 1] > key and count - place < 8:
        place -= 1  # most changes are near the best
    if place > 0 and keys[which, place - 1] > key:
        low, high = 0, place
        while low < high:
            middle = (low + high) >> 1
            if keys[which, middle] > key:
                high = middle
            else:
                low = middle + 1
        place = low
    # now `place` levels have keys up to this one
    found = place > 0 and keys[which, place - 1] == key
    before = sizes[which, place - 1] if found else 0
    if found and lots > 0:
        sizes[which, place - 1] = lots
    elif found:
        for i in range(place - 1, count - 1):
            keys[which, i], sizes[which, i] = keys[which, i + 1], sizes[which, i + 1]
        counts[which] = count - 1
    elif lots > 0:
        for i in range(count, place, -1):
            keys[which, i], sizes[which, i] = keys[which, i - 1], sizes[which, i - 1]
        keys[which, place], sizes[which, place] = key, lots
        counts[which] = count + 1
    return int(before)
