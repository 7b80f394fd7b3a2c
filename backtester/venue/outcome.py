"""What the venue has to say, before it is sent to us."""

from __future__ import annotations

from typing import NamedTuple

from backtester.account import LedgerEntry
from backtester.orders import Fill, Reason, ReportKind

__all__ = ["Outcome"]


class Outcome(NamedTuple):
    """One thing that happened to an order.

    Attributes:
        kind: What happened.
        reason: Why it was refused or canceled.
        number: Number of the order.
        instrument: Id of its instrument.
        sent_at: When the order left us; of a refused cancel or change, when that did.
        ordinal: Its place among the messages sent then.
        lots: Filled, given up, or the order's total now, as `Report.quantity` says.
        limit_ticks: Its limit now, for MODIFIED; else 0.
        fill: The execution, for FILLED.
        entry: The venue's books after it.
        is_last: Whether the order has ended.
    """

    kind: ReportKind
    reason: Reason
    number: int
    instrument: str
    sent_at: int
    ordinal: int
    lots: int = 0
    limit_ticks: int = 0
    fill: Fill | None = None
    entry: LedgerEntry | None = None
    is_last: bool = False
