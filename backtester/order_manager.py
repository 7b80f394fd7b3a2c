"""Our belief about the open orders: what we sent, and what the reports say became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from backtester.account_units import Units
from backtester.errors import OrderStateError
from backtester.order_state import ENDED, OrderState, next_state
from backtester.orders import (
    CancelRequest,
    Message,
    ModifyRequest,
    Order,
    OrderGroup,
    OrderType,
    Reason,
    Report,
    ReportKind,
    Side,
)

__all__ = ["OpenOrder", "OrderManager"]


class OpenOrder(NamedTuple):
    """An order that is open as far as we know; the venue may know better already.

    Attributes:
        number: Its number.
        instrument: Id of the instrument.
        side: BUY or SELL.
        type: Market, limit, or one of the stops.
        state: SENT until the venue's first report of it is in.
        quantity: Its total, in base units.
        filled: What is filled of it, in base units.
        limit_price: NaN without one.
        stop_price: NaN without one.
        sent_at: Instant at which it left us, ns; the end of the callback if that takes time.
        is_canceling: Whether a cancel of it has been sent and not been refused.
        is_modifying: Whether a change of it has been sent and not been answered.
    """

    number: int
    instrument: str
    side: Side
    type: OrderType
    state: OrderState
    quantity: float
    filled: float
    limit_price: float
    stop_price: float
    sent_at: int
    is_canceling: bool
    is_modifying: bool


class _Believed:
    """What we know of one order, in lots and ticks."""

    __slots__ = (
        "asked",
        "cancels",
        "changes",
        "filled",
        "limit_ticks",
        "lots",
        "order",
        "shown",
        "state",
    )

    def __init__(self, order: Order) -> None:
        self.order = order
        self.state = OrderState.SENT
        self.lots, self.limit_ticks = order.lots, order.limit_ticks
        self.filled = self.cancels = self.changes = 0
        self.asked = 0  # the largest total that changes on their way ask for
        self.shown: OpenOrder | None = None


_ANSWERS = (ReportKind.CANCEL_REJECTED, ReportKind.MODIFY_REJECTED)


class OrderManager:
    """Keeps every order from the instant it is sent until its last report is in.

    Args:
        units: Integers of the instruments.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        self._open: dict[int, _Believed] = {}

    def sent(self, message: Message) -> None:
        """Take note of a message that the strategy sends."""
        match message:
            case Order():
                self._open[message.number] = _Believed(message)
            case OrderGroup():
                self._open |= {order.number: _Believed(order) for order in message.orders}
            case CancelRequest():
                for believed in self._canceled_by(message):
                    believed.cancels += 1
                    believed.shown = None
            case ModifyRequest():
                if message.order in self._open:
                    believed = self._open[message.order]
                    believed.changes += 1
                    believed.asked = max(believed.asked, message.lots)
                    believed.shown = None

    def hear(self, report: Report) -> None:
        """Take note of a report that reaches us.

        Raises:
            OrderStateError: If it cannot follow what we have heard of the order: our bug.
        """
        if report.order <= 0:
            return  # of a payment, or of an order of the venue's own
        believed = self._open.get(report.order)
        if believed is None:
            if report.kind not in _ANSWERS:
                raise OrderStateError(
                    f"`{report.kind.name}` must be about an order that is open: order "
                    f"{report.order} has ended, or was never sent."
                )
            return
        kind = report.kind
        believed.shown = None
        if kind is ReportKind.FILLED and report.fill is not None:
            believed.filled += report.fill.lots
        elif kind in (ReportKind.MODIFIED, ReportKind.RELEASED):
            believed.lots = report.lots
            believed.limit_ticks = report.limit_ticks or believed.limit_ticks
        is_filled = believed.filled >= believed.lots
        believed.state = next_state(believed.order, believed.state, kind, is_filled=is_filled)
        if believed.state in ENDED:
            del self._open[report.order]
        elif kind is ReportKind.CANCEL_REJECTED:
            believed.cancels -= 1
        elif kind is ReportKind.MODIFY_REJECTED or report.reason is Reason.REQUESTED:
            believed.changes -= 1
            believed.asked = believed.asked if believed.changes else 0

    @staticmethod
    def believe(order: Order, state: OrderState, told: Sequence[int]) -> _Believed:
        """Return what we know: *told* is its total, limit, fills, cancels, changes and `asked`."""
        believed = _Believed(order)
        believed.state = state
        believed.lots, believed.limit_ticks, believed.filled = told[:3]
        believed.cancels, believed.changes, believed.asked = told[3:]
        return believed

    def find(self, number: int) -> Order | None:
        """Return an order that is open as far as we know, None where it has ended."""
        believed = self._open.get(number)
        return None if believed is None else believed.order

    def after_change(self, request: ModifyRequest) -> tuple[Order, int]:
        """Return an open order as a change would leave it, and by how many lots it would grow.

        Lots that changes on their way ask for already do not count as growth.
        """
        believed = self._open[request.order]
        lots = request.lots or believed.lots
        ticks = request.limit_ticks or believed.limit_ticks
        order = believed.order._replace(lots=lots, limit_ticks=ticks)
        return order, lots - max(believed.lots, believed.asked)

    def open_orders(self, instrument: str | None = None) -> tuple[OpenOrder, ...]:
        """Return the orders that are open as far as we know, by number.

        Args:
            instrument: Id, or None for those of all instruments.
        """
        return tuple(
            believed.shown or self._show(believed)
            for believed in self._open.values()
            if instrument is None or believed.order.instrument == instrument
        )

    def open_lots(self, instrument: str) -> tuple[int, int]:
        """Return the lots that may still be bought and sold, as far as we know.

        Orders on their way count; what is reduce-only, or held in a bracket, does not: it never
        adds to a position.
        """
        totals = {Side.BUY: 0, Side.SELL: 0}
        for believed in self._open.values():
            order = believed.order
            adds = not order.is_reduce_only and believed.state is not OrderState.HELD
            if adds and order.instrument == instrument:
                totals[order.side] += max(believed.lots, believed.asked) - believed.filled
        return totals[Side.BUY], totals[Side.SELL]

    def _canceled_by(self, request: CancelRequest) -> list[_Believed]:
        if request.order:
            believed = self._open.get(request.order)
            return [] if believed is None else [believed]
        return [
            believed
            for believed in self._open.values()
            if request.instrument in ("", believed.order.instrument)
        ]

    def _show(self, believed: _Believed) -> OpenOrder:
        order = believed.order
        unit = self._units[order.instrument]
        tick, lot = unit.tick_size, unit.lot_size
        nothing = float("nan")
        believed.shown = OpenOrder(
            number=order.number,
            instrument=order.instrument,
            side=order.side,
            type=order.type,
            state=believed.state,
            quantity=float(believed.lots * lot),
            filled=float(believed.filled * lot),
            limit_price=float(believed.limit_ticks * tick) if believed.limit_ticks else nothing,
            stop_price=float(order.stop_ticks * tick) if order.stop_ticks else nothing,
            sent_at=order.sent_at,
            is_canceling=believed.cancels > 0,
            is_modifying=believed.changes > 0,
        )
        return believed.shown
