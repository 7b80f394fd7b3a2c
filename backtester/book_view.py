"""A strategy's view of a book: what has been received by now, as immutable numbers."""

from __future__ import annotations

from typing import NamedTuple

from backtester.orders import Side

__all__ = ["BookView", "Level"]


class Level(NamedTuple):
    """One price of a book.

    Attributes:
        price: In quote currency.
        quantity: Base units displayed there.
    """

    price: float
    quantity: float


class BookView(NamedTuple):
    """Displayed levels, best first.

    Attributes:
        instrument: Id of the instrument.
        bids: Highest price first.
        asks: Lowest price first.

    Example:
        >>> asks = (Level(101.0, 1.0), Level(102.0, 5.0))
        >>> view = BookView("SIM.ALPHA", (Level(99.0, 2.0),), asks)
        >>> view.mid, view.depth(Side.SELL, 101.5), view.sweep_price(Side.BUY, 3.0)
        (100.0, 1.0, 102.0)
    """

    instrument: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    @property
    def mid(self) -> float:
        """Mean of the best bid and the best ask, NaN while a side is empty."""
        if not self.bids or not self.asks:
            return float("nan")
        return (self.bids[0].price + self.asks[0].price) / 2

    def depth(self, side: Side, price: float) -> float:
        """Return the quantity displayed on a side, from the best price to *price* inclusive.

        Args:
            side: BUY for the bids, SELL for the asks.
            price: Worst price that counts.
        """
        levels = self.bids if side > 0 else self.asks
        return sum(level.quantity for level in levels if (level.price - price) * side >= 0)

    def sweep_price(self, side: Side, quantity: float) -> float:
        """Return the worst price that an order of a size would reach, NaN beyond what is shown.

        Args:
            side: Of the order: BUY walks the asks.
            quantity: Base units.
        """
        left = quantity
        for level in self.asks if side > 0 else self.bids:
            left -= level.quantity
            if left <= 1e-12 * quantity:
                return level.price
        return float("nan")

    def average_price(self, side: Side, quantity: float) -> float:
        """Return the mean price that an order of a size would pay, NaN beyond what is shown."""
        left, paid = quantity, 0.0
        for level in self.asks if side > 0 else self.bids:
            taken = min(left, level.quantity)
            paid, left = paid + taken * level.price, left - taken
            if left <= 1e-12 * quantity:
                return paid / quantity
        return float("nan")
