"""A naive venue, written from `docs/venue.md` alone: lists, one record at a time, no window.

It keeps no money: whoever compares with it gives the other side enough. Section numbers are those
of the document.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference.exchange_book import ASKS, BIDS, Change, move_up, trade_at
from tests.reference.exchange_orders import (
    Ask,
    Bracket,
    Cancel,
    Event,
    Message,
    Modify,
    Own,
    Pair,
)
from tests.reference.exchange_taking import Taker


class Exchange(Taker):
    """The venue: what happens at it, one thing after another, through its public methods."""

    # -- the market ------------------------------------------------------------------------------

    def trade(self, name: str, ticks: int, lots: int, aggressor: int) -> None:
        """Section 4, a trade."""
        side, left = -aggressor, lots
        for own in self._resting(name, side):
            if not own.resting:
                continue
            assert own.limit is not None
            beyond = (own.limit - ticks) * side
            if beyond > 0:
                reached = own.left
            elif beyond == 0:
                reached = trade_at(own, lots, left)
            else:
                reached = 0
            left = max(left - self._fill_resting(own, reached), 0)

    def quote(self, name: str, bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
        """Section 4, a quote."""
        book = self.books[name]
        changes = [book.set_side(BIDS, bid, bid_lots), book.set_side(ASKS, ask, ask_lots)]
        news = [change for change in reversed(changes) if change is not None]
        for change in news:
            self._cross(name, change)
        for change in news:
            for own in self._resting(name, change.side):
                assert own.limit is not None
                beyond = (own.limit - change.ticks) * change.side
                if own.resting and beyond >= 0:
                    move_up(own, change.after if beyond == 0 else 0, self.share)
        self._touch(name)

    def depth(self, name: str, side: int, ticks: int, lots: int) -> None:
        """Section 4, a depth record."""
        change = self.books[name].set_level(side, ticks, lots)
        if change is not None:
            self._cross(name, change)
            for own in self._resting(name, side):
                if own.resting and own.limit == ticks:
                    move_up(own, lots, self.share)
        self._touch(name)

    def snapshot(self, name: str, rows: Sequence[tuple[int, int, int]]) -> None:
        """Section 2, a snapshot: rows of (side, ticks, lots)."""
        kept = {(side, ticks) for side, ticks, _ in rows}
        for side in (BIDS, ASKS):
            old = sorted(self.books[name].levels[side], key=lambda ticks: -ticks * side)
            for ticks in old:
                if (side, ticks) not in kept:
                    self.depth(name, side, ticks, 0)
        for side, ticks, lots in rows:
            self.depth(name, side, ticks, lots)

    def _cross(self, name: str, change: Change) -> None:
        """Let what is new on one side fill what rests on the other."""
        side, fresh = -change.side, change.after - change.before
        if fresh <= 0:
            return
        for own in self._resting(name, side):
            if not own.resting:
                continue
            assert own.limit is not None
            beyond = (own.limit - change.ticks) * side
            if beyond >= 0:
                filled = self._fill_resting(own, own.left if beyond else fresh, change)
                fresh = max(fresh - filled, 0)

    def _fill_resting(self, own: Own, reached: int, change: Change | None = None) -> int:
        lots = min(own.left, reached)
        if own.ask.reduce_only:
            lots = min(lots, self._reducible(own))
        if lots <= 0:
            return 0
        assert own.limit is not None
        if change is not None:
            self.books[own.ask.instrument].take(change.side, change.ticks, lots)
        self._fill(own, lots, own.limit, maker=True)
        return lots

    def _touch(self, name: str) -> None:
        for own in self._of(name, "waiting"):
            own.touched = own.touched or self._is_triggered(own)

    def settle(self, name: str, instant: int) -> None:
        """End the records of an instant: stops and exits of brackets, then expiries (section 1)."""
        while due := [own for own in self._of(name) if own.is_due]:
            for own in due:
                if own.live and own.is_due:
                    self._act(own)
        for own in self._of(name):
            if own.live and own.ask.expires_at <= instant:
                self._end(own, "expired", "expired")

    def _act(self, own: Own) -> None:
        if own.state == "waiting" and own.touched:
            if own.called or own.grown:
                self._catch_up(own)  # it grows first, and is triggered with all its lots
            self._trigger(own)
        else:
            self._catch_up(own)

    # -- messages --------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Deal with what reaches the venue."""
        if isinstance(message, Ask):
            self._arrive([self._own(message)])
        elif isinstance(message, Pair):
            first, second = self._own(message.first), self._own(message.second)
            first.partner, second.partner = second, first
            self._arrive([first, second])
        elif isinstance(message, Bracket):
            self._arrive(self._bracket(message))
        elif isinstance(message, Modify):
            self._modify(message)
        else:
            self._cancel(message)

    def _own(self, ask: Ask) -> Own:
        own = self.orders[ask.number] = Own(ask)
        self.alive[ask.instrument].append(own)
        return own

    def _bracket(self, message: Bracket) -> list[Own]:
        entry = self._own(message.entry)
        exits = [self._own(message.take_profit), self._own(message.stop_loss)]
        exits[0].partner, exits[1].partner = exits[1], exits[0]
        entry.exits = exits
        for own in exits:
            own.entry = entry
        return [entry, *exits]

    def _arrive(self, group: Sequence[Own]) -> None:
        for own in group:
            if own.state != "sent":
                continue
            gone = own.entry is not None and not own.entry.live
            gone = gone or (own.partner is not None and own.partner.state == "rejected")
            reason = "partner" if gone else self._refusal(own)
            if reason:
                own.state = "rejected"
                self._tell(own, "rejected", reason, own.left)
                self._after_end(own)
                continue
            own.rank = self._next_rank()
            own.state = "waiting" if own.ask.stop is not None else "open"
            if own.entry is not None:
                own.state = "held"
            self._tell(own, "accepted")
        for own in group:
            if own.state == "waiting" and self._is_triggered(own):
                self._trigger(own)
            elif own.state == "open":
                self._go(own)

    def _cancel(self, message: Cancel) -> None:
        if message.number:
            own = self.orders.get(message.number)
            if own is None or not own.live:
                event = Event(self.now, message.number, "cancel_rejected", "not_open")
                self.events.append(event)
            else:
                self._end(own, "canceled", "requested")
            return
        for own in sorted(self.orders.values(), key=lambda own: own.number):
            if own.live and message.instrument in ("", own.ask.instrument):
                self._end(own, "canceled", "requested")

    def _modify(self, message: Modify) -> None:
        own = self.orders.get(message.number)
        if own is None or not own.live:
            event = Event(self.now, message.number, "modify_rejected", "not_open")
            self.events.append(event)
            return
        total, limit = message.lots or own.total, message.limit or own.limit
        if total <= own.filled:
            self._end(own, "canceled", "requested")
            return
        if own.state == "open" and (limit != own.limit or total > own.total):
            self._move(own, total, limit, "requested")
            return
        own.total, own.limit = total, limit
        self._tell(own, "modified", "requested", total)
