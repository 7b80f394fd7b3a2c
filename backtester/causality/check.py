"""Find out whether a scenario, its user code or its models read ahead of their time.

The real run is repeated (a run that does not repeat itself proves nothing), then cut into other
windows (code that reads its whole chunk shows there), then run again and again on other futures:
every record after a cut changed, everything up to the cut compared byte by byte.
"""

from __future__ import annotations

import pickle
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backtester.causality.cuts import choose_cuts
from backtester.causality.entries import Difference, first_difference
from backtester.causality.futures import WAYS, Future
from backtester.causality.probe import Probe, Seen, Subject, look
from backtester.causality.retraining import retrain
from backtester.causality.shrink import shrink
from backtester.causality.tell import check_part, counterexample, in_words
from backtester.causality.verdict import Coverage, Verdict
from backtester.causality.witness import Steps, Witness, bear_witness, step_by_step
from backtester.causality.workers import Job, Workers
from backtester.loading import open_catalog
from backtester.run import WINDOW_ROWS
from backtester.trace import TraceEntry
from clock.wall import host_ns

__all__ = ["check_scenario", "replay_future"]

Progress = Callable[[int, int], None]

_SECOND = 1_000_000_000
_FEW_ROWS = 251
"""Rows of the small windows that the run is repeated with: few, and no divisor of anything."""

_STEPPING = 0.25
"""Share of the budget for walking the run record by record."""

_SEARCHING = 0.7
"""Share of the budget for finding a counterexample; the rest is for making it small."""

_END_OF_TIME = 2**62


