"""A clock that moves by hand, and a deployment on it: no host time, and no simulator of ours."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.backend import Reply
from inference.measure.drive import Pacer
from inference.schedule import Outcome, Reason

MS = 1_000_000
START = 1_700_000_000_000_000_000


class HandClock:
    """Stands still unless somebody sleeps on it, or waits for something on it."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def read(self) -> int:
        self.now += 1  # a spinning reader gets on
        return self.now

    def sleep(self, duration_ns: int) -> None:
        self.now += duration_ns

    @property
    def pacer(self) -> Pacer:
        return Pacer(self.read, self.sleep, spin_ns=100)


class Later(Future[Reply]):
    """A reply that is known already; whoever asks for it has waited until it came."""

    def __init__(self, clock: HandClock, reply: Reply) -> None:
        super().__init__()
        self._clock = clock
        self.set_result(reply)

    def result(self, timeout: float | None = None) -> Reply:
        reply = super().result(timeout)
        self._clock.now = max(self._clock.now, reply.received_at)
        return reply


class HandBackend:
    """Replicas in turn, each serving one request after the other, first come, first served.

    Lindley's recursion, written down here anew: it shares nothing with the simulated stack. `holds`
    is how long a replica is not free after an answer has left it, `rest` how much longer it takes
    for a request that finds it idle.
    """

    feature_names = ("request",)

    def __init__(
        self,
        clock: HandClock,
        service: Callable[[int], int],
        *,
        replicas: int = 2,
        out: int = MS,
        back: int = MS,
        holds: int = 0,
        rest: int = 0,
        submit_takes: int = 0,
        fails: Callable[[int], bool] = lambda number: False,
    ) -> None:
        self.clock, self.service, self.out, self.back = clock, service, out, back
        self.free = [0] * replicas
        self.holds, self.rest = holds, rest
        self.submit_takes, self.fails = submit_takes, fails
        self.sent: list[int] = []
        self.asked: list[float] = []

    def submit(self, values: NDArray[np.float64]) -> Future[Reply]:
        sent = self.clock.now
        number = len(self.sent)
        self.sent.append(sent)
        self.asked.append(float(values[0]))
        self.clock.now += self.submit_takes
        replica = number % len(self.free)
        started = max(sent + self.out, self.free[replica])
        idle = started == sent + self.out
        completed = started + self.service(number) + (self.rest if idle else 0)
        self.free[replica] = completed + self.holds
        outcome = Outcome.FAILED if self.fails(number) else Outcome.COMPLETED
        value = float(values[0])
        stamps = (sent, completed + self.back, started, completed)
        reply = Reply(outcome, value, *stamps, f"replica-{replica}", 1, Reason.NONE)
        return Later(self.clock, reply)

    def predict(self, values: NDArray[np.float64]) -> Any:
        return values[:, 0]

    def close(self) -> None:
        pass
