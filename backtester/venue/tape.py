"""An instrument's records of one window as the venue's matching reads them, in its order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backtester.account import InstrumentUnits
from backtester.errors import ScenarioError
from backtester.venue.matching import QUOTE, TAPE_WIDTH, TRADE
from clock.units import format_instant
from featurizer.market import Records

__all__ = ["NO_TAPE", "Tape", "merged", "quote_rows", "trade_rows", "whole_steps"]

Array = NDArray[Any]


class Tape(NamedTuple):
    """Rows of one window, sorted by instant, trades before the book.

    Attributes:
        times: Instant of each row. Shape (n,).
        rows: What `matching` says. Shape (n, TAPE_WIDTH).
    """

    times: Array
    rows: Array

    def end(self, now: int) -> int:
        """Return how many rows happened at or before an instant."""
        return int(self.times.searchsorted(now, side="right"))


NO_TAPE = Tape(np.empty(0, np.int64), np.empty((0, TAPE_WIDTH), np.int64))


def merged(book: Tape, trades: Tape) -> Tape:
    """Return two tapes as one: at one instant trades come first, as the cause of the change."""
    if not len(trades.times):
        return book
    places = np.arange(len(trades.times)) + book.times.searchsorted(trades.times, side="left")
    size = len(book.times) + len(trades.times)
    is_book = np.ones(size, bool)
    is_book[places] = False
    times, rows = np.empty(size, np.int64), np.empty((size, TAPE_WIDTH), np.int64)
    times[places], rows[places] = trades.times, trades.rows
    times[is_book], rows[is_book] = book.times, book.rows
    return Tape(times, rows)


def trade_rows(trades: Records, unit: InstrumentUnits) -> Tape:
    """Return a window's trades as rows.

    Raises:
        ScenarioError: If a price or quantity is not a whole number of ticks or lots.
    """
    rows = np.zeros((len(trades), TAPE_WIDTH), np.int64)
    rows[:, 0] = TRADE
    rows[:, 1] = whole_steps(trades, "price", float(unit.tick_size))
    rows[:, 2] = whole_steps(trades, "quantity", float(unit.lot_size))
    rows[:, 3] = trades.columns["aggressor"]
    return Tape(trades.event_time, rows)


def quote_rows(quotes: Records, unit: InstrumentUnits, before: Array) -> Tape:
    """Return a window's quotes as rows.

    Args:
        quotes: The venue's quotes of the window.
        unit: Integers of the instrument.
        before: Bid ticks, bid lots, ask ticks and ask lots of the quote before them; zeros at the
            start of the run. Shape (4,).

    Raises:
        ScenarioError: If a price or quantity is not a whole number of ticks or lots.
    """
    rows = np.zeros((len(quotes), TAPE_WIDTH), np.int64)
    rows[:, 0] = QUOTE
    for place, name in enumerate(("bid_price", "bid_quantity", "ask_price", "ask_quantity")):
        step = unit.tick_size if name.endswith("price") else unit.lot_size
        rows[:, 1 + place] = whole_steps(quotes, name, float(step))
    old = np.concatenate([before[None, :], rows[:-1, 1:5]]) if len(quotes) else rows[:, 1:5]
    for side in (0, 1):
        ticks, lots = rows[:, 1 + 2 * side], rows[:, 2 + 2 * side]
        same = ticks == old[:, 2 * side]
        rows[:, 5 + side] = ~same | (lots != old[:, 1 + 2 * side])
        rows[:, 7 + side] = np.where(same, old[:, 1 + 2 * side], 0)
    return Tape(quotes.event_time, rows)


def whole_steps(records: Records, column: str, step: float) -> Array:
    """Return a column in ticks or lots. Shape (n,).

    Raises:
        ScenarioError: If the instrument's definition says that the venue cannot have shown it.
    """
    steps = records.columns[column] / step
    whole = np.rint(steps)
    wrong = np.flatnonzero(np.abs(steps - whole) > 1e-6 + 1e-15 * np.abs(steps))
    if len(wrong):
        row = int(wrong[0])
        raise ScenarioError(
            f"{records.kind} of {records.instrument}: `{column}` must be a multiple of {step:g}, "
            f"as `instruments.yaml` says: got {float(records.columns[column][row])!r} at "
            f"{format_instant(int(records.event_time[row]))}. Mend the definition, or ingest anew."
        )
    return whole.astype(np.int64)
