"""Orders that belong together at the venue: partners that cancel each other, and brackets."""

from __future__ import annotations

from collections.abc import Iterator

from backtester.order_state import ENDED
from backtester.orders import Role
from backtester.venue.live import LiveOrder

__all__ = ["Groups"]


class Groups:
    """Who belongs to whom, and which entries wait to release their exits."""

    def __init__(self) -> None:
        self._members: dict[int, list[LiveOrder]] = {}
        self._entries: list[LiveOrder] = []

    def add(self, members: list[LiveOrder]) -> None:
        """Note orders that arrived together."""
        self._members[members[0].order.group] = members

    def partners(self, live: LiveOrder) -> Iterator[LiveOrder]:
        """Yield the living partners of an order, by order number; for an entry there are none."""
        if live.order.role in (Role.PARTNER, Role.EXIT):
            for member in self._alive(live.order.group):
                if member is not live and member.order.role is live.order.role:
                    yield member

    def exits(self, entry: LiveOrder) -> Iterator[LiveOrder]:
        """Yield the living exits of a bracket's entry, by order number."""
        if entry.order.role is Role.ENTRY:
            for member in self._alive(entry.order.group):
                if member.order.role is Role.EXIT:
                    yield member

    def note_fill(self, live: LiveOrder) -> None:
        """Remember an entry whose fills have exits to release."""
        if live.order.role is Role.ENTRY and live not in self._entries:
            self._entries.append(live)

    def take_entries(self) -> list[LiveOrder]:
        """Return the entries filled since the last call."""
        entries, self._entries = self._entries, []
        return entries

    def forget_ended(self) -> None:
        """Forget groups of which nothing is alive."""
        ended = [
            number
            for number, members in self._members.items()
            if all(member.state in ENDED for member in members)
        ]
        for number in ended:
            del self._members[number]

    def _alive(self, group: int) -> list[LiveOrder]:
        members = self._members.get(group, ())
        return [member for member in members if member.state not in ENDED]
