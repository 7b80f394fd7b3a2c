"""A large order in small pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from backtester.orders import Side
from backtester.strategies.targets import expected_position
from backtester.strategy import Strategy
from clock.units import Duration

if TYPE_CHECKING:
    from backtester.context import Context

__all__ = ["Twap"]

_MINUTE = 60_000_000_000


class Twap(Strategy):
    """Buys or sells a quantity of each instrument evenly over time, so as to get its mean price.

    Slice *k* of *n* leaves at start + k · duration / n, for k = 0, …, n - 1, and asks for what is
    missing to a share of (k + 1) / n, rounded down to lots: what an earlier slice did not get is
    made up for, and the last one completes the quantity.

    Source: the even schedule is the one of least expected cost where impact is linear: D. Bertsimas
    and A. Lo, Optimal control of execution costs, Journal of Financial Markets 1 (1998) 1-50; in
    R. Almgren and N. Chriss, Journal of Risk 3 (2001) 5-39, it is the limit without risk aversion.

    Args:
        quantity: In base units, of each instrument.
        side: `buy` or `sell`.
        duration: From the first slice to the end of the last.
        slices: How many orders.
    """

    def __init__(
        self,
        quantity: float = 1.0,
        side: Literal["buy", "sell"] = "buy",
        duration: Duration = 10 * _MINUTE,
        slices: int = 10,
    ) -> None:
        if slices < 1:
            raise ValueError(f"`slices` must be at least 1: got {slices}.")
        self.quantity, self.slices, self.duration = quantity, slices, duration
        self.side = Side.BUY if side == "buy" else Side.SELL

    def on_start(self, ctx: Context) -> None:
        """Put the slices into the calendar."""
        for k in range(self.slices):
            ctx.call_at(ctx.now + k * self.duration // self.slices, str(k))

    def on_timer(self, ctx: Context, name: str) -> None:
        """Send one slice."""
        share = (int(name) + 1) / self.slices
        for instrument in ctx.instruments:
            terms = ctx.terms(instrument)
            done = self.side * expected_position(ctx, instrument)
            missing = terms.quantity(terms.quantity(self.quantity * share) - done)
            if missing > 0:
                send = ctx.buy if self.side > 0 else ctx.sell
                send(instrument, missing)
