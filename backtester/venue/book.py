"""The venue's present best bid and ask, in the venue's own time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from backtester.account import InstrumentUnits
from backtester.venue.tape import NO_TAPE, Tape, quote_rows, whole_steps
from featurizer.market import Array, Records

__all__ = ["QUOTE_COLUMNS", "UNKNOWN", "Book", "TopOfBook"]

QUOTE_COLUMNS = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")

UNKNOWN = -1
"""Lots displayed at a price that the book does not show."""

_NEVER = 2**63 - 1


class Book(Protocol):
    """An instrument's displayed levels at the venue: a cursor that only moves forward.

    Attributes:
        has_quote: Whether both sides have held a level in this run.
    """

    has_quote: bool

    @property
    def twice_mid(self) -> int:
        """Best bid plus best ask in ticks, as last seen together; 0 before."""

    def advance(self, now: int) -> None:
        """Move to the last record with `event_time <= now`."""

    def best(self, side: int) -> int:
        """Return the best price displayed on a side in ticks, 0 where there is none."""

    def worst(self, side: int) -> int:
        """Return the last price displayed on a side in ticks, 0 where there is none."""

    def left(self, side: int) -> Iterator[tuple[int, int]]:
        """Yield price in ticks and lots of each level of a side, best first, less what we took."""

    def displayed(self, side: int, ticks: int) -> int:
        """Return the lots displayed at a price, 0 where there is no level, or `UNKNOWN`."""

    def take(self, side: int, ticks: int, lots: int) -> None:
        """Take lots from a level, until the venue says something new about it."""

    def marks(self) -> tuple[Array, Array]:
        """Return instants and twice the mids, in ticks, of this window. Shape (n,) each."""

    def mid_series(self) -> tuple[Array, Array]:
        """Return instants and mids, in quote currency, of this window. Shape (n,) each."""

    def tape(self) -> Tape:
        """Return the rows of this window."""


class TopOfBook:
    """Best bid and ask of one instrument at the venue, from quotes.

    It reads the venue's view of the quotes (`event_time`), which runs ahead of ours by the feed
    latency. What we took from one side stays taken until a quote has another price or quantity
    there.

    Attributes:
        bid_ticks: Best bid, in ticks.
        bid_lots: Lots displayed there.
        ask_ticks: Best ask, in ticks.
        ask_lots: Lots displayed there.
        has_quote: Whether the venue has shown any quote in this run.
    """

    __slots__ = (
        "_before",
        "_columns",
        "_index",
        "_last",
        "_lot",
        "_next",
        "_quotes",
        "_taken",
        "_tape",
        "_tick",
        "_times",
        "_unit",
        "ask_lots",
        "ask_ticks",
        "bid_lots",
        "bid_ticks",
        "has_quote",
    )

    def __init__(self, unit: InstrumentUnits) -> None:
        self._unit = unit
        self._tick = float(unit.tick_size)
        self._lot = float(unit.lot_size)
        self._times = np.empty(0, dtype=np.int64)
        self._columns: tuple[Array, ...] = ()
        self._index = self._next = 0
        self._quotes: Records | None = None
        self._tape: Tape | None = NO_TAPE
        self._taken = {1: 0, -1: 0}
        self.has_quote = False
        self.bid_ticks = self.bid_lots = self.ask_ticks = self.ask_lots = 0
        self._before = (0, 0, 0, 0)
        self._last: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def open_window(self, quotes: Records) -> None:
        """Go on with the next window of quotes, the last one having been read to its end."""
        self.advance(_NEVER)
        columns = quotes.columns
        for name, step in (("price", self._tick), ("quantity", self._lot)):
            for side in ("bid", "ask"):
                whole_steps(quotes, f"{side}_{name}", step)
        self._times = quotes.event_time
        self._columns = tuple(columns[name] for name in QUOTE_COLUMNS)
        self._before = (self.bid_ticks, self.bid_lots, self.ask_ticks, self.ask_lots)
        self._quotes, self._tape = quotes, None
        self._index = self._next = 0

    def advance(self, now: int) -> None:
        """Move to the last quote with `event_time <= now`."""
        if now < self._next:
            return
        index = int(self._times.searchsorted(now, side="right"))
        self._next = int(self._times[index]) if index < len(self._times) else _NEVER
        if index <= self._index:
            return
        taken = self._taken
        if taken[1] and self._is_new(0, self.bid_ticks, self.bid_lots, index):
            taken[1] = 0
        if taken[-1] and self._is_new(2, self.ask_ticks, self.ask_lots, index):
            taken[-1] = 0
        self._index = index
        self._last = tuple([column[index - 1].item() for column in self._columns])
        bid, bid_quantity, ask, ask_quantity = self._last
        self.bid_ticks = round(bid / self._tick)
        self.bid_lots = round(bid_quantity / self._lot)
        self.ask_ticks = round(ask / self._tick)
        self.ask_lots = round(ask_quantity / self._lot)
        self.has_quote = True

    def columns(self) -> tuple[Array, ...]:
        """Return instants, bids, their quantities, asks and theirs, of this window."""
        return (self._times, *self._columns)

    def range_of_marks(self) -> tuple[int, int]:
        """Return the least and the largest of twice the mids, in ticks, of this window."""
        if not len(self._times):
            return _NEVER, 0
        both = self._columns[0] + self._columns[2]
        return round(float(both.min()) / self._tick), round(float(both.max()) / self._tick)

    def resume(self, index: int, taken: tuple[int, int]) -> None:
        """Go on after so many quotes of this window, with what we took of bid and ask."""
        if index:
            self.advance(int(self._times[index - 1]))
        self._taken = {1: taken[0], -1: taken[1]}

    def best(self, side: int) -> int:
        """Return the best price displayed on a side in ticks, 0 where there is none."""
        if side > 0:
            return self.bid_ticks if self.bid_lots else 0
        return self.ask_ticks if self.ask_lots else 0

    def worst(self, side: int) -> int:
        """Return the best price displayed on a side, which is the only one known."""
        return self.best(side)

    def left(self, side: int) -> Iterator[tuple[int, int]]:
        """Yield price in ticks and lots of the best level, less what we took."""
        ticks, lots = (
            (self.bid_ticks, self.bid_lots) if side > 0 else (self.ask_ticks, self.ask_lots)
        )
        left = lots - self._taken[side]
        if left > 0:
            yield ticks, left

    def displayed(self, side: int, ticks: int) -> int:
        """Return the lots displayed at a price; `UNKNOWN` behind the best."""
        best, lots = (
            (self.bid_ticks, self.bid_lots) if side > 0 else (self.ask_ticks, self.ask_lots)
        )
        if ticks == best:
            return lots
        return 0 if (ticks - best) * side > 0 else UNKNOWN

    def take(self, side: int, ticks: int, lots: int) -> None:
        """Take lots from a level, until the venue says something new about it."""
        best, shown = (
            (self.bid_ticks, self.bid_lots) if side > 0 else (self.ask_ticks, self.ask_lots)
        )
        if ticks == best:
            self._taken[side] = min(self._taken[side] + lots, shown)

    def marks(self) -> tuple[Array, Array]:
        """Return instants and twice the mids, in ticks, of this window. Shape (n,) each."""
        if not self._columns:
            return self._times, self._times
        both = self._columns[0] + self._columns[2]
        return self._times, np.rint(both / self._tick).astype(np.int64)

    def mid_series(self) -> tuple[Array, Array]:
        """Return instants and mids, in quote currency, of this window. Shape (n,) each."""
        return self._times, (self._columns[0] + self._columns[2]) / 2

    def tape(self) -> Tape:
        """Return the rows of this window, made when they are first asked for."""
        if self._tape is None:
            assert self._quotes is not None
            self._tape = quote_rows(self._quotes, self._unit, np.array(self._before))
        return self._tape

    @property
    def twice_mid(self) -> int:
        """Best bid plus best ask in ticks, 0 before the first quote."""
        return self.bid_ticks + self.ask_ticks

    def _is_new(self, column: int, ticks: int, lots: int, index: int) -> bool:
        """Return whether a quote up to *index* has another price or quantity on a side."""
        first = self._index
        prices, quantities = self._columns[column], self._columns[column + 1]
        # most often the very next quote is new: look at a few before looking at all
        near = min(index, first + 4)
        for row in range(first, near):
            if self._says(prices[row], quantities[row]) != (ticks, lots):
                return True
        prices, quantities = prices[near:index], quantities[near:index]
        other = np.flatnonzero(
            (prices != self._last[column]) | (quantities != self._last[column + 1])
        )
        # floats may differ where whole ticks and lots do not
        return any(self._says(prices[row], quantities[row]) != (ticks, lots) for row in other)

    def _says(self, price: float, quantity: float) -> tuple[int, int]:
        return round(float(price) / self._tick), round(float(quantity) / self._lot)
