"""Orders, what the venue says about them, and their fills, in whole ticks and lots.

`docs/venue.md` says what happens to them, `order_state.py` which report may follow which.
"""

from __future__ import annotations

from typing import NamedTuple

from backtester.codes import Code

__all__ = [
    "CancelRequest",
    "Fill",
    "Message",
    "ModifyRequest",
    "Order",
    "OrderGroup",
    "OrderRequest",
    "OrderType",
    "Reason",
    "Report",
    "ReportKind",
    "Role",
    "Side",
    "TimeInForce",
]

NEVER_EXPIRES = 2**63 - 1
"""`expires_at` of an order that is not good-till-date."""


class Side(Code):
    """Direction of an order; the value is the sign of the change in position."""

    BUY = 1
    SELL = -1


class OrderType(Code):
    """How an order wants to trade; the two stops wait for their stop price first."""

    MARKET = 0
    LIMIT = 1
    STOP_MARKET = 2
    STOP_LIMIT = 3

    @property
    def has_limit(self) -> bool:
        """Whether it has a limit price."""
        return self is OrderType.LIMIT or self is OrderType.STOP_LIMIT

    @property
    def is_stop(self) -> bool:
        """Whether it waits for a stop price."""
        return self >= OrderType.STOP_MARKET


class TimeInForce(Code):
    """How long an order lives once it may trade."""

    GTC = 0
    """Until filled or canceled."""
    GTD = 1
    """Until filled, canceled, or `expires_at`."""
    IOC = 2
    """Takes what it can on arrival; the rest is canceled."""
    FOK = 3
    """Takes its whole quantity on arrival, or nothing."""


class Role(Code):
    """An order's part in a group that arrived together."""

    ALONE = 0
    PARTNER = 1
    """One of two that cancel each other."""
    ENTRY = 2
    """The entry of a bracket."""
    EXIT = 3
    """Take-profit or stop-loss of a bracket: held until its entry fills; the two are partners."""


class ReportKind(Code):
    """What a report tells about its order."""

    ACCEPTED = 0
    REJECTED = 1
    FILLED = 2
    CANCELED = 3
    EXPIRED = 4
    TRIGGERED = 5
    RELEASED = 6
    MODIFIED = 7
    MODIFY_REJECTED = 8
    CANCEL_REJECTED = 9
    FUNDING = 10
    """A payment of the venue's, about no order: `order` is 0."""
    INSURANCE = 11
    """Likewise: what the venue paid because an account had run out."""


class Reason(Code):
    """Why something was refused, or an order canceled."""

    NONE = 0
    NO_MARKET = 1
    INSUFFICIENT_FUNDS = 2
    INSUFFICIENT_MARGIN = 3
    UNFILLED_REMAINDER = 4
    REQUESTED = 5
    NOT_OPEN = 6
    EXPIRED = 7
    POST_ONLY = 8
    REDUCE_ONLY = 9
    FILL_OR_KILL = 10
    SELF_TRADE = 11
    PARTNER = 12
    LIQUIDATION = 13
    RATE_LIMIT = 14
    OVERLOAD = 15
    RISK_POSITION = 16
    RISK_ORDER_QUANTITY = 17
    RISK_ORDER_NOTIONAL = 18
    RISK_RATE = 19
    RISK_LOSS = 20


class OrderRequest(NamedTuple):
    """What a strategy asks for; `ctx.buy` and `ctx.sell` make one of their arguments.

    Attributes:
        instrument: Id of the instrument.
        side: BUY or SELL.
        quantity: Base units, a whole number of lots.
        limit_price: Worst price accepted, a whole number of ticks; None is a market order.
        time_in_force: By default GTC with a limit price, GTD with `expires_at`, else IOC.
        stop_price: Makes it a stop, which waits until the market is there.
        post_only: Refuse it rather than take.
        reduce_only: Never open or turn a position.
        expires_at: Instant of expiry, ns.
    """

    instrument: str
    side: Side
    quantity: float
    limit_price: float | None = None
    time_in_force: TimeInForce | None = None
    stop_price: float | None = None
    post_only: bool = False
    reduce_only: bool = False
    expires_at: int | None = None


