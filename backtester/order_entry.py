"""From what a strategy asks for to an order that a venue understands: whole lots and ticks."""

from __future__ import annotations

from backtester.account import Units
from backtester.errors import OrderError
from backtester.orders import Order, OrderType, Side

__all__ = ["OrderEntry"]

_MOST = 10**12


class OrderEntry:
    """Makes orders and counts them.

    Args:
        units: Integers of the instruments.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        self._count = 0
        self._last_sent = (-1, -1)

    def make(
        self, instrument: str, side: Side, quantity: float, limit_price: float | None, now: int
    ) -> Order:
        """Return the next order.

        Args:
            instrument: Id of a known instrument.
            side: BUY or SELL.
            quantity: In base units.
            limit_price: None for a market order.
            now: Instant at which it leaves us.

        Raises:
            OrderError: If quantity or price is not a positive whole number of lots or ticks.
        """
        unit = self._units[instrument]
        lots = _whole(quantity, float(unit.lot_size), "quantity", "lots", instrument)
        ticks = 0
        if limit_price is not None:
            ticks = _whole(limit_price, float(unit.tick_size), "limit_price", "ticks", instrument)
        ordinal = self._last_sent[1] + 1 if self._last_sent[0] == now else 0
        self._last_sent = (now, ordinal)
        self._count += 1
        return Order(
            number=self._count,
            instrument=instrument,
            side=side,
            type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
            quantity=float(lots * unit.lot_size),
            limit_price=float("nan") if limit_price is None else float(ticks * unit.tick_size),
            sent_at=now,
            ordinal=ordinal,
            lots=lots,
            limit_ticks=ticks,
        )


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
