"""The yardstick of every other strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backtester.strategy import Strategy

if TYPE_CHECKING:
    from backtester.context import Context

__all__ = ["BuyAndHold"]


class BuyAndHold(Strategy):
    """Buys a quantity of each instrument at its first quote or bar, and keeps it.

    Args:
        quantity: Base units of each instrument.
    """

    optional_callbacks = ("on_quote", "on_bar")

    def __init__(self, quantity: float = 0.01) -> None:
        self.quantity = quantity
        self._bought: set[str] = set()

    def on_quote(self, ctx: Context, quote: Any) -> None:
        """Buy when an instrument is first heard of."""
        self._buy(ctx, quote.instrument)

    def on_bar(self, ctx: Context, bar: Any) -> None:
        """Likewise, where there are bars."""
        self._buy(ctx, bar.instrument)

    def _buy(self, ctx: Context, instrument: str) -> None:
        if instrument not in self._bought:
            self._bought.add(instrument)
            ctx.buy(instrument, self.quantity)
