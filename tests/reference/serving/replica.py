"""One replica: what it has accepted, and how it puts requests together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.reference.serving.records import MISSING, Attempt, Execution

if TYPE_CHECKING:
    from tests.reference.serving.deployment import Deployment

TIMER = 4


class Replica:
    """`state` is starting, ready, draining, down or stopped.

    `queue` holds what the router gave it and it has no room for yet; `ongoing` what it has accepted
    and not completed, `running` being the part of it that executes.
    """

    def __init__(self, deployment: Deployment, index: int) -> None:
        self.deployment, self.index = deployment, index
        self.state = "starting"
        self.starts = 0
        self.limit = deployment.settings.max_ongoing
        self.clear(0)

    def clear(self, now: int) -> None:
        """Have no work; what executes ends now."""
        for execution in getattr(self, "running", []):
            execution.stopped_at = now
        self.served = 0
        self.queue: list[Attempt] = []
        self.ongoing: list[Attempt] = []
        self.running: list[Execution] = []
        self.batcher: Batcher = BATCHERS[self.deployment.settings.batching.kind](self)

    def become_ready(self) -> None:
        """Be there for work; it has served nothing since this start."""
        self.state, self.served = "ready", 0

    @property
    def has_room(self) -> bool:
        """Whether it accepts one more."""
        return len(self.ongoing) < self.limit

    def accept(self, attempt: Attempt) -> None:
        """Take a request in, to be served."""
        self.is_given(attempt)
        attempt.accepted_at = self.deployment.now
        self.ongoing.append(attempt)
        self.batcher.put(attempt)

    def is_given(self, attempt: Attempt) -> None:
        """Be the one who will serve a request."""
        if attempt.routed_at == MISSING:
            attempt.routed_at, attempt.replica = self.deployment.now, self.index

    def begin(self, members: list[Attempt], batched: bool) -> None:
        """Start an execution."""
        self.running.append(self.deployment.begin(self, members, batched))

    def forget(self, attempt: Attempt) -> bool:
        """Drop a request that was cancelled; return whether that was still possible."""
        if attempt in self.queue:
            self.queue.remove(attempt)
            return True
        alone = [one for one in self.running if one.members == [attempt] and not one.batched]
        for execution in alone:
            execution.stopped_at = self.deployment.now
            self.running.remove(execution)
        if alone or self.batcher.forget(attempt):
            self.ongoing.remove(attempt)
            self.deployment.router.left(self, attempt)
            return True
        return False

    def stop_if_drained(self) -> None:
        """Stop when there is nothing left to finish."""
        if self.state == "draining" and not self.queue and not self.ongoing:
            self.state = "stopped"


class Batcher:
    """Without batching: each request starts as soon as it is accepted."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.settings = replica.deployment.settings.batching
        self.waiting: list[Attempt] = []

    def put(self, attempt: Attempt) -> None:
        """Let a request wait for its execution."""
        self.waiting.append(attempt)

    def forget(self, attempt: Attempt) -> bool:
        """Drop a request that waits; return whether it did."""
        if attempt in self.waiting:
            self.waiting.remove(attempt)
            return True
        return False

    def _look_again_at(self, instant: int) -> None:
        deployment = self.replica.deployment
        key = (deployment.place, self.replica.index)
        deployment.plan(instant, TIMER, key, deployment.dispatch)

    def step(self) -> None:
        """Start whatever can start."""
        while self.waiting:
            attempt = self.waiting.pop(0)
            attempt.batched_at = self.replica.deployment.now
            self.replica.begin([attempt], batched=False)


class RayBatcher(Batcher):
    """One collector fills a batch; sealed batches wait for one of a few slots.

    A blocking function holds the event loop that the collector runs on; what is accepted stays
    `unnoticed` until it returns. The collector enters an execution with at most one item in
    hand. If that one was waiting when the batch before was sealed, the event loop wakes the
    collector before it notices anything new; otherwise it notices first.
    """

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.unnoticed: list[Attempt] = []
        self.forming: list[Attempt] = []
        self.sealed: list[list[Attempt]] = []
        self.due_at = MISSING
        """When the forming batch is sealed at the latest."""
        self.wakes_first = False

    @property
    def blocked(self) -> bool:
        """Whether an execution holds the event loop of the user's code."""
        return self.settings.blocking and bool(self.replica.running)

    def put(self, attempt: Attempt) -> None:
        """Let a request wait for the collector."""
        self.unnoticed.append(attempt)

    def forget(self, attempt: Attempt) -> bool:
        """Drop a request that is in no sealed batch."""
        for place in (self.unnoticed, self.waiting, self.forming):
            if attempt in place:
                place.remove(attempt)
                return True
        return False

    def step(self) -> None:
        """Collect, and start sealed batches, until neither is possible."""
        if self.blocked:
            return
        if not self.wakes_first:
            self._notice()
        self.wakes_first = False
        while not self.blocked and self._does_something():
            pass

    def _does_something(self) -> bool:
        full = len(self.forming) == self.settings.max_batch_size
        due = bool(self.forming) and self.replica.deployment.now >= self.due_at
        if self.sealed and len(self.replica.running) < self.settings.concurrent:
            self._take_in_hand()
            self.replica.begin(self.sealed.pop(0), batched=True)
        elif full or (due and not self.waiting):
            self.sealed.append(self.forming)
            self.forming = []
        elif self.waiting:
            self._take()
        else:
            return self._notice()
        return True

    def _take_in_hand(self) -> None:
        self.wakes_first = bool(self.waiting)
        if not self.waiting:
            self._notice()
        if self.waiting and not self.forming:
            self._take()
        self._notice()

    def _notice(self) -> bool:
        self.waiting += self.unnoticed
        found, self.unnoticed = bool(self.unnoticed), []
        return found

    def _take(self) -> None:
        attempt = self.waiting.pop(0)
        attempt.batched_at = self.replica.deployment.now
        self.forming.append(attempt)
        if len(self.forming) == 1:
            self.due_at = attempt.batched_at + self.settings.wait
            self._look_again_at(self.due_at)


class TritonBatcher(Batcher):
    """A free instance takes what waits, if it is enough or has waited long enough."""

    def step(self) -> None:
        """Start what the free instances take."""
        while self.waiting and len(self.replica.running) < self.settings.concurrent:
            size = self._size()
            if size == 0:
                return
            members, self.waiting = self.waiting[:size], self.waiting[size:]
            for member in members:
                member.batched_at = self.replica.deployment.now
            self.replica.begin(members, batched=True)

    def _size(self) -> int:
        now, settings = self.replica.deployment.now, self.settings
        waiting = len(self.waiting)
        if waiting >= settings.max_batch_size:
            return settings.max_batch_size
        preferred = [size for size in settings.preferred if size <= waiting]
        if preferred:
            return max(preferred)
        due_at = self.waiting[0].accepted_at + settings.wait
        if now >= due_at:
            return waiting
        self._look_again_at(due_at)
        return 0


BATCHERS: dict[str, Callable[[Replica], Batcher]] = {
    "none": Batcher,
    "ray": RayBatcher,
    "triton": TritonBatcher,
}
