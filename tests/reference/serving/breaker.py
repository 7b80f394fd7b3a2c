"""The circuit breaker of one variant."""

from __future__ import annotations

from tests.reference.serving.records import Attempt
from tests.reference.serving.settings import Breaker


class CircuitBreaker:
    """Counts how attempts ended; each state is an epoch, and counts only its own attempts."""

    def __init__(self, settings: Breaker) -> None:
        self.settings = settings
        self.epoch = 0
        self._enter("closed", 0)

    def _enter(self, state: str, now: int) -> None:
        self.state, self.since = state, now
        self.epoch += 1
        self.in_a_row = self.out = self.successes = 0
        self.outcomes: list[bool] = []

    def is_open(self, now: int) -> bool:
        """Whether nothing is let through for some time yet."""
        return self.state == "open" and now < self.since + self.settings.open_for

    def lets_through(self, now: int) -> bool:
        """Whether an attempt may leave now; a probe that may is counted as out."""
        if self.is_open(now):
            return False
        if self.state == "open":
            self._enter("half_open", now)
        if self.state == "half_open":
            if self.out >= self.settings.probes:
                return False
            self.out += 1
        return True

    def note(self, attempt: Attempt, outcome: str, is_nan: bool, now: int) -> None:
        """Count how an attempt ended."""
        if attempt.epoch != self.epoch:
            return
        counts = self.settings.counts
        failed = outcome in counts or (outcome == "completed" and is_nan and "nan" in counts)
        counted = failed or outcome == "completed"
        if self.state == "half_open":
            self._note_probe(counted, failed, now)
        elif counted:
            self._note(failed, now)

    def _note_probe(self, counted: bool, failed: bool, now: int) -> None:
        self.out -= 1
        if failed:
            self._enter("open", now)
            return
        self.successes += counted
        if self.successes >= self.settings.probes:
            self._enter("closed", now)

    def _note(self, failed: bool, now: int) -> None:
        self.in_a_row = self.in_a_row + 1 if failed else 0
        self.outcomes.append(failed)
        settings, recent = self.settings, self.outcomes[-self.settings.window :]
        if (settings.threshold is not None and self.in_a_row >= settings.threshold) or (
            settings.rate_millionths is not None
            and len(recent) >= settings.min_requests
            and sum(recent) * 1_000_000 >= settings.rate_millionths * len(recent)
        ):
            self._enter("open", now)
