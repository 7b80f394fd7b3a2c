"""Taking, resting and what follows from a fill or an end: sections 3 and 6 to 9 of the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.reference.exchange_book import Book, make_share
from tests.reference.exchange_orders import LIVE, Event, Own


class Taker:
    """Our orders of all instruments, the books that they meet, and what they cause.

    Args:
        instruments: Ids in the order of the scenario.
        queue: The queue model.
        self_trade: What happens to own orders in the way.
        quotes_only: Whether what lies behind the best level is unknown.

    Attributes:
        events: Everything reported, in order.
    """

    def __init__(
        self,
        instruments: Sequence[str],
        queue: str | Mapping[str, Any] = "back",
        self_trade: str = "cancel_resting",
        *,
        quotes_only: bool = True,
    ) -> None:
        self.books = {name: Book() for name in instruments}
        self.position = dict.fromkeys(instruments, 0)
        self.share = make_share(queue)
        self.self_trade = self_trade
        self.quotes_only = quotes_only
        self.orders: dict[int, Own] = {}
        self.alive: dict[str, list[Own]] = {name: [] for name in instruments}
        self.events: list[Event] = []
        self.now = 0
        self.ranks = 0

    # -- taking ----------------------------------------------------------------------------------

    def _refusal(self, own: Own) -> str:
        book = self.books[own.ask.instrument]
        if not book.has_market:
            return "no_market"
        if own.ask.expires_at <= self.now:
            return "expired"
        asleep = own.state in ("sent", "waiting", "held")
        if asleep and (own.ask.stop is not None or own.entry is not None):
            return ""
        if own.ask.reduce_only and self._reducible(own) == 0:
            return "reduce_only"
        offers = book.offers(-own.side)
        if own.ask.post_only and offers and own.reaches(offers[0]):
            return "post_only"
        return ""

    def _trigger(self, own: Own) -> None:
        own.state = "open"
        self._tell(own, "triggered")
        partner, own.partner = own.partner, None
        if partner is not None and partner.live:
            partner.partner = None  # its end is none of the triggered one's
            self._end(partner, "canceled", "partner")
        self._go_on(own)

    def _go_on(self, own: Own) -> None:
        """Let an accepted order begin to trade: refused now, it is canceled."""
        reason = self._refusal(own)
        if reason:
            self._end(own, "canceled", reason)
        else:
            self._go(own)

    def _go(self, own: Own) -> None:
        if own.ask.force == "fok" and not self._whole(own):
            self._end(own, "canceled", "fill_or_kill")
        else:
            self._walk_and_rest(own)

    def _whole(self, own: Own) -> bool:
        if own.ask.reduce_only and self._reducible(own) < own.left:
            return False
        book = self.books[own.ask.instrument]
        prices = [ticks for ticks in book.offers(-own.side) if own.reaches(ticks)]
        blocking = self._in_the_way(own)
        if blocking and self.self_trade != "cancel_resting":
            wall = blocking[0].limit
            assert wall is not None
            prices = [ticks for ticks in prices if (wall - ticks) * own.side >= 0]
        return sum(book.left(-own.side, ticks) for ticks in prices) >= own.left

    def _walk_and_rest(self, own: Own) -> None:
        while own.live and own.left and self._step(own):
            pass
        if own.live and own.left:
            if own.immediate:
                self._end(own, "canceled", "unfilled_remainder")
            else:
                self._rest(own)
        for exit_ in own.exits:
            self._catch_up(exit_)

    def _move(self, own: Own, total: int, limit: int | None, reason: str) -> None:
        """Modify an open order that loses its place (section 6)."""
        before = own.total, own.limit
        own.total, own.limit = total, limit
        refusal = self._refusal(own)
        if refusal:
            own.total, own.limit = before
            self._tell(own, "modify_rejected", refusal)
            return
        own.resting = False
        own.rank = self._next_rank()
        self._tell(own, "modified", reason, total)
        self._walk_and_rest(own)

    def _step(self, own: Own) -> bool:
        """Take one level, or meet one own order; return False when there is nothing more."""
        book = self.books[own.ask.instrument]
        level = next((ticks for ticks in book.offers(-own.side) if own.reaches(ticks)), None)
        blocking = self._in_the_way(own)
        if blocking:
            wall = blocking[0].limit
            assert wall is not None
            if level is None or (wall - level) * own.side < 0:
                self._meet(own, blocking[0])
                return True
        if level is None:
            return False
        lots = min(own.left, book.left(-own.side, level))
        if own.ask.reduce_only:
            lots = min(lots, self._reducible(own))
        book.take(-own.side, level, lots)
        self._fill(own, lots, level, maker=False)
        return True

    def _in_the_way(self, own: Own) -> list[Own]:
        """Section 8: our resting orders that a walk would reach, nearest first."""
        last = self.books[own.ask.instrument].last(-own.side)
        found = []
        for other in self._resting(own.ask.instrument, -own.side):
            assert other.limit is not None
            bounded = own.limit is not None or (
                last is not None and (last - other.limit) * own.side >= 0
            )
            if bounded and own.reaches(other.limit):
                found.append(other)
        return found

    def _meet(self, own: Own, other: Own) -> None:
        if self.self_trade in ("cancel_resting", "cancel_both"):
            self._end(other, "canceled", "self_trade")
        if self.self_trade in ("cancel_incoming", "cancel_both") and own.live:
            self._end(own, "canceled", "self_trade")

    def _rest(self, own: Own) -> None:
        book, ticks = self.books[own.ask.instrument], own.limit
        assert ticks is not None
        best = book.best(own.side)
        own.resting, own.traded = True, 0
        own.shown = book.levels[own.side].get(ticks, 0)
        own.ahead = float(own.shown)
        own.unknown = self.quotes_only and best is not None and (best - ticks) * own.side > 0

    # -- what follows ----------------------------------------------------------------------------

    def _fill(self, own: Own, lots: int, ticks: int, *, maker: bool) -> None:
        name = own.ask.instrument
        own.filled += lots
        self.position[name] += own.side * lots
        if own.left == 0:
            own.state, own.resting = "filled", False
        self._tell(own, "filled", "", lots, ticks, maker)
        if own.partner is not None and own.partner.live:
            self._take_off(own.partner, lots)
        for other in self._of(name, "open"):
            if other.live and other.ask.reduce_only and self._reducible(other) == 0:
                self._end(other, "canceled", "reduce_only")
        for exit_ in own.exits:
            exit_.grown += lots if exit_.live else 0

    def _take_off(self, own: Own, lots: int) -> None:
        if own.left <= lots:
            own.partner = None  # what is left of the other one stays
            self._end(own, "canceled", "partner")
            return
        own.total -= lots
        self._tell(own, "modified", "partner", own.total)

    def _catch_up(self, own: Own) -> None:
        """Let the exit of a bracket follow the fills of its entry (section 9)."""
        assert own.entry is not None
        for other in own.entry.exits:
            if other.live and other.grown:
                other.total = other.grown + (0 if other.state == "held" else other.total)
                other.growth, other.grown, other.called = other.grown, 0, True
        if not (own.live and own.called):
            return
        own.called = False
        if own.state == "held":
            self._release(own)
        elif own.state == "open":
            total = own.total
            own.total -= own.growth  # what it keeps if it is refused
            self._move(own, total, own.limit, "partner")
        else:
            self._tell(own, "modified", "partner", own.total)

    def _release(self, own: Own) -> None:
        stop = own.ask.stop is not None
        own.state = "waiting" if stop else "open"
        self._tell(own, "released", "", own.total)
        if not stop:
            self._go_on(own)
        elif self._is_triggered(own):
            self._trigger(own)

    def _end(self, own: Own, kind: str, reason: str) -> None:
        own.state, own.resting = kind, False
        self._tell(own, kind, reason, own.left)
        self._after_end(own)

    def _after_end(self, own: Own) -> None:
        if own.partner is not None and own.partner.live:
            self._end(own.partner, "canceled", "partner")
        if not own.filled:
            for other in own.exits:
                if other.live:
                    self._end(other, "canceled", "partner")

    # -- looking things up -----------------------------------------------------------------------

    def _of(self, name: str, *states: str) -> list[Own]:
        """Return live orders of an instrument, by rank."""
        self.alive[name] = [own for own in self.alive[name] if own.state in ("sent", *LIVE)]
        found = [own for own in self.alive[name] if own.state in (states or LIVE)]
        return sorted(found, key=lambda own: own.rank)

    def _resting(self, name: str, side: int) -> list[Own]:
        """Return what rests on a side: the best price first, then by rank."""
        found = [own for own in self._of(name, "open") if own.resting and own.side == side]
        return sorted(found, key=lambda own: -(own.limit or 0) * side)

    def _reducible(self, own: Own) -> int:
        return max(-self.position[own.ask.instrument] * own.side, 0)

    def _is_triggered(self, own: Own) -> bool:
        best = self.books[own.ask.instrument].best(-own.side)
        assert own.ask.stop is not None
        return best is not None and (best - own.ask.stop) * own.side >= 0

    def _next_rank(self) -> int:
        self.ranks += 1
        return self.ranks

    def _tell(
        self,
        own: Own,
        kind: str,
        reason: str = "",
        lots: int = 0,
        ticks: int = 0,
        maker: bool = False,
    ) -> None:
        self.events.append(Event(self.now, own.number, kind, reason, lots, ticks, maker))
