"""The naive venue's books: what is displayed, what of it we took, and where a queue stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.reference.exchange_orders import Own

BIDS, ASKS = 1, -1
EPSILON = 1e-9


class Change(NamedTuple):
    """Something new about a level: what it held before, and what it holds now."""

    side: int
    ticks: int
    before: int
    after: int


class Book:
    """Levels of both sides. A quote sets a whole side, a depth record one level."""

    def __init__(self) -> None:
        self.levels: dict[int, dict[int, int]] = {BIDS: {}, ASKS: {}}
        self.taken: dict[int, dict[int, int]] = {BIDS: {}, ASKS: {}}
        self.seen = {BIDS: False, ASKS: False}

    @property
    def has_market(self) -> bool:
        """Whether both sides have held a level."""
        return all(self.seen.values())

    def best(self, side: int) -> int | None:
        """Return the best displayed price of a side."""
        return max(self.levels[side], key=lambda ticks: ticks * side, default=None)

    def last(self, side: int) -> int | None:
        """Return the worst displayed price of a side."""
        return min(self.levels[side], key=lambda ticks: ticks * side, default=None)

    def left(self, side: int, ticks: int) -> int:
        """Return what is displayed at a level and not taken by us."""
        return self.levels[side].get(ticks, 0) - self.taken[side].get(ticks, 0)

    def offers(self, side: int) -> list[int]:
        """Return the prices of a side at which something is left, best first."""
        prices = [ticks for ticks in self.levels[side] if self.left(side, ticks) > 0]
        return sorted(prices, key=lambda ticks: -ticks * side)

    def take(self, side: int, ticks: int, lots: int) -> None:
        """Count lots as taken from a level, as far as it holds that much."""
        taken = self.taken[side].get(ticks, 0) + lots
        self.taken[side][ticks] = min(taken, self.levels[side].get(ticks, 0))

    def set_level(self, side: int, ticks: int, lots: int) -> Change | None:
        """Set the total of a level; None if that says nothing new."""
        before = self.levels[side].get(ticks, 0)
        if lots == before:
            return None
        self.levels[side].pop(ticks, None)
        self.taken[side].pop(ticks, None)
        if lots:
            self.levels[side][ticks] = lots
            self.seen[side] = True
        return Change(side, ticks, before, lots)

    def set_side(self, side: int, ticks: int, lots: int) -> Change | None:
        """Set the one level of a side, as a quote does; None if that says nothing new."""
        before = self.levels[side].get(ticks, 0)
        if before == lots:
            return None
        self.levels[side], self.taken[side] = {ticks: lots}, {}
        self.seen[side] = True
        return Change(side, ticks, before, lots)


# -- the place in the queue ------------------------------------------------------------------------

Share = Callable[[float, float], float]
"""Share of a decrease that was behind us, of (ahead, behind)."""


def make_share(model: str | Mapping[str, Any]) -> Share:
    """Return a queue model: `back`, `front`, `log`, or `{kind: power, exponent: n}`."""
    if model == "back":
        return lambda ahead, behind: 1.0
    if model == "front":
        return lambda ahead, behind: 0.0
    if model == "log":
        return lambda ahead, behind: _share(math.log(1.0 + behind), math.log(1.0 + ahead))
    assert isinstance(model, Mapping)
    power = float(model["exponent"])
    return lambda ahead, behind: _share(_power(behind, power), _power(ahead, power))


def _power(x: float, exponent: float) -> float:
    return x**exponent if x > 0 else 0.0


def _share(behind: float, ahead: float) -> float:
    return behind / (behind + ahead) if behind + ahead > 0 else 1.0


def move_up(own: Own, displayed: int, share: Share) -> None:
    """Move an order up after its level came to display another quantity."""
    if own.unknown:
        own.unknown, own.ahead, own.shown, own.traded = False, float(displayed), displayed, 0
        return
    change = own.shown - displayed - own.traded
    shown, own.shown, own.traded = own.shown, displayed, 0
    if change < 0:
        own.ahead = min(own.ahead, float(displayed))
        return
    behind = shown - own.ahead
    b = share(own.ahead, behind)
    moved = own.ahead - (1.0 - b) * change + min(behind - b * change, 0.0)
    own.ahead = max(min(moved, float(displayed)), 0.0)


def trade_at(own: Own, quantity: int, left: int) -> int:
    """Let a trade at an order's price pass over it; return the lots that reach the order."""
    if own.unknown:
        return 0
    reach = left - own.ahead
    own.ahead = max(own.ahead - left, 0.0)
    own.traded += quantity
    return min(own.left, math.floor(reach + EPSILON)) if reach >= 1 - EPSILON else 0
