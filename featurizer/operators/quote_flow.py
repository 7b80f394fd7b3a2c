"""What each quote adds to the order flow at the best prices, quote by quote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel

__all__ = ["QuoteFlow"]


class QuoteFlow:
    """Contributions to the order flow imbalance; NaN for the first quote.

    A bid that is not lower than the one before adds its quantity, one that is not higher takes the
    quantity before; at the ask the other way round.
    """

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before = np.full(4, np.nan)

    def scan(self, columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return the contribution of each of some quotes. Shape (n,), read-only.

        Args:
            columns: Bid price, bid quantity, ask price, ask quantity. Each: shape (n,).
        """
        flow = np.empty(len(columns[0]))
        bid, bid_quantity, ask, ask_quantity = columns
        _scan(bid, bid_quantity, ask, ask_quantity, self._before, flow)
        flow.flags.writeable = False
        return flow


@kernel
def _scan(
    bid: NDArray[Any],
    bid_quantity: NDArray[Any],
    ask: NDArray[Any],
    ask_quantity: NDArray[Any],
    before: NDArray[Any],
    flow: NDArray[Any],
) -> None:
    last_bid, last_bids, last_ask, last_asks = before[0], before[1], before[2], before[3]
    for i in range(len(bid)):
        # read before anything is compared: choosing between two numbers takes no turn
        now_bid, now_bids, now_ask, now_asks = bid[i], bid_quantity[i], ask[i], ask_quantity[i]
        total = now_bids if now_bid >= last_bid else 0.0
        total -= last_bids if now_bid <= last_bid else 0.0
        total -= now_asks if now_ask <= last_ask else 0.0
        total += last_asks if now_ask >= last_ask else 0.0
        flow[i] = total if last_bid == last_bid else np.nan
        last_bid, last_bids, last_ask, last_asks = now_bid, now_bids, now_ask, now_asks
    before[0], before[1], before[2], before[3] = last_bid, last_bids, last_ask, last_asks
