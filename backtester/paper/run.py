"""A paper run: every plane event by event at the pace of the wall clock, real answers in it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from backtester.errors import StrategyError
from backtester.loading import load_predictor, load_strategy, open_catalog
from backtester.paper.backends import BackendKind, Backends, real_backends
from backtester.paper.errors import PaperFailedError
from backtester.paper.lag import LagMeter
from backtester.paper.pacer import Doorbell, Pacer, PaperStoppedError
from backtester.paper.readiness import undisturbed, warm_up
from backtester.paper.recording import measured_frame
from backtester.paper.timeline import PacedTimeline
from backtester.run import Progress, Run
from backtester.serving_records import loop_records
from clock.units import format_instant
from clock.wall import WallClock

if TYPE_CHECKING:
    from backtester.result import RunResult
    from backtester.scenario import Scenario
    from backtester.strategy import Strategy
    from backtester.timeline import Subscription
    from featurizer.catalog import Catalog
    from inference.ray_serve.cluster import RayCluster

__all__ = ["PAPER_WINDOW_ROWS", "PaperRun", "run_paper"]

PAPER_WINDOW_ROWS = 512
"""Rows of the densest stream in a window: what opening one takes is time in which nothing runs."""

LATE_AFTER_NS = 1_000_000
MAX_LAG_NS = 100_000_000
_ERRORS_TOLD = 5
_MS = 1_000_000


class PaperRun(Run):
    """One run in real time.

    Args:
        scenario: What to run.
        strategy: The strategy; used up by the run.
        catalog: Where the records come from.
        predictors: The loaded models, by loop: they tell columns and versions.
        backends: The deployments that answer, by loop and variant.
        clock: Scenario time that passes with the host's; restarted when the run begins.
        doorbell: What the run sleeps by.
        max_lag_ns: A lag above it is told as exceeding what a paper run can be trusted with.
        keep_trace: As in `run_scenario`.

    Attributes:
        pacer: Its `stop` ends the run early.
        stopped: Why it ended early, None where it did not.
        failure: The strategy's exception that ended it, None where none did.
    """

    _in_chunks = True

    def __init__(
        self,
        scenario: Scenario,
        strategy: Strategy,
        catalog: Catalog,
        predictors: Mapping[str, Any],
        *,
        backends: Backends,
        clock: WallClock,
        doorbell: Doorbell | None = None,
        max_lag_ns: int = MAX_LAG_NS,
        keep_trace: bool = False,
    ) -> None:
        self._backends, self._wall = backends, clock
        self._max_lag_ns = max_lag_ns
        self.stopped: str | None = None
        self.failure: StrategyError | None = None
        self.pacer = Pacer(
            clock, scenario.data.start, doorbell or Doorbell(), LagMeter(LATE_AFTER_NS)
        )
        super().__init__(
            scenario, strategy, catalog, predictors, mode="lockstep", keep_trace=keep_trace
        )
        for loop in self.planes.loops:
            assert loop.live is not None
            loop.live.wake(self.pacer.doorbell.ring)

    def execute(
        self, window_rows: int = PAPER_WINDOW_ROWS, progress: Progress | None = None
    ) -> RunResult:
        """Run in real time until the scenario's end, or until the pacer is stopped.

        Raises:
            PaperFailedError: If a callback of the strategy raised: with what was recorded until
                then.
        """
        whole = self.until - self.start
        if progress is not None:
            self.pacer.progress = lambda now: progress(min(now - self.start, whole), whole)
        try:
            for _ in self.advance(window_rows):
                if self.stopped:
                    break
            result = self._finish()
        finally:
            for loop in self.planes.loops:
                assert loop.live is not None
                loop.live.close()
        if self.failure is not None:
            raise PaperFailedError(self.failure, result) from self.failure.__cause__
        return result

    # --- what is otherwise than in a backtest ----------------------------------------------------

    def _real(self, loop: str) -> dict[str, Any]:
        return {"clock": self._wall, "backend": self._backends[loop]}

    def _trade_in_lockstep(self, window: Any, planes: Any) -> list[Any]:
        outcomes = super()._trade_in_lockstep(window, planes)
        if self.stopped:
            self.events -= sum(
                len(records) - int(np.searchsorted(records.receipt_time, self.until))
                for records in window.ours.values()
            )
        return outcomes

    def _run_lockstep(self, subscriptions: Sequence[Subscription], until: int) -> None:
        engine, planes = self.engine, self._lockstep
        assert planes is not None
        self.pacer.begin()
        timeline = PacedTimeline(subscriptions, until, engine.clock, planes, self.pacer)
        try:
            try:
                engine.run_window(timeline, until)
            except PaperStoppedError:
                # what is due at the present instant still happens, and nothing after it
                self.stopped = "interrupted"
                self.until = min(engine.clock.now + 1, until)
                engine._guard(partial(engine.clock.advance_to, self.until))
        except StrategyError as error:
            # what was recorded is kept; what else is due at this instant may call the strategy, and
            # happens no more
            self._fail(error, min(engine.clock.now + 1, until))
            engine.clock._now = self.until

    def _stop(self) -> None:
        try:
            self.engine.stop(heard=self.failure is None)
        except StrategyError as error:
            self._fail(error, self.until)

    def _fail(self, error: StrategyError, until: int) -> None:
        self.stopped, self.failure, self.until = "strategy error", error, until

    def _finish(self) -> RunResult:
        result = super()._finish()
        records = [loop_records(self, index) for index in range(len(self.planes.loops))]
        measured = measured_frame(self.planes.loops, records)
        summary = {"name": result.summary["name"], "kind": "paper", **result.summary}
        summary["paper"] = self._paper_numbers()
        return replace(result, summary=summary, measured=measured)

    def _paper_numbers(self) -> dict[str, Any]:
        pacer, lag = self.pacer, self.pacer.lag
        began = pacer.started_at
        live = {loop.name: loop.live for loop in self.planes.loops if loop.live is not None}
        return {
            "speed": self._wall.speed,
            "began_at": None if began is None else format_instant(began),
            "stopped": self.stopped,
            "failure": None if self.failure is None else str(self.failure),
            "is_reproducible": False,
            "lag": {
                **lag.numbers(),
                "bound_ms": self._max_lag_ns / _MS,
                "is_exceeded": lag.most_ns > self._max_lag_ns,
            },
            "replicas": {name: list(one.replica_names) for name, one in live.items()},
            "errors": {
                name: {
                    "count": one.error_count,
                    "newest": [error.error for error in list(one.errors)[-_ERRORS_TOLD:]],
                }
                for name, one in live.items()
            },
            "host": _host(),
        }


def run_paper(
    scenario: Scenario,
    *,
    speed: float = 1.0,
    backend: BackendKind = "local",
    cluster: RayCluster | None = None,
    max_lag_ns: int = MAX_LAG_NS,
    window_rows: int = PAPER_WINDOW_ROWS,
    progress: Progress | None = None,
    scenario_file: str = "SCENARIO.yaml",
    on_begin: Callable[[Pacer], None] | None = None,
) -> RunResult:
    """Replay a scenario against the wall clock, with real answers and the simulated venue.

    Args:
        scenario: What to run.
        speed: How much scenario time passes in one of the host's. Real latencies are so many times
            longer in scenario time.
        backend: Who answers: `local`, threads of this process, or `ray_serve`.
        cluster: Where to deploy on Ray; by default a Ray of our own.
        max_lag_ns: A lag above it is told in the result.
        window_rows: Rows of the densest stream in a window.
        progress: Called with the scenario's ns done and the total.
        scenario_file: Named in messages that tell a command to run.
        on_begin: Given the pacer before time begins to pass: its `stop` ends the run early.

    Raises:
        InputError: If the scenario cannot be run: message for the user.
        PaperFailedError: If a callback of the strategy raised: with what was recorded until then.
    """
    path, params = scenario.strategy.class_path, scenario.strategy.params
    catalog = open_catalog(scenario)
    models = {
        name: load_predictor(scenario, name, scenario_file) for name in scenario.inference_config
    }
    with real_backends(scenario, models, backend, cluster) as backends:
        clock = WallClock(start=scenario.data.start, speed=speed)
        run = PaperRun(
            scenario,
            load_strategy(path, params),
            catalog,
            models,
            backends=backends,
            clock=clock,
            max_lag_ns=max_lag_ns,
        )
        warm_up(scenario, load_strategy(path, params), catalog, models, backends)
        if on_begin is not None:
            on_begin(run.pacer)
        try:
            with undisturbed():
                result = run.execute(window_rows, progress)
        except PaperFailedError as error:
            error.result.summary["paper"]["backend"] = backend
            raise
    result.summary["paper"]["backend"] = backend
    return result


def _host() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }
