"""All laws on one scenario, around one real run that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from backtester.causality.conservation import (
    Entries,
    check_books,
    check_lots,
    check_requests,
    entries_of,
)
from backtester.causality.cuts import choose_cuts
from backtester.causality.entries import first_difference
from backtester.causality.futures import WAYS, Future
from backtester.causality.ordering import check_order
from backtester.causality.probe import Subject, run_of, trace_on
from backtester.causality.tell import in_words, name_of
from backtester.loading import open_catalog
from backtester.orders import Reason, ReportKind
from backtester.run import WINDOW_ROWS
from backtester.scenario import load_scenario
from backtester.trace import EntryKind, TraceEntry
from clock.errors import InputError
from clock.units import format_instant
from featurizer.catalog import Catalog
from inference.schedule import Reason as Why

__all__ = ["Tried", "assert_laws"]

_END_OF_TIME = 2**62
_WINDOWS = (1, 7)
_FAULTS = (Why.ERROR, Why.CRASHED, Why.LOST)
_TURNED_AWAY = (Reason.RATE_LIMIT, Reason.OVERLOAD)


@dataclass
class Tried:
    """What the laws were asserted on.

    Attributes:
        runs: Runs made.
        simulated_ns: Simulated time of all of them together.
        faults: Attempts that an injected fault ended, and orders turned away at the venue's door.
        filled: 1 where anything was filled, else 0.
        fills: Executions at the venue in the real run.
        answers: Requests that ended with an answer in the real run.
        has_future: Other futures in which something after the cut was changed.
    """

    runs: int = 0
    simulated_ns: int = 0
    faults: int = 0
    filled: int = 0
    fills: int = 0
    answers: int = 0
    has_future: int = 0


def assert_laws(file: Path | str, *, cuts: int = 2, seed: int = 0) -> Tried:
    """Assert every law that one scenario can show: 1 to 7, law 3 by windows.

    Args:
        file: The scenario's file; it runs in this process, from the working folder.
        cuts: Instants to cut at, each with one way in which a future can be different.
        seed: Of the cuts and the futures.

    Raises:
        AssertionError: With the law, and the first entry that breaks it.
        InputError: If the scenario cannot be run.
        SimulationError: If it fails while it runs: a law of its own was broken.
    """
    battery = _Battery(Path(file), seed)
    try:
        battery.conserves()
        battery.repeats()
        battery.is_watched()
        battery.is_blind(cuts)
    except InputError as error:
        raise AssertionError(f"it has run, and is refused when it runs again: {error}") from error
    return battery.tried


class _Battery:
    """The real run, and everything that is compared with it."""

    def __init__(self, file: Path, seed: int) -> None:
        self.scenario = load_scenario(file)
        self.subject = Subject(self.scenario, str(file), Path.cwd())
        open_catalog(self.scenario)  # makes a synthetic market
        self.catalog = Catalog(self.subject.folder / self.scenario.data.catalog)
        self.seed, self.tried = seed, Tried()
        self.run = run_of(self.subject, self.catalog)
        self.result = self.run.execute(WINDOW_ROWS)
        self._made(self.scenario.data.until)
        self.real: Sequence[TraceEntry] = self.result.trace

    def conserves(self) -> None:
        """Laws 6 and 7 on the real run."""
        entries = entries_of(self.real)
        loops = self.run.planes.loops
        check_requests(entries, frozenset(i for i, loop in enumerate(loops) if loop.is_plain))
        check_lots(entries)
        check_books(self.run, self.result, entries)
        check_order(self.real)
        self._count(entries)

    def repeats(self) -> None:
        """Laws 3, 4 and 5: again, in other windows, and event by event."""
        for rows in (WINDOW_ROWS, *_WINDOWS):
            self._same(self._trace(rows=rows), f"windows of {rows} rows (laws 3 and 5)")
        if not self.run.why_lockstep:
            self._same(self._trace(mode="lockstep"), "lockstep (law 4)")
            self._same(self._trace(rows=3, mode="lockstep"), "lockstep, windows of 3 (law 4)")

    def is_watched(self) -> None:
        """Law 1: every read and delivery is asserted, and watching changes nothing."""
        self._same(self._trace(lineage=True), "a watched run (law 1)")
        self._same(self._trace(rows=5, lineage=True), "a watched run, windows of 5 (law 1)")

    def is_blind(self, cuts: int) -> None:
        """Law 2: other futures leave the past as it is."""
        data = self.scenario.data
        chosen = choose_cuts(self.real, (data.start, data.until), self.seed)
        first = len(self.real)  # so that the ways differ from example to example
        for number, cut in enumerate(islice(chosen, cuts)):
            stamp, action = WAYS[(first + number) % len(WAYS)]
            self._look(Future(cut, stamp, action, self.seed + number))

    def _look(self, future: Future) -> None:
        try:
            entries, changed = trace_on(future, self.subject, 7)
        except InputError:
            return  # a market moved beyond the run's end, say: it tells nothing
        self._made(future.cut + 1)
        self.tried.has_future += bool(changed)
        asks = self.run.engine.strategy.submits_requests
        difference = first_difference(self.real, entries, future.cut, future.stamp, asks=asks)
        assert difference is None, (
            f"what comes after {format_instant(future.cut)} changed what came before it (law 2): "
            f"{in_words(difference, self.scenario)}. The future: {name_of(future)}"
        )

    def _trace(self, rows: int = WINDOW_ROWS, **how: Any) -> Sequence[TraceEntry]:
        trace = run_of(self.subject, self.catalog, **how).complete(rows)
        self._made(self.scenario.data.until)
        return trace

    def _made(self, until: int) -> None:
        self.tried.runs += 1
        self.tried.simulated_ns += until - self.scenario.data.start

    def _same(self, other: Sequence[TraceEntry], what: str) -> None:
        difference = first_difference(self.real, other, _END_OF_TIME, "event_time")
        assert difference is None, (
            f"{what} must give the same: {in_words(difference, self.scenario)}"
        )

    def _count(self, entries: Entries) -> None:
        tried = self.tried
        tried.fills = len(entries[EntryKind.VENUE_LEDGER])
        tried.filled = int(tried.fills > 0)
        tried.answers = sum(not entry.words["outcome"] for entry in entries[EntryKind.OUTCOME])
        tried.faults = sum(e.words["reason"] in _FAULTS for e in entries[EntryKind.ATTEMPT])
        tried.faults += sum(
            entry.words["kind"] in (ReportKind.REJECTED, ReportKind.MODIFY_REJECTED)
            and entry.words["reason"] in _TURNED_AWAY
            for entry in entries[EntryKind.REPORT]
        )
