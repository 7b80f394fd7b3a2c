"""What waits in the book."""

from __future__ import annotations

from typing import Any

from featurizer.feature import Input, Market, Pointwise

__all__ = ["Imbalance"]


class Imbalance(Pointwise):
    """(bid - ask) / (bid + ask) of the quantities at the best prices, from -1 to 1."""

    def inputs(self) -> tuple[Input, ...]:
        """Return the quantities at the best prices."""
        return (Market("quotes", ("bid_quantity", "ask_quantity")),)

    def value(self, bid: Any, ask: Any) -> Any:
        """Return the difference of the quantities over their sum."""
        return (bid - ask) / (bid + ask)
