"""Days of a feature set side by side, with the bits of one pass.

A worker begins before its day, and must show that by the day's first row nothing depends on where
it began: every feature has a value, has had one for as long as it needs to settle, and the newest
event lies after the beginning. By the promise that `featurizer.checks` tests (`forgets_the_start`)
its rows then have the bits of a run from the very start. Where that is not shown, it begins
earlier, at last at the start of the run. The rows before each midnight are made by two workers, and
compared. Where the start fades without ever being gone, the days begin from a state that is handed
over: `featurizer.dataset_handover`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from clock.units import format_duration, format_instant
from featurizer.config import FeaturizerConfig, InputSampling
from featurizer.dataset_part import Layout, PartWriter, part_of
from featurizer.dataset_store import DAY_NS, DayWriter
from featurizer.errors import BrokenPromiseError, CatalogError
from featurizer.graph import FeatureGraph
from featurizer.labels import LabelledRows, labelled_rows

if TYPE_CHECKING:
    from featurizer.catalog import Catalog

__all__ = ["write_days"]

_FIRST_OVERLAP_NS: Final = 600_000_000_000
_SEAM: Final = 64
"""Rows before midnight that are compared."""


class _Task(NamedTuple):
    root: Path
    config: FeaturizerConfig
    layout: Layout
    start: int
    until: int
    day: int
    path: Path
    settling_ns: int


class _Done(NamedTuple):
    day: int
    rows: int
    labelled: int
    before: tuple[bytes, ...]
    """The last rows before the day, as this worker made them, the last one last."""
    last: tuple[bytes, ...]
    """The last rows of the day."""


def write_days(
    catalog: Catalog,
    config: FeaturizerConfig,
    instruments: Sequence[str],
    span: tuple[int, int],
    writer: DayWriter,
    workers: int,
    progress: Callable[[int], None] | None,
) -> None:
    """Write the days of a range, each by one of some processes.

    Raises:
        BrokenPromiseError: If a feature does not forget although it promises to.
    """
    start, until = span
    graph = FeatureGraph(config, instruments, start=start, kinds=catalog.kinds)
    if not _forgets(graph, config):
        from featurizer.dataset_handover import write_days_in_turn

        write_days_in_turn(catalog, config, instruments, span, writer, workers, progress)
        return
    settling_ns = max((node.definition.settling_ns for node in graph.nodes), default=0)
    layout = writer.layout
    days = range(start // DAY_NS, (until - 1) // DAY_NS + 1)
    tasks = [
        _Task(catalog.root, config, layout, start, until, day, writer.staging(day), settling_ns)
        for day in days
    ]
    done: dict[int, _Done] = {}
    # a new interpreter each: the threads of Arrow and Polars do not survive a fork
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
            running = [pool.submit(_write_day, task) for task in tasks]
            try:
                for future in as_completed(running):
                    found = future.result()
                    done[found.day] = found
                    if progress is not None:
                        progress(start + (until - start) * len(done) // len(tasks))
            except BaseException:
                for future in running:
                    future.cancel()
                raise
        for day in days[1:]:
            _check_seam(done[day - 1], done[day])
    except BaseException:
        for task in tasks:
            task.path.unlink(missing_ok=True)
            if not any(task.path.parent.iterdir()):
                task.path.parent.rmdir()
        raise
    for task in tasks:
        if done[task.day].rows:
            writer.adopt(task.day, done[task.day].rows, done[task.day].labelled)
        else:
            task.path.unlink(missing_ok=True)


def _forgets(graph: FeatureGraph, config: FeaturizerConfig) -> bool:
    """Return whether nothing of a row shows where the run began, from some time on."""
    if isinstance(config.sampling, InputSampling) and config.sampling.every > 1:
        return False  # it counts records from the start
    return not any(node.definition.tolerance for node in graph.nodes)


def _write_day(task: _Task) -> _Done:
    from featurizer.catalog import Catalog

    catalog = Catalog(task.root)
    overlap_ns = _FIRST_OVERLAP_NS
    while True:
        begin = max(task.start, task.day * DAY_NS - overlap_ns)
        try:
            done = _from(task, catalog, begin)
        except CatalogError:
            if begin == task.start:
                raise
            done = None  # too few records from there on: begin earlier
        if done is not None:
            return done
        overlap_ns *= 4


def _from(task: _Task, catalog: Catalog, begin: int) -> _Done | None:
    """Write the day, beginning at an instant; None if that shows in its rows."""
    midnight, end = task.day * DAY_NS, (task.day + 1) * DAY_NS
    part, seam, shown = None, _Seam(task, begin), begin == task.start
    last: list[bytes] = []
    parts = labelled_rows(
        catalog,
        task.config,
        task.layout.instruments,
        begin,
        task.until,
        rows_until=min(end, task.until),
    )
    part = PartWriter(task.path, task.layout)
    for labelled in parts:
        cut = int(labelled.rows.emitted_at.searchsorted(midnight, "left"))
        seam.push(part_of(labelled, 0, cut))
        if cut == len(labelled.label):
            continue
        if not shown and not seam.forgotten():
            part.abandon()
            return None
        shown = True
        own = part_of(labelled, cut, len(labelled.label))
        last = (last + _rows_as_bytes(own))[-_SEAM:]
        part.write(own)
    part.close()
    return _Done(task.day, part.rows, part.labelled, seam.comparable(), tuple(last))


class _Seam:
    """The rows before a day, and whether the beginning still shows in them."""

    def __init__(self, task: _Task, begin: int) -> None:
        self._begin = begin
        self._began_first = begin == task.start
        self._midnight = task.day * DAY_NS
        self._settling_ns = task.settling_ns
        blocks = len(task.layout.instruments) if task.config.per_instrument else 1
        self._known_since = dict.fromkeys(range(blocks), self._midnight)
        self._each = task.config.per_instrument
        self._newest_shows = dict.fromkeys(range(blocks), True)
        self._before: list[tuple[int, int, bytes]] = []

    def push(self, labelled: LabelledRows) -> None:
        rows = labelled.rows
        if not len(rows.emitted_at):
            return
        known = np.asarray(~np.isnan(rows.values).any(axis=1))
        for block in self._known_since:
            own = np.flatnonzero((rows.instrument == block) | (not self._each))
            emitted, has_value = rows.emitted_at[own], known[own]
            if not len(emitted):
                continue
            if has_value.any():
                first = int(emitted[has_value.argmax()])
                self._known_since[block] = min(self._known_since[block], first)
            if not has_value[-1]:  # a gap at the very seam: not shown
                self._known_since[block] = self._midnight
            self._newest_shows[block] = bool(rows.event_time[own][-1] < self._begin)
        new = _rows_as_bytes(labelled)
        stamps = zip(rows.emitted_at[-len(new) :], rows.event_time[-len(new) :], strict=True)
        self._before += [
            (int(at), int(event), row) for (at, event), row in zip(stamps, new, strict=True)
        ]
        del self._before[:-_SEAM]

    def forgotten(self) -> bool:
        """Whether no row from now on shows where the worker began."""
        return self._settled_at() < self._midnight and not any(self._newest_shows.values())

    def comparable(self) -> tuple[bytes, ...]:
        """Return the last rows before the day in which the beginning shows no more."""
        if self._began_first:
            return tuple(row for _, _, row in self._before)
        at = self._settled_at()
        return tuple(
            row for emitted, event, row in self._before if emitted > at and event >= self._begin
        )

    def _settled_at(self) -> int:
        return max(self._known_since.values()) + self._settling_ns


def _rows_as_bytes(labelled: LabelledRows) -> list[bytes]:
    count = len(labelled.label)
    rows = [column[max(0, count - _SEAM) :] for column in labelled.rows]
    return [b"".join(column[i].tobytes() for column in rows) for i in range(len(rows[0]))]


def _check_seam(day: _Done, after: _Done) -> None:
    count = min(len(day.last), len(after.before))
    if count and day.last[-count:] != after.before[-count:]:
        midnight = after.day * DAY_NS
        raise BrokenPromiseError(
            f"features must not depend on the run's start once they have a value: got other rows "
            f"before {format_instant(midnight)} from a worker that began "
            f"{format_duration(_FIRST_OVERLAP_NS)} or more before. Find the feature with "
            "`featurizer.checks.check_feature`, or use `--workers 1`."
        )
