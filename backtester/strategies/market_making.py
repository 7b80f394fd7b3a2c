"""Quote both sides, and lean against what has piled up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from backtester.orders import Side
from backtester.strategy import Strategy

if TYPE_CHECKING:
    from backtester.context import Context
    from backtester.order_manager import OpenOrder
    from backtester.records import FeatureRow

__all__ = ["MarketMaker"]


class MarketMaker(Strategy):
    """Keeps one bid and one ask around a price that inventory pushes away from the mid.

    With the mid *s*, the inventory *q* in orders of `quantity`, and the volatility *σ* of the price
    over one window of the volatility feature:

        reservation price  r = s - q γ σ² h
        spread             d = γ σ² h + (2 / γ) ln(1 + γ / κ)

    The bid is at r - d/2 and the ask at r + d/2, rounded away from each other and never across the
    market (post-only). A long position lowers both: it sells sooner and buys later. Orders are
    moved at each feature row; what is filled while a change is on its way is filled at the old
    price: that is what latency costs a market maker.

    Source: M. Avellaneda and S. Stoikov, High-frequency trading in a limit order book, Quantitative
    Finance 8 (2008) 217-224. Their time to the end, T - t, runs out; here the horizon stays as far
    away, as on a market that never closes.

    Args:
        gamma: Aversion to risk γ, in 1 / quote currency. More of it: wider, and leaning harder.
        kappa: How fast fills thin out with distance, κ, in 1 / quote currency. More: tighter.
        horizon: Time h, in windows of the volatility feature.
        quantity: Of each order, in base units.
        max_orders: No order is sent that would make the position larger than so many `quantity`.
        mid: Name of the feature that is the mid.
        volatility: Name of the feature that is the volatility, in log returns a window.
    """

    def __init__(
        self,
        gamma: float = 0.1,
        kappa: float = 1.0,
        horizon: float = 1.0,
        quantity: float = 0.01,
        max_orders: int = 5,
        mid: str = "mid",
        volatility: str = "volatility",
    ) -> None:
        if gamma <= 0 or kappa <= 0:
            raise ValueError(f"`gamma` and `kappa` must be positive: got {gamma:g} and {kappa:g}.")
        self.gamma, self.kappa, self.horizon = gamma, kappa, horizon
        self.quantity, self.max_orders = quantity, max_orders
        self.mid, self.volatility = mid, volatility

    def prices(self, mid: float, sigma: float, inventory: float) -> tuple[float, float]:
        """Return bid and ask, before rounding; *sigma* is in quote currency."""
        risk = self.gamma * sigma**2 * self.horizon
        centre = mid - inventory * risk
        half = risk / 2 + math.log1p(self.gamma / self.kappa) / self.gamma
        return centre - half, centre + half

    def on_features(self, ctx: Context, row: FeatureRow) -> None:
        """Move both orders to where they ought to be now."""
        mid, sigma = row.value(self.mid), row.value(self.volatility) * row.value(self.mid)
        quote = ctx.quote(row.instrument)
        if math.isnan(sigma) or quote is None:
            return
        inventory = ctx.portfolio.position(row.instrument) / self.quantity
        bid, ask = self.prices(mid, sigma, inventory)
        terms = ctx.terms(row.instrument)
        tick = terms.tick_size
        bid = terms.price(min(bid, quote.ask_price - tick), Side.BUY)
        ask = terms.price(max(ask, quote.bid_price + tick), Side.SELL)
        ours = {order.side: order for order in ctx.orders(row.instrument)}
        full = self.max_orders - 1 + 1e-9
        self._keep(ctx, row.instrument, Side.BUY, bid if inventory <= full else None, ours)
        self._keep(ctx, row.instrument, Side.SELL, ask if -inventory <= full else None, ours)

    def _keep(
        self,
        ctx: Context,
        instrument: str,
        side: Side,
        price: float | None,
        ours: dict[Side, OpenOrder],
    ) -> None:
        """Have one order of a side at a price; none where the price is None."""
        order = ours.get(side)
        if order is None:
            if price is not None:
                send = ctx.buy if side > 0 else ctx.sell
                send(instrument, self.quantity, price, post_only=True)
        elif order.is_canceling or order.is_modifying:
            return  # one change at a time: the venue has not answered the last one
        elif price is None:
            ctx.cancel(order.number)
        elif price != order.limit_price:
            ctx.modify(order.number, limit_price=price)
