"""Follow the heavier side of the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtester.orders import TimeInForce
from backtester.strategies.targets import move_to
from backtester.strategy import Strategy
from clock.units import Duration

if TYPE_CHECKING:
    from backtester.context import Context
    from backtester.records import FeatureRow

__all__ = ["ImbalanceTaker"]

_SECOND = 1_000_000_000


class ImbalanceTaker(Strategy):
    """Crosses the spread towards where the queue is longer, and lets go after a while.

    With the imbalance I = (bid quantity - ask quantity) / (bid quantity + ask quantity) of the best
    prices, it buys at the ask where I > threshold and sells at the bid where I < -threshold, never
    at a worse price than it saw (immediate or cancel); `hold` later it closes at the market.
    The signal is worth about half a tick and fades within milliseconds: the plainest way there is
    to see what latency and fees leave of one.

    Source: M. Gould and J. Bonart, Queue imbalance as a one-tick-ahead price predictor in a limit
    order book, Market Microstructure and Liquidity 2 (2016).

    Args:
        threshold: Imbalance beyond which it acts, from 0 to 1.
        hold: How long a position is kept.
        quantity: Of a position, in base units.
        imbalance: Name of the feature that is the imbalance.
    """

    def __init__(
        self,
        threshold: float = 0.8,
        hold: Duration = _SECOND,
        quantity: float = 0.01,
        imbalance: str = "imbalance",
    ) -> None:
        self.threshold, self.hold, self.quantity = threshold, hold, quantity
        self.imbalance = imbalance
        self._until: dict[str, int] = {}

    def on_features(self, ctx: Context, row: FeatureRow) -> None:
        """Enter, or leave, unless an order is on its way."""
        name, value = row.instrument, row.value(self.imbalance)
        if ctx.orders(name):
            return
        if ctx.portfolio.position(name):
            if ctx.now >= self._until[name]:
                move_to(ctx, name, 0.0)
            return
        quote = ctx.quote(name)
        if quote is None or not abs(value) > self.threshold:
            return
        send, price = (ctx.buy, quote.ask_price) if value > 0 else (ctx.sell, quote.bid_price)
        send(name, self.quantity, price, time_in_force=TimeInForce.IOC)
        self._until[name] = ctx.now + self.hold
