"""What the trading plane did in a window: trace entries, and columns for the result's frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from backtester.account import LedgerEntry, Units
from backtester.orders import Order, Report
from backtester.trace import EntryKind, Trace, block
from clock.rank import Rank

__all__ = ["ColumnStore", "TradingLedger"]


class ColumnStore:
    """Rows appended as tuples, kept as columns once a window is closed.

    Args:
        columns: Name and type (`int`, `float` or `str`) of each column.
    """

    def __init__(self, columns: dict[str, type]) -> None:
        self.columns = columns
        self.rows: list[tuple[Any, ...]] = []
        self._chunks: list[list[Any]] = []

    def close_window(self) -> None:
        """Turn the rows of the window into columns."""
        if not self.rows:
            return
        kinds = {int: np.int64, float: np.float64}
        self._chunks.append(
            [
                list(values) if kind is str else np.array(values, dtype=kinds[kind])
                for values, kind in zip(
                    zip(*self.rows, strict=True), self.columns.values(), strict=True
                )
            ]
        )
        self.rows = []

    def to_columns(self) -> dict[str, Any]:
        """Return all rows as columns."""
        self.close_window()
        empty = {int: np.int64, float: np.float64}
        result: dict[str, Any] = {}
        for place, (name, kind) in enumerate(self.columns.items()):
            parts = [chunk[place] for chunk in self._chunks]
            if kind is str:
                result[name] = [text for part in parts for text in part]
            else:
                result[name] = np.concatenate([np.empty(0, dtype=empty[kind]), *parts])
        return result


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
        self.venue_entries: list[tuple[int, LedgerEntry]] = []
        self.orders = ColumnStore(
            {
                "order": int,
                "decided_at": int,
                "sent_at": int,
                "instrument": str,
                "side": int,
                "type": str,
                "quantity": float,
                "limit_price": float,
                "decision_mid": float,
                "staleness_ns": int,
            }
        )
        self.arrivals = ColumnStore({"order": int, "arrived_at": int, "status": str, "reason": str})
        self.fills = ColumnStore(
            {
                "order": int,
                "venue_time": int,
                "instrument": str,
                "side": int,
                "quantity": float,
                "price": float,
                "fee": float,
                "realised": float,
                "position": float,
            }
        )
        self.reports = ColumnStore(
            {"report": int, "order": int, "kind": str, "venue_time": int, "visible_at": int}
        )
        self.records = ColumnStore({"time": int, "name": str, "value": float})
        self._counts = {EntryKind.VENUE_LEDGER: 0, EntryKind.BELIEF_LEDGER: 0}

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
                order.type.name.lower(),
                order.quantity,
                order.limit_price,
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
            ),
        )

    def arrival(self, order: Order, now: int, status: str, reason: str) -> None:
        """Note what the venue made of an order when it arrived."""
        self.arrivals.rows.append((order.number, now, status, reason))

    def venue_fill(self, report: Report, entry: LedgerEntry) -> None:
        """Note an execution in the venue's books."""
        fill = report.fill
        assert fill is not None
        self.venue_entries.append((fill.venue_time, entry))
        unit = self._units[fill.instrument]
        self.fills.rows.append(
            (
                fill.order,
                fill.venue_time,
                fill.instrument,
                int(fill.side),
                fill.quantity,
                fill.price,
                fill.fee,
                self._units.to_float(entry.realised),
                float(entry.position * unit.lot_size),
            )
        )
        self._entry(EntryKind.VENUE_LEDGER, fill.venue_time, Rank.VENUE_ARRIVAL, entry)

    def report(self, report: Report, now: int) -> None:
        """Note a report as it reaches us."""
        self.reports.rows.append(
            (report.number, report.order, report.kind.name.lower(), report.venue_time, now)
        )
        fill = report.fill
        execution = (fill.lots, fill.ticks, fill.fee_units) if fill else (0, 0, 0)
        self._note(
            EntryKind.REPORT,
            (now, Rank.ORDER_REPORT, report.number),
            (report.order, report.kind, report.reason, report.venue_time, *execution),
        )

    def belief_fill(self, now: int, entry: LedgerEntry) -> None:
        """Note an execution in our own books, when its report reaches us."""
        self._entry(EntryKind.BELIEF_LEDGER, now, Rank.ORDER_REPORT, entry)

    def record(self, now: int, name: str, value: float) -> None:
        """Keep a number of the strategy's own."""
        self.records.rows.append((now, name, value))

    def close_window(self, trace: Trace) -> None:
        """Hand the window's entries to the trace."""
        for kind, rows in self._entries.items():
            # Python integers of a ledger may outgrow 64 bits only with absurd balances; then
            # NumPy refuses, which is better than a digest of something else
            table = np.array(rows, dtype=np.int64)
            trace.add(block(kind, table[:, 0], table[:, 1], table[:, 2], table[:, 3:]))
        self._entries = {}
        self.venue_entries = []
        for store in (self.orders, self.arrivals, self.fills, self.reports, self.records):
            store.close_window()

    def _entry(self, kind: EntryKind, now: int, rank: Rank, entry: LedgerEntry) -> None:
        self._counts[kind] += 1
        self._note(
            kind,
            (now, rank, self._counts[kind]),
            (self._index[entry.instrument], *entry[1:]),
        )

    def _note(self, kind: EntryKind, head: tuple[int, ...], words: tuple[int, ...]) -> None:
        self._entries.setdefault(kind, []).append((*head, *words))
