"""Feature rows with the newest record of each stream behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from backtester.lineage.refs import ReadRecord, lookahead
from featurizer.emission import Due
from featurizer.graph import MISSING, FeatureGraph, FeatureRows
from featurizer.market import Records, StreamKey

__all__ = ["RowStamps", "RowTable", "TracedGraph"]

_STAMPS = 3  # of a record: event_time, receipt_time, sequence
_MOST_PARTS = 4096


class RowStamps(NamedTuple):
    """A feature row's stamps.

    Attributes:
        number: Its place among the rows of the run.
        emitted_at: Instant whose state it describes, ns.
        visible_at: First instant at which it could be read, ns.
        event_time: Newest event behind it, ns.
        instrument: Place of its instrument.
        records: The newest record of each stream behind it, of those that had any.
    """

    number: int
    emitted_at: int
    visible_at: int
    event_time: int
    instrument: int
    records: tuple[ReadRecord, ...]


class RowTable:
    """The rows of a run in the order in which they are emitted, and become visible.

    It grows by 40 bytes a row, and 24 for each stream that the features read.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._streams: Sequence[StreamKey] = ()
        self._blocks: Sequence[Sequence[int]] = ()

    def describe(self, streams: Sequence[StreamKey], blocks: Sequence[Sequence[int]]) -> None:
        """Say what the streams are, and which of them are behind the rows of each instrument.

        Args:
            streams: The graph's streams.
            blocks: Places of the streams behind the rows; one for all, or one an instrument.
        """
        self._streams, self._blocks = streams, blocks

    def add(self, rows: FeatureRows, behind: np.ndarray) -> None:
        """Add rows.

        Args:
            rows: The rows.
            behind: Event time, receipt time and sequence of the newest record of each stream that
                each includes, MISSING where there is none. Shape (n, streams, 3).
        """
        stamps = (rows.emitted_at, rows.visible_at, rows.event_time, rows.tie, rows.instrument)
        self._parts.append((*stamps, behind))
        if len(self._parts) > _MOST_PARTS:
            self._join()

    def find(self, emitted_at: int, instrument: int, tie: int) -> RowStamps | None:
        """Return the row of an instant, an instrument and an ordinal; None if there is none."""
        if not self._parts:
            return None
        emitted, _, _, ties, owners, _ = self._join()
        first, last = np.searchsorted(emitted, [emitted_at, emitted_at + 1])
        own = (owners[first:last] == instrument) & (ties[first:last] == tie)
        return self.row(int(first + np.argmax(own))) if own.any() else None

    def newest_of(self, instrument: int, count: int) -> int:
        """Return the number of an instrument's newest row among the first *count* ones."""
        owners = self._join()[4][:count]
        return int(np.flatnonzero(owners == instrument)[-1])

    def row(self, number: int) -> RowStamps:
        """Return a row by its number."""
        emitted, visible, event, _, owners, behind = self._join()
        owner = int(owners[number])
        blocks = self._blocks
        places = blocks[owner] if len(blocks) > 1 else blocks[0]
        found = [(self._streams[place], behind[number, place].tolist()) for place in places]
        records = tuple(ReadRecord(*key, *s) for key, s in found if s[1] != MISSING)
        return RowStamps(
            number,
            int(emitted[number]),
            int(visible[number]),
            int(event[number]),
            owner,
            records,
        )

    def _join(self) -> tuple[np.ndarray, ...]:
        if len(self._parts) > 1:
            columns = zip(*self._parts, strict=True)
            self._parts = [tuple(np.concatenate(column) for column in columns)]
        return self._parts[0]


class TracedGraph(FeatureGraph):
    """A feature graph that keeps which records its rows include, and asserts law 1 of them.

    Its rows are those of any other graph, bit for bit: it only never takes the short way of a push
    of one record, which does not tell what a row includes.
    """

    table: RowTable | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        self._included: Sequence[Sequence[int]] = ()
        self._counted: Due | None = None
        super().__init__(*args, **options)
        self._newest = np.full((len(self._streams), _STAMPS), MISSING, np.int64)

    def trace_into(self, table: RowTable) -> None:
        """Keep the rows in a table from now on."""
        table.describe(self._streams, self._included)
        self.table = table

    def push(self, records: Mapping[StreamKey, Records], until: int) -> FeatureRows:
        """Absorb records and return the rows that they complete; see `FeatureGraph.push`.

        Raises:
            LookaheadError: If a row includes a record received after the row was emitted.
        """
        rows = super().push(records, until)
        assert self._counted is not None
        behind = self._behind_rows(records, self._counted)
        size = len(self._counted.instants)
        if size:
            whole = np.repeat(behind, len(rows.emitted_at) // size, axis=0)
            self._check(rows, whole)
            if self.table is not None:
                self.table.add(rows, whole)
        return rows

    def _behind(self, *args: Any) -> list[tuple[int, ...]]:
        found = super()._behind(*args)
        self._included = found
        return found

    def push_one(self, *args: Any, **more: Any) -> FeatureRows | None:
        """Take every record the long way."""
        return None

    def _due(self, found: Sequence[Records | None], until: int) -> tuple[list[np.ndarray], Due]:
        times, due = super()._due(found, until)
        self._counted = due
        return times, due

    def _behind_rows(self, records: Mapping[StreamKey, Records], due: Due) -> np.ndarray:
        """Return the stamps of the newest record of each stream at each instant due.

        They come from the records as they were handed in, whatever has been made of them since.
        """
        behind = np.empty((len(due.instants), len(self._streams), _STAMPS), np.int64)
        for place, stream in enumerate(self._streams):
            known = self._newest[place : place + 1]
            some = records.get(stream)
            if some is not None and len(some):
                own = (some.event_time, some.receipt_time, some.sequence)
                known = np.concatenate([known, np.stack(own, axis=1)])
                behind[:, place] = known[due.counts[place]]
                self._newest[place] = known[-1]
            else:
                behind[:, place] = known
        return behind

    def _check(self, rows: FeatureRows, behind: np.ndarray) -> None:
        for row, place in np.argwhere(behind[:, :, 1] > rows.emitted_at[:, None])[:1].tolist():
            instrument, kind = self._streams[place]
            stamp, now = int(behind[row, place, 1]), int(rows.emitted_at[row])
            raise lookahead("a feature row", f"a record of {kind} of {instrument}", stamp, now)
