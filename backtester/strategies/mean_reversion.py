"""Bet that what has moved far comes back."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from backtester.strategies.scores import z_score
from backtester.strategies.targets import move_to
from backtester.strategy import Strategy

if TYPE_CHECKING:
    from backtester.context import Context

__all__ = ["MeanReversion"]


class MeanReversion(Strategy):
    """Holds against moves of the price out of its band, until it is back at its mean.

    With mean and deviation of the closes of the last `periods` bars, this one among them:

        z = (close - mean) / deviation

    It goes long where z < -entry and short where z > entry (flat, with `long_only`), and closes
    where z has come back to 0 or past it. Orders go to the market, and so fill in the next bar.

    Source: J. Bollinger, Bollinger on Bollinger Bands (2001): 20 periods and 2 deviations are his.

    Args:
        periods: Bars that mean and deviation look back on.
        entry: Deviations from the mean at which to begin.
        quantity: Position held, in base units.
        long_only: Never short, as on a spot market.
    """

    def __init__(
        self,
        periods: int = 20,
        entry: float = 2.0,
        quantity: float = 0.01,
        long_only: bool = False,
    ) -> None:
        if periods < 2 or entry <= 0:
            raise ValueError(
                f"`periods` must be at least 2 and `entry` positive: got {periods} and {entry:g}."
            )
        self.periods, self.entry, self.quantity = periods, entry, quantity
        self.long_only = long_only
        self._closes: dict[str, deque[float]] = {}
        self._side: dict[str, int] = {}

    def on_bar(self, ctx: Context, bar: Any) -> None:
        """Take in one bar, and go where it says."""
        closes = self._closes.setdefault(bar.instrument, deque(maxlen=self.periods))
        closes.append(bar.close)
        z = z_score(bar.close, closes) if len(closes) == self.periods else None
        if z is None:
            return
        side = self._side.get(bar.instrument, 0)
        if abs(z) > self.entry:
            side = -1 if z > 0 else 1
        elif z * side >= 0:
            side = 0  # back at the mean, or past it
        self._side[bar.instrument] = max(side, 0) if self.long_only else side
        move_to(ctx, bar.instrument, self._side[bar.instrument] * self.quantity)
