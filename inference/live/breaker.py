"""The circuit breaker of a live variant: what it lets through, what it learns from outcomes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum

from inference.schedule import Outcome
from inference.serving.policies.breaker import CircuitBreaker

__all__ = ["Breaker", "BreakerState"]

_MILLION = 1_000_000


class BreakerState(IntEnum):
    """As `Changes` has it."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


class Breaker:
    """Lets attempts through until too many fail; then none for a while; then a few that probe.

    Each state is an epoch, and learns from its own attempts only: what was sent before the breaker
    opened says nothing about whether the deployment has recovered.
    """

    def __init__(self, policy: CircuitBreaker, changed: Callable[[BreakerState], None]) -> None:
        """Begin closed.

        Args:
            policy: When it opens, and for how long.
            changed: Told of each new state.
        """
        self._policy, self._changed = policy, changed
        self._counts = {Outcome[cause.upper()] for cause in policy.counts if cause != "nan"}
        self.state, self.epoch, self._since = BreakerState.CLOSED, 1, 0
        self._in_a_row = self._failures = self._probing = self._good = 0
        self._recent: deque[bool] = deque()

    def is_open(self, now: int) -> bool:
        """Tell whether it would refuse whatever came."""
        return self.state == BreakerState.OPEN and now < self._since + self._policy.open_for

    def lets_through(self, now: int) -> bool:
        """Ask for an attempt that is about to leave; one that probes is counted as out."""
        if self.is_open(now):
            return False
        if self.state == BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN, now)
        if self.state == BreakerState.HALF_OPEN:
            if self._probing >= self._policy.half_open_probes:
                return False
            self._probing += 1
        return True

    def learn(self, epoch: int, outcome: Outcome, is_nan: bool, now: int) -> None:
        """Hear how an attempt of an epoch ended; of an earlier epoch, or of none, it counts not."""
        if epoch != self.epoch:
            return
        answered = outcome == Outcome.COMPLETED
        failed = outcome in self._counts or (answered and is_nan and "nan" in self._policy.counts)
        if self.state == BreakerState.HALF_OPEN:
            self._probing -= 1
            self._learn_from_probe(failed, answered, now)
        elif (failed or answered) and self._fails_too_often(failed):
            self._enter(BreakerState.OPEN, now)

    def _learn_from_probe(self, failed: bool, answered: bool, now: int) -> None:
        if failed:
            self._enter(BreakerState.OPEN, now)
        elif answered:
            self._good += 1
            if self._good >= self._policy.half_open_probes:
                self._enter(BreakerState.CLOSED, now)

    def _fails_too_often(self, failed: bool) -> bool:
        policy = self._policy
        if policy.failure_rate is None:
            self._in_a_row = self._in_a_row + 1 if failed else 0
            return self._in_a_row >= (policy.failure_threshold or 1)
        if len(self._recent) == policy.window:
            self._failures -= self._recent.popleft()
        self._recent.append(failed)
        self._failures += failed
        seen, rate = len(self._recent), int(policy.failure_rate * _MILLION + 0.5)
        return seen >= policy.min_requests and self._failures * _MILLION >= rate * seen

    def _enter(self, state: BreakerState, now: int) -> None:
        self.state, self._since = state, now
        self.epoch += 1
        self._in_a_row = self._failures = self._probing = self._good = 0
        self._recent.clear()
        self._changed(state)
