"""Orders that take: what refuses them, how they walk the book, where they come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from backtester.order_state import ENDED
from backtester.orders import Reason, ReportKind, TimeInForce
from backtester.venue.book import UNKNOWN, Book
from backtester.venue.consequences import Consequences
from backtester.venue.live import LiveOrder
from backtester.venue.register import Register
from backtester.venue.resting import RestingOrders
from backtester.venue.tape import NO_TAPE, Tape, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SelfTrade", "Taking"]

SelfTrade = Literal["cancel_resting", "cancel_incoming", "cancel_both"]


class Taking(Consequences):
    """One instrument's book, and the orders that walk it.

    Args:
        name: Id of the instrument.
        book: Its displayed levels.
        register: Live orders and outcomes of the whole venue.
        resting: The orders that stand in the book, and stops that wait.
        self_trade: What happens when an order meets our own.
        twice_mids: Returns twice the present mid of each instrument.
    """

    def __init__(
        self,
        name: str,
        book: Book,
        register: Register,
        resting: RestingOrders,
        self_trade: SelfTrade,
        twice_mids: Callable[[], Mapping[str, int]],
    ) -> None:
        super().__init__(name, register, resting)
        self.book = book
        self._self_trade = self_trade
        self._twice_mids = twice_mids
        self._trades: Callable[[], Tape] = lambda: NO_TAPE
        self._tape: Tape | None = None

    @property
    def tape(self) -> Tape:
        """Book and trades of this window, in the venue's order."""
        if self._tape is None:
            self._tape = merged(self.book.tape(), self._trades())
        return self._tape

    def _taking_refusal(self, live: LiveOrder, now: int) -> Reason:
        order, lots = live.order, live.left
        if order.expires_at <= now:
            return Reason.EXPIRED
        if order.is_reduce_only:
            lots = min(lots, self._reducible(live))
            if not lots:
                return Reason.REDUCE_ONLY
        if order.is_post_only:
            best = next(self.book.left(-live.side), None)
            if best is not None and (live.limit_ticks - best[0]) * live.side >= 0:
                return Reason.POST_ONLY
        return self._clearing.refusal(
            self.name,
            order.side,
            lots,
            live.limit_ticks or self._worst_reach(live),
            self._twice_mids(),
            order=order.number,
            is_first=not live.filled,
        )

    def _worst_reach(self, live: LiveOrder) -> int:
        """Return the worst price that a market order reaches, the best one where all is taken."""
        left, worst = live.left, self.book.best(-live.side)
        for ticks, lots in self.book.left(-live.side):
            left, worst = left - lots, ticks
            if left <= 0:
                break
        return worst

    def _execute(self, live: LiveOrder, now: int) -> None:
        order = live.order
        if order.time_in_force is TimeInForce.FOK and not self._has_enough(live):
            self._end(live, ReportKind.CANCELED, Reason.FILL_OR_KILL)
            return
        self._walk(live, now)
        if live.state in ENDED:
            return
        if order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            self._end(live, ReportKind.CANCELED, Reason.UNFILLED_REMAINDER)
        else:
            self._rest(live, now)

    def _walk(self, live: LiveOrder, now: int, *, is_forced: bool = False) -> None:
        """Take what is left of the book, level by level, as far as the limit."""
        side, limit = live.side, live.limit_ticks
        own = self._opposing(live)
        for ticks, displayed in self.book.left(-side):
            if limit and (ticks - limit) * side > 0:
                break
            if own and not self._meet(live, own, ticks - side):
                return
            lots = min(live.left, displayed)
            if live.order.is_reduce_only:
                lots = min(lots, self._reducible(live))
            self.book.take(-side, ticks, lots)
            self._register.fill(live, lots, ticks, now, is_maker=False, is_forced=is_forced)
            self._after_fill(live, lots)
            if live.state in ENDED:
                return
        bound = limit or self.book.worst(-side)
        if own and bound:
            self._meet(live, own, bound)

    def _meet(self, live: LiveOrder, own: list[LiveOrder], ticks: int) -> bool:
        """Deal with own orders up to a price; return whether the arriving order goes on."""
        while own and (ticks - own[0].limit_ticks) * live.side >= 0:
            met = own.pop(0)
            if met.state in ENDED:
                continue
            if self._self_trade != "cancel_incoming":
                self._end(met, ReportKind.CANCELED, Reason.SELF_TRADE)
            if self._self_trade != "cancel_resting" and live.state not in ENDED:
                self._end(live, ReportKind.CANCELED, Reason.SELF_TRADE)
            if live.state in ENDED:
                return False
        return True

    def _has_enough(self, live: LiveOrder) -> bool:
        """Return whether the book holds all of a fill-or-kill order within its limit."""
        if live.order.is_reduce_only and self._reducible(live) < live.left:
            return False
        own = self._opposing(live) if self._self_trade != "cancel_resting" else []
        left = live.left
        for ticks, lots in self.book.left(-live.side):
            if live.limit_ticks and (ticks - live.limit_ticks) * live.side > 0:
                break
            if own and (ticks - own[0].limit_ticks) * live.side > 0:
                break
            left -= lots
            if left <= 0:
                return True
        return False

    def _opposing(self, live: LiveOrder) -> list[LiveOrder]:
        """Return our own orders in the book on the other side, best first."""
        return [other for other in self.resting if other.is_resting and other.side != live.side]

    def _rest(self, live: LiveOrder, now: int) -> None:
        order = live.order
        self._clearing.hold(
            order.number,
            self.name,
            order.side,
            live.left,
            live.limit_ticks,
            is_first=not live.filled,
        )
        live.is_resting = live.is_listed = True
        displayed = self.book.displayed(live.side, live.limit_ticks)
        ahead = float("inf") if displayed == UNKNOWN else float(displayed)
        self._ensure_tape(now)
        self.resting.add(live, displayed, ahead)
        if order.is_reduce_only:
            self._reducing.append(live)

    def _ensure_tape(self, now: int) -> None:
        if not len(self.resting):
            self.resting.open_window(self.tape, self.tape.end(now))
