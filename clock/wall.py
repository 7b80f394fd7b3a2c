"""The clock protocol on host time: the only file that reads the host's clock.

For live inference and paper trading. There is no thread: whoever owns the clock calls
`run_pending` or `run_until`, and actions run there.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path

from clock.base import NEVER, Action, Handle, Key
from clock.rank import Rank

_SECOND = 1_000_000_000


def host_ns() -> int:
    """Return nanoseconds of the host's steady clock, for measuring how long our own code takes."""
    return time.perf_counter_ns()


_OFFSET = time.time_ns() - time.monotonic_ns()
"""From the host's steady clock to UTC: read once, so that all stamps of a process can be compared
and none goes back, even if the host's time is set."""


def steady_ns() -> int:
    """Return the host's steady clock, which all its processes share; its zero means nothing."""
    return time.monotonic_ns()


def utc_of(steady: int) -> int:
    """Return UTC nanoseconds of an instant of the host's steady clock."""
    return _OFFSET + steady


def utc_now() -> int:
    """Return UTC nanoseconds that never go back; what a `WallClock` reads."""
    return _OFFSET + time.monotonic_ns()


def steady_clock_id() -> str:
    """Return what two processes have in common if, and only if, they share a steady clock.

    That is the boot of one kernel and one time namespace in it; elsewhere than on Linux the name
    of the host.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/time')}"
    except OSError:
        return platform.node()


def _sleep(duration_ns: int) -> None:
    time.sleep(duration_ns / _SECOND)


class WallClock:
    """The present of the host.

    Unlike simulated time, host time passes between deciding and asking: an action asked for in the
    past is not refused but runs at the next opportunity, before everything due later.
    """

    __slots__ = ("_heap", "_latest", "_read", "_sleep", "_ticket")

    def __init__(
        self,
        read: Callable[[], int] | None = None,
        sleep: Callable[[int], None] = _sleep,
    ) -> None:
        """Start at the host's present.

        Args:
            read: Returns the present in nanoseconds since 1970 UTC; the host's own by default.
            sleep: Waits for about so many nanoseconds.
        """
        self._read = read or utc_now
        self._sleep = sleep
        self._heap: list[tuple[int, int, Key, int, Handle]] = []
        self._ticket = 0
        self._latest = self._read()

    @property
    def now(self) -> int:
        """The present instant; it never decreases, even if the reader does."""
        self._latest = max(self._latest, self._read())
        return self._latest

    @property
    def due(self) -> int:
        """Instant of the earliest entry, or `NEVER`; a cancelled entry may make it too early."""
        return self._heap[0][0] if self._heap else NEVER

    def call_at(
        self, instant: int, action: Action, rank: int = Rank.TIMER, key: Key = ()
    ) -> Handle:
        """Run an action once the host's time has reached an instant.

        Returns:
            A handle that cancels it.
        """
        handle = Handle(action)
        self._ticket += 1
        heappush(self._heap, (instant, rank, key, self._ticket, handle))
        return handle

    def call_later(
        self, delay_ns: int, action: Action, rank: int = Rank.TIMER, key: Key = ()
    ) -> Handle:
        """Run an action once so much time has passed from now."""
        return self.call_at(self.now + delay_ns, action, rank, key)

    def run_pending(self) -> int:
        """Run what is due by now, in the published order, and return how many actions ran.

        What becomes due while they run is left for the next call, so this always returns.
        """
        return self._run_before(self.now + 1)

    def run_until(self, until: int) -> None:
        """Sleep and run until the host's time is *until*; what is due then stays on the agenda."""
        while (now := self.now) < until:
            if self._run_before(min(now + 1, until)) == 0:
                self._sleep(min(self.due, until) - now)
        self._run_before(until)

    def _run_before(self, limit: int) -> int:
        ran = 0
        heap, last_ticket = self._heap, self._ticket
        postponed = []
        try:
            while heap and heap[0][0] < limit:
                entry = heappop(heap)
                action = entry[4]._action
                if entry[3] > last_ticket:
                    postponed.append(entry)
                elif action is not None:
                    ran += 1
                    action()
        finally:
            for entry in postponed:
                heappush(heap, entry)
        return ran
