"""What a strategy asks of the venue, made into messages, noted, and sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backtester.errors import OrderError
from backtester.order_entry import OrderEntry
from backtester.orders import (
    CancelRequest,
    Message,
    ModifyRequest,
    Order,
    OrderRequest,
    Reason,
    Report,
    ReportKind,
    Role,
    Side,
)

if TYPE_CHECKING:
    from backtester.engine import Engine

__all__ = ["Trader"]


class Trader:
    """Sends the strategy's messages.

    Args:
        engine: The trading plane.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._entry = OrderEntry(engine.units)

    def order(self, *asked: Any) -> int:
        """Send an order given by the fields of a request; return its number."""
        return self.submit(OrderRequest(*asked))

    def resume(self, count: int, last_sent: tuple[int, int]) -> None:
        """Go on counting after so many orders; the last message left at an instant, as which."""
        self._entry.resume(count, last_sent)

    def submit(self, request: OrderRequest) -> int:
        """Send an order; return its number."""
        sent_at = self._leaves_at()
        request = self._checked(request)
        order = self._entry.make(request, sent_at)
        self._note((order,))
        if not self._is_refused((order,)):
            self._send(order)
        return order.number

    def submit_partners(self, first: OrderRequest, second: OrderRequest) -> tuple[int, int]:
        """Send two orders that cancel each other; return their numbers."""
        one, two = self._submit_group((first, second), (Role.PARTNER, Role.PARTNER))
        return one, two

    def submit_bracket(
        self, entry: OrderRequest, take_profit: float, stop_loss: float
    ) -> tuple[int, int, int]:
        """Send an entry and its exits; return the numbers of entry, take-profit and stop-loss."""
        away = Side.SELL if entry.side > 0 else Side.BUY
        if (take_profit - stop_loss) * entry.side <= 0:
            raise OrderError(
                f"`take_profit` must lie beyond `stop_loss`, seen from the side of the entry: got "
                f"{take_profit} and {stop_loss} for a {Side(entry.side).name.lower()}."
            )
        target = OrderRequest(entry.instrument, away, entry.quantity, take_profit)
        stop = OrderRequest(entry.instrument, away, entry.quantity, stop_price=stop_loss)
        one, two, three = self._submit_group(
            (entry, target, stop), (Role.ENTRY, Role.EXIT, Role.EXIT)
        )
        return one, two, three

    def cancel(self, number: int) -> bool:
        """Send a cancel; return False, and send nothing, where we know that the order has ended."""
        sent_at = self._leaves_at()
        order = self._open_order(number)
        if order is None:
            return False
        self._change(self._entry.cancel(number, order.instrument, sent_at))
        return True

    def cancel_all(self, instrument: str | None) -> None:
        """Send one cancel for every order of an instrument, or of all."""
        sent_at = self._leaves_at()
        name = "" if instrument is None else self._engine.instrument_name(instrument)
        self._change(self._entry.cancel(0, name, sent_at))

    def modify(self, number: int, quantity: float | None, limit_price: float | None) -> bool:
        """Send a change; return False, and send nothing, where the order has ended."""
        sent_at = self._leaves_at()
        order = self._open_order(number)
        if order is None:
            return False
        request = self._entry.modify(order, quantity, limit_price, sent_at)
        if not self._is_change_refused(request):
            self._change(request)
        return True

    def _submit_group(
        self, requests: Sequence[OrderRequest], roles: Sequence[Role]
    ) -> tuple[int, ...]:
        sent_at = self._leaves_at()
        checked = [self._checked(request) for request in requests]
        group = self._entry.make_group(checked, roles, sent_at)
        self._note(group.orders)
        if not self._is_refused(group.orders):
            self._send(group)
        return tuple(order.number for order in group.orders)

    def _leaves_at(self) -> int:
        engine = self._engine
        if engine.is_stopped:
            raise OrderError("`on_stop` must not send orders: the run is over. Use a timer before.")
        return engine.desk.leaves_at

    def _checked(self, request: OrderRequest) -> OrderRequest:
        name = self._engine.instrument_name(request.instrument)
        return request if name == request.instrument else request._replace(instrument=name)

    def _open_order(self, number: int) -> Order | None:
        if not 1 <= number <= self._entry.count:
            raise OrderError(
                f"`number` must be of an order that was sent: got {number!r}, the last one was "
                f"{self._entry.count}."
            )
        return self._engine.manager.find(number)

    def _note(self, orders: Sequence[Order]) -> None:
        engine = self._engine
        place = engine.place()
        for order in orders:
            mid, staleness = engine.decision(order.instrument, place)
            engine.ledger.order(order, place.now, place.rank, mid, staleness)

    def _is_refused(self, orders: Sequence[Order]) -> bool:
        """Test orders against our own limits; tell of those that break one."""
        engine = self._engine
        if engine.risk is None:
            return False
        reason = engine.risk.refusal(orders, orders[0].sent_at)
        if not reason:
            return False
        place = engine.place()
        for order in orders:
            engine.ledger.refused(order, place.now, place.rank, reason)
            engine.refuse(refusal(order, ReportKind.REJECTED, reason, place.now))
        return True

    def _is_change_refused(self, request: ModifyRequest) -> bool:
        engine = self._engine
        if engine.risk is None:
            return False
        order, more = engine.manager.after_change(request)
        reason = engine.risk.change_refusal(order, more, request.sent_at)
        if reason:
            now = engine.clock.now
            engine.refuse(refusal(order, ReportKind.MODIFY_REJECTED, reason, now))
        return bool(reason)

    def _change(self, request: CancelRequest | ModifyRequest) -> None:
        engine = self._engine
        place = engine.place()
        mid = float("nan")
        if isinstance(request, ModifyRequest):
            mid, _ = engine.decision(request.instrument, place)
        arrives_at = self._send(request)
        engine.ledger.change(request, place.now, place.rank, mid, arrives_at)

    def _send(self, message: Message) -> int:
        engine = self._engine
        engine.manager.sent(message)
        return engine.gateway.send(message)


def refusal(order: Order, kind: ReportKind, reason: Reason, now: int) -> Report:
    """Return the report of a refusal of our own: it has the number 0, and no venue made it."""
    is_new = kind is ReportKind.REJECTED
    return Report(
        number=0,
        order=order.number,
        instrument=order.instrument,
        kind=kind,
        reason=reason,
        quantity=order.quantity if is_new else 0.0,
        venue_time=now,
        fill=None,
        is_last=is_new,
        lots=order.lots if is_new else 0,
    )