def check_scenario(
    subject: Subject,
    *,
    budget_ns: int = 60 * _SECOND,
    seed: int = 0,
    jobs: int = 2,
    small: bool = True,
    progress: Progress | None = None,
) -> Verdict:
    """Look for anything in a run that depends on what comes after it.

    Args:
        subject: The scenario.
        budget_ns: How long to look, about, once everything is compiled.
        seed: Of the cuts and the other futures.
        jobs: Processes at work.
        small: Make a counterexample as small as the budget allows.
        progress: Called with the ns spent and the budget.

    Raises:
        InputError: If the scenario itself cannot be run.
        StrategyError: If its strategy raises in the real run.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lightcone-check-") as folder,
        Workers(subject, Path(folder)) as workers,
    ):
        search = _Search(subject, seed, Path(folder), workers, jobs)
        search.until_ns, search.progress, search.small = budget_ns, progress, small
        verdict = search.run()
        verdict.seconds = (host_ns() - search.began) / _SECOND
    return verdict


def replay_future(subject: Subject, future: Future) -> Verdict:
    """Run one other future, as a counterexample names it, and tell what it shows.

    Raises:
        InputError: If the scenario cannot be run, or the future is one of records that are not
            there.
    """
    check_part(future, open_catalog(subject.scenario))
    with (
        tempfile.TemporaryDirectory(prefix="lightcone-check-") as folder,
        Workers(subject, Path(folder)) as workers,
    ):
        search = _Search(subject, future.seed, Path(folder), workers, 1)
        real = search.witness(WINDOW_ROWS, watch=False)
        search.trace.write_bytes(pickle.dumps(real.entries))
        seen = search.sees(future)
        found = None if seen is None else counterexample(future, seen, subject)
        return Verdict("none found" if found is None else "leak", [], found, [], search.coverage)


class _Search:
    """One check under way."""

    until_ns: int = _END_OF_TIME
    small: bool = True
    progress: Progress | None = None
    asks: bool = False
    walked_to: int = 0

    def __init__(
        self, subject: Subject, seed: int, folder: Path, workers: Workers, jobs: int
    ) -> None:
        self.subject, self.seed, self.workers, self.jobs = subject, seed, workers, jobs
        self.coverage = Coverage()
        self.trace = folder / "trace.pickle"
        self.began = host_ns()

    def run(self) -> Verdict:
        """Return the verdict."""
        open_catalog(self.subject.scenario)  # makes a synthetic market before anybody needs it
        self.workers.warm()
        self.began = host_ns()  # kernels that compile for the first time are not on the budget
        real = self.witness(WINDOW_ROWS, watch=True)
        if not real.entries and real.leaks:
            return Verdict("leak", leaks=real.leaks, coverage=self.coverage)
        self.trace.write_bytes(pickle.dumps(real.entries))
        again = self._start_witness(WINDOW_ROWS, watch=False)
        few = self._start_witness(_FEW_ROWS, watch=False)
        training = self._start_retraining()
        walk_ns = int(self.until_ns * _STEPPING)
        walk = self.workers.start(step_by_step, self.subject, _FEW_ROWS, walk_ns)
        repeated = _parted(real.entries, self.workers.result(again).entries)
        if repeated is not None:
            told = in_words(repeated, self.subject.scenario)
            doubts = [f"the run does not repeat itself: {told}. Draw from `ctx.random`."]
            return Verdict("unproven", doubts=doubts + real.doubts, coverage=self.coverage)
        leaks = list(real.leaks)
        leaks += self.workers.result(training) if training is not None else []
        chunked = _parted(real.entries, self.workers.result(few).entries)
        steps: Steps = self.workers.result(walk)
        self.walked_to = steps.reached
        stepped = _parted(real.entries, steps.entries, before=steps.reached)
        parted = chunked or stepped
        if parted is not None:
            told = in_words(parted, self.subject.scenario)
            leaks.append(
                "a run depends on how many records are handed over at a time, so code reads "
                f"beyond the record it is at: {told}. Again: lightcone run "
                f"{self.subject.scenario_file} --verify"
            )
        if leaks and not self.small:
            return Verdict("leak", leaks, None, real.doubts, self.coverage)
        found = self._find(real.entries, _told_by(parted))
        example = None if found is None else self._made_small(*found)
        if leaks or example is not None:
            return Verdict("leak", leaks, example, real.doubts, self.coverage)
        kind: Any = "unproven" if real.doubts else "none found"
        return Verdict(kind, [], None, real.doubts, self.coverage)

    def witness(self, rows: int, *, watch: bool) -> Witness:
        """Return what the real run tells, from a process of its own."""
        job = self._start_witness(rows, watch=watch)
        witness: Witness = self.workers.result(job)
        self.asks = witness.asks
        return witness

    def sees(self, future: Future) -> Difference | None:
        """Run one other future; None as well when time is up."""
        if self._spent() > self.until_ns:
            return None
        seen: Seen = self.workers.result(self.workers.start(look, self._probe(future)))
        self._note(seen)
        return seen.difference

    def _start_witness(self, rows: int, *, watch: bool) -> Job:
        return self.workers.start(bear_witness, self.subject, rows, watch=watch)

    def _start_retraining(self) -> Job | None:
        if self.subject.scenario.training is None:
            return None
        return self.workers.start(retrain, self.subject, self.seed)

    def _find(
        self, entries: list[TraceEntry], suspects: list[int]
    ) -> tuple[Future, Difference] | None:
        """Return a future that changed the past; *suspects* are instants to cut at before all."""
        data = self.subject.scenario.data
        cuts = choose_cuts(entries, (data.start, data.until), self.seed)
        self.coverage.decisions = len(cuts.decisions)
        self.coverage.decisions_walked = bisect_left(cuts.decisions, self.walked_to)
        decisions: set[int] = set(cuts.decisions)
        tried: set[int] = set()
        futures = self._futures(iter(cuts), suspects)
        under_way: dict[Job, Future] = {}
        started = 0
        while True:
            while len(under_way) < self.jobs and self._goes_on(started):
                future = next(futures, None)
                if future is None:
                    break
                under_way[self.workers.start(look, self._probe(future))] = future
                started += 1
            if not under_way:
                return None
            job = self.workers.first(under_way)
            future = under_way.pop(job)
            seen: Seen = self.workers.result(job)
            self._note(seen)
            tried.add(future.cut)
            self.coverage.cuts = len(tried)
            self.coverage.decisions_cut = len(tried & decisions)
            if seen.difference is not None:
                self.workers.end(under_way)
                return future, seen.difference

    def _goes_on(self, started: int) -> bool:
        # every way once, however short the time: less would look like an answer and be none
        return started < len(WAYS) or self._spent() < self.until_ns * _SEARCHING

    def _futures(self, cuts: Iterator[int], suspects: list[int]) -> Iterator[Future]:
        for cut in suspects:
            for stamp, action in WAYS:
                yield Future(cut, stamp, action, self.seed)
        for number, cut in enumerate(cuts):
            stamp, action = WAYS[number % len(WAYS)]
            yield Future(cut, stamp, action, self.seed + number)

    def _made_small(self, future: Future, difference: Difference) -> Any:
        scenario = self.subject.scenario
        if not self.small:
            return counterexample(future, difference, self.subject)
        catalog = open_catalog(scenario)
        streams = [key for key in catalog.streams() if key[0] in scenario.data.instruments]
        small, shown = shrink(future, difference, self.sees, catalog, streams)
        return counterexample(small, shown, self.subject)

    def _probe(self, future: Future) -> Probe:
        return Probe(self.subject, future, self.trace, WINDOW_ROWS, self.asks)

    def _note(self, seen: Seen) -> None:
        self.coverage.futures += 1
        self.coverage.records += seen.records
        self.coverage.failed += bool(seen.failure)
        if self.progress is not None:
            self.progress(min(self._spent(), self.until_ns), self.until_ns)

    def _spent(self) -> int:
        return host_ns() - self.began


def _told_by(difference: Difference | None) -> list[int]:
    """Return where to cut so that a difference between windows shows in another future too."""
    if difference is None:
        return []
    entry = difference.entry
    return sorted({entry.instant, entry.words.get("emitted_at", entry.instant)})


def _parted(
    one: list[TraceEntry], two: list[TraceEntry], *, before: int = _END_OF_TIME
) -> Difference | None:
    """Return where two traces part *before* an instant: the second one may go no further."""
    return first_difference(one, two, before - 1, "event_time")
