"""Which variant an attempt is sent to, and the tokens that pay for retries."""

from __future__ import annotations

import math

from tests.reference.serving.breaker import CircuitBreaker
from tests.reference.serving.chance import Chance
from tests.reference.serving.records import Request
from tests.reference.serving.settings import Client, Retry


class Chooser:
    """Chooses a variant, by a split or by what it has learnt of their latencies."""

    def __init__(
        self, settings: Client, breakers: list[CircuitBreaker | None], split: Chance
    ) -> None:
        self.routing, self.variants = settings.routing, settings.variants
        self.breakers, self.split = breakers, split
        self.estimates = [variant.expected_latency for variant in settings.variants]

    def learn(self, variant: int, latency: int) -> None:
        """Take in how long an attempt took, or how old it was when it was given up."""
        self.estimates[variant] += (latency - self.estimates[variant]) >> 3

    def choose(self, request: Request, now: int) -> int | None:
        """Return the place of a variant, or None if none will do."""
        if self.routing.kind == "only":
            return 0
        if self.routing.kind == "split":
            return self._by_share(self.split(request.identity))
        everyone = range(len(self.variants))
        usable = [n for n in everyone if not self._is_open(n, now)]
        every = self.routing.explore_every
        if usable and every and request.number % every == every - 1:
            return self._most_accurate(usable)
        fitting = [n for n in usable if self.estimates[n] <= self.routing.budget]
        if fitting:
            return self._most_accurate(fitting)
        if self.routing.otherwise == "reject":
            return None
        return min(usable or everyone, key=lambda n: (self.estimates[n], n))

    def _most_accurate(self, among: list[int]) -> int:
        return max(among, key=lambda n: (self.variants[n].accuracy, -n))

    def _is_open(self, variant: int, now: int) -> bool:
        breaker = self.breakers[variant]
        return breaker is not None and breaker.is_open(now)

    def _by_share(self, u: float) -> int:
        total = 0.0
        for n, variant in enumerate(self.variants[:-1]):
            total += variant.share
            if u < total:
                return n
        return len(self.variants) - 1


class Retrying:
    """Whether a bad end is followed by another attempt, and when."""

    def __init__(self, settings: Retry, jitter: Chance) -> None:
        self.settings, self.jitter = settings, jitter
        self.tokens = settings.burst_millionths

    def gain(self) -> None:
        """Add what a new request brings."""
        if self.tokens is not None and self.settings.burst_millionths is not None:
            self.tokens = min(
                self.tokens + self.settings.ratio_millionths, self.settings.burst_millionths
            )

    def wait_for_next(self, request: Request, outcome: str) -> int | None:
        """Return how long until the next attempt, which is paid for now, or None."""
        made, settings = request.attempts, self.settings
        if outcome not in settings.on or made >= settings.max_attempts:
            return None
        if self.tokens is not None:
            if self.tokens < 1_000_000:
                return None
            self.tokens -= 1_000_000
        base = float(settings.backoff)
        for _ in range(made - 1):
            base *= settings.multiplier
        base = min(base, float(settings.max_backoff))
        a, b, c, d = request.identity
        u = self.jitter((a, b, c, d + made))
        return math.floor(base * (1.0 + settings.jitter * (2.0 * u - 1.0)))
