"""Days of a feature set side by side, for features that never quite forget where they began.

One pass goes through the whole range, absorbs every record, and works out no row. At each midnight
it hands a copy of its state to a worker, which makes that day's rows from there: by the law of
chunking they are those of one run, to the last bit, whatever the features remember.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from featurizer.config import FeaturizerConfig
from featurizer.dataset_part import Layout, PartWriter
from featurizer.dataset_store import DAY_NS, DayWriter
from featurizer.labels import WINDOW_ROWS, Labelling, labelled_rows
from featurizer.market import Records, StreamKey
from featurizer.prefetch import prefetched

if TYPE_CHECKING:
    from featurizer.catalog import Catalog

__all__ = ["write_days_in_turn"]


class _Task(NamedTuple):
    root: Path
    config: FeaturizerConfig
    layout: Layout
    begin: int
    until: int
    day: int
    path: Path
    state: bytes


class _Done(NamedTuple):
    day: int
    rows: int
    labelled: int


def write_days_in_turn(
    catalog: Catalog,
    config: FeaturizerConfig,
    instruments: Sequence[str],
    span: tuple[int, int],
    writer: DayWriter,
    workers: int,
    progress: Callable[[int], None] | None,
) -> None:
    """Write the days of a range, each by one of some processes, from a state that is handed over.

    Memory holds the states of the days that are being written, and of as many that wait.

    Raises:
        FeatureError: If the features cannot be made.
        CatalogError: If the catalog has not what they read.
    """
    start, until = span
    days = range(start // DAY_NS, (until - 1) // DAY_NS + 1)
    done: list[_Done] = []
    running: set[Future[_Done]] = set()

    def collect(most: int) -> None:
        while len(running) > most:
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                running.remove(future)
                done.append(future.result())
                if progress is not None:
                    progress(start + (until - start) * len(done) // len(days))

    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(days)), mp_context=context) as pool:
        try:
            for day, begin, state in _states(catalog, config, instruments, span):
                path = writer.staging(day)
                task = _Task(catalog.root, config, writer.layout, begin, until, day, path, state)
                running.add(pool.submit(_write_day, task))
                collect(2 * workers)
            collect(0)
        except BaseException:
            for future in running:
                future.cancel()
            pool.shutdown()
            _remove([writer.staging(day) for day in days])
            raise
    for found in done:
        if found.rows:
            writer.adopt(*found)
        else:
            _remove([writer.staging(found.day)])


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()


def _states(
    catalog: Catalog,
    config: FeaturizerConfig,
    instruments: Sequence[str],
    span: tuple[int, int],
) -> Iterator[tuple[int, int, bytes]]:
    """Yield each day, where it begins, and the pickled state by then."""
    start, until = span
    state = Labelling.start(config, instruments, start, catalog.kinds)
    day, last = start // DAY_NS, (until - 1) // DAY_NS
    windows = catalog.windows(state.graph.requests, start, until, rows=WINDOW_ROWS)
    yield day, start, pickle.dumps(state)
    if day == last:
        return
    for window in prefetched(windows):
        records: Mapping[StreamKey, Records] = window.ours
        while window.until >= (day + 1) * DAY_NS:
            day += 1
            midnight = day * DAY_NS
            earlier, records = _cut(records, midnight)
            state.absorb(earlier, midnight)
            yield day, midnight, pickle.dumps(state)
            if day == last:
                return
        state.absorb(records, window.until)


def _cut(
    records: Mapping[StreamKey, Records], instant: int
) -> tuple[dict[StreamKey, Records], dict[StreamKey, Records]]:
    """Return the records received before an instant, and the others."""
    before, after = {}, {}
    for stream, found in records.items():
        count = int(found.receipt_time.searchsorted(instant, "left"))
        before[stream] = found.slice(0, count)
        after[stream] = found.slice(count, len(found))
    return before, after


def _write_day(task: _Task) -> _Done:
    from featurizer.catalog import Catalog

    catalog = Catalog(task.root)
    part = PartWriter(task.path, task.layout)
    try:
        for labelled in labelled_rows(
            catalog,
            task.config,
            task.layout.instruments,
            task.begin,
            task.until,
            rows_until=min((task.day + 1) * DAY_NS, task.until),
            begun=pickle.loads(task.state),
        ):
            part.write(labelled)
    except BaseException:
        part.abandon()
        raise
    part.close()
    return _Done(task.day, part.rows, part.labelled)
