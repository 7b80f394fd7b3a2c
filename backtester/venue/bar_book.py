"""An instrument of which only bars are known: each happens, whole, at its close."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backtester.account import InstrumentUnits
from backtester.venue.book import UNKNOWN
from backtester.venue.tape import NO_TAPE, Tape, whole_steps
from featurizer.market import Array, Records

__all__ = ["BAR_COLUMNS", "Bar", "BarBook"]

BAR_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")

_WHOLE = 1e-9


class Bar(NamedTuple):
    """One bar in whole numbers.

    Attributes:
        open_time: When it began, ns.
        open: First price, in ticks, as the others.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        lots: Volume, rounded down.
    """

    open_time: int
    open: int
    high: int
    low: int
    close: int
    lots: int


class BarBook:
    """The last bar's close, as far as there is a book: a cursor that only moves forward.

    Args:
        unit: Integers of the instrument.

    Attributes:
        has_quote: Whether a bar has closed in this run.
    """

    def __init__(self, unit: InstrumentUnits) -> None:
        self._unit = unit
        self._times = np.empty(0, np.int64)
        self._columns: list[Array] = []
        self._index = self._resolved = 0
        self._close = 0
        self.has_quote = False

    def open_window(self, bars: Records) -> None:
        """Go on with the next window of bars, the last one having been read to its end."""
        if len(self._times):
            self.advance(int(self._times[-1]))
        tick, lot = float(self._unit.tick_size), float(self._unit.lot_size)
        prices = [whole_steps(bars, name, tick) for name in BAR_COLUMNS[1:5]]
        lots = np.floor(bars.columns["volume"] / lot + _WHOLE).astype(np.int64)
        self._times = bars.event_time
        self._columns = [bars.columns["open_time"], *prices, lots]
        self._index = self._resolved = 0

    def advance(self, now: int) -> None:
        """Move to the last bar with `event_time <= now`."""
        index = int(self._times.searchsorted(now, side="right"))
        if index > self._index:
            self._index = index
            self._close = int(self._columns[4][index - 1])
            self.has_quote = True

    def closing(self, now: int) -> list[Bar]:
        """Return the bars that closed up to *now* and that this has not returned before.

        Apart from the cursor: who only asks for a price must not make a bar pass unseen.
        """
        index = int(self._times.searchsorted(now, side="right"))
        part = slice(self._resolved, index)
        self._resolved = max(self._resolved, index)
        rows = zip(*(column[part].tolist() for column in self._columns), strict=True)
        return [Bar(*row) for row in rows] if self._columns else []

    def next_close(self) -> int | None:
        """Return when the next bar of this window closes, None after its last."""
        left = self._resolved < len(self._times)
        return int(self._times[self._resolved]) if left else None

    @property
    def twice_mid(self) -> int:
        """Twice the last close in ticks, 0 before the first."""
        return 2 * self._close

    def best(self, side: int) -> int:
        """Return the last close in ticks, 0 before the first."""
        return self._close

    def left(self, side: int) -> Iterator[tuple[int, int]]:
        """Yield nothing: bars show no quantities."""
        yield from ()

    def displayed(self, side: int, ticks: int) -> int:
        """Return `UNKNOWN`: bars show no quantities."""
        return UNKNOWN

    def take(self, side: int, ticks: int, lots: int) -> None:
        """Do nothing: there is nothing displayed to take from."""

    def marks(self) -> tuple[Array, Array]:
        """Return closes of this window: instants, and twice the price in ticks. Shape (n,) each."""
        return self._times, 2 * self._columns[4] if self._columns else self._times

    def mid_series(self) -> tuple[Array, Array]:
        """Return closes of this window: instants and prices. Shape (n,) each."""
        times, twice = self.marks()
        return times, twice * (float(self._unit.tick_size) / 2)

    def tape(self) -> Tape:
        """Return no rows: bars resolve orders by rules of their own."""
        return NO_TAPE
