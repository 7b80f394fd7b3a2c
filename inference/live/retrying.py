"""Whether a live request tries again, and when."""

from __future__ import annotations

import math

from inference.live.chance import Chance
from inference.live.records import Request
from inference.schedule import Outcome
from inference.serving.policies.deadlines import Retry

__all__ = ["Retrying"]

_MILLION = 1_000_000


class Retrying:
    """Counts attempts and tokens, and draws the jitter of each backoff.

    Tokens are counted in millionths, as the simulated client counts them.
    """

    def __init__(self, policy: Retry | None, seed: int, loop: str) -> None:
        """Begin with a full budget; a loop without a policy tries once."""
        self._policy = policy
        self._causes = {Outcome[cause.upper()] for cause in policy.on} if policy else set()
        self._chance = Chance(seed, f"inference/{loop}/retry_jitter")
        budget = policy.budget if policy else None
        self._ratio = int(budget.ratio * _MILLION + 0.5) if budget else 0
        self._most = int(budget.burst * _MILLION + 0.5) if budget else None
        self._tokens = self._most or 0

    def gain(self) -> None:
        """Take in what a new request brings."""
        if self._most is not None:
            self._tokens = min(self._tokens + self._ratio, self._most)

    def wait_after(self, request: Request, outcome: Outcome) -> int | None:
        """Return how long after a bad end the next attempt leaves, None for not at all."""
        policy = self._policy
        if policy is None or outcome not in self._causes:
            return None
        if request.attempts >= policy.max_attempts or not self._pays():
            return None
        backoff, most = float(policy.backoff), float(policy.longest_backoff_ns)
        for _ in range(request.attempts - 1):
            backoff *= policy.multiplier
            if backoff >= most:
                break
        backoff = min(backoff, most)
        instrument, b, c, d = request.identity
        drawn = self._chance.of(instrument, b, c, d + request.attempts)
        return math.floor(backoff * (1.0 + policy.jitter * (2.0 * drawn - 1.0)))

    def _pays(self) -> bool:
        if self._most is None:
            return True
        if self._tokens < _MILLION:
            return False
        self._tokens -= _MILLION
        return True
