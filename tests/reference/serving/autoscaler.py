"""Ray Serve's autoscaler, step by step as its documentation and its policy's formulae say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.reference.serving.replica import Replica
from tests.reference.serving.settings import Autoscaling

if TYPE_CHECKING:
    from tests.reference.serving.deployment import Deployment

PHASE = 2
SAMPLE, PUSH, TICK = range(3)
MS = 1_000_000
TOLERANCE = 1000
"""Ray allows a microsecond for the rounding of its clock."""


class Autoscaler:
    """Moves the number of replicas of one deployment towards what its load asks for."""

    def __init__(self, deployment: Deployment, settings: Autoscaling) -> None:
        self.deployment, self.settings = deployment, settings
        self.target = settings.initial_replicas
        self.samples: list[tuple[int, int]] = []
        self.pushed: list[tuple[int, int]] = []
        self.wanted = 0
        """The direction wanted without a break: 1 up, -1 down."""
        self.wanted_since = 0
        self.decisions: list[tuple[int, int]] = []
        self._every(SAMPLE, settings.record_interval, self.sample, deployment.start)
        self._every(PUSH, settings.metrics_interval, self.push, deployment.start)
        self._every(TICK, settings.control_interval, self.tick, deployment.start)

    def _every(self, step: int, interval: int, action: object, at: int) -> None:
        def act() -> None:
            assert callable(action)
            action()
            self._every(step, interval, action, at + interval)

        self.deployment.plan(at, PHASE, (step, self.deployment.place), act)

    def sample(self) -> None:
        """Read the gauge: what has arrived and is not done with."""
        self.samples.append((self.deployment.now, len(self.deployment.inside)))

    def push(self) -> None:
        """Hand the samples of the look-back to the controller."""
        oldest = self.deployment.now - self.settings.look_back
        self.pushed = [sample for sample in self.samples if sample[0] > oldest]

    def mean(self) -> float:
        """Return the time-weighted mean of what was pushed, each sample until the next."""
        if not self.pushed:
            return 0.0
        now, last = self.deployment.now, self.pushed[-1][0]
        ends = [at for at, _ in self.pushed[1:]] + [now if now > last else last + MS]
        area = sum(value * (end - at) for (at, value), end in zip(self.pushed, ends, strict=True))
        return area / (ends[-1] - self.pushed[0][0])

    def tick(self) -> None:
        """Decide, and act on it."""
        low, high = self.settings.min_replicas, self.settings.max_replicas
        target = max(low, min(high, self._decide(self.mean())))
        if target != self.target:
            self.decisions.append((self.deployment.now, target))
        self.target = target
        self._adjust()
        self.deployment.dispatch()

    def _decide(self, total: float) -> int:
        settings, current = self.settings, len(self.deployment.ready)
        if current == 0:
            if total > 0:
                return max(math.ceil(settings.upscaling_factor), self.target)
            if self.target > 0:
                return self.target
            return self._after_delay(0)
        ratio = total / (settings.target * current)
        desired = current * ratio
        delta = desired - current
        factor = settings.upscaling_factor if delta > 0 else settings.downscaling_factor
        scaled = math.ceil(current + factor * delta)
        if math.ceil(desired) < current and scaled == current:
            scaled -= 1
        return self._after_delay(max(0, scaled))

    def _after_delay(self, desired: int) -> int:
        now, target, settings = self.deployment.now, self.target, self.settings
        direction = (desired > target) - (desired < target)
        if direction != self.wanted:
            self.wanted, self.wanted_since = direction, now
        if direction == 0:
            return target
        delay = settings.upscale_delay
        if direction < 0:
            delay = settings.to_zero_delay if target == 1 else settings.downscale_delay
            desired = desired if target == 1 else max(1, desired)
        if now - self.wanted_since + TOLERANCE < delay:
            return target
        self.wanted = 0
        return desired

    def _adjust(self) -> None:
        deployment = self.deployment
        here = [r for r in deployment.replicas if r.state in ("starting", "ready", "down")]
        for _ in range(self.target - len(here)):
            replica = Replica(deployment, len(deployment.replicas))
            deployment.replicas.append(replica)
            deployment.start_replica(replica, 0)
        not_ready = sorted((r for r in here if r.state != "ready"), key=lambda r: -r.index)
        ready = sorted((r for r in here if r.state == "ready"), key=lambda r: -r.index)
        for replica in [*not_ready, *ready][: max(0, len(here) - self.target)]:
            self._remove(replica)

    def _remove(self, replica: Replica) -> None:
        if replica.state == "ready":
            replica.state = "draining"
            self.deployment.router.replica_left(replica)
        else:
            replica.state = "stopped"
