"""One run of the user's scenario in a process of its own, on the real records or another future."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtester.causality.catalogs import write_future
from backtester.causality.entries import Difference, first_difference
from backtester.causality.futures import Future
from backtester.scenario import Scenario
from backtester.trace import TraceEntry

if TYPE_CHECKING:
    from backtester.run import Mode, Run

__all__ = [
    "Probe",
    "Seen",
    "Subject",
    "in_another_folder",
    "look",
    "run_of",
    "trace_of",
    "trace_on",
]


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Attributes:
        scenario: The scenario.
        scenario_file: Its file, for messages.
        folder: Where commands are run from: relative paths and the user's modules start there.
    """

    scenario: Scenario
    scenario_file: str
    folder: Path


@dataclass(frozen=True)
class Probe:
    """One future, and the trace to compare with.

    Attributes:
        subject: What is checked.
        future: The future.
        trace: File of the real run's trace, pickled.
        window_rows: Rows of a window.
        asks: Whether the strategy submits requests of its own; see `first_difference`.
    """

    subject: Subject
    future: Future
    trace: Path
    window_rows: int
    asks: bool = False


@dataclass(frozen=True)
class Seen:
    """What a probe came to.

    Attributes:
        difference: Where the traces part at or before the cut; None if they do not.
        records: How many records were changed.
        failure: Why the other future could not be run, else empty: it tells nothing then.
    """

    difference: Difference | None
    records: int = 0
    failure: str = ""


def look(probe: Probe) -> Seen:
    """Run on another future, as far as its cut, and compare."""
    from backtester.errors import StrategyError
    from clock.errors import InputError, SimulationError

    future = probe.future
    try:
        with _quiet():
            entries, changed = trace_on(future, probe.subject, probe.window_rows)
    except StrategyError as error:
        return Seen(None, 0, f"the strategy raised: {error}")
    except (InputError, SimulationError) as error:
        return Seen(None, 0, str(error))
    real = pickle.loads(probe.trace.read_bytes())
    found = first_difference(real, entries, future.cut, future.stamp, asks=probe.asks)
    return Seen(found, changed)


def run_of(
    subject: Subject,
    catalog: Any,
    *,
    mode: Mode | None = None,
    lineage: bool = False,
    models: Mapping[str, Any] | None = None,
) -> Run:
    """Return a run that has not begun, which keeps its trace.

    Args:
        subject: The scenario.
        catalog: Its records.
        mode: As in `backtester.run.run_scenario`.
        lineage: As there.
        models: The model of each loop, where they have been loaded already.

    Raises:
        InputError: If the scenario cannot be run.
    """
    from backtester.loading import load_predictor, load_strategy
    from backtester.run import Run

    scenario = subject.scenario
    strategy = load_strategy(scenario.strategy.class_path, scenario.strategy.params)
    if models is None:
        models = {
            name: load_predictor(scenario, name, subject.scenario_file)
            for name in scenario.inference_config
        }
    return Run(scenario, strategy, catalog, models, mode=mode, keep_trace=True, lineage=lineage)


def trace_of(
    subject: Subject,
    catalog: Any,
    window_rows: int,
    last: int | None = None,
    *,
    mode: Mode | None = None,
    made: Callable[[Run], None] | None = None,
    goes_on: Callable[[int], bool] | None = None,
    models: Mapping[str, Any] | None = None,
) -> list[TraceEntry]:
    """Return the trace of a run, complete up to *last*; by default to its end.

    Args:
        subject: The scenario.
        catalog: Its records.
        window_rows: Rows of a window.
        last: Instant after which nothing is needed.
        mode: As in `backtester.run.run_scenario`.
        made: Called with the run before it begins.
        goes_on: Called with the end of each window: whether to run the next one.
        models: As in `run_of`.

    Raises:
        InputError: If the scenario cannot be run.
        StrategyError: If the strategy raised at or before *last*.
    """
    from backtester.errors import StrategyError

    run = run_of(subject, catalog, mode=mode, models=models)
    if made is not None:
        made(run)
    try:
        for reached in run.advance(window_rows):
            if (last is not None and reached > last) or (goes_on and not goes_on(reached)):
                break
    except StrategyError as error:
        if last is None or error.instant <= last:
            raise
        run.engine.ledger.close_window(run.trace)  # what came before it counts
        run.trace.flush()
    return run.trace.entries


def trace_on(future: Future, subject: Subject, window_rows: int) -> tuple[list[TraceEntry], int]:
    """Return the trace of a run on another future, complete up to its cut.

    Args:
        future: The future.
        subject: What is run, in a folder in which its catalog is the other one.
        window_rows: Rows of a window.

    Returns:
        The trace, and how many records the future changed.

    Raises:
        InputError: If the scenario cannot be run on it.
        StrategyError: If the strategy raised at or before the cut.
    """
    from featurizer.catalog import Catalog

    data = subject.scenario.data
    real = Catalog(subject.folder.resolve() / data.catalog)  # wherever we work meanwhile
    streams = [key for key in real.streams() if key[0] in data.instruments]
    with tempfile.TemporaryDirectory(prefix="lightcone-") as scratch:
        folder = Path(scratch)
        with in_another_folder(subject, folder) as moved:
            other, changed = write_future(real, streams, future, data.start, folder / "catalog")
            return trace_of(moved, other, window_rows, future.cut), changed


@contextlib.contextmanager
def in_another_folder(subject: Subject, scratch: Path) -> Iterator[Subject]:
    """Make the user's paths lead to the other future, as far as paths can.

    User code that opens the catalog's files itself (that is a leak worth finding) finds the other
    future there: parameters that name the catalog are rewritten, and the process works in a copy of
    the folder, made of links, in which the catalog is the other one.
    """
    root = scratch / "catalog"
    real = (subject.folder / subject.scenario.data.catalog).resolve()
    here = scratch / "folder"
    _link_folder(subject.folder.resolve(), here, real, root)
    before = Path.cwd()
    paths = sys.path[:]
    os.chdir(here)
    sys.path[:] = [str(here), *[p for p in paths if Path(p or ".").resolve() != before.resolve()]]
    try:
        content = _rewritten(subject.scenario.resolved(), real, subject.folder, root)
        content["data"]["synthetic"] = None
        yield Subject(Scenario.model_validate(content), subject.scenario_file, here)
    finally:
        os.chdir(before)
        sys.path[:] = paths


def _link_folder(source: Path, target: Path, real: Path, other: Path) -> None:
    target.mkdir()
    for item in source.iterdir():
        if item == real:
            (target / item.name).symlink_to(other)
        elif real.is_relative_to(item) and item.is_dir():
            _link_folder(item, target / item.name, real, other)
        else:
            (target / item.name).symlink_to(item)


def _rewritten(value: Any, real: Path, folder: Path, other: Path) -> Any:
    if isinstance(value, dict):
        return {key: _rewritten(item, real, folder, other) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, real, folder, other) for item in value]
    if isinstance(value, str) and value:
        with contextlib.suppress(OSError, ValueError):
            path = (folder / value).resolve()
            if path == real or path.is_relative_to(real):
                return str(other / path.relative_to(real))
    return value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what user code prints out of the report: it was printed by the real run."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
