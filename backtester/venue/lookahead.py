"""When the clock must next turn to a market: found by scanning its records ahead, in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from clock.base import NEVER, Clock, Handle
from clock.rank import Rank

__all__ = ["Lookahead", "Waiting"]

_FIRST_BLOCK = 64
_LARGEST_BLOCK = 1 << 14


class Waiting(Protocol):
    """A market, as the clock sees it."""

    def next_event(self, block: int) -> int:
        """Return when something may be due next, having looked at so many records."""


class Lookahead:
    """Keeps one entry on the clock for a market: its next fill, trigger or expiry, or the end of
    the records looked at so far.

    What is found is provisional: an own arrival looks anew. Blocks grow while nothing happens, so
    that little is looked at in vain where our orders change often. Nothing depends on their size.

    Args:
        market: The market.
        clock: The run's clock.
        place: Place of the instrument in the scenario.
        act: Called when something is due.
    """

    def __init__(
        self, market: Waiting, clock: Clock, place: int, act: Callable[[int], None]
    ) -> None:
        self._market = market
        self._clock = clock
        self._key = (place,)
        self._act = act
        self._block = _FIRST_BLOCK
        self._due = NEVER
        self._handle: Handle | None = None

    def start(self, *, only_less: bool = False) -> None:
        """Look anew, after an own order changed something or a window was opened.

        Args:
            only_less: Whether orders have only gone: then nothing is due before what was found.
        """
        if only_less and self._handle is not None:
            return
        self._block = _FIRST_BLOCK
        self._look()

    def _look(self) -> None:
        due = self._market.next_event(self._block)
        if due == self._due and self._handle is not None:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._due = due
        if due < NEVER:
            self._handle = self._clock.call_at(due, self._wake, Rank.MATCHING, self._key)

    def _wake(self) -> None:
        self._handle = None
        self._due = NEVER
        self._block = min(2 * self._block, _LARGEST_BLOCK)
        self._act(self._clock.now)
        self._look()
