"""Which of several variants a live attempt goes to."""

from __future__ import annotations

from collections.abc import Sequence

from inference.config import InferenceConfig
from inference.live.breaker import Breaker
from inference.live.chance import Chance
from inference.live.records import Request
from inference.serving.policies.deployment import Variant
from inference.serving.policies.routing import LatencyBudget

__all__ = ["Choice"]


class Choice:
    """An A/B split, the best variant within a latency budget, or the only one."""

    def __init__(
        self, config: InferenceConfig, breakers: Sequence[Breaker | None], seed: int, loop: str
    ) -> None:
        """Expect of each variant what the configuration says."""
        self._routing, self._breakers = config.routing, breakers
        self._variants: list[Variant] = list(config.variants.values())
        self._chance = Chance(seed, f"inference/{loop}/split")
        self._estimates = [one.expected_latency or 0 for one in self._variants] or [0]
        places = range(len(self._variants))
        self._best_first = sorted(places, key=lambda place: -self._variants[place].accuracy)

    def learn(self, variant: int, latency: int) -> None:
        """Move what is expected of a variant an eighth of the way to an attempt's latency."""
        self._estimates[variant] += (latency - self._estimates[variant]) >> 3

    def choose(self, request: Request, now: int) -> int | None:
        """Return the place of the variant for a request's next attempt, None where none will do."""
        routing = self._routing
        if routing is None:
            return 0
        if not isinstance(routing, LatencyBudget):
            return self._by_share(request)
        usable = [place for place in self._best_first if not self._is_open(place, now)]
        every = routing.explore_every
        if usable and every and request.number % every == every - 1:
            return usable[0]
        for place in usable:
            if self._estimates[place] <= routing.budget:
                return place
        if routing.otherwise == "reject":
            return None
        among = sorted(usable) or range(len(self._variants))
        return min(among, key=lambda place: self._estimates[place])

    def _is_open(self, variant: int, now: int) -> bool:
        breaker = self._breakers[variant]
        return breaker is not None and breaker.is_open(now)

    def _by_share(self, request: Request) -> int:
        drawn, running, bounds = self._chance.of(*request.identity), 0.0, []
        for one in self._variants:
            running += one.share or 0.0
            bounds.append(running)
        for place, bound in enumerate(bounds[:-1]):
            if drawn * bounds[-1] < bound:
                return place
        return len(bounds) - 1
