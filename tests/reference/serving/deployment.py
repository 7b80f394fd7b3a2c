"""One variant's deployment: the connection to it, its replicas, its router, and its faults."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from clock.rank import Rank
from tests.reference.agenda import Action, Agenda
from tests.reference.draws import Draw, make_draw
from tests.reference.serving.autoscaler import Autoscaler
from tests.reference.serving.chance import Chance, make_service
from tests.reference.serving.faults import Faults
from tests.reference.serving.power_of_two import PowerOfTwo
from tests.reference.serving.records import MISSING, Attempt, Execution
from tests.reference.serving.replica import Replica
from tests.reference.serving.routers import LeastLoaded, RoundRobin
from tests.reference.serving.settings import Variant

if TYPE_CHECKING:
    from tests.reference.serving.client import InferenceLoop

READY, COMPLETION, FROM_CLIENT = 1, 3, 7
ATTEMPT, CANCEL = range(2)
ROUTERS = {"round_robin": RoundRobin, "least_loaded": LeastLoaded, "power_of_two": PowerOfTwo}


class Deployment:
    """Takes attempts from the client, and replies to each at most once."""

    def __init__(
        self,
        agenda: Agenda,
        settings: Variant,
        place: int,
        client: InferenceLoop,
        seed: int,
        stream: str,
        start: int,
    ) -> None:
        self.agenda, self.settings, self.place, self.client = agenda, settings, place, client
        self.loop, self.start = client.index, start
        stream += settings.name and settings.name + "/"
        self.seed, self.stream = seed, stream
        self.draw_out = make_draw(settings.network_out, seed, stream + "network_out")
        self.draw_cancel = make_draw(settings.network_out, seed, stream + "cancel")
        self.draw_back = make_draw(settings.network_back, seed, stream + "network_back")
        self.draw_latency = make_draw(settings.latency, seed, stream + "latency")
        self.draw_cold_start = make_draw(settings.cold_start, seed, stream + "cold_start")
        self.service = make_service(settings.service_time, seed, stream + "service_time")
        self.error, self.lost = Chance(seed, stream + "error"), Chance(seed, stream + "lost")
        self.last_arrival = self.last_visible = MISSING
        self.inside: list[Attempt] = []
        self.executions: list[Execution] = []
        self.replicas = [Replica(self, index) for index in range(settings.num_replicas)]
        self.router: RoundRobin | LeastLoaded | PowerOfTwo = ROUTERS[settings.router](self)
        self.faults = Faults(self, settings.faults)
        for replica in self.replicas:
            replica.starts = 1
            replica.become_ready()
        scaling = settings.autoscaling
        self.autoscaler = None if scaling is None else Autoscaler(self, scaling)

    @property
    def now(self) -> int:
        """The present instant."""
        return self.agenda.now

    def plan(self, instant: int, phase: int, key: tuple[int, ...], action: Action) -> None:
        """Enter an action inside the deployment."""
        self.agenda.add(instant, Rank.DEPLOYMENT, (self.loop, phase, *key), action)

    @property
    def ready(self) -> list[Replica]:
        """Replicas that may be given work, by index."""
        return [replica for replica in self.replicas if replica.state == "ready"]

    # -- the connection --------------------------------------------------------------------------

    def send(self, attempt: Attempt) -> None:
        """Let an attempt travel here; none overtakes another."""
        self._travel(ATTEMPT, self.draw_out, attempt, partial(self._arrive, attempt))

    def send_cancel(self, attempt: Attempt) -> None:
        """Let the wish to cancel an attempt travel here."""
        self._travel(CANCEL, self.draw_cancel, attempt, partial(self._cancel, attempt))

    def _travel(self, what: int, draw: Draw, attempt: Attempt, action: Action) -> None:
        arrival = max(self.now + draw(self.now, *attempt.identity), self.last_arrival)
        self.last_arrival = arrival
        key = (what, *attempt.key)
        arrive = partial(self._after_pause, Rank.DEPLOYMENT, (self.loop, FROM_CLIENT, *key), action)
        self.plan(arrival, FROM_CLIENT, key, arrive)

    def _after_pause(self, rank: int, key: tuple[int, ...], action: Action) -> None:
        """Do what a message does on arrival, or hold it back until the network works again."""
        end = self.faults.pause_ends_at()
        if end is None:
            action()
        else:
            held = partial(self._after_pause, rank, key, action)
            self.agenda.add(end, rank, key, held)

    def reply(self, attempt: Attempt, outcome: str, reason: str) -> None:
        """Let a reply leave now."""
        now, client = self.now, self.client
        attempt.completed_at = now
        self.inside.remove(attempt)
        if self.faults.strikes("lost_reply", None, self.lost, attempt.identity):
            attempt.fate = "lost"
            client.end_both(attempt)
            return
        back = now + self.draw_back(now, *attempt.identity)
        visible = back + self.draw_latency(back, *attempt.identity)
        self.last_visible = max(visible, self.last_visible)
        key = (self.loop, 0, *attempt.key)
        show = partial(client.answer, attempt, outcome, reason)
        arrive = partial(self._after_pause, Rank.PREDICTION, key, show)
        self.agenda.add(self.last_visible, Rank.PREDICTION, key, arrive)

    def _arrive(self, attempt: Attempt) -> None:
        attempt.arrived_at = self.now
        refused = 0 <= self.settings.max_queued <= self.router.queued()
        self.inside.append(attempt)
        if refused:
            self.reply(attempt, "rejected", "queue_full")
            return
        self.router.arrive(attempt)
        if self.autoscaler is not None and not self.ready:
            self.autoscaler.sample()
            self.autoscaler.push()
        self.dispatch()

    def _cancel(self, attempt: Attempt) -> None:
        """Forget an attempt, unless it is too late for that."""
        if attempt not in self.inside or attempt.cancelled:
            return
        if self.router.forget(attempt) or any(r.forget(attempt) for r in self.replicas):
            self.drop(attempt)
            self.dispatch()

    def drop(self, attempt: Attempt) -> None:
        """Have nothing of a cancelled attempt any more."""
        self.inside.remove(attempt)
        attempt.fate = "cancelled"
        self.client.end_both(attempt)

    def dispatch(self) -> None:
        """Do whatever has become possible: give work to replicas, then start it."""
        self.router.dispatch()
        for replica in self.replicas:
            replica.batcher.step()
            replica.stop_if_drained()

    # -- executions ------------------------------------------------------------------------------

    def begin(self, replica: Replica, members: list[Attempt], batched: bool) -> Execution:
        """Start an execution now; how long it takes is settled here."""
        now = self.now
        ends_at = now + self._duration(replica, members)
        execution = Execution(members, replica.index, now, ends_at, batched)
        self.executions.append(execution)
        for member in members:
            member.fails = self.faults.strikes(
                "error_rate", replica.index, self.error, member.identity
            )
            member.started_at, member.execution = now, execution.name
            member.batch_size = len(members)
        self.plan(ends_at, COMPLETION, execution.key, partial(self._complete, replica, execution))
        return execution

    def _duration(self, replica: Replica, members: list[Attempt]) -> int:
        time = self.service(self.now, members[0].identity, len(members))
        requests, factor = self.settings.warm_up
        if replica.served < requests:
            time = rounded(time * factor)
        replica.served += 1
        for factor in self.faults.slow_factors(replica.index):
            time = rounded(time * factor)
        speeds = self.settings.speeds
        time = rounded(time / speeds[replica.index % len(speeds)])
        return time + self.faults.stuck_for(replica.index)

    def _complete(self, replica: Replica, execution: Execution) -> None:
        if execution.stopped_at != MISSING:
            return
        replica.running.remove(execution)
        for member in execution.members:
            replica.ongoing.remove(member)
            self.router.left(replica, member)
            if member.fails:
                self.reply(member, "failed", "error")
            else:
                self.reply(member, "completed", "none")
        self.dispatch()

    def busy_ns(self, until: int) -> int:
        """Return how long executions ran before an instant, all together."""
        busy = 0
        for execution in self.executions:
            end = execution.ends_at
            if execution.stopped_at != MISSING:
                end = execution.stopped_at
            busy += min(end, until) - execution.started_at
        return busy

    # -- replicas come and go --------------------------------------------------------------------

    def start_replica(self, replica: Replica, wait: int) -> None:
        """Let a replica become ready after a wait and its cold start."""
        now = self.now
        ready_at = now + wait + self.draw_cold_start(now, replica.index, replica.starts, 0, 0)
        replica.starts += 1
        start = replica.starts

        def become_ready() -> None:
            if replica.starts == start and replica.state in ("starting", "down"):
                replica.become_ready()
                self.router.replica_ready(replica)
                self.dispatch()

        self.plan(ready_at, READY, (self.place, replica.index), become_ready)

    def crash(self, replica: Replica, restart: Draw) -> None:
        """Lose everything that a replica has; it starts anew unless it was draining."""
        if replica.state not in ("ready", "draining"):
            return
        lost = sorted([*replica.queue, *replica.ongoing], key=lambda attempt: attempt.key)
        drained = replica.state == "draining"
        replica.clear(self.now)
        replica.state = "stopped" if drained else "down"
        self.router.replica_left(replica)
        for attempt in lost:
            self.reply(attempt, "failed", "crashed")
        if not drained:
            self.start_replica(replica, restart(self.now, replica.index, replica.starts, 0, 0))
        self.dispatch()


def rounded(value: float) -> int:
    """Return the nearest whole number; halves go up."""
    return math.floor(value + 0.5)
