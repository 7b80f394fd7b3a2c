"""Orders, what the venue says about them, and their fills, in whole ticks and lots."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

__all__ = ["Fill", "Order", "OrderType", "Reason", "Report", "ReportKind", "Side"]


class Side(IntEnum):
    """Direction of an order; the value is the sign of the change in position."""

    BUY = 1
    SELL = -1


class OrderType(IntEnum):
    """How an order wants to trade. Both kinds end at the instant of their arrival."""

    MARKET = 0
    LIMIT_IOC = 1


class ReportKind(IntEnum):
    """What a report tells about its order."""

    ACCEPTED = 0
    REJECTED = 1
    FILLED = 2
    CANCELED = 3


class Reason(IntEnum):
    """Why an order was rejected, or its rest canceled."""

    NONE = 0
    NO_MARKET = 1
    INSUFFICIENT_FUNDS = 2
    INSUFFICIENT_MARGIN = 3
    UNFILLED_REMAINDER = 4


class Order(NamedTuple):
    """An order as it left us.

    Attributes:
        number: Counts up from 1 in order of asking.
        instrument: Id of the instrument.
        side: BUY or SELL.
        type: MARKET or LIMIT_IOC.
        quantity: In base units, a whole number of lots.
        limit_price: Worst price accepted, NaN for a market order.
        sent_at: Instant at which it left us, ns.
        ordinal: Its place among the orders sent at that instant, from 0.
        lots: `quantity` in lots.
        limit_ticks: `limit_price` in ticks, 0 for a market order.
    """

    number: int
    instrument: str
    side: Side
    type: OrderType
    quantity: float
    limit_price: float
    sent_at: int
    ordinal: int
    lots: int
    limit_ticks: int


class Fill(NamedTuple):
    """Our execution, as the venue booked it.

    Attributes:
        order: Number of the order.
        instrument: Id of the instrument.
        side: Side of the order.
        quantity: Base units executed.
        price: In quote currency per base unit.
        fee: In quote currency, a rebate is negative.
        venue_time: Instant of the execution at the venue, ns; we learn of it later.
        lots: `quantity` in lots.
        ticks: `price` in ticks.
        fee_units: `fee` in ledger units.
    """

    order: int
    instrument: str
    side: Side
    quantity: float
    price: float
    fee: float
    venue_time: int
    lots: int
    ticks: int
    fee_units: int


class Report(NamedTuple):
    """A message of the venue about one order.

    Attributes:
        number: Counts up from 1 in the order in which the venue made its reports.
        order: Number of the order.
        instrument: Id of the instrument.
        kind: Accepted, rejected, filled or canceled.
        reason: Why it was rejected, or its rest canceled.
        quantity: Base units filled (FILLED) or given up (CANCELED, REJECTED), else 0.
        venue_time: Instant at which the venue made it, ns.
        fill: The execution, for FILLED.
        is_last: Whether no further report of this order will follow.
    """

    number: int
    order: int
    instrument: str
    kind: ReportKind
    reason: Reason
    quantity: float
    venue_time: int
    fill: Fill | None
    is_last: bool
