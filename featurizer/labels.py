"""What each feature row should have foretold, and when that was known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.config import FeaturizerConfig
from featurizer.emission import Emission, frozen
from featurizer.errors import CatalogError
from featurizer.graph import MISSING, FeatureGraph, FeatureRows
from featurizer.label_newest import NewestLabeller
from featurizer.label_rows import LabelledRows, label_change
from featurizer.market import Kind, Records, StreamKey, Window
from featurizer.prefetch import prefetched

if TYPE_CHECKING:
    from featurizer.catalog import Catalog

__all__ = ["WINDOW_ROWS", "LabelledRows", "Labelling", "label_change", "labelled_rows"]

Array: TypeAlias = NDArray[Any]

WINDOW_ROWS: Final = 65_536
"""Records of the densest stream that are worked on at once."""
_OPEN: Final = -MISSING - 1


def labelled_rows(
    catalog: Catalog,
    config: FeaturizerConfig,
    instruments: Sequence[str],
    start: int,
    until: int,
    *,
    progress: Callable[[int], None] | None = None,
    rows_until: int | None = None,
    begun: Labelling | None = None,
) -> Iterator[LabelledRows]:
    """Yield the rows of [start, until) once their labels are known, window by window.

    Memory holds a window and the rows of one lookahead, however long the range.

    Args:
        catalog: Where the market records are.
        config: The features, when a row is emitted, and the label.
        instruments: Ids of the instruments, the features' default first.
        start: First instant.
        until: First instant after it: a label whose lookahead ends there or later is missing.
        progress: Told after each window how far in time the work has come.
        rows_until: Yield no row from this instant on, and stop when all before it are labelled.
        begun: What has absorbed all before *start*, where the features began earlier.

    Raises:
        FeatureError: If the features cannot be made from these instruments.
        CatalogError: If the catalog has not what they read.
    """
    graph, joiner = begun or Labelling.start(config, instruments, start, catalog.kinds)
    last = until if rows_until is None else rows_until
    try:
        windows = catalog.windows(graph.requests, start, until, rows=WINDOW_ROWS)
    except CatalogError:
        if begun is None:
            raise
        windows = iter([Window(start, until, {}, {})])  # no record is left, but rows may be
    # files are read, features worked out, and labels joined in a thread each
    for rows, window in prefetched(_worked_out(graph, windows)):
        if len(rows.emitted_at) and rows.emitted_at[-1] >= last:
            count = int(rows.emitted_at.searchsorted(last, "left"))
            rows = FeatureRows(*(column[:count] for column in rows))
        yield from joiner.push(rows, window.ours, window.until)
        if progress is not None:
            progress(min(window.until, last))
        if window.until >= last and not joiner.waiting:
            return
    yield from joiner.finish()


def _worked_out(
    graph: FeatureGraph, windows: Iterator[Window]
) -> Iterator[tuple[FeatureRows, Window]]:
    for window in prefetched(windows):
        yield graph.push(window.ours, window.until), window


class Labelling(NamedTuple):
    """A graph and what joins labels to its rows, somewhere on the way; it pickles.

    Attributes:
        graph: Of the rows.
        joiner: Of the labels.
    """

    graph: FeatureGraph
    joiner: _Joiner

    @classmethod
    def start(
        cls,
        config: FeaturizerConfig,
        instruments: Sequence[str],
        start: int,
        kinds: Mapping[str, Kind],
    ) -> Labelling:
        """Return both at the start of a run."""
        graph = FeatureGraph(config, instruments, start=start, kinds=kinds, columnar=True)
        return cls(graph, _Joiner(config, instruments, start, kinds, graph.names))

    def absorb(self, records: Mapping[StreamKey, Records], until: int) -> None:
        """Take the records up to *until*, and work out neither row nor label."""
        self.graph.absorb(records, until)
        for _, labeller in self.joiner.labellers:
            labeller.absorb(records, until)


class _Joiner:
    """Holds rows until each has its label, and lets them go in their order."""

    def __init__(
        self,
        config: FeaturizerConfig,
        instruments: Sequence[str],
        start: int,
        kinds: Mapping[str, Kind],
        names: Sequence[str],
    ) -> None:
        self.kind = config.label
        self.column = 0
        self.labellers: list[tuple[int | None, _Labeller | NewestLabeller]] = []
        if config.label_feature is not None:
            self.column = names.index(config.label_feature)
            each: Sequence[str | None] = instruments if config.per_instrument else [None]
            for place, instrument in enumerate(each):
                labeller = _Labeller(config, instruments, start, kinds, instrument)
                short = NewestLabeller.of(labeller.graph.nodes, labeller.lookahead_ns)
                self.labellers.append((None if instrument is None else place, short or labeller))
        # of the rows that wait: in the pieces in which they came, and what their labels need;
        # what has been decided of them is kept only where one instrument waits for another
        self.rows: deque[FeatureRows] = deque()
        self.instrument = self.known_at = np.empty(0, np.int64)
        self.before = self.label = np.empty(0)

    @property
    def waiting(self) -> int:
        """How many rows are held."""
        return len(self.before)

    def push(
        self, rows: FeatureRows, records: Mapping[StreamKey, Records], until: int
    ) -> Iterator[LabelledRows]:
        """Take rows and the records up to *until*; yield the rows that are labelled by now."""
        count = len(rows.emitted_at)
        if not self.labellers:
            yield LabelledRows(rows, np.full(count, np.nan), np.full(count, MISSING))
            return
        self.rows.append(rows)
        self.before = np.concatenate([self.before, rows.values[:, self.column]])
        if self.labellers[0][0] is None:
            after, known_at = self.labellers[0][1].push(rows.emitted_at, records, until)
            yield from self._release(*self._labelled(self.before[: len(after)], after, known_at))
            return
        self.instrument = np.concatenate([self.instrument, rows.instrument])
        self.label = np.concatenate([self.label, np.full(count, np.nan)])
        self.known_at = np.concatenate([self.known_at, np.full(count, _OPEN)])
        for place, labeller in self.labellers:
            fresh = rows.emitted_at[rows.instrument == place]
            after, known_at = labeller.push(fresh, records, until)
            waits = (self.known_at == _OPEN) & (self.instrument == place)
            done = np.flatnonzero(waits)[: len(after)]
            decided = self._labelled(self.before[done], after, known_at)
            self.label[done], self.known_at[done] = decided
        still_open = np.flatnonzero(self.known_at == _OPEN)
        yield from self._decided(int(still_open[0]) if len(still_open) else self.waiting)

    def finish(self) -> Iterator[LabelledRows]:
        """Yield what is still held: without a label unless it had one already."""
        if self.labellers and self.labellers[0][0] is None:
            count = self.waiting
            yield from self._release(np.full(count, np.nan), np.full(count, MISSING))
            return
        self.known_at[self.known_at == _OPEN] = MISSING
        yield from self._decided(self.waiting)

    def _labelled(self, before: Array, after: Array, known_at: Array) -> tuple[Array, Array]:
        """Return labels, and when each was known."""
        label = label_change(self.kind, before, after)
        missing = np.isnan(label)
        if missing.any():
            known_at = np.where(missing, MISSING, known_at)
        return label, known_at

    def _decided(self, count: int) -> Iterator[LabelledRows]:
        label, known_at = self.label[:count], self.known_at[:count]
        self.instrument = self.instrument[count:]
        self.label, self.known_at = self.label[count:], self.known_at[count:]
        yield from self._release(label, known_at)

    def _release(self, label: Array, known_at: Array) -> Iterator[LabelledRows]:
        """Yield the oldest rows, piece by piece as they came, with their labels."""
        count = len(label)
        self.before = self.before[count:]
        begin = 0
        while self.rows and (begin < count or not len(self.rows[0].emitted_at)):
            rows = self.rows[0]
            size = len(rows.emitted_at)
            taken = min(size, count - begin)
            if taken == size:
                self.rows.popleft()
            else:
                self.rows[0] = FeatureRows(*(column[taken:] for column in rows))
                rows = FeatureRows(*(column[:taken] for column in rows))
            end = begin + taken
            yield LabelledRows(rows, label[begin:end], known_at[begin:end])
            begin = end


class _Labeller:
    """A second graph of the label feature alone, read one lookahead after each row."""

    def __init__(
        self,
        config: FeaturizerConfig,
        instruments: Sequence[str],
        start: int,
        kinds: Mapping[str, Kind],
        instrument: str | None,
    ) -> None:
        assert config.label_lookahead is not None, "the config refuses a label without it"
        self.lookahead_ns = config.label_lookahead
        self.graph = FeatureGraph(
            config,
            instruments,
            Emission.scheduled(),
            start,
            kinds=kinds,
            outputs=[str(config.label_feature)],
            instrument=instrument or instruments[0],
        )
        self.streams = [request.key for request in self.graph.requests]
        from featurizer.operators.order import first_from

        self.first_from = first_from
        self.horizons = np.empty(0, np.int64)
        self.values = np.empty(0)

    def absorb(self, records: Mapping[StreamKey, Records], until: int) -> None:
        """Take records that no row was emitted with."""
        self.graph.absorb(records, until)

    def push(
        self, emitted_at: Array, records: Mapping[StreamKey, Records], until: int
    ) -> tuple[Array, Array]:
        """Take the instants of new rows, and records.

        Returns:
            Of the oldest rows that waited, those that are closed by now: the value at the horizon,
            and when that was known.
        """
        horizons = emitted_at + self.lookahead_ns
        self.graph.schedule(horizons)
        self.values = np.concatenate([self.values, self.graph.read(records, until)[:, 0]])
        self.horizons = np.concatenate([self.horizons, horizons])
        closed = np.full(len(self.horizons), _OPEN)
        for stream in self.streams:
            found = records.get(stream)
            if found is not None and len(found):
                self.first_from(frozen(found.receipt_time), frozen(self.horizons), closed)
        # horizons are in order, so those closed by this window are the first of them
        done = int(np.count_nonzero(closed != _OPEN))
        values, known_at = self.values[:done], closed[:done]
        self.values, self.horizons = self.values[done:], self.horizons[done:]
        return values, known_at
