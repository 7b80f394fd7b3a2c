"""Ray Serve's router: two drawn candidates, cached queue lengths, probes, refusals, backoff.

Nothing wakes an attempt that backs off, but whoever finds a place gives it to the oldest pending.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tests.reference.draws import make_draw
from tests.reference.serving.chance import Chance
from tests.reference.serving.records import Attempt
from tests.reference.serving.replica import Replica

if TYPE_CHECKING:
    from tests.reference.serving.deployment import Deployment

MAIL, AT_REPLICA, WAKE_UP = 5, 6, 8
PROBE_REPLY, VERDICT, COMPLETION = range(3)
PROBE, PLACEMENT = range(2)
BACKOFF, DEADLINE = range(2)
OUT_TO, BACK_FROM, TO_PLACE, VERDICT_BACK, COMPLETION_BACK = 0, 2, 4, 5, 6
"""Places of a hop among the eight of one iteration or placement."""

MS = 1_000_000
MOST_ROUTED = 50
CACHE_NS = 10_000 * MS
FIRST_DEADLINE, LAST_DEADLINE = 100 * MS, 1000 * MS
FIRST_SLEEP, LAST_SLEEP = 25 * MS, 500 * MS


@dataclass(eq=False)
class Routing:
    """One attempt's search for a replica: failures so far, sleeps so far, and what it waits for."""

    attempt: Attempt
    failures: int = 0
    sleeps: int = 0
    went_round: bool = False
    waits_for_replica: bool = False


@dataclass(eq=False)
class Probing:
    """Replicas asked together for their lengths."""

    routing: Routing | None
    """Who waits for the answers; None for one in the background."""
    asked: list[Replica]
    answers: dict[Replica, int] = field(default_factory=dict)
    over: bool = False