class Order(NamedTuple):
    """An order as it left us.

    Attributes:
        number: Counts up from 1 in order of asking.
        instrument: Id of the instrument.
        side: BUY or SELL.
        type: Market, limit, or one of the stops.
        quantity: In base units, a whole number of lots.
        limit_price: Worst price accepted, NaN without one.
        sent_at: Instant at which it left us, ns.
        ordinal: Its place among the messages sent at that instant, from 0.
        lots: `quantity` in lots.
        limit_ticks: `limit_price` in ticks, 0 without one.
        time_in_force: IOC or FOK for everything without a limit price.
        stop_ticks: Stop price in ticks, 0 without one.
        is_post_only: Refused rather than taking.
        is_reduce_only: Never opens or turns a position.
        expires_at: Instant of expiry, ns; `NEVER_EXPIRES` unless GTD.
        role: Its part in a group.
        group: Number of the first order of its group, 0 when it is alone.
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
    time_in_force: TimeInForce = TimeInForce.IOC
    stop_ticks: int = 0
    is_post_only: bool = False
    is_reduce_only: bool = False
    expires_at: int = NEVER_EXPIRES
    role: Role = Role.ALONE
    group: int = 0


class OrderGroup(NamedTuple):
    """Orders that travel in one message and belong together: a bracket, or two partners.

    Attributes:
        orders: Their numbers follow one another; a bracket's entry comes first, then its
            take-profit and its stop-loss. All have the same instrument, `sent_at` and `ordinal`.
        instrument: Id of their instrument.
        sent_at: Instant at which it left us, ns.
        ordinal: Its place among the messages sent at that instant.
    """

    orders: tuple[Order, ...]
    instrument: str
    sent_at: int
    ordinal: int


class CancelRequest(NamedTuple):
    """Cancel an order, or every order.

    Attributes:
        order: Its number; 0 cancels all of the instrument, or of all instruments.
        instrument: Id of the instrument, empty for all.
        sent_at: Instant at which it left us, ns.
        ordinal: Its place among the messages sent at that instant.
    """

    order: int
    instrument: str
    sent_at: int
    ordinal: int


class ModifyRequest(NamedTuple):
    """Give an order another total quantity, another limit price, or both.

    Attributes:
        order: Its number.
        instrument: Id of the instrument.
        sent_at: Instant at which it left us, ns.
        ordinal: Its place among the messages sent at that instant.
        lots: New total, what is filled included; 0 leaves it.
        limit_ticks: New limit price; 0 leaves it.
    """

    order: int
    instrument: str
    sent_at: int
    ordinal: int
    lots: int
    limit_ticks: int


Message = Order | OrderGroup | CancelRequest | ModifyRequest
"""What travels to the venue."""


class Fill(NamedTuple):
    """Our execution, as the venue booked it.

    Attributes:
        order: Number of the order.
        instrument: Id of the instrument.
        side: Side of the order.
        quantity: Base units executed.
        price: In quote currency per base unit.
        fee: In the currency of settlement, a rebate is negative.
        venue_time: Instant of the execution at the venue, ns; we learn of it later.
        lots: `quantity` in lots.
        ticks: `price` in ticks.
        fee_units: `fee` in ledger units.
        is_maker: Whether the order was resting.
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
    is_maker: bool = False


class Report(NamedTuple):
    """A message of the venue about one order.

    Attributes:
        number: Counts up from 1 in the order in which the venue made its reports; 0 for a refusal
            of our own, before an order left us.
        order: Number of the order.
        instrument: Id of the instrument.
        kind: What it tells.
        reason: Why it was refused or canceled.
        quantity: Base units filled (FILLED), given up (CANCELED, EXPIRED, REJECTED), now its total
            (RELEASED, MODIFIED), else 0.
        venue_time: Instant at which the venue made it, ns.
        fill: The execution, for FILLED.
        is_last: Whether no further report of this order will follow, save refused requests.
        lots: `quantity` in lots.
        limit_ticks: Its limit price now, in ticks, for MODIFIED; else 0.
        amount: Received, for FUNDING and INSURANCE; negative is paid.
        amount_units: `amount` in ledger units.
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
    lots: int = 0
    limit_ticks: int = 0
    amount: float = 0.0
    amount_units: int = 0
