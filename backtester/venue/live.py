"""An order while it is alive at the venue."""

from __future__ import annotations

from backtester.order_state import OrderState
from backtester.orders import Order

__all__ = ["LiveOrder"]


class LiveOrder:
    """What the venue knows of an order that has not ended.

    Attributes:
        order: As it left us.
        side: 1 for a buy, -1 for a sell.
        state: Where it stands.
        total: Lots it is for now: changes and partners move it.
        filled: Lots executed.
        limit_ticks: Its limit now, 0 without one.
        rank: Its place among own orders: smaller is earlier.
        arrived_at: When it arrived, or began anew.
        is_resting: Whether it stands in the book, and so reserves money.
        is_listed: Whether the scan knows it: it stands in the book, or is a stop that waits.
        released: Of a bracket's entry: lots for which its exits were released.
    """

    __slots__ = (
        "arrived_at",
        "filled",
        "is_listed",
        "is_resting",
        "limit_ticks",
        "order",
        "rank",
        "released",
        "side",
        "state",
        "total",
    )

    def __init__(self, order: Order, now: int) -> None:
        self.order = order
        self.side = int(order.side)
        self.state = OrderState.SENT
        self.total = order.lots
        self.filled = 0
        self.limit_ticks = order.limit_ticks
        self.rank = 0
        self.arrived_at = now
        self.is_resting = self.is_listed = False
        self.released = 0

    @property
    def left(self) -> int:
        """Lots not executed yet."""
        return self.total - self.filled
