"""Trade two instruments against each other."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from backtester.strategies.scores import z_score
from backtester.strategies.targets import move_to
from backtester.strategy import Strategy

if TYPE_CHECKING:
    from backtester.context import Context
    from backtester.records import FeatureRow

__all__ = ["Pairs"]


class Pairs(Strategy):
    """Sells the one of two instruments that has run ahead and buys the other, until they meet.

    With the prices *x* and *y* of the scenario's first two instruments and a rolling β of their
    returns, the part of x's returns that y does not explain adds up to

        X(k) = X(k-1) + Δ ln x - β Δ ln y

    and is judged by its own last `periods` values: z = (X - mean) / deviation. Beyond `entry` it
    sells `quantity` of x and buys β · quantity · x / y of y (as much in money, times β), below
    -entry the other way round; within `leave` it closes both. X adds up changes rather than prices,
    so that a new β does not move it. Both legs are market orders: nothing promises that both fill.

    Source: M. Avellaneda and J.-H. Lee, Statistical arbitrage in the US equities market,
    Quantitative Finance 10 (2010) 761-782; the idea: E. Gatev, W. Goetzmann and K. Rouwenhorst,
    Review of Financial Studies 19 (2006) 797-827.

    Args:
        quantity: Of x, in base units.
        periods: Feature rows that mean and deviation look back on.
        entry: z at which to begin.
        leave: z at which to end.
        x: Name of the feature that is the price of the first instrument.
        y: Name of the feature that is the price of the second.
        beta: Name of the feature that is β, of the first on the second.
    """

    def __init__(
        self,
        quantity: float = 0.01,
        periods: int = 300,
        entry: float = 2.0,
        leave: float = 0.5,
        x: str = "x",
        y: str = "y",
        beta: str = "beta",
    ) -> None:
        if periods < 2 or not 0 <= leave < entry:
            raise ValueError(
                "`periods` must be at least 2 and `leave` below `entry`: got "
                f"{periods}, {leave:g} and {entry:g}."
            )
        self.quantity, self.entry, self.leave = quantity, entry, leave
        self.names = (x, y, beta)
        self._drift = 0.0
        self._before: tuple[float, float] | None = None
        self._past: deque[float] = deque(maxlen=periods)
        self._side = 0

    def on_features(self, ctx: Context, row: FeatureRow) -> None:
        """Take in one row, and go where it says."""
        x, y, beta = (row.value(name) for name in self.names)
        if math.isnan(x + y + beta):
            return
        if self._before is not None:
            moved = math.log(x / self._before[0]) - beta * math.log(y / self._before[1])
            self._drift += moved
            self._past.append(self._drift)
        self._before = (x, y)
        side = self._wanted()
        if side != self._side:
            self._side = side
            first, second = ctx.instruments[:2]
            move_to(ctx, first, side * self.quantity)
            move_to(ctx, second, -side * self.quantity * beta * x / y)

    def _wanted(self) -> int:
        """Return the sign of the position in the first instrument."""
        past = self._past
        z = z_score(past[-1], past) if len(past) == past.maxlen else None
        if z is None:
            return self._side
        if abs(z) > self.entry:
            return -1 if z > 0 else 1
        return 0 if abs(z) < self.leave else self._side
