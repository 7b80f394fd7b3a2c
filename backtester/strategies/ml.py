"""Trade on a model's predicted change, from the instant it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtester.strategy import Strategy

if TYPE_CHECKING:
    from backtester.context import Context
    from backtester.orders import Report
    from backtester.records import Prediction

__all__ = ["MLStrategy"]


class MLStrategy(Strategy):
    """Holds a fixed quantity long or short, whichever way the model last pointed.

    Wakes on predictions only. A predicted change above `buy_delta` is a reason to be long, one
    below `-sell_delta` to be short (or flat, with `long_only`); between them nothing changes. One
    order is on its way at a time: until its last report is in, the strategy does not know what it
    holds.

    Args:
        buy_delta: Predicted change above which to be long, in the label's unit.
        sell_delta: Predicted fall, as a positive number, beyond which to be short.
        quantity: Position held, in base units.
        long_only: Never short, as on a spot market.
    """

    def __init__(
        self,
        buy_delta: float = 0.5,
        sell_delta: float = 0.5,
        quantity: float = 0.01,
        long_only: bool = False,
    ) -> None:
        self.buy_delta = buy_delta
        self.sell_delta = sell_delta
        self.quantity = quantity
        self.long_only = long_only
        self._waiting: set[int] = set()

    def on_prediction(self, ctx: Context, prediction: Prediction) -> None:
        """Move to the side that the prediction asks for."""
        if self._waiting:
            return
        if prediction.value > self.buy_delta:
            target = self.quantity
        elif prediction.value < -self.sell_delta:
            target = 0.0 if self.long_only else -self.quantity
        else:
            return
        change = target - ctx.portfolio.position(prediction.instrument)
        if abs(change) < self.quantity * 1e-9:
            return
        send = ctx.buy if change > 0 else ctx.sell
        self._waiting.add(send(prediction.instrument, abs(change)))

    def on_order(self, ctx: Context, report: Report) -> None:
        """Count an order as done once its last report is in."""
        if report.is_last:
            self._waiting.discard(report.order)
