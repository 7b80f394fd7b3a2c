"""The live loop on real replicas: what dies in mid-run is told, borne and got over."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clock.wall import WallClock
from inference.config import InferenceConfig
from inference.errors import ServingError
from inference.loop import InferenceLoop
from inference.ray_serve import deploy, ray_cluster
from inference.rows import Rows, no_rows
from inference.schedule import Outcome, Reason
from tests.inference.real.conftest import PATIENCE_S, family, moody, row
from tests.inference.real.moody import NAN, PID, RAISE, SHAPE, SLEEP, SUM, Moody
from tests.inference.real.test_ends import head

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]

COLUMNS = ("mood", "argument")
POLICIES = {
    "polling": "on_feature",
    "max_in_flight": 50,
    "num_replicas": 2,
    "timeout": "20s",
    "circuit_breaker": {"failure_threshold": 3, "open_for": "200ms", "fallback": "last_value"},
}


class Feed:
    """Rows for a loop on the host's clock, and everything that came of them."""

    def __init__(self, config: InferenceConfig, backend: Any) -> None:
        self.clock, self.rang = WallClock(), threading.Event()
        model = Moody(1.0, "digest", "1")
        self.loop = InferenceLoop(
            config,
            model,
            start=self.clock.now,
            column_names=COLUMNS,
            clock=self.clock,
            backend=backend,
        )
        assert self.loop.live is not None
        self.live = self.loop.live
        self.live.wake(self.rang.set)
        self.ended: dict[int, tuple[Outcome, float, int]] = {}
        self.breaker: list[int] = []

    def ask(self, mood: int, argument: float = 0.0) -> int:
        """Let a row become visible now; return its request's number."""
        now = np.array([self.clock.now], np.int64)
        nothing = np.zeros(1, np.int64)
        values = np.array([[mood, argument]], np.float64)
        row = Rows(now, now, now, nothing, nothing, values)
        for column in row:
            column.flags.writeable = False
        number = self.loop.counts["submitted"]
        self._push(row, int(now[0]), 9)
        return number

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Hear what comes until a condition holds, with a deadline."""
        deadline = self.clock.now + int(PATIENCE_S * 1e9)
        while not condition():
            assert self.clock.now < deadline, f"waited for {what}: {self.loop.counts}"
            self.rang.wait(0.05)
            self.rang.clear()
            self._push(no_rows(2), self.clock.now, 0)

    def answer(self, mood: int, argument: float = 0.0) -> tuple[Outcome, float, int]:
        """Ask, and return what became of it."""
        number = self.ask(mood, argument)
        self.until(lambda: number in self.ended, f"request {number}")
        return self.ended[number]

    def _push(self, rows: Rows, until: int, rank: int) -> None:
        found = self.loop.push(rows, until, rank)
        ended = found.outcomes
        self.breaker += found.changes.value.tolist()
        for number, outcome, value, reason in zip(
            ended.number.tolist(),
            ended.outcome.tolist(),
            ended.value.tolist(),
            ended.reason.tolist(),
            strict=True,
        ):
            assert number not in self.ended, "a request ended twice"
            self.ended[number] = (Outcome(outcome), value, reason)

    def close(self) -> None:
        """Assert that nothing was lost, and let go."""
        left = len(self.loop.finish(self.loop._watermark[0]).number)
        assert len(self.ended) + left == self.loop.counts["submitted"]
        kinds = Counter(outcome.name.lower() for outcome, *_ in self.ended.values())
        counts = self.loop.counts
        assert {name: counts[name] for name in kinds} == dict(kinds)
        self.live.close()


def test_a_live_loop_bears_what_happens_to_its_replicas_and_to_its_ray(tmp_path: Path) -> None:
    config = moody(tmp_path / "model.json", **POLICIES)
    *kept, last = sorted(os.sched_getaffinity(0))
    with ray_cluster(num_cpus=2, keep_off=[last] if kept else []) as cluster:
        for process, _ in family(os.getpid()):
            assert os.sched_getaffinity(process) == set(kept or [last]), "Ray starts where we are"
        with pytest.raises(ServingError, match="connected already"), ray_cluster():
            pass
        client = deploy(cluster, config, name="live").backend()
        feed = Feed(config, client)
        assert feed.answer(SUM, 2.5)[:2] == (Outcome.COMPLETED, 2.5)

        # a model that raises, answers in the wrong shape, or with no number
        assert feed.answer(RAISE)[0] == feed.answer(SHAPE)[0] == Outcome.FAILED
        assert "not today" in feed.live.errors[0].error
        outcome, value, _ = feed.answer(NAN)
        assert (outcome, np.isnan(value)) == (Outcome.COMPLETED, True)

        # or not at all: its time is up, and the loop asks on; the late answer changes nothing
        hasty = Feed(moody(tmp_path / "model.json", **POLICIES | {"timeout": "300ms"}), client)
        assert hasty.answer(SLEEP, 1.0)[0] == Outcome.TIMED_OUT
        hasty.until(lambda: hasty.answer(SUM, 2.0)[0] == Outcome.COMPLETED, "a free replica")
        hasty.close()

        # a replica dies under its requests
        victim = int(feed.answer(PID)[1])
        slow = [feed.ask(SLEEP, 0.5) for _ in range(4)]
        os.kill(victim, signal.SIGKILL)
        feed.until(lambda: set(slow) <= set(feed.ended), "what was on its way")
        assert {feed.ended[number][0] for number in slow} <= {Outcome.COMPLETED, Outcome.FAILED}
        feed.until(lambda: feed.answer(SUM, 3.5)[2] == Reason.NONE, "the breaker to close")
        assert feed.answer(SUM, 3.5)[:2] == (Outcome.COMPLETED, 3.5)

        # the whole Ray dies: the last value stands in, and each request says so
        waiting = [feed.ask(SLEEP, 15.0) for _ in range(4)]
        os.kill(head(), signal.SIGKILL)
        feed.until(lambda: set(waiting) <= set(feed.ended), "what was on its way")
        assert {feed.ended[number][0] for number in waiting} <= {
            Outcome.FAILED,
            Outcome.TIMED_OUT,
        }
        assert feed.breaker[-1] == 1, "open"
        assert feed.answer(SUM, 9.0) == (Outcome.COMPLETED, 3.5, Reason.BREAKER_OPEN)
        # so it is for whoever asks without a loop: at once, with what is gone
        late = client.submit(row(SUM)).result(1)
        assert (late.outcome, late.reason) == (Outcome.FAILED, Reason.CRASHED)
        assert re.fullmatch(r"the Ray at .* is gone: its head at .* does not answer", late.error)
        client.close()
        assert client.counts.submitted == client.counts.ended

    # what takes over is a deployment on another Ray of this process
    with ray_cluster(num_cpus=2) as cluster:
        again = deploy(cluster, config, name="again").backend()
        feed.live.redeploy(again)
        feed.until(lambda: feed.answer(SUM, 4.5)[2] == Reason.NONE, "the breaker to close")
        assert feed.answer(SUM, 4.5)[:2] == (Outcome.COMPLETED, 4.5)
        feed.close()
        again.close()