class PowerOfTwo:
    """Knows of its replicas only what they told it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        seed, stream = deployment.seed, deployment.stream
        self.chance = Chance(seed, stream + "router")
        self.draw_hop = make_draw(deployment.settings.hop_latency, seed, stream + "hop")
        self.limit = deployment.settings.max_ongoing
        self.pending: list[Attempt] = []
        self.routed: dict[Attempt, Routing] = {}
        self.under_way: list[Attempt] = []
        self.cache: dict[int, tuple[int, int]] = {}

    def queued(self) -> int:
        """Return how many no replica has accepted yet."""
        return len(self.pending) + len(self.under_way)

    def arrive(self, attempt: Attempt) -> None:
        """Take an attempt in."""
        self.pending.append(attempt)
        self._take_unrouted()

    def dispatch(self) -> None:
        """Do nothing: nothing wakes this router."""

    def forget(self, attempt: Attempt) -> bool:
        """Drop a cancelled attempt that is pending; one under way is dropped when it comes back."""
        if attempt in self.pending:
            self.pending.remove(attempt)
            self.routed.pop(attempt, None)
            self._take_unrouted()
            return True
        attempt.cancelled = attempt in self.under_way
        return False

    # -- what it believes ------------------------------------------------------------------------

    def _known(self, index: int) -> int | None:
        length, stamp = self.cache.get(index, (0, -CACHE_NS * 2))
        return length if self.deployment.now - stamp <= CACHE_NS else None

    def _believe(self, replica: Replica, length: int) -> None:
        if replica.state == "ready":
            self.cache[replica.index] = (length, self.deployment.now)

    def replica_left(self, replica: Replica) -> None:
        """Learn that a replica is not ready any more."""
        self.cache.pop(replica.index, None)

    def replica_ready(self, replica: Replica) -> None:
        """Go on with whoever waited for any replica."""
        waiting = [r for r in self.routed.values() if r.waits_for_replica]
        for routing in sorted(waiting, key=lambda routing: routing.attempt.order):
            if self._goes_on(routing):
                routing.waits_for_replica = False
                self._run(routing)
        self._take_unrouted()

    # -- routing ---------------------------------------------------------------------------------

    def _take_unrouted(self) -> None:
        while len(self.routed) < min(MOST_ROUTED, 2 * len(self.deployment.ready)):
            unrouted = [attempt for attempt in self.pending if attempt not in self.routed]
            if not unrouted:
                return
            attempt = min(unrouted, key=lambda attempt: attempt.order)
            self.routed[attempt] = Routing(attempt)
            self._run(self.routed[attempt])

    def _goes_on(self, routing: Routing) -> bool:
        return self.routed.get(routing.attempt) is routing

    def _run(self, routing: Routing) -> None:
        """Iterate until the attempt is placed or has to wait for something."""
        while True:
            if not self.deployment.ready:
                routing.waits_for_replica = True
                return
            candidates, i = self._candidates(routing.attempt)
            lengths = [(self._known(replica.index), replica) for replica in candidates]
            known = [(n, replica) for n, replica in lengths if n is not None and n < self.limit]
            unknown = [
                (place, replica)
                for place, (n, replica) in enumerate(lengths)
                if n is None or n >= self.limit
            ]
            if not known:
                self._probe(routing, routing, unknown, i)
                return
            if unknown:
                self._probe(None, routing, unknown, i)
            chosen = min(known, key=lambda one: one[0])[1]
            if not self._tries_again_at_once(routing, chosen):
                return

    def _candidates(self, attempt: Attempt) -> tuple[list[Replica], int]:
        ready, i = self.deployment.ready, attempt.iterations
        attempt.iterations += 1
        n = len(ready)
        if n == 1:
            return ready, i
        first = int(self.chance(attempt.identity, 2 * i) * n)
        second = int(self.chance(attempt.identity, 2 * i + 1) * (n - 1))
        second += second >= first
        return [ready[first], ready[second]], i

    def _tries_again_at_once(self, routing: Routing, chosen: Replica | None) -> bool:
        """Use what an iteration has found; return whether the next one follows at once."""
        if chosen is None:
            routing.failures += 1
        else:
            oldest = min(self.pending, key=lambda attempt: attempt.order)
            self.pending.remove(oldest)
            self.routed.pop(oldest, None)
            self._place(oldest, chosen)
            if oldest is routing.attempt:
                return False
        if not routing.went_round:
            routing.went_round = True
            return True
        wake_at = self.deployment.now + min(FIRST_SLEEP * 2**routing.sleeps, LAST_SLEEP)
        routing.sleeps += 1
        key = (BACKOFF, *routing.attempt.key, routing.attempt.iterations - 1)
        self.deployment.plan(wake_at, WAKE_UP, key, partial(self._wake, routing))
        return False

    def _wake(self, routing: Routing) -> None:
        if self._goes_on(routing):
            self._run(routing)
            self._take_unrouted()
            self.deployment.dispatch()

    # -- messages to replicas --------------------------------------------------------------------

    def _hop(self, attempt: Attempt, i: int, message: int) -> int:
        """Return when a message of iteration or placement *i* arrives."""
        a, b, c, d = attempt.identity
        now = self.deployment.now
        return now + self.draw_hop(now, a, b, c, d + ((8 * i + message + 1) << 40))

    def _probe(
        self,
        waits: Routing | None,
        routing: Routing,
        unknown: list[tuple[int, Replica]],
        i: int,
    ) -> None:
        attempt, now = routing.attempt, self.deployment.now
        probing = Probing(waits, [replica for _, replica in unknown])
        for place, replica in unknown:
            key = (PROBE, *attempt.key, replica.index, i)
            read = partial(self._probed, probing, attempt, replica, i, place)
            self.deployment.plan(self._hop(attempt, i, OUT_TO + place), AT_REPLICA, key, read)
        deadline = now + min(FIRST_DEADLINE * 2**routing.failures, LAST_DEADLINE)
        key = (DEADLINE, *attempt.key, i)
        self.deployment.plan(deadline, WAKE_UP, key, partial(self._probing_over, probing))

    def _probed(
        self, probing: Probing, attempt: Attempt, replica: Replica, i: int, place: int
    ) -> None:
        if replica.state != "ready":
            return
        key = (PROBE_REPLY, *attempt.key, replica.index, i)
        tell = partial(self._told, probing, replica, len(replica.ongoing))
        self.deployment.plan(self._hop(attempt, i, BACK_FROM + place), MAIL, key, tell)

    def _told(self, probing: Probing, replica: Replica, length: int) -> None:
        probing.answers[replica] = length
        if len(probing.answers) == len(probing.asked):
            self._probing_over(probing)

    def _probing_over(self, probing: Probing) -> None:
        if probing.over:
            return
        probing.over = True
        routing = probing.routing
        if routing is not None and not self._goes_on(routing):
            return
        answered = [replica for replica in probing.asked if replica in probing.answers]
        for replica in answered:
            self._believe(replica, probing.answers[replica])
        if routing is None:
            return
        free = [replica for replica in answered if probing.answers[replica] < self.limit]
        chosen = min(free, key=lambda replica: probing.answers[replica], default=None)
        if chosen is not None and chosen.state != "ready":
            chosen = None
        if self._tries_again_at_once(routing, chosen):
            self._run(routing)
        self._take_unrouted()
        self.deployment.dispatch()

    def _place(self, attempt: Attempt, replica: Replica) -> None:
        now, i = self.deployment.now, attempt.placements
        attempt.placements += 1
        self.cache[replica.index] = ((self._known(replica.index) or 0) + 1, now)
        self.under_way.append(attempt)
        key = (PLACEMENT, *attempt.key, replica.index, i)
        arrive = partial(self._placed, attempt, replica, i)
        self.deployment.plan(self._hop(attempt, i, TO_PLACE), AT_REPLICA, key, arrive)

    def _placed(self, attempt: Attempt, replica: Replica, i: int) -> None:
        accepted = replica.state == "ready" and replica.has_room and not attempt.cancelled
        if accepted:
            self.under_way.remove(attempt)
            replica.accept(attempt)
        key = (VERDICT, *attempt.key, replica.index, i)
        tell = partial(self._judged, attempt, replica, len(replica.ongoing), accepted)
        self.deployment.plan(self._hop(attempt, i, VERDICT_BACK), MAIL, key, tell)
        self.deployment.dispatch()

    def _judged(self, attempt: Attempt, replica: Replica, length: int, accepted: bool) -> None:
        self._believe(replica, length)
        if accepted:
            return
        self.under_way.remove(attempt)
        if attempt.cancelled:
            self.deployment.drop(attempt)
            return
        self.pending.append(attempt)
        self._take_unrouted()

    def left(self, replica: Replica, attempt: Attempt) -> None:
        """Let the router know, a hop later, that an accepted attempt has left its replica."""
        i = attempt.placements - 1
        key = (COMPLETION, *attempt.key, replica.index, i)
        at = self._hop(attempt, i, COMPLETION_BACK)
        self.deployment.plan(at, MAIL, key, partial(self._one_less, replica))

    def _one_less(self, replica: Replica) -> None:
        length = self._known(replica.index)
        if length is not None:
            self._believe(replica, max(length - 1, 0))
