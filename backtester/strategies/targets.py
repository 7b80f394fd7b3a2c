"""Going to a position, from wherever we are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backtester.context import Context

__all__ = ["expected_position", "move_to"]


def expected_position(ctx: Context, instrument: str) -> float:
    """Return the position that we shall have once all our open orders are filled."""
    on_its_way = sum(o.side * (o.quantity - o.filled) for o in ctx.orders(instrument))
    return ctx.portfolio.position(instrument) + on_its_way


def move_to(ctx: Context, instrument: str, target: float) -> None:
    """Send a market order for what is missing to a position; what is on its way counts.

    Args:
        ctx: The door to the world.
        instrument: Id of the instrument.
        target: Signed position in base units; it is rounded towards zero to whole lots.
    """
    missing = target - expected_position(ctx, instrument)
    quantity = ctx.terms(instrument).quantity(abs(missing))
    if quantity:
        send = ctx.buy if missing > 0 else ctx.sell
        send(instrument, quantity)
