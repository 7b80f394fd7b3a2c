"""The laws of time as assertions, for the tests of your own features, strategies and scenarios.

Each takes a scenario (a file or an object), runs it in this process, and fails with the first entry
of the trace that breaks the law, in words. They are the quick form of `lightcone check`, which
looks longer, in fresh processes, and at data, models and files besides.

Example:
    >>> from backtester.causality import assert_future_blind
    >>> def test_my_scenario_does_not_look_ahead():
    ...     assert_future_blind("scenarios/mine.yaml", cuts=10)
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from backtester.causality.conservation import (
    check_books,
    check_lots,
    check_requests,
    entries_of,
)
from backtester.causality.cuts import choose_cuts
from backtester.causality.entries import first_difference
from backtester.causality.futures import WAYS, Future
from backtester.causality.ordering import check_order
from backtester.causality.probe import Subject, run_of, trace_of, trace_on
from backtester.causality.tell import in_words, name_of
from backtester.loading import open_catalog
from backtester.run import WINDOW_ROWS
from backtester.scenario import Scenario, load_scenario
from backtester.trace import TraceEntry
from clock.units import format_instant
from featurizer.catalog import Catalog

__all__ = [
    "assert_ahead_equals_lockstep",
    "assert_chunk_invariant",
    "assert_conserves",
    "assert_deterministic",
    "assert_future_blind",
    "assert_in_order",
    "assert_known_at",
]

_END_OF_TIME = 2**62


def assert_deterministic(scenario: Scenario | Path | str) -> None:
    """Assert that a run repeats itself (law 5).

    Raises:
        AssertionError: With the first entry that differs.
    """
    subject, catalog = _open(scenario)
    real, again = (trace_of(subject, catalog, WINDOW_ROWS) for _ in range(2))
    _assert_same(subject, real, again, "the run must repeat itself (law 5)")


def assert_chunk_invariant(
    scenario: Scenario | Path | str, rows: tuple[int, ...] = (251, 1)
) -> None:
    """Assert that a run does not depend on how many records are handed over at a time (law 3).

    Args:
        scenario: The scenario.
        rows: Rows of the windows to compare with the usual ones.

    Raises:
        AssertionError: With the first entry that differs.
    """
    subject, catalog = _open(scenario)
    real = trace_of(subject, catalog, WINDOW_ROWS)
    for count in rows:
        rule = f"windows of {count} rows must give the same (law 3)"
        _assert_same(subject, real, trace_of(subject, catalog, count), rule)


def assert_ahead_equals_lockstep(scenario: Scenario | Path | str) -> None:
    """Assert that features and inference run ahead give what they give event by event (law 4).

    A scenario that cannot run ahead, as its strategy submits requests of its own or a policy of a
    deployment reads values, has nothing to compare, and passes.

    Raises:
        AssertionError: With the first entry that differs.
    """
    subject, catalog = _open(scenario)
    if run_of(subject, catalog).why_lockstep:
        return
    ahead, lockstep = (
        trace_of(subject, catalog, WINDOW_ROWS, mode=mode) for mode in ("ahead", "lockstep")
    )
    _assert_same(subject, ahead, lockstep, "ahead must equal lockstep (law 4)")


def assert_conserves(scenario: Scenario | Path | str) -> None:
    """Assert that nothing is lost and nothing is counted twice (law 6).

    Every request ends in exactly one outcome; no order is filled beyond what it asked for; both
    books, made again in exact fractions from the fills and payments alone, are what the run says,
    entry by entry; ours repeat the venue's, and are the same once all reports are in.

    Raises:
        AssertionError: Naming the request, the order or the booking.
    """
    subject, catalog = _open(scenario)
    run = run_of(subject, catalog)
    result = run.execute(WINDOW_ROWS)
    entries = entries_of(result.trace)
    plain = frozenset(place for place, loop in enumerate(run.planes.loops) if loop.is_plain)
    check_requests(entries, plain)
    check_lots(entries)
    check_books(run, result, entries)


def assert_known_at(scenario: Scenario | Path | str) -> None:
    """Assert at every read, delivery and feature row that it was visible then (law 1).

    The scenario runs as with `lightcone run --lineage`; that must also change nothing.

    Raises:
        LookaheadError: With what was seen, where, and by how much too early.
        AssertionError: If being watched changes the trace.
    """
    subject, catalog = _open(scenario)
    real = run_of(subject, catalog).complete(WINDOW_ROWS)
    watched = run_of(subject, catalog, lineage=True).complete(WINDOW_ROWS)
    _assert_same(subject, real, watched, "being watched must change nothing (law 1)")


def assert_in_order(scenario: Scenario | Path | str) -> None:
    """Assert that time never goes back, and that the stamps of everything are in order (law 7).

    Raises:
        AssertionError: Naming the request, the row or the report.
    """
    subject, catalog = _open(scenario)
    check_order(trace_of(subject, catalog, WINDOW_ROWS))


def assert_future_blind(scenario: Scenario | Path | str, *, cuts: int = 8, seed: int = 0) -> None:
    """Assert that other futures leave the past as it is, byte for byte (law 2, both parts).

    Args:
        scenario: The scenario.
        cuts: How many instants to cut at, decisions first; each with one of the ways in which a
            future can be different, in turn.
        seed: Of the cuts and the futures.

    Raises:
        AssertionError: With the first entry that differs, and the future that changed it.
    """
    subject, catalog = _open(scenario)
    run = run_of(subject, catalog)
    real = run.complete(WINDOW_ROWS)
    asks = run.engine.strategy.submits_requests
    data = subject.scenario.data
    chosen = islice(choose_cuts(real, (data.start, data.until), seed), cuts)
    for number, cut in enumerate(chosen):
        stamp, action = WAYS[number % len(WAYS)]
        future = Future(cut, stamp, action, seed + number)
        entries, _ = trace_on(future, subject, WINDOW_ROWS)
        difference = first_difference(real, entries, cut, stamp, asks=asks)
        assert difference is None, (
            f"what comes after {format_instant(cut)} changed what came before it (law 2): "
            f"{in_words(difference, subject.scenario)}. The future: {name_of(future)}."
        )


def _open(scenario: Scenario | Path | str) -> tuple[Subject, Catalog]:
    loaded = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    file = "SCENARIO.yaml" if isinstance(scenario, Scenario) else str(scenario)
    return Subject(loaded, file, Path.cwd()), open_catalog(loaded)


def _assert_same(subject: Subject, one: list[TraceEntry], two: list[TraceEntry], rule: str) -> None:
    difference = first_difference(one, two, _END_OF_TIME, "event_time")
    assert difference is None, f"{rule}: {in_words(difference, subject.scenario)}."
