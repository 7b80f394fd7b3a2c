"""Limits of our own: an order that breaks one never leaves us.

They go by what we believe: the position of our books, our open orders and what is on its way, the
newest quotes that have reached us.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from backtester.account_units import Units
from backtester.orders import Order, Reason, Role
from backtester.strict import Strict
from backtester.venue.fee_models import DEFAULT
from clock.units import Duration
from featurizer.market import ExactDecimal

__all__ = ["MostOrders", "RiskConfig", "RiskLimits"]

Positive = Annotated[ExactDecimal, Field(gt=0, allow_inf_nan=False)]


def _as_map(value: Any) -> Any:
    return value if value is None or isinstance(value, Mapping) else {DEFAULT: value}


PerInstrument = Annotated[
    dict[str, Positive],
    BeforeValidator(_as_map, json_schema_input_type=Positive | dict[str, Positive]),
]
"""One limit for all instruments, or one for each that is named, and `default` for the others."""


class MostOrders(Strict):
    """Most orders and changes that may leave within `(now - per, now]`; cancels always may."""

    orders: int = Field(ge=1)
    per: Duration

    @model_validator(mode="after")
    def _lasts(self) -> MostOrders:
        if self.per == 0:
            raise ValueError("`per` must be above zero: got 0s")
        return self


class RiskConfig(Strict):
    """Limits that are tested before an order leaves us."""

    max_position: PerInstrument | None = Field(
        default=None,
        description="Largest position, either sign, in base units (contracts), of each instrument "
        "or of those named, if all open orders of that side were filled.",
    )
    max_order_quantity: PerInstrument | None = Field(
        default=None, description="Largest quantity of one order."
    )
    max_order_notional: PerInstrument | None = Field(
        default=None,
        description="Largest value of one order in the instrument's quote currency, at its limit "
        "price, or at our mid where it has none.",
    )
    rate: MostOrders | None = None
    max_loss: Positive | None = Field(
        default=None,
        description="Once our equity lies this far below the opening balances, in the report's "
        "currency, only orders that reduce a position leave, until the end of the run.",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> RiskConfig:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("`risk` must hold a limit: got none. Add one, or leave `risk` out")
        return self


class RiskLimits:
    """Tests orders against the limits of a scenario.

    Args:
        config: The limits.
        units: Integers of the instruments.
        position: Returns our position in an instrument, in lots.
        open_lots: Returns the lots that we believe open, to buy and to sell, those on their way
            included.
        mid: Returns our newest mid of an instrument, NaN without a quote.
        loss: Returns how far our equity lies below the opening balances, NaN where it is unknown.

    Attributes:
        is_stopped: Whether the loss stop has struck.
    """

    def __init__(
        self,
        config: RiskConfig,
        units: Units,
        position: Callable[[str], int],
        open_lots: Callable[[str], tuple[int, int]],
        mid: Callable[[str], float],
        loss: Callable[[], float],
    ) -> None:
        self._units = units
        self._position, self._open_lots, self._mid, self._loss = position, open_lots, mid, loss
        self._most_position = _in_lots(config.max_position, units)
        self._most_lots = _in_lots(config.max_order_quantity, units)
        self._most_notional = _by_instrument(config.max_order_notional, units)
        self._rate = config.rate
        self._max_loss = None if config.max_loss is None else float(config.max_loss)
        self._sent: deque[int] = deque()
        self.is_stopped = False

    def refusal(self, orders: Sequence[Order], now: int) -> Reason:
        """Return the first limit that a message breaks, or `Reason.NONE`; then it counts as sent.

        Tested in this order: loss stop, order quantity, order notional, position, rate. An order
        that can only make a position smaller is tested for the rate alone.

        Of a group each order is tested for itself, as if it came alone; the exits of a bracket,
        and reduce-only orders, never add to a position and are tested for the rate alone.

        Args:
            orders: One order, or a group that travels together; `lots` is the whole quantity.
            now: When the message would leave.
        """
        for order in orders:
            adds = order.role is not Role.EXIT and not order.is_reduce_only
            if adds and not self._reduces(order.instrument, order.side, order.lots):
                reason = self._size_refusal(order)
                if reason:
                    return reason
        return self._rate_refusal(now)

    def change_refusal(self, order: Order, more_lots: int, now: int) -> Reason:
        """Return the first limit that a change of an order breaks; otherwise it counts as sent.

        Args:
            order: The order as it would be, with its new quantity and price.
            more_lots: By how many lots it grows; the lots that it has are open already.
            now: When the change would leave.
        """
        if more_lots > 0 and not self._reduces(order.instrument, order.side, more_lots):
            reason = self._size_refusal(order, more_lots)
            if reason:
                return reason
        elif more_lots <= 0 and self._breaks_notional(order):
            return Reason.RISK_ORDER_NOTIONAL
        return self._rate_refusal(now)

    def _size_refusal(self, order: Order, more_lots: int | None = None) -> Reason:
        name, lots = order.instrument, order.lots
        if self._has_lost():
            return Reason.RISK_LOSS
        most = self._most_lots.get(name)
        if most is not None and lots > most:
            return Reason.RISK_ORDER_QUANTITY
        if self._breaks_notional(order):
            return Reason.RISK_ORDER_NOTIONAL
        most = self._most_position.get(name)
        if most is not None:
            added = lots if more_lots is None else more_lots
            if abs(self._reached(name, order.side, added)) > most:
                return Reason.RISK_POSITION
        return Reason.NONE

    def _rate_refusal(self, now: int) -> Reason:
        if self._rate is None:
            return Reason.NONE
        sent = self._sent
        while sent and sent[0] <= now - self._rate.per:
            sent.popleft()
        if len(sent) >= self._rate.orders:
            return Reason.RISK_RATE
        sent.append(now)
        return Reason.NONE

    def _breaks_notional(self, order: Order) -> bool:
        most = self._most_notional.get(order.instrument)
        if most is None:
            return False
        unit = self._units[order.instrument]
        price = order.limit_ticks * float(unit.tick_size)
        if not order.limit_ticks:
            price = order.stop_ticks * float(unit.tick_size) or self._mid(order.instrument)
        # without a price the value is unknown, and what is unknown does not leave
        return not self._units.quote_value(order.instrument, order.lots, price) <= most

    def _reached(self, name: str, side: int, lots: int) -> int:
        """Return the position if lots more and all open orders of their side were filled."""
        buys, sells = self._open_lots(name)
        return self._position(name) + side * (lots + (buys if side > 0 else sells))

    def _reduces(self, name: str, side: int, lots: int) -> bool:
        return abs(self._reached(name, side, lots)) < abs(self._position(name))

    def _has_lost(self) -> bool:
        if self._max_loss is None or self.is_stopped:
            return self.is_stopped
        loss = self._loss()
        self.is_stopped = loss >= self._max_loss
        # a loss that is unknown may be any: nothing leaves before it is known
        return not loss < self._max_loss


def _by_instrument(limit: Mapping[str, Decimal] | None, units: Units) -> dict[str, float]:
    return {name: float(value) for name, value in _named(limit, units)}


def _in_lots(limit: Mapping[str, Decimal] | None, units: Units) -> dict[str, int]:
    """Return a limit of quantity in whole lots, rounded down."""
    return {name: int(value // units[name].lot_size) for name, value in _named(limit, units)}


def _named(limit: Mapping[str, Decimal] | None, units: Units) -> Iterator[tuple[str, Decimal]]:
    limit = limit or {}
    for name in units.instruments:
        value = limit.get(name, limit.get(DEFAULT))
        if value is not None:
            yield name, value
