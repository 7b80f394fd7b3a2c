"""One instrument's market at the venue: what arrives, what rests, what fills it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

import numpy as np

from backtester.order_state import ENDED, OrderState
from backtester.orders import (
    NEVER_EXPIRES,
    ModifyRequest,
    Order,
    Reason,
    ReportKind,
    Role,
)
from backtester.venue.live import LiveOrder
from backtester.venue.matching import DEPTH, DONE, FILL, QUOTE, TRADE
from backtester.venue.taking import Taking
from backtester.venue.tape import Tape
from featurizer.market import Array

__all__ = ["Market"]

_LIVES = (OrderState.OPEN, OrderState.PARTLY_FILLED)
_BY_RANK = attrgetter("rank")


class Market(Taking):
    """The orders of one instrument and the book that they meet, from window to window."""

    def open_window(self, trades: Callable[[], Tape]) -> None:
        """Go on with the book's next window.

        Args:
            trades: Makes the rows of the window's trades, when they are first needed.
        """
        self._trades = trades
        self._tape = None
        if len(self.resting):
            self.resting.open_window(self.tape)

    def resume(self, resting: list[LiveOrder], queue: Array, ahead: Array, row: int) -> None:
        """Take over orders that rest, in the order of visits.

        Args:
            resting: The orders.
            queue: Their columns for the scan. Shape (n, ORDER_WIDTH).
            ahead: Lots of others ahead of each. Shape (n,).
            row: Row of the tape that the scan has come to.
        """
        for live in resting:
            order = live.order
            self._live[order.number] = self._register.live[order.number] = live
            self._clearing.hold(
                order.number,
                self.name,
                order.side,
                live.left,
                live.limit_ticks,
                is_first=not live.filled,
            )
        self.resting.open_window(self.tape, row)
        self.resting.resume(resting, queue, ahead)

    def next_event(self, block: int) -> int:
        """Return when something may be due next, `NEVER` if nothing is.

        Args:
            block: How many records to look at; where nothing happens in them, their last instant.
        """
        due = self.next_expiry
        if len(self.resting):
            times, row = self.tape.times, self.resting.row
            end = min(row + block, len(times))
            if row < end:
                found = self.resting.peek(end)
                due = min(due, int(times[found if found >= 0 else end - 1]))
        return due

    def catch_up(self, now: int) -> None:
        """Let the records up to an instant pass, of which the clock has seen to what they fill."""
        if len(self.resting):
            end = self.tape.end(now)
            if end > self.resting.row:
                code = self.resting.scan(end)
                assert code == DONE, "a fill was due before this arrival"
        self.book.advance(now)

    def resolve(self, now: int) -> None:
        """Do what the records up to an instant, and the instant itself, do to resting orders."""
        taken: list[tuple[int, int, int, int]] = []
        triggered: list[LiveOrder] = []
        if len(self.resting):
            end = self.tape.end(now)
            while (code := self.resting.scan(end)) != DONE:
                if code == FILL:
                    self._fill_resting(now, taken)
                else:
                    triggered += self.resting.triggered()
            for live in triggered:
                live.is_listed = False
            self._note_taken(taken, end)
        self.book.advance(now)
        for side, ticks, lots, _ in taken:
            self.book.take(side, ticks, lots)
        self._wake_others(triggered, now)
        if self._expiring:
            due = [live for live in self._live.values() if live.order.expires_at <= now]
            for live in sorted(due, key=_BY_RANK):
                if live.state not in ENDED:
                    self._end(live, ReportKind.EXPIRED, Reason.EXPIRED)
        self.resting.settle()

    def _fill_resting(self, now: int, taken: list[tuple[int, int, int, int]]) -> None:
        live, lots, row = self.resting.fill()
        if live.order.is_reduce_only:
            lots = min(lots, self._reducible(live))
        record = self.tape.rows[row]
        self.resting.filled(live, lots)
        if record[0] != TRADE:
            taken.append(_met(record, live, lots, row))
        self._register.fill(live, lots, live.limit_ticks, now, is_maker=True)
        if live.state in ENDED:
            live.is_resting = False
            self._unlist(live)
        self._after_fill(live, lots)

    def _note_taken(self, taken: list[tuple[int, int, int, int]], end: int) -> None:
        """Drop what was taken from levels about which a later record of the instant is new."""
        rows = self.tape.rows
        taken[:] = [item for item in taken if not _is_renewed(rows[item[3] + 1 : end], item)]

    def _wake_others(self, triggered: list[LiveOrder], now: int) -> None:
        """Go on with triggered stops and with exits of brackets, by rank, until none is left."""
        while True:
            fresh = self._released()
            waiting = {live.rank: live for live in (*triggered, *fresh)}
            if not waiting:
                return
            for _, live in sorted(waiting.items()):
                if live in fresh and live.state is OrderState.HELD:
                    self._register.tell(live, ReportKind.RELEASED, Reason.NONE, live.total)
                    self._proceed(live, now)
                elif live in fresh and live.state not in ENDED:
                    self._grow(live, fresh[live], now)
                if live in triggered and live.state not in ENDED:
                    self._trigger(live, now)
            triggered = []

    def arrive(self, orders: Sequence[Order], now: int) -> None:
        """Take in orders of one message: all are accepted or refused, then each goes on."""
        members = [LiveOrder(order, now) for order in orders]
        if len(members) > 1:
            self.groups.add(members)
        for live in members:
            if live.state is OrderState.SENT:
                self._admit(live, now)
        for live in members:
            if live.state not in ENDED:
                self._proceed(live, now)
        self._wake_others([], now)
        self.resting.settle()
        self.groups.forget_ended()

    def modify(self, live: LiveOrder, request: ModifyRequest, now: int) -> None:
        """Give a live order another total, another limit, or both."""
        total = request.lots or live.total
        limit = request.limit_ticks or live.limit_ticks
        if total <= live.filled:
            self.cancel(live)
            return
        reason = self._change(live, (total, limit), Reason.REQUESTED, now)
        if reason:
            self._register.refuse(ReportKind.MODIFY_REJECTED, reason, request)
        self._wake_others([], now)
        self.resting.settle()

    def close(self, order: Order, now: int) -> None:
        """Execute a market order of the venue's own, that nothing refuses."""
        live = LiveOrder(order, now)
        live.rank = self._register.next_rank()
        self._register.tell(live, ReportKind.ACCEPTED, Reason.LIQUIDATION)
        self._walk(live, now, is_forced=True)
        if live.state not in ENDED:
            self._end(live, ReportKind.CANCELED, Reason.UNFILLED_REMAINDER)
        self.resting.settle()

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
        order = live.order
        if not self.book.has_quote:
            return Reason.NO_MARKET
        if order.expires_at <= now:
            return Reason.EXPIRED
        if order.type.is_stop or order.role is Role.EXIT:
            return Reason.NONE
        return self._taking_refusal(live, now)

    def _proceed(self, live: LiveOrder, now: int) -> None:
        if live.state is OrderState.OPEN:
            if live.order.role is Role.EXIT and (reason := self._taking_refusal(live, now)):
                self._end(live, ReportKind.CANCELED, reason)
            else:
                self._execute(live, now)
        elif live.state is OrderState.WAITING:
            best = self.book.best(-live.side)
            if best and (best - live.order.stop_ticks) * live.side >= 0:
                self._trigger(live, now)
            else:
                self._ensure_tape(now)
                self.resting.add_stop(live)
                live.is_listed = True

    def _trigger(self, live: LiveOrder, now: int) -> None:
        live.is_listed = False
        self._register.tell(live, ReportKind.TRIGGERED)
        for partner in self.groups.partners(live):
            self._end(partner, ReportKind.CANCELED, Reason.PARTNER)
        reason = self._taking_refusal(live, now)
        if reason:
            self._end(live, ReportKind.CANCELED, reason)
        else:
            self._execute(live, now)

    def _grow(self, live: LiveOrder, lots: int, now: int) -> None:
        wanted = (live.total + lots, live.limit_ticks)
        reason = self._change(live, wanted, Reason.PARTNER, now)
        if reason:
            self._register.tell(live, ReportKind.MODIFY_REJECTED, reason)

    def _change(self, live: LiveOrder, wanted: tuple[int, int], why: Reason, now: int) -> Reason:
        """Change total and limit; return why that is refused."""
        total, limit = wanted
        if live.state not in _LIVES or (limit == live.limit_ticks and total <= live.total):
            live.limit_ticks = limit
            self._keep_place(live, total, why)
            return Reason.NONE
        before = live.total, live.limit_ticks
        live.total, live.limit_ticks = wanted
        reason = self._taking_refusal(live, now)
        if reason:
            live.total, live.limit_ticks = before
            return reason
        self._unlist(live)
        self._clearing.release(live.order.number)
        live.is_resting = False
        live.rank = self._register.next_rank()
        live.arrived_at = now
        self._register.tell(live, ReportKind.MODIFIED, why, live.total, live.limit_ticks)
        self._execute(live, now)
        return Reason.NONE


def _met(record: np.ndarray, live: LiveOrder, lots: int, row: int) -> tuple[int, int, int, int]:
    """Return what a resting order took: side of the book, price, lots, row."""
    if record[0] == DEPTH:
        return -live.side, int(record[2]), lots, row
    return -live.side, int(record[3] if live.side > 0 else record[1]), lots, row


def _is_renewed(rows: np.ndarray, item: tuple[int, int, int, int]) -> bool:
    """Return whether any of some rows says something new about a level of the book."""
    side, ticks = item[:2]
    kind = rows[:, 0]
    of_level = (kind == DEPTH) & (rows[:, 1] == side) & (rows[:, 2] == ticks)
    of_quote = (kind == QUOTE) & (rows[:, 5 if side > 0 else 6] != 0)
    return bool((of_level | of_quote).any())
