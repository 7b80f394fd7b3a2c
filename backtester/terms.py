"""What a strategy needs to know of an instrument to name prices and quantities that exist."""

from __future__ import annotations

import math
from typing import NamedTuple

from backtester.orders import Side

__all__ = ["Terms"]

_SLACK = 1e-9  # of a step: what a float cannot hold exactly


class Terms(NamedTuple):
    """The steps of an instrument's prices and quantities.

    Attributes:
        tick_size: Step of prices.
        lot_size: Step of quantities, and the least there is.

    Example:
        >>> terms = Terms(tick_size=0.5, lot_size=0.1)
        >>> terms.price(100.7, Side.BUY), terms.price(100.7, Side.SELL), terms.quantity(0.37)
        (100.5, 101.0, 0.3)
    """

    tick_size: float
    lot_size: float

    def price(self, value: float, side: Side) -> float:
        """Return the nearest price that exists and is no worse for an order of a side."""
        ticks = value / self.tick_size
        whole = math.floor(ticks + _SLACK) if side > 0 else math.ceil(ticks - _SLACK)
        return round(whole * self.tick_size, 10)

    def quantity(self, value: float) -> float:
        """Return the largest quantity that exists and is no larger, 0 below one lot."""
        return round(math.floor(value / self.lot_size + _SLACK) * self.lot_size, 10)
