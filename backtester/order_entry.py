"""From what a strategy asks for to messages that a venue understands: whole lots and ticks."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from backtester.account import Units
from backtester.errors import OrderError
from backtester.orders import (
    NEVER_EXPIRES,
    CancelRequest,
    ModifyRequest,
    Order,
    OrderGroup,
    OrderRequest,
    OrderType,
    Role,
    TimeInForce,
)

__all__ = ["OrderEntry"]

_MOST = 10**12
_NAN = float("nan")
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)


class OrderEntry:
    """Makes messages, numbers the orders and counts the messages of an instant.

    Args:
        units: Integers of the instruments.

    Attributes:
        count: Orders made so far; the last one's number.
    """

    def __init__(self, units: Units) -> None:
        self._steps = {
            name: (units[name].tick_size, units[name].lot_size) for name in units.instruments
        }
        self._floats = {name: (float(t), float(q)) for name, (t, q) in self._steps.items()}
        self._last_sent = (-1, -1)
        self.count = 0

    def resume(self, count: int, last_sent: tuple[int, int]) -> None:
        """Go on after so many orders.

        Args:
            count: How many there were.
            last_sent: When the last message left, and its place among those of that instant.
        """
        self.count, self._last_sent = count, last_sent

    def make(self, request: OrderRequest, sent_at: int) -> Order:
        """Return the next order.

        Args:
            request: What is asked for, of a known instrument.
            sent_at: Instant at which it leaves us.

        Raises:
            OrderError: If quantity or price is not a positive whole number of lots or ticks, or
                if what is asked for does not go together.
        """
        return self._make(request, sent_at, self._ordinal(sent_at), Role.ALONE, 0)

    def make_group(
        self, requests: Sequence[OrderRequest], roles: Sequence[Role], sent_at: int
    ) -> OrderGroup:
        """Return the next orders, in one message.

        Args:
            requests: All for one instrument.
            roles: The part of each.
            sent_at: Instant at which they leave us.

        Raises:
            OrderError: As `make`, and if they are for several instruments.
        """
        names = {request.instrument for request in requests}
        if len(names) > 1:
            raise OrderError(
                f"orders of one group must be for one instrument: got {', '.join(sorted(names))}."
            )
        ordinal, first = self._ordinal(sent_at), self.count + 1
        orders = tuple(
            self._make(request, sent_at, ordinal, role, first)
            for request, role in zip(requests, roles, strict=True)
        )
        return OrderGroup(orders, orders[0].instrument, sent_at, ordinal)

    def cancel(self, order: int, instrument: str, sent_at: int) -> CancelRequest:
        """Return a cancel of an order; of all of an instrument, or of all there are, for 0."""
        return CancelRequest(order, instrument, sent_at, self._ordinal(sent_at))

    def modify(
        self, order: Order, quantity: float | None, limit_price: float | None, sent_at: int
    ) -> ModifyRequest:
        """Return a change of an order's total quantity, its limit price, or both.

        Raises:
            OrderError: If neither is given, either is not a positive whole number of lots or
                ticks, or the order has no limit.
        """
        if quantity is None and limit_price is None:
            raise OrderError(
                "`modify` must change something: name a `quantity` or a `limit_price`."
            )
        if limit_price is not None and not order.type.has_limit:
            raise OrderError(
                f"`limit_price` of order {order.number} must not change: it has none, it is a "
                f"{order.type.name.lower()} order."
            )
        name = order.instrument
        lots = 0 if quantity is None else self._lots(name, quantity)
        ticks = 0 if limit_price is None else self._ticks(name, limit_price, "limit_price")
        return ModifyRequest(order.number, name, sent_at, self._ordinal(sent_at), lots, ticks)

    def _make(
        self, request: OrderRequest, sent_at: int, ordinal: int, role: Role, group: int
    ) -> Order:
        name, limit, stop = request.instrument, request.limit_price, request.stop_price
        tick, lot = self._steps[name]
        lots = self._lots(name, request.quantity)
        limit_ticks = 0 if limit is None else self._ticks(name, limit, "limit_price")
        stop_ticks = 0 if stop is None else self._ticks(name, stop, "stop_price")
        time_in_force = _time_in_force(request)
        self.count += 1
        # by place: with names it takes twice as long
        return Order(
            self.count,
            name,
            request.side,
            _TYPES[limit is not None, stop is not None],
            float(lots * lot),
            _NAN if limit is None else float(limit_ticks * tick),
            sent_at,
            ordinal,
            lots,
            limit_ticks,
            time_in_force,
            stop_ticks,
            request.post_only,
            request.reduce_only,
            NEVER_EXPIRES if request.expires_at is None else index(request.expires_at),
            role,
            group,
        )

    def _ordinal(self, sent_at: int) -> int:
        ordinal = self._last_sent[1] + 1 if self._last_sent[0] == sent_at else 0
        self._last_sent = (sent_at, ordinal)
        return ordinal

    def _lots(self, instrument: str, quantity: float) -> int:
        return _whole(quantity, self._floats[instrument][1], "quantity", "lots", instrument)

    def _ticks(self, instrument: str, price: float, what: str) -> int:
        return _whole(price, self._floats[instrument][0], what, "ticks", instrument)


_TYPES = {
    (False, False): OrderType.MARKET,
    (True, False): OrderType.LIMIT,
    (False, True): OrderType.STOP_MARKET,
    (True, True): OrderType.STOP_LIMIT,
}


def _time_in_force(request: OrderRequest) -> TimeInForce:
    """Return the time in force, by default what goes with the rest; refuse what does not."""
    asked, has_limit = request.time_in_force, request.limit_price is not None
    is_dated = request.expires_at is not None
    if not has_limit:
        if request.post_only:
            raise OrderError("`post_only` needs a `limit_price`: a market order always takes.")
        if asked not in (None, *_IMMEDIATE):
            raise OrderError(
                f"`time_in_force` of an order without `limit_price` must be IOC or FOK: got "
                f"{TimeInForce(asked).name}. What a market order does not find is canceled."
            )
        if is_dated and request.stop_price is None:
            raise OrderError("`expires_at` needs a `limit_price` or a `stop_price` to wait for.")
        return TimeInForce.IOC if asked is None else TimeInForce(asked)
    if asked is None:
        return TimeInForce.GTD if is_dated else TimeInForce.GTC
    if request.post_only and asked in _IMMEDIATE:
        raise OrderError(
            f"`post_only` must not go with {TimeInForce(asked).name}: such an order only takes."
        )
    if (asked == TimeInForce.GTD) != is_dated and (
        asked == TimeInForce.GTD or not request.stop_price
    ):
        raise OrderError(
            f"`time_in_force` GTD and `expires_at` go together: got {TimeInForce(asked).name} and "
            f"{request.expires_at}."
        )
    return TimeInForce(asked)


def _whole(value: float, step: float, what: str, unit: str, instrument: str) -> int:
    """Return a price in ticks or a quantity in lots, refusing what is not a whole number."""
    try:
        number = value / step
        count = round(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise OrderError(f"`{what}` must be a number: got {value!r}.") from error
    if count > _MOST:
        raise OrderError(
            f"`{what}` of {instrument} must be at most {_MOST} {unit}: got {value!r}. "
            "No ledger holds more."
        )
    # what a float cannot hold exactly is forgiven, what the user wrote is not
    if count <= 0 or abs(number - count) > 1e-6 + 1e-15 * abs(number):
        raise OrderError(
            f"`{what}` of {instrument} must be a positive whole number of {unit} of {step:g}: "
            f"got {value!r}. Round it to a multiple of {step:g}."
        )
    return count
