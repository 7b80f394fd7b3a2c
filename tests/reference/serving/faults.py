"""What goes wrong in a deployment, by a schedule that nothing else can change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.reference.draws import Draw, make_draw
from tests.reference.serving.chance import Chance
from tests.reference.serving.settings import Fault

if TYPE_CHECKING:
    from tests.reference.serving.deployment import Deployment

FAULT = 0
END, BEGIN = range(2)


@dataclass(eq=False)
class Active:
    """A fault that has begun and not ended; `replica` is None where it concerns none."""

    fault: Fault
    ordinal: int
    replica: int | None
    ends_at: int
    used: bool = False


class Faults:
    """The faults of one deployment."""

    def __init__(self, deployment: Deployment, faults: tuple[Fault, ...]) -> None:
        self.deployment = deployment
        self.active: list[Active] = []
        self.chances: dict[int, Chance] = {}
        self.gaps: dict[int, Draw] = {}
        self.restarts: dict[int, Draw] = {}
        for fault in faults:
            seed, stream = deployment.seed, f"{deployment.stream}faults/{fault.place}"
            self.chances[fault.place] = Chance(seed, stream)
            restart = make_draw(fault.restart, seed, deployment.stream + "restart")
            self.restarts[fault.place] = restart
            for ordinal, at in enumerate(fault.at):
                self._plan(fault, ordinal, deployment.start + at)
            if fault.every:
                gap = {"kind": "gamma", "mean": f"{fault.every}ns", "shape": 1.0}
                self.gaps[fault.place] = make_draw(gap, seed, stream)
                self._plan_drawn(fault, 0, deployment.start)

    def _plan(self, fault: Fault, ordinal: int, at: int) -> None:
        key = (BEGIN, self.deployment.place, fault.place, ordinal)
        self.deployment.plan(at, FAULT, key, partial(self._begin, fault, ordinal))

    def _plan_drawn(self, fault: Fault, ordinal: int, after: int) -> None:
        gap = self.gaps[fault.place](after, ordinal, 0, 0, 0)
        self._plan(fault, ordinal, after + gap)

    def _begin(self, fault: Fault, ordinal: int) -> None:
        deployment = self.deployment
        if fault.every:
            self._plan_drawn(fault, ordinal + 1, deployment.now)
        replica = None
        if fault.kind not in ("lost_reply", "network_pause"):
            replica = self._victim(fault, ordinal)
            if replica is None:
                return
        if fault.kind == "crash":
            hit = [one for one in deployment.replicas if one.index == replica]
            for one in hit:
                deployment.crash(one, self.restarts[fault.place])
            return
        active = Active(fault, ordinal, replica, deployment.now + fault.lasts)
        self.active.append(active)
        self.active.sort(key=lambda one: (one.fault.place, one.ordinal))
        key = (END, deployment.place, fault.place, ordinal)
        deployment.plan(active.ends_at, FAULT, key, partial(self.active.remove, active))

    def _victim(self, fault: Fault, ordinal: int) -> int | None:
        if fault.replica is not None:
            return fault.replica
        ready = self.deployment.ready
        if not ready:
            return None
        return ready[int(self.chances[fault.place]((ordinal, 1, 0, 0)) * len(ready))].index

    def _of(self, kind: str, replica: int | None = None) -> list[Active]:
        return [one for one in self.active if one.fault.kind == kind and one.replica == replica]

    def pause_ends_at(self) -> int | None:
        """Return when the network works again, or None if it does."""
        return max((one.ends_at for one in self._of("network_pause")), default=None)

    def chance_of(self, kind: str, replica: int | None = None) -> float:
        """Return how probable a fault of this kind is now."""
        return max((one.fault.probability for one in self._of(kind, replica)), default=0.0)

    def slow_factors(self, replica: int) -> list[float]:
        """Return by how much executions that start now take longer."""
        return [one.fault.factor for one in self._of("slow", replica)]

    def stuck_for(self, replica: int) -> int:
        """Return how long the execution that starts now is stuck; each fault acts once."""
        stuck = [one for one in self._of("stuck_batch", replica) if not one.used]
        for one in stuck:
            one.used = True
        return sum(one.fault.lasts for one in stuck)
