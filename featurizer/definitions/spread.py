"""The distance between the best bid and the best ask."""

from __future__ import annotations

from typing import Any

from featurizer.feature import Input, Market, Pointwise

__all__ = ["RelativeSpread"]


class RelativeSpread(Pointwise):
    """(ask - bid) / mid: what crossing the book and back costs, as a share of the price."""

    def inputs(self) -> tuple[Input, ...]:
        """Return the best prices."""
        return (Market("quotes", ("bid_price", "ask_price")),)

    def value(self, bid: Any, ask: Any) -> Any:
        """Return the spread over the mid price."""
        return (ask - bid) / ((bid + ask) * 0.5)
