"""A swarm under way: seed after seed for some minutes, logged, and what failed made small."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backtester.causality.swarm.trial import Trial, try_seed
from backtester.causality.workers import Job, Workers
from clock.wall import host_ns

__all__ = ["Totals", "run_swarm"]

Progress = Callable[[int, int], None]

_PRELOAD = "backtester.causality.swarm.preload"
_HOUR_NS = 3_600_000_000_000
_SUMS = (
    "examples", "refused", "runs", "simulated_ns", "faults", "filled", "fills", "answers",
    "has_future",
)  # fmt: skip


@dataclass
class Totals:
    """What a swarm came to.

    Attributes:
        first_seed: Its first seed; the others follow one by one.
        seeds: Seeds tried.
        examples: Scenarios on which all laws were asserted.
        refused: Scenarios that could not be run, by their own rules.
        runs: Runs made of them.
        simulated_ns: Simulated time of all runs.
        faults: Attempts that injected faults ended, and orders turned away at the venue's door.
        filled: Scenarios in which anything was filled.
        fills: Executions at the venue, in one run of each scenario.
        answers: Answers of models, likewise.
        has_future: Other futures that changed something.
        failures: The seeds that broke a law.
        log: File with a line of JSON for each seed.
    """

    first_seed: int
    log: str
    seeds: int = 0
    examples: int = 0
    refused: int = 0
    runs: int = 0
    simulated_ns: int = 0
    faults: int = 0
    filled: int = 0
    fills: int = 0
    answers: int = 0
    has_future: int = 0
    failures: list[Trial] = field(default_factory=list)

    @property
    def simulated_hours(self) -> float:
        """Simulated time of all runs, in hours."""
        return self.simulated_ns / _HOUR_NS

    def add(self, trial: Trial) -> None:
        """Count a seed."""
        self.seeds += 1
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(trial, name))
        if trial.failure:
            self.failures.append(trial)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        rest = {k: v for k, v in vars(self).items() if k != "failures"}
        told = [trial.to_dict() for trial in self.failures]
        return {**rest, "simulated_hours": self.simulated_hours, "failures": told}


def run_swarm(
    folder: Path,
    *,
    budget_ns: int,
    first_seed: int,
    jobs: int = 2,
    seeds: int | None = None,
    progress: Progress | None = None,
) -> Totals:
    """Try seed after seed until time is up, each in a process of its own.

    Args:
        folder: Takes `log.jsonl`, and the scenarios that broke a law.
        budget_ns: How long to go on, about; what has begun is finished, failures are made small.
        first_seed: The others follow one by one.
        jobs: Processes at work.
        seeds: Most seeds; by default as many as there is time for.
        progress: Called with the ns spent and the budget.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"log-{first_seed}.jsonl"
    totals = Totals(first_seed, str(log))
    began, number, last = host_ns(), first_seed, None if seeds is None else first_seed + seeds
    with (
        tempfile.TemporaryDirectory(prefix="lightcone-swarm-") as scratch,
        Workers(None, Path(scratch), _PRELOAD) as workers,
        log.open("a", encoding="utf-8") as lines,
    ):
        under_way: dict[Job, int] = {}
        while True:
            spent = host_ns() - began
            while len(under_way) < jobs and spent < budget_ns and number != last:
                under_way[workers.start(try_seed, number)] = number
                number += 1
            if not under_way:
                return totals
            job = workers.first(under_way)
            tried = _result(workers, job, under_way.pop(job))
            if tried.failure:
                again = workers.start(try_seed, tried.seed, folder.absolute())
                small = _result(workers, again, tried.seed)
                tried = small if small.failure else tried
            totals.add(tried)
            lines.write(json.dumps(tried.to_dict()) + "\n")
            lines.flush()
            if progress is not None:
                progress(min(spent, budget_ns), budget_ns)


def _result(workers: Workers, job: Job, number: int) -> Trial:
    """Return what came of a seed; a process that died is a failure too."""
    try:
        trial: Trial = workers.result(job)
    except Exception as error:
        return Trial(number, failure=f"{type(error).__name__}: {error}")
    return trial
