"""The distance between the best bid and the best ask."""

from __future__ import annotations

from typing import Any, ClassVar

from featurizer.definitions.price import MidPrice
from featurizer.feature import Input, Market, Pointwise

__all__ = ["AbsoluteSpread", "EffectiveSpread", "RelativeSpread"]


class RelativeSpread(Pointwise):
    """(ask - bid) / mid: what crossing the book and back costs, as a share of the price."""

    takes_numbers: ClassVar[bool] = True
    formula: ClassVar[str] = "(ask - bid) / mid"
    unit: ClassVar[str] = "1"
    warm_up: ClassVar[str] = "the first quote"
    source: ClassVar[str] = "definition"

    def inputs(self) -> tuple[Input, ...]:
        """Return the best prices."""
        return (Market("quotes", ("bid_price", "ask_price")),)

    def value(self, bid: Any, ask: Any) -> Any:
        """Return the spread over the mid price."""
        return (ask - bid) / ((bid + ask) * 0.5)


class AbsoluteSpread(Pointwise):
    """ask - bid: what crossing the book and back costs, for one unit."""

    takes_numbers: ClassVar[bool] = True
    formula: ClassVar[str] = "ask - bid"
    unit: ClassVar[str] = "quote currency"
    warm_up: ClassVar[str] = "the first quote"
    source: ClassVar[str] = "definition"

    def inputs(self) -> tuple[Input, ...]:
        """Return the best prices."""
        return (Market("quotes", ("bid_price", "ask_price")),)

    def value(self, bid: Any, ask: Any) -> Any:
        """Return the difference of the prices."""
        return ask - bid


class EffectiveSpread(Pointwise):
    """What the last trade's taker paid beyond the mid, twice, as a share of the mid.

    The mid is the one that prevailed: of the newest quote received before the trade, or with it.
    Held from one trade to the next. Negative for a trade inside the book, beyond the mid.
    """

    takes_numbers: ClassVar[bool] = True
    joined: ClassVar[bool] = True
    formula: ClassVar[str] = "2 * aggressor * (trade price - mid) / mid, the mid as of the trade"
    unit: ClassVar[str] = "1"
    warm_up: ClassVar[str] = "the first trade after a quote"
    source: ClassVar[str] = "Huang and Stoll 1996"

    def inputs(self) -> tuple[Input, ...]:
        """Return the trades, and the mid as of each."""
        return (Market("trades", ("price", "aggressor")), MidPrice(instrument=self.instrument))

    def value(self, price: Any, aggressor: Any, mid: Any) -> Any:
        """Return twice the signed distance over the mid."""
        return 2.0 * aggressor * (price - mid) / mid
