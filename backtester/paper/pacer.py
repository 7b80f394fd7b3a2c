"""The pace of a paper run: scenario time passes with the host's, and never runs ahead of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from backtester.paper.lag import LagMeter
from clock.errors import SimulationError
from clock.wall import WallClock

__all__ = ["Doorbell", "Pacer", "PaperStoppedError"]

_SECOND = 1_000_000_000
_LONGEST_NS = _SECOND
"""Waits are cut so often, to show progress and to hear of a wish to stop."""


class PaperStoppedError(SimulationError):
    """The run was asked to stop: it ends at its present instant."""


class Doorbell:
    """Something to sleep by: until some time has passed, or until somebody rings."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Wake whoever waits, now or at its next wait; from any thread."""
        self._rung.set()

    def wait(self, duration_ns: int) -> None:
        """Sleep; what rang before this call ends it at once."""
        self._rung.wait(duration_ns / _SECOND)
        # whoever rang had put something down before: it is found by looking after this
        self._rung.clear()


class Pacer:
    """Waits for instants of the scenario, and notes how late each thing was.

    Args:
        clock: Scenario time that passes with the host's.
        start: What it shows when the run begins.
        doorbell: To sleep by; rung by whoever brings a reply.
        lag: Where delays are noted.
        progress: Called with the instant reached, about once a second.
    """

    def __init__(
        self,
        clock: WallClock,
        start: int,
        doorbell: Doorbell,
        lag: LagMeter,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.clock, self.lag, self.doorbell = clock, lag, doorbell
        self.progress = progress
        self.started_at: int | None = None
        self.is_stopped = False
        self._start = start
        self._told_at = start

    def begin(self) -> None:
        """Let scenario time begin to pass, now."""
        if self.started_at is None:
            self.clock.restart(self._start)
            self.started_at = self.clock.host_now

    def stop(self) -> None:
        """End the run at its present instant; from any thread, and from a signal's handler."""
        self.is_stopped = True
        self.doorbell.ring()

    def reached(self, instant: int) -> bool:
        """Tell whether an instant has come, and note how late it is if so.

        Raises:
            PaperStoppedError: If the run was asked to stop.
        """
        if self.is_stopped:
            raise PaperStoppedError("the run was stopped")
        now = self.clock.now
        if self.progress is not None and now - self._told_at >= _SECOND * self.clock.speed:
            self._told_at = now
            self.progress(now)
        if now < instant:
            return False
        self.lag.note(now - instant)
        return True

    def wait(self, instant: int) -> None:
        """Sleep until an instant, or until somebody rings; a second at most."""
        left = self.clock.host_of(instant) - self.clock.host_now
        if left > 0:
            self.doorbell.wait(min(left, _LONGEST_NS))
