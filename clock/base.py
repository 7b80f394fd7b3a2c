"""The clock every plane is given: read the present, ask to be called later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from clock.rank import Rank

Action = Callable[[], object]
"""What runs when an entry is due; its result is ignored."""

Key = tuple[int, ...]
"""Order among entries of one instant and rank, fixed by the entity behind the entry."""

NEVER = 2**63 - 1
"""The instant at which nothing is due."""


class Handle:
    """One entry of a clock's agenda; `cancel()` takes it off."""

    __slots__ = ("_action", "_depth", "_parent")

    def __init__(self, action: Action, depth: int = 0, parent: Handle | None = None) -> None:
        self._action: Action | None = action
        self._depth = depth
        self._parent = parent

    def cancel(self) -> None:
        """Keep the action from running; does nothing once it ran or was cancelled."""
        self._action = None


@runtime_checkable
class Clock(Protocol):
    """The present instant, and calls at later ones.

    `now` is a property, so that a call `.now()` is always a read of the host's clock.
    """

    @property
    def now(self) -> int:
        """The present instant; it never decreases."""
        ...

    def call_at(
        self, instant: int, action: Action, rank: int = Rank.TIMER, key: Key = ()
    ) -> Handle:
        """Run an action at an instant, among others due then by rank, key, and order of asking."""
        ...

    def call_later(
        self, delay_ns: int, action: Action, rank: int = Rank.TIMER, key: Key = ()
    ) -> Handle:
        """Run an action after a delay from now."""
        ...
