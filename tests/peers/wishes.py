"""What both sides are asked and what they answer, whatever is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Wish:
    """One order of a script.

    Attributes:
        at: Instant at which it leaves us, ns.
        side: +1 buys, -1 sells.
        lots: Its quantity.
        ticks: Its limit, None for a market order.
        cancel_at: Instant at which a cancel leaves us, None to leave it there.
    """

    at: int
    side: int
    lots: int
    ticks: int | None = None
    cancel_at: int | None = None


class PeerFill(NamedTuple):
    """One execution: the number of the order (from 1), and what the venue did."""

    order: int
    instant: int
    ticks: int
    lots: int


@dataclass(frozen=True)
class Terms:
    """Tick and lot, as the peer wants them."""

    tick: float
    lot: float
