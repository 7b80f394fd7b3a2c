"""A market of which only bars are known: docs/venue.md, section 10."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from backtester.order_state import ENDED, OrderState
from backtester.orders import (
    NEVER_EXPIRES,
    ModifyRequest,
    Order,
    OrderType,
    Reason,
    ReportKind,
    Role,
    TimeInForce,
)
from backtester.venue.bar_book import Bar, BarBook
from backtester.venue.consequences import Consequences
from backtester.venue.live import LiveOrder
from backtester.venue.register import Register
from backtester.venue.resting import RestingOrders

__all__ = ["BarMarket"]

_BY_RANK = attrgetter("rank")
_LIVES = (OrderState.OPEN, OrderState.PARTLY_FILLED)
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)


class BarMarket(Consequences):
    """The orders of one instrument, and the bars that fill them.

    Args:
        name: Id of the instrument.
        book: Its bars.
        register: Live orders and outcomes of the whole venue.
        resting: Stays empty: bars know no queue.
        twice_mids: Returns twice the present mid of each instrument.
    """

    def __init__(
        self,
        name: str,
        book: BarBook,
        register: Register,
        resting: RestingOrders,
        twice_mids: Callable[[], Mapping[str, int]],
    ) -> None:
        super().__init__(name, register, resting)
        self.book = book
        self._twice_mids = twice_mids
        self._volume = 0
        self._seen: set[LiveOrder] = set()

    def next_event(self, block: int) -> int:
        """Return when the next bar closes, while there are orders, or the next order expires."""
        due, close = self.next_expiry, self.book.next_close() if self._live else None
        return due if close is None else min(due, close)

    def catch_up(self, now: int) -> None:
        """Let the bars up to an instant pass; the clock has seen to what they fill."""
        self.book.closing(now)
        self.book.advance(now)

    def resolve(self, now: int) -> None:
        """Do what the bars that close by an instant, and the instant itself, do to orders."""
        for bar in self.book.closing(now):
            self._fill_from(bar, now)
        self.book.advance(now)
        self._release(now)
        for live in self._by_rank(live for live in self._live.values()):
            if live.order.expires_at <= now and live.state not in ENDED:
                self._end(live, ReportKind.EXPIRED, Reason.EXPIRED)
        self._seen &= set(self._live.values())
        self.groups.forget_ended()

    # --- messages ------------------------------------------------------------------------------

    def arrive(self, orders: Sequence[Order], now: int) -> None:
        """Take in orders of one message: all are accepted or refused, then they wait for a bar."""
        members = [LiveOrder(order, now) for order in orders]
        if len(members) > 1:
            self.groups.add(members)
        for live in members:
            if live.state is OrderState.SENT:
                self._admit(live, now)
        for live in members:
            if live.state is OrderState.OPEN:
                self._reserve(live)

    def modify(self, live: LiveOrder, request: ModifyRequest, now: int) -> None:
        """Give a live order another total, another limit, or both."""
        total = request.lots or live.total
        limit = request.limit_ticks or live.limit_ticks
        if total <= live.filled:
            self.cancel(live)
            return
        if live.state not in _LIVES or (limit == live.limit_ticks and total <= live.total):
            live.limit_ticks = limit
            self._keep_place(live, total, Reason.REQUESTED)
            return
        reason = self._change(live, total, limit)
        if reason:
            self._register.refuse(ReportKind.MODIFY_REJECTED, reason, request)
            return
        live.rank = self._register.next_rank()
        live.arrived_at = now
        self._seen.discard(live)
        self._register.tell(live, ReportKind.MODIFIED, Reason.REQUESTED, total, limit)

    def close(self, order: Order, now: int) -> None:
        """Execute a market order of the venue's own, at the last close."""
        live = LiveOrder(order, now)
        live.rank = self._register.next_rank()
        self._register.tell(live, ReportKind.ACCEPTED, Reason.LIQUIDATION)
        self._register.fill(
            live, live.total, self.book.best(-live.side), now, is_maker=False, is_forced=True
        )
        self._after_fill(live, live.total)

    def _admit(self, live: LiveOrder, now: int) -> None:
        order = live.order
        self._live[order.number] = live
        self._register.live[order.number] = live
        self._expiring += order.expires_at != NEVER_EXPIRES
        reason = self._refusal(live, now)
        if reason:
            self._end(live, ReportKind.REJECTED, reason)
            return
        live.rank = self._register.next_rank()
        self._register.tell(live, ReportKind.ACCEPTED)

    def _refusal(self, live: LiveOrder, now: int) -> Reason:
        if not self.book.has_quote:
            return Reason.NO_MARKET
        if live.order.expires_at <= now:
            return Reason.EXPIRED
        if live.order.type.is_stop or live.order.role is Role.EXIT:
            return Reason.NONE
        return self._money(live, live.limit_ticks or self.book.best(-live.side))

    def _money(self, live: LiveOrder, ticks: int) -> Reason:
        """Return why an order must not be filled at a price, or NONE."""
        lots = live.left
        if live.order.is_reduce_only:
            lots = min(lots, self._reducible(live))
            if not lots:
                return Reason.REDUCE_ONLY
        return self._clearing.refusal(
            self.name,
            live.order.side,
            lots,
            ticks,
            self._twice_mids(),
            order=live.order.number,
            is_first=not live.filled,
        )

    def _reserve(self, live: LiveOrder) -> None:
        self._clearing.hold(
            live.order.number,
            self.name,
            live.order.side,
            live.left,
            live.limit_ticks or self.book.best(-live.side),
            is_first=not live.filled,
        )
        live.is_resting = True
        if live.order.is_reduce_only:
            self._reducing.append(live)

    def _change(self, live: LiveOrder, total: int, limit: int) -> Reason:
        """Change total and limit, and what is reserved; return why that is refused."""
        before = live.total, live.limit_ticks
        live.total, live.limit_ticks = total, limit
        reason = self._money(live, limit)
        if reason:
            live.total, live.limit_ticks = before
            return reason
        self._clearing.release(live.order.number)
        if live in self._reducing:
            self._reducing.remove(live)
        self._reserve(live)
        return Reason.NONE

    # --- bars ----------------------------------------------------------------------------------

    def _fill_from(self, bar: Bar, now: int) -> None:
        """Let a bar fill orders, in three rounds."""
        self._volume = bar.lots
        if not bar.lots:
            return
        waiting = [live for live in self._live.values() if live.arrived_at <= bar.open_time]
        for live in self._by_rank(waiting):
            if live.state in _LIVES and self._is_immediate(live):
                self._at_open(live, bar, now)
        for live in self._by_rank(waiting):
            if live.state is OrderState.WAITING:
                self._stop(live, bar, now)
        for live in self._by_rank(waiting):
            # a stop that this bar triggered is open from the next one
            is_open = live.state in _LIVES and live.arrived_at <= bar.open_time
            if is_open and not self._is_immediate(live):
                self._limit(live, bar, now)

    def _at_open(self, live: LiveOrder, bar: Bar, now: int) -> None:
        within = not live.limit_ticks or (live.limit_ticks - bar.open) * live.side >= 0
        lots = self._available(live) if within else 0
        if live.order.time_in_force is TimeInForce.FOK and lots < live.left:
            self._end(live, ReportKind.CANCELED, Reason.FILL_OR_KILL)
            return
        self._take(live, lots, bar.open, now)

    def _stop(self, live: LiveOrder, bar: Bar, now: int) -> None:
        stop, side = live.order.stop_ticks, live.side
        if ((bar.high if side > 0 else bar.low) - stop) * side < 0:
            return
        self._register.tell(live, ReportKind.TRIGGERED)
        for partner in list(self.groups.partners(live)):
            self._end(partner, ReportKind.CANCELED, Reason.PARTNER)
        live.arrived_at = now
        if live.order.type is OrderType.STOP_MARKET:
            worse = max(bar.open, stop) if side > 0 else min(bar.open, stop)
            self._take(live, self._available(live), worse, now)
            return
        reason = self._money(live, live.limit_ticks)
        if reason:
            self._end(live, ReportKind.CANCELED, reason)
        else:
            self._reserve(live)

    def _take(self, live: LiveOrder, lots: int, ticks: int, now: int) -> None:
        """Fill an order as taker, if it can still be paid for, and cancel the rest."""
        reason = self._money(live, ticks) if lots else Reason.UNFILLED_REMAINDER
        if not reason:
            self._fill(live, lots, ticks, now, is_maker=False)
            reason = Reason.UNFILLED_REMAINDER
        if live.state not in ENDED:
            self._end(live, ReportKind.CANCELED, reason)

    def _limit(self, live: LiveOrder, bar: Bar, now: int) -> None:
        side, limit = live.side, live.limit_ticks
        is_first = live not in self._seen
        self._seen.add(live)
        lots = self._available(live)
        if is_first and (limit - bar.open) * side >= 0:
            if live.order.is_post_only:
                self._end(live, ReportKind.CANCELED, Reason.POST_ONLY)
            elif lots:
                self._fill(live, lots, bar.open, now, is_maker=False)
        elif lots and (limit - (bar.low if side > 0 else bar.high)) * side > 0:
            self._fill(live, lots, limit, now, is_maker=True)

    def _fill(self, live: LiveOrder, lots: int, ticks: int, now: int, *, is_maker: bool) -> None:
        self._volume -= lots
        self._register.fill(live, lots, ticks, now, is_maker=is_maker)
        if live.state in ENDED:
            live.is_resting = False
        self._after_fill(live, lots)

    def _available(self, live: LiveOrder) -> int:
        lots = min(live.left, self._volume)
        return min(lots, self._reducible(live)) if live.order.is_reduce_only else lots

    def _release(self, now: int) -> None:
        """Open the exits of entries that were filled, or enlarge them."""
        fresh = self._released()
        for live in self._by_rank(fresh):
            if live.state in ENDED:
                continue
            live.arrived_at = now
            if live.state is OrderState.HELD:
                self._register.tell(live, ReportKind.RELEASED, Reason.NONE, live.total)
                if not live.order.type.is_stop:
                    self._open(live)
                continue
            total, reason = live.total + fresh[live], Reason.NONE
            if live.state in _LIVES:
                reason = self._change(live, total, live.limit_ticks)
            live.total = live.total if reason else total
            kind = ReportKind.MODIFY_REJECTED if reason else ReportKind.MODIFIED
            told = (reason or Reason.PARTNER, 0 if reason else live.total, live.limit_ticks)
            self._register.tell(live, kind, *told)

    def _open(self, live: LiveOrder) -> None:
        reason = self._money(live, live.limit_ticks)
        if reason:
            self._end(live, ReportKind.CANCELED, reason)
        else:
            self._reserve(live)

    def _is_immediate(self, live: LiveOrder) -> bool:
        return not live.limit_ticks or live.order.time_in_force in _IMMEDIATE

    def _by_rank(self, orders: Iterable[LiveOrder]) -> list[LiveOrder]:
        return sorted(orders, key=_BY_RANK)
