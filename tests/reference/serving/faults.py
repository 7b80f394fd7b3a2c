"""What goes wrong in a deployment, by a schedule that nothing else can change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clock.elementary import log
from tests.reference.draws import Draw, make_draw
from tests.reference.serving.chance import Chance, Identity
from tests.reference.serving.settings import Fault

if TYPE_CHECKING:
    from tests.reference.serving.deployment import Deployment

FAULT = 0


@dataclass(eq=False)
class Window:
    """A lasting fault on one replica, or on the connection; windows that overlap are one."""

    fault: Fault
    until: int
    used: bool = False


class Faults:
    """The faults of one deployment."""

    def __init__(self, deployment: Deployment, faults: tuple[Fault, ...]) -> None:
        self.deployment = deployment
        self.windows: dict[tuple[int, int | None], Window] = {}
        self.chances: dict[int, Chance] = {}
        self.restarts: dict[int, Draw] = {}
        for fault in faults:
            seed, stream = deployment.seed, f"{deployment.stream}faults/{fault.place}"
            self.chances[fault.place] = Chance(seed, stream)
            restart = make_draw(fault.restart, seed, deployment.stream + "restart")
            self.restarts[fault.place] = restart
            for ordinal, at in enumerate(fault.at):
                self._plan(fault, ordinal, deployment.start + at)
            if fault.every:
                self._plan_drawn(fault, 0, deployment.start)

    def _plan(self, fault: Fault, ordinal: int, at: int) -> None:
        key = (self.deployment.place, fault.place, ordinal)
        self.deployment.plan(at, FAULT, key, partial(self._begin, fault, ordinal))

    def _plan_drawn(self, fault: Fault, ordinal: int, after: int) -> None:
        u = self.chances[fault.place]((ordinal, 0, 0, 0), 1)
        gap = max(1, math.floor(-fault.every * log(u) + 0.5))
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
        known = self.windows.get((fault.place, replica))
        until = max(deployment.now + fault.lasts, known.until if known else 0)
        self.windows[fault.place, replica] = Window(fault, until)

    def _victim(self, fault: Fault, ordinal: int) -> int | None:
        if fault.replica is not None:
            return fault.replica
        ready = self.deployment.ready
        if not ready:
            return None
        return ready[int(self.chances[fault.place]((ordinal, 0, 0, 0)) * len(ready))].index

    def _open(self, kind: str, replica: int | None = None) -> list[Window]:
        """Return what is wrong now, in the order of the list of faults."""
        now = self.deployment.now
        return [
            window
            for (_, where), window in sorted(self.windows.items(), key=lambda one: one[0][0])
            if window.fault.kind == kind and where == replica and now < window.until
        ]

    def pause_ends_at(self) -> int | None:
        """Return when the network works again, or None if it does."""
        return max((window.until for window in self._open("network_pause")), default=None)

    def strikes(self, kind: str, replica: int | None, chance: Chance, who: Identity) -> bool:
        """Whether a fault that has a probability hits someone now."""
        return any(
            chance(who, window.fault.place) < window.fault.probability
            for window in self._open(kind, replica)
        )

    def slow_factors(self, replica: int) -> list[float]:
        """Return by how much executions that start now take longer."""
        return [window.fault.factor for window in self._open("slow", replica)]

    def stuck_for(self, replica: int) -> int:
        """Return how long the execution that starts now is stuck; each window acts once."""
        stuck = [window for window in self._open("stuck_batch", replica) if not window.used]
        for window in stuck:
            window.used = True
        return sum(window.fault.lasts for window in stuck)
