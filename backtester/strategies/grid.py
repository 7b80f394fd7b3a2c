"""Buy a little lower, sell a little higher, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtester.orders import Side
from backtester.strategy import Strategy

if TYPE_CHECKING:
    from backtester.context import Context
    from backtester.orders import Fill

__all__ = ["Grid"]

_SECOND = 1_000_000_000


class Grid(Strategy):
    """Rests orders at even distances around the first mid it sees.

    Level *k* of an instrument is the price

        p(k) = mid (1 + k spacing_bps / 10000),   k = -levels, …, -1, 1, …, levels

    with a buy order on each level below and a sell order on each above. What a buy fills at *k* is
    offered at *k + 1*, what a sell fills at *k* is bid for at *k - 1*. So each swing back by one
    level earns one spacing, less two maker's fees; a price that leaves the grid for good leaves the
    position of a whole side behind.

    Wakes on its own fills, and until the first quote on a timer, so that quotes cost nothing.
    Source: a trader's rule of old, of no particular author.

    Args:
        spacing_bps: Distance of levels, in basis points of the mid at the beginning.
        levels: Levels on each side.
        quantity: On each level, in base units.
    """

    def __init__(self, spacing_bps: float = 10.0, levels: int = 5, quantity: float = 0.01) -> None:
        if spacing_bps <= 0 or levels < 1:
            raise ValueError(
                f"`spacing_bps` and `levels` must be positive: got {spacing_bps:g} and {levels}."
            )
        self.spacing_bps, self.levels, self.quantity = spacing_bps, levels, quantity
        self._middle: dict[str, float] = {}
        self._level: dict[int, int] = {}

    def on_start(self, ctx: Context) -> None:
        """Look for a first quote of each instrument."""
        for instrument in ctx.instruments:
            ctx.call_at(ctx.now, instrument)

    def on_timer(self, ctx: Context, name: str) -> None:
        """Lay the grid of an instrument, or look again in a second."""
        quote = ctx.quote(name)
        if quote is None:
            ctx.call_at(ctx.now + _SECOND, name)
            return
        self._middle[name] = (quote.bid_price + quote.ask_price) / 2
        for k in range(1, self.levels + 1):
            self._rest(ctx, name, Side.BUY, -k, self.quantity)
            self._rest(ctx, name, Side.SELL, k, self.quantity)

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        """Offer what was bought one level higher, bid for what was sold one level lower."""
        k = self._level[fill.order] + fill.side
        self._rest(ctx, fill.instrument, Side(-fill.side), k, fill.quantity)

    def _rest(self, ctx: Context, instrument: str, side: Side, level: int, quantity: float) -> None:
        price = self._middle[instrument] * (1 + level * self.spacing_bps / 1e4)
        send = ctx.buy if side > 0 else ctx.sell
        number = send(instrument, quantity, ctx.terms(instrument).price(price, side))
        self._level[number] = level
