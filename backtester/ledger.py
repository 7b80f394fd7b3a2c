"""What the trading plane did in a window: trace entries, and columns for the result's frames."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from backtester import ledger_columns as columns
from backtester.account import Booking, LedgerEntry, Units
from backtester.columns import ColumnStore
from backtester.orders import NEVER_EXPIRES, CancelRequest, ModifyRequest, Order, Reason, Report
from backtester.trace import EntryKind, Trace, block
from clock.rank import Rank

__all__ = ["Booked", "TradingLedger"]

_NOTHING = float("nan")
_FILL_WORDS = LedgerEntry._fields.index("basis") + 1


class Booked(NamedTuple):
    """Entries of the venue's books as columns. Shape (n,) each.

    Attributes:
        instants: When each was booked, in order.
        instruments: Places in the scenario.
        cash: Cash in the instrument's currency after it.
        positions: Lots after it.
        bases: Cost of them, in steps.
    """

    instants: np.ndarray
    instruments: np.ndarray
    cash: np.ndarray
    positions: np.ndarray
    bases: np.ndarray


class TradingLedger:
    """Orders, reports, fills and both accounts' entries of a run, as they happen.

    Args:
        units: Integers of the instruments.
        instruments: Ids in the order of the scenario.
    """

    def __init__(self, units: Units, instruments: tuple[str, ...]) -> None:
        self._units = units
        self._index = {name: place for place, name in enumerate(instruments)}
        self._entries: dict[EntryKind, list[tuple[int, ...]]] = {}
        self._blocks: list[np.ndarray] = []
        self._venue_entries: list[tuple[int, LedgerEntry]] = []
        self._booked: list[Booked] = []
        self.orders = ColumnStore(columns.ORDERS)
        self.arrivals = ColumnStore(columns.ARRIVALS)
        self.ends = ColumnStore(columns.ENDS)
        self.order_changes = ColumnStore(columns.ORDER_CHANGES)
        self.fills = ColumnStore(columns.FILLS)
        self.payments = ColumnStore(columns.PAYMENTS)
        self.reports = ColumnStore(columns.REPORTS)
        self.records = ColumnStore(columns.RECORDS)
        self._changed = 0
        self._counts = dict.fromkeys(EntryKind, 0)

    def order(
        self, order: Order, now: int, rank: int, decision_mid: float, staleness_ns: int
    ) -> None:
        """Note an order when the strategy decides on it; it may leave us later.

        Args:
            order: The order.
            now: Instant of the callback that sends it.
            rank: Rank of that callback.
            decision_mid: Our mid at that instant, NaN without a quote.
            staleness_ns: Age of the newest event behind the decision, -1 if there was none.
        """
        self.orders.rows.append(
            (
                order.number,
                now,
                order.sent_at,
                order.instrument,
                int(order.side),
                order.type.word,
                order.time_in_force.word,
                order.quantity,
                order.limit_price,
                self._price(order.instrument, order.stop_ticks),
                decision_mid,
                staleness_ns,
            )
        )
        self._note(
            EntryKind.ORDER,
            (now, rank, order.number),
            (
                self._index[order.instrument],
                order.side,
                order.type,
                order.lots,
                order.limit_ticks,
                order.sent_at,
                order.time_in_force,
                order.stop_ticks,
                order.is_post_only + 2 * order.is_reduce_only,
                0 if order.expires_at == NEVER_EXPIRES else order.expires_at,
                order.role,
                order.group,
            ),
        )

    def change(
        self,
        request: CancelRequest | ModifyRequest,
        now: int,
        rank: int,
        decision_mid: float,
        arrives_at: int,
    ) -> None:
        """Note a cancel or a change when the strategy decides on it.

        Args:
            request: What it asks for.
            now: Instant of the callback that sends it.
            rank: Rank of that callback.
            decision_mid: Our mid at that instant; NaN without a quote, and for a cancel.
            arrives_at: When it will reach the venue.
        """
        is_cancel = isinstance(request, CancelRequest)
        lots, ticks = 0, 0
        if isinstance(request, ModifyRequest):
            lots, ticks = request.lots, request.limit_ticks
        name = request.instrument
        self.order_changes.rows.append(
            (
                "cancel" if is_cancel else "modify",
                request.order,
                name,
                now,
                request.sent_at,
                arrives_at,
                float(lots * self._units[name].lot_size) if lots else _NOTHING,
                self._price(name, ticks),
                decision_mid,
            )
        )
        self._changed += 1
        self._note(
            EntryKind.CHANGE,
            (now, rank, self._changed),
            (self._index.get(name, -1), request.order, request.sent_at, is_cancel, lots, ticks),
        )

    def arrival(self, order: Order, now: int) -> None:
        """Note that an order has reached the venue."""
        self.arrivals.rows.append((order.number, now))

    def ended(self, number: int, status: str, reason: str) -> None:
        """Note what became of an order that has ended at the venue."""
        self.ends.rows.append((number, status, reason))

    def _price(self, instrument: str, ticks: int) -> float:
        return float(ticks * self._units[instrument].tick_size) if ticks else _NOTHING

    def booked(self, report: Report, entry: LedgerEntry, rank: int = Rank.VENUE_ARRIVAL) -> None:
        """Note an execution or a payment in the venue's books.

        Args:
            report: The report that will tell us of it.
            entry: The books after it.
            rank: Rank at which it happened.
        """
        self._venue_entries.append((report.venue_time, entry))
        currency = self._units[entry.instrument].currency
        to_float = self._units.to_float
        fill = report.fill
        if fill is None:
            row = (report.number, report.venue_time, report.kind.word, entry.instrument)
            self.payments.rows.append((*row, currency, to_float(entry.amount)))
        else:
            self.fills.rows.append(
                (
                    report.number,
                    fill.order,
                    fill.venue_time,
                    fill.instrument,
                    int(fill.side),
                    fill.quantity,
                    fill.price,
                    "maker" if fill.is_maker else "taker",
                    currency,
                    fill.fee,
                    to_float(entry.realised),
                    to_float(entry.net) if entry.closed else _NOTHING,
                    float(entry.position * self._units[fill.instrument].lot_size),
                )
            )
        kind = EntryKind.VENUE_LEDGER if fill is not None else EntryKind.VENUE_PAYMENT
        self._entry(kind, report.venue_time, rank, entry)

    def refused(self, order: Order, now: int, rank: int, reason: Reason) -> None:
        """Note that a limit of our own kept an order from leaving.

        Args:
            order: The order.
            now: Instant of the callback that asked for it.
            rank: Rank of that callback.
            reason: The limit.
        """
        self.ended(order.number, "refused", reason.word)
        words = (self._index[order.instrument], int(reason))
        self._note(EntryKind.REFUSAL, (now, rank, order.number), words)

    def report(self, report: Report, now: int) -> None:
        """Note a report as it reaches us."""
        self.reports.rows.append(
            (
                report.number,
                report.order,
                report.kind.word,
                report.reason.word if report.reason else "",
                report.quantity,
                report.venue_time,
                now,
            )
        )
        fill = report.fill
        execution = (fill.lots, fill.ticks, fill.fee_units) if fill else (0, 0, 0)
        self._note(
            EntryKind.REPORT,
            (now, Rank.ORDER_REPORT, report.number),
            (report.order, report.kind, report.reason, report.venue_time, *execution),
        )

    def believed(self, now: int, entry: LedgerEntry) -> None:
        """Note a booking in our own books, when its report reaches us."""
        is_fill = entry.booking is Booking.FILL
        kind = EntryKind.BELIEF_LEDGER if is_fill else EntryKind.BELIEF_PAYMENT
        self._entry(kind, now, Rank.ORDER_REPORT, entry)

    def record(self, now: int, name: str, value: float) -> None:
        """Keep a number of the strategy's own."""
        self.records.rows.append((now, name, value))

    @property
    def booked_in_window(self) -> Booked:
        """What the venue booked in the present window, in order."""
        entries = self._venue_entries
        later = Booked(
            np.array([instant for instant, _ in entries], dtype=np.int64),
            np.array([self._index[entry.instrument] for _, entry in entries], dtype=np.int64),
            *(
                np.array([getattr(entry, name) for _, entry in entries], dtype=np.int64)
                for name in ("cash", "position", "basis")
            ),
        )
        # the express lane hands over before the venue itself books anything
        parts = [*self._booked, later]
        return Booked(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def add(self, entries: np.ndarray) -> None:
        """Take trace entries that are made already; all belong to the present window."""
        self._blocks.append(entries)

    def add_booked(self, booked: Booked) -> None:
        """Take columns of what the venue booked."""
        self._booked.append(booked)

    def resume(self, booked: int, believed: int, changed: int) -> None:
        """Go on after so many entries of the venue's books and of ours, and so many changes."""
        self._counts[EntryKind.VENUE_LEDGER] = booked
        self._counts[EntryKind.BELIEF_LEDGER] = believed
        self._changed = changed

    def close_window(self, trace: Trace) -> None:
        """Hand the window's entries to the trace."""
        for kind, rows in self._entries.items():
            # Python integers of a ledger may outgrow 64 bits only with absurd balances; then
            # NumPy refuses, which is better than a digest of something else
            table = np.array(rows, dtype=np.int64)
            trace.add(block(kind, table[:, 0], table[:, 1], table[:, 2], table[:, 3:]))
        for entries in self._blocks:
            trace.add(entries)
        self._entries, self._blocks = {}, []
        self._venue_entries, self._booked = [], []
        for store in (
            self.orders,
            self.order_changes,
            self.arrivals,
            self.ends,
            self.fills,
            self.payments,
            self.reports,
            self.records,
        ):
            store.close_window()

    def _entry(self, kind: EntryKind, now: int, rank: int, entry: LedgerEntry) -> None:
        self._counts[kind] += 1
        place, head = self._index[entry.instrument], (now, rank, self._counts[kind])
        if entry.booking is Booking.FILL:
            self._note(kind, head, (place, *cast("tuple[int, ...]", entry[1:_FILL_WORDS])))
        else:
            self._note(kind, head, (place, entry.booking, entry.amount, entry.cash))

    def _note(self, kind: EntryKind, head: tuple[int, ...], words: tuple[int, ...]) -> None:
        self._entries.setdefault(kind, []).append((*head, *words))
