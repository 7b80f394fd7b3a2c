"""Routers that know at once what each replica has: round robin and least loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference.serving.records import Attempt
from tests.reference.serving.replica import Replica
from tests.reference.serving.settings import Variant

if TYPE_CHECKING:
    from tests.reference.serving.deployment import Deployment


class Discipline:
    """Which of those waiting, in the order in which they came, is served next."""

    def __init__(self, deployment: Deployment) -> None:
        self.settings: Variant = deployment.settings
        self.instruments = deployment.client.instruments

    def take(self, waiting: list[Attempt]) -> Attempt:
        """Take the next one out of those waiting."""
        chosen = waiting[0]
        if self.settings.discipline == "newest_first":
            chosen = waiting[-1]
        elif self.settings.discipline == "priority":
            chosen = min(waiting, key=self._rank)  # the first of the smallest
        waiting.remove(chosen)
        return chosen

    def _rank(self, attempt: Attempt) -> int:
        request = attempt.request
        name = "own" if request.own else self.instruments[request.row.instrument]
        return self.settings.priorities.get(name, 0)


class RoundRobin:
    """Replicas in turn, whatever they have to do."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.discipline = Discipline(deployment)
        self.common: list[Attempt] = []
        self.last = -1

    def queued(self) -> int:
        """Return how many wait."""
        return len(self.common) + sum(len(r.queue) for r in self.deployment.replicas)

    def arrive(self, attempt: Attempt) -> None:
        """Take an attempt in."""
        self.common.append(attempt)

    def dispatch(self) -> None:
        """Give everything to a replica; each accepts what it has room for."""
        while self.common and self.deployment.ready:
            attempt = self.common.pop(0)
            replica = self._next()
            replica.is_given(attempt)
            replica.queue.append(attempt)
        for replica in self.deployment.replicas:
            while replica.queue and replica.has_room:
                replica.accept(self.discipline.take(replica.queue))

    def _next(self) -> Replica:
        ready = self.deployment.ready
        later = [replica for replica in ready if replica.index > self.last]
        chosen = (later or ready)[0]
        self.last = chosen.index
        return chosen

    def forget(self, attempt: Attempt) -> bool:
        """Drop a cancelled attempt that waits here."""
        if attempt in self.common:
            self.common.remove(attempt)
            return True
        return False

    def replica_ready(self, replica: Replica) -> None:
        """Learn that a replica is ready."""

    def replica_left(self, replica: Replica) -> None:
        """Learn that a replica is not ready any more."""

    def left(self, replica: Replica, attempt: Attempt) -> None:
        """Learn that an accepted attempt is not at its replica any more."""


class LeastLoaded(RoundRobin):
    """One queue; whoever has the fewest requests takes the next as soon as it has room."""

    def dispatch(self) -> None:
        """Give out what there is room for."""
        while self.common:
            free = [replica for replica in self.deployment.ready if replica.has_room]
            if not free:
                return
            replica = min(free, key=lambda replica: (len(replica.ongoing), replica.index))
            replica.accept(self.discipline.take(self.common))
