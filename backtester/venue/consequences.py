"""What follows at the venue when an order is filled or ends: partners, reduce-only, brackets."""

from __future__ import annotations

from operator import attrgetter

from backtester.order_state import ENDED, OrderState
from backtester.orders import NEVER_EXPIRES, Reason, ReportKind
from backtester.venue.groups import Groups
from backtester.venue.live import LiveOrder
from backtester.venue.register import Register
from backtester.venue.resting import RestingOrders

__all__ = ["Consequences"]

_BY_RANK = attrgetter("rank")


class Consequences:
    """The living orders of one instrument, and how they come to an end.

    Args:
        name: Id of the instrument.
        register: Live orders and outcomes of the whole venue.
        resting: The orders that stand in the book, and stops that wait.
    """

    def __init__(self, name: str, register: Register, resting: RestingOrders) -> None:
        self.name = name
        self.resting = resting
        self.groups = Groups()
        self._register = register
        self._clearing = register.clearing
        self._live: dict[int, LiveOrder] = {}
        self._reducing: list[LiveOrder] = []
        self._expiring = 0

    @property
    def live(self) -> list[LiveOrder]:
        """Live orders by number."""
        return [self._live[number] for number in sorted(self._live)]

    @property
    def next_expiry(self) -> int:
        """The earliest instant at which a live order expires."""
        if not self._expiring:
            return NEVER_EXPIRES
        return min(live.order.expires_at for live in self._live.values())

    def cancel(self, live: LiveOrder, reason: Reason = Reason.REQUESTED) -> None:
        """Cancel a live order."""
        self._end(live, ReportKind.CANCELED, reason)
        self.resting.settle()

    def _released(self) -> dict[LiveOrder, int]:
        """Return the exits of entries that were filled, with the lots filled since the last."""
        fresh = {}
        for entry in self.groups.take_entries():
            for live in self.groups.exits(entry):
                fresh[live] = entry.filled - entry.released
                if live.state is OrderState.HELD:
                    live.total = entry.filled
            entry.released = entry.filled
        return fresh

    def _after_fill(self, live: LiveOrder, lots: int) -> None:
        if live.order.group:
            for partner in list(self.groups.partners(live)):
                self._take_off(partner, lots)
            self.groups.note_fill(live)
        reducing = {*self._reducing, live} if live.order.is_reduce_only else self._reducing
        for other in sorted(reducing, key=_BY_RANK):
            if other.state not in ENDED and not self._reducible(other):
                self._end(other, ReportKind.CANCELED, Reason.REDUCE_ONLY)
        if live.state in ENDED:
            self._forget(live)

    def _take_off(self, live: LiveOrder, lots: int) -> None:
        if live.left <= lots:
            self._end(live, ReportKind.CANCELED, Reason.PARTNER)
        else:
            self._keep_place(live, live.total - lots, Reason.PARTNER)

    def _keep_place(self, live: LiveOrder, total: int, why: Reason) -> None:
        """Change an order's total without moving it."""
        if live.is_resting:
            self._clearing.release(live.order.number, live.total - total)
        live.total = total
        if live.is_listed:
            self.resting.set_lots(live)
        self._register.tell(live, ReportKind.MODIFIED, why, total, live.limit_ticks)

    def _end(self, live: LiveOrder, kind: ReportKind, reason: Reason) -> None:
        """Let an order end with what is left of it given up, and what follows from that."""
        if live.is_resting:
            self._clearing.release(live.order.number)
            live.is_resting = False
        self._unlist(live)
        self._register.tell(live, kind, reason, live.left)
        self._forget(live)
        if not live.order.group:
            return
        if reason is not Reason.PARTNER:  # who goes for a partner does not take it along
            for partner in list(self.groups.partners(live)):
                self._end_partner(partner)
        if not live.filled:
            for held in list(self.groups.exits(live)):
                self._end_partner(held)

    def _end_partner(self, live: LiveOrder) -> None:
        was_sent = live.state is OrderState.SENT
        kind = ReportKind.REJECTED if was_sent else ReportKind.CANCELED
        if live.state not in ENDED:
            self._end(live, kind, Reason.PARTNER)

    def _unlist(self, live: LiveOrder) -> None:
        if live.is_listed:
            live.is_listed = False
            self.resting.remove(live)

    def _forget(self, live: LiveOrder) -> None:
        if self._live.pop(live.order.number, None) is None:
            return
        self._expiring -= live.order.expires_at != NEVER_EXPIRES
        if live in self._reducing:
            self._reducing.remove(live)

    def _reducible(self, live: LiveOrder) -> int:
        """Return by how many lots an order may make the position smaller."""
        return max(-self._clearing.account.position(self.name) * live.side, 0)
