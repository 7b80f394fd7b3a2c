"""The strategy's own time: it does one thing after another, and each takes a while.

What reaches the strategy waits in one inbox, first in, first out. A callback begins when what it is
about has arrived and the callback before it has ended; it takes the scenario's `decision_latency`;
what it sends leaves at its end. A callback knows what was known when its event arrived, not what
arrived while it waited: an inbox is read in order. So callbacks can run at the instants of their
events, as `ctx.now` says, and only the departure of their orders is put off: the two are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from backtester.callbacks import CALLBACKS
from clock.base import Clock

if TYPE_CHECKING:
    from clock.sampler import Sampler

__all__ = ["Desk"]

_UNTIMED = frozenset({"on_start", "on_stop"})


class Desk:
    """Keeps account of until when the strategy is busy.

    Args:
        clock: The run's clock.
        latency: Sampler of the decision latency.

    Attributes:
        busy_until: When the callback that now runs, or ran last, ends.
    """

    def __init__(self, clock: Clock, latency: Sampler) -> None:
        self._clock = clock
        self._latency = latency
        self._counts: dict[str, tuple[int, int]] = {}
        self.is_instant = latency.is_zero
        self.busy_until = 0

    @property
    def leaves_at(self) -> int:
        """Instant at which what is sent now leaves."""
        return max(self.busy_until, self._clock.now)

    def timed(self, name: str, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback that keeps the strategy busy, or itself where it takes no time.

        `on_start` takes none: it runs before anything is visible. Nothing leaves from `on_stop`.
        """
        if self.is_instant or name in _UNTIMED:
            return callback
        code = CALLBACKS.index(name)

        def run(*args: Any) -> None:
            self._begin(name, code)
            callback(*args)

        return run

    def _begin(self, name: str, code: int) -> None:
        # a draw belongs to the callback, the instant and its place among those of the instant
        now = self._clock.now
        instant, count = self._counts.get(name, (now, 0))
        ordinal = count if instant == now else 0
        self._counts[name] = (now, ordinal + 1)
        begin = max(now, self.busy_until)
        self.busy_until = begin + self._latency.draw(begin, now, code, ordinal)
