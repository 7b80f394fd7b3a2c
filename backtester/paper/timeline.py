"""A window's items, each handed over when its instant has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from backtester.lockstep import LockstepPlanes
from backtester.paper.pacer import Pacer
from backtester.timeline import Subscription, Timeline
from clock.rank import Rank
from clock.simulated import SimulatedClock

__all__ = ["PacedTimeline"]

_AFTER_ALL_RANKS = int(Rank.TIMER) + 1


class PacedTimeline(Timeline):
    """Between two items it waits, runs what is due on the clock, and lets replies in.

    Args:
        subscriptions: As in `Timeline`.
        until: End of the window: the last item is followed by a wait for it.
        clock: The trading plane's clock.
        planes: The planes whose loops get replies.
        pacer: Knows what time it is.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        until: int,
        clock: SimulatedClock,
        planes: LockstepPlanes,
        pacer: Pacer,
    ) -> None:
        super().__init__(subscriptions)
        self.single = None  # the engine's shortest loop does not wait
        self._until, self._clock = until, clock
        self._planes, self._pacer = planes, pacer

    def merged(self) -> Iterator[tuple[int, int, Callable[[Any, Any], None], Any]]:
        """Yield the items of all sources in the order of time, each at its instant."""
        for item in super().merged():
            self._wait_for(item[0])
            yield item
        self._wait_for(self._until)

    def _wait_for(self, instant: int) -> None:
        """Return once an instant has come and everything due before it was done."""
        clock, pacer, planes = self._clock, self._pacer, self._planes
        while True:
            planes.take_replies()
            due = clock.due
            if not pacer.reached(min(due, instant)):
                pacer.wait(min(due, instant))
            elif due >= instant:
                return
            else:
                clock.advance_to(due, _AFTER_ALL_RANKS)
