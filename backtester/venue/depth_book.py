"""The venue's present levels, in the venue's own time, from depth records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backtester.account import InstrumentUnits
from backtester.venue.levels import Levels, depth_rows
from backtester.venue.tape import NO_TAPE, Tape
from featurizer.market import Array, Records

__all__ = ["DEPTH_COLUMNS", "DepthBook"]

DEPTH_COLUMNS = ("side", "price", "quantity", "is_snapshot")


class DepthBook:
    """All displayed levels of one instrument at the venue: a cursor that only moves forward.

    What we took from a level stays taken until a record gives that level another total.

    Attributes:
        has_quote: Whether both sides have held a level in this run.
    """

    def __init__(self, unit: InstrumentUnits) -> None:
        self._unit = unit
        self._present = Levels()
        self._ahead = Levels()  # as the end of the window will leave them
        self._tape = NO_TAPE
        self._index = 0
        self._taken: dict[tuple[int, int], int] = {}
        self.has_quote = False
        self._twice_mid = 0

    def open_window(self, depth: Records) -> None:
        """Go on with the next window of depth, the last one having been read to its end."""
        self._move(len(self._tape.times))
        self._tape = depth_rows(depth, self._unit, self._ahead)
        self._index = 0

    def advance(self, now: int) -> None:
        """Move to the last record with `event_time <= now`."""
        index = self._tape.end(now)
        if index > self._index:
            self._move(index)

    def best(self, side: int) -> int:
        """Return the best price displayed on a side in ticks, 0 where there is none."""
        return self._present.best(side)

    def worst(self, side: int) -> int:
        """Return the last price displayed on a side in ticks, 0 where there is none."""
        return self._present.worst(side)

    def left(self, side: int) -> Iterator[tuple[int, int]]:
        """Yield price in ticks and lots of each level of a side, best first, less what we took."""
        ticks, lots = self._present.side(side)
        for price, quantity in zip(ticks, lots, strict=True):
            left = int(quantity) - self._taken.get((side, int(price)), 0)
            if left > 0:
                yield int(price), left

    def displayed(self, side: int, ticks: int) -> int:
        """Return the lots displayed at a price, 0 where there is no level."""
        return self._present.at(side, ticks)

    def take(self, side: int, ticks: int, lots: int) -> None:
        """Take lots from a level, until the venue says something new about it."""
        shown = self._present.at(side, ticks)
        if shown:
            taken = self._taken.get((side, ticks), 0) + lots
            self._taken[side, ticks] = min(taken, shown)

    def marks(self) -> tuple[Array, Array]:
        """Return instants and twice the mids, in ticks, where both sides hold a level."""
        bid, ask = self._tape.rows[:, 5], self._tape.rows[:, 6]
        known = (bid > 0) & (ask > 0)
        return self._tape.times[known], (bid + ask)[known]

    @property
    def twice_mid(self) -> int:
        """Best bid plus best ask in ticks, as last seen together; 0 before."""
        return self._twice_mid

    def mid_series(self) -> tuple[Array, Array]:
        """Return instants and mids, in quote currency, of this window. Shape (n,) each."""
        times, twice_mids = self.marks()
        return times, twice_mids * (float(self._unit.tick_size) / 2)

    def tape(self) -> Tape:
        """Return the rows of this window."""
        return self._tape

    def _move(self, index: int) -> None:
        rows = self._tape.rows[self._index : index]
        self._index = index
        if not len(rows):
            return
        self._present.apply(rows)
        for side, ticks in list(self._taken):
            if ((rows[:, 1] == side) & (rows[:, 2] == ticks)).any():
                del self._taken[side, ticks]
        known = np.flatnonzero((rows[:, 5] > 0) & (rows[:, 6] > 0))
        if len(known):
            self.has_quote = True
            self._twice_mid = int(rows[known[-1], 5] + rows[known[-1], 6])
