"""Depth as we receive it, and the book that it makes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from backtester.book_view import BookView, Level
from backtester.sources import MarketSource, Place
from backtester.venue.levels import Levels, depth_rows
from backtester.venue.tape import NO_TAPE
from featurizer.market import DEPTH, Records

if TYPE_CHECKING:
    from backtester.account import InstrumentUnits

__all__ = ["DepthSource"]

_ALL = slice(None)


class DepthSource(MarketSource):
    """Depth records in the order of receipt, and the levels that they have left.

    A snapshot replaces the book; before the first one it holds what differences have set. As an
    item a record is the id of the instrument if it is the last that was received at its instant,
    which makes the book whole; else None.

    Args:
        instrument: Id and place in the scenario.
        unit: Its steps.
    """

    FIELDS = ("side", "price", "quantity", "is_snapshot")

    def __init__(self, instrument: tuple[str, int], unit: InstrumentUnits) -> None:
        super().__init__((DEPTH.name, DEPTH.number), instrument, self.FIELDS)
        self.callback = "on_book"
        self._unit = unit
        self._present = Levels()
        self._ahead = Levels()  # as the end of the window will leave them
        self._tape, self._ends = NO_TAPE, np.empty(0, np.int64)
        self._applied = 0
        self._view: tuple[int, int | None, BookView] | None = None

    def open_window(self, records: Records) -> None:
        """Hold the records received in the next window."""
        super().open_window(records)
        self._ends = np.empty(len(records), np.int64)
        self._tape = depth_rows(
            records, self._unit, self._ahead, times=records.receipt_time, ends=self._ends
        )
        self._applied = 0
        self._view = None

    def item(self, index: int) -> str | None:
        """Return the instrument if a record is the last of its instant, else None."""
        after = index + 1
        is_last = after == len(self.times) or self.times[after] != self.times[index]
        return self.stream[0] if is_last else None

    def items(self, part: slice = _ALL) -> list[str | None]:
        """Return the same for the records of the window, or of a part of it."""
        is_last = np.append(self.times[1:] != self.times[:-1], True)[: len(self.times)]
        return [self.stream[0] if last else None for last in is_last[part].tolist()]

    def close_window(self) -> None:
        """Bring the book to the end of the window, and forget its records."""
        self._apply(len(self._tape.times))
        super().close_window()

    def book(self, place: Place, levels: int | None) -> BookView:
        """Return the best levels that are visible at a place.

        Args:
            place: Where it is read from; it never goes back.
            levels: How many of each side, None for all.
        """
        count = self.seen(place)
        self._apply(int(self._ends[count - 1]) if count else 0)
        known = self._view
        if known is None or known[:2] != (self._applied, levels):
            view = BookView(self.stream[0], self._side(1, levels), self._side(-1, levels))
            self._view = known = (self._applied, levels, view)
        return known[2]

    def _apply(self, end: int) -> None:
        if end > self._applied:
            self._present.apply(self._tape.rows[self._applied : end])
            self._applied = end

    def _side(self, side: int, levels: int | None) -> tuple[Level, ...]:
        ticks, lots = self._present.side(side)
        prices = _exact(ticks[:levels], self._unit.tick_size)
        quantities = _exact(lots[:levels], self._unit.lot_size)
        return tuple(map(Level, prices.tolist(), quantities.tolist()))


def _exact(counts: np.ndarray, step: Decimal) -> np.ndarray:
    """Return multiples of a step as the floats nearest to them."""
    numerator, denominator = step.as_integer_ratio()
    if numerator == 1 or denominator == 1:  # one rounding, so the nearest float
        return counts * numerator / denominator
    return np.array([float(count * step) for count in counts.tolist()])
