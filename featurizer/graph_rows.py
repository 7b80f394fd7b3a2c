"""From the values read at some instants to feature rows: whose, when, and behind which event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.emission import EMPTY, Due, frozen
from featurizer.graph_chunk import Chunk

__all__ = ["MISSING", "FeatureRows", "RowMaker"]

Array: TypeAlias = NDArray[Any]

MISSING: Final = -(2**63)
"""An instant that does not exist, in columns of `int64`."""


class FeatureRows(NamedTuple):
    """Feature rows in order of emission. Every array is read-only.

    Attributes:
        emitted_at: Instant of each row. Shape (n,), ns.
        visible_at: `emitted_at` plus the graph's compute latency. Shape (n,), ns.
        event_time: Newest `event_time` among the records that the row includes; `MISSING` where
            there is none. Shape (n,), ns.
        tie: Ordinal among the rows of the same instant and instrument. Shape (n,).
        instrument: Place in the scenario of the row's instrument where there are rows for each,
            otherwise of the label feature's, else 0. Shape (n,).
        values: The features in their declared order, NaN while warming up. Shape (n, features).
    """

    emitted_at: Array
    visible_at: Array
    event_time: Array
    tie: Array
    instrument: Array
    values: Array


_FIRST = np.zeros(1, np.int64)
_FIRST.flags.writeable = False


class RowMaker:
    """Makes rows of what was read, with what the stamps of the next rows depend on.

    Values are read in blocks, one for each instrument that has rows of its own.

    Args:
        instruments: Of each block, its place in the scenario.
        behind: Of each block, the streams whose records its rows include.
        streams: How many streams there are.
        features: Features of a block.
        history: Rows of its instrument that a row holds.
        latency_ns: From emission to when a row is visible.
    """

    def __init__(
        self,
        instruments: Sequence[int],
        behind: Sequence[Sequence[int]],
        streams: int,
        features: int,
        history: int,
        latency_ns: int,
    ) -> None:
        self._instruments = np.array(instruments, np.int64)
        self._instruments.flags.writeable = False
        self._behind = [tuple(places) for places in behind]
        self._features = features
        self._latency_ns = latency_ns
        self._newest = [MISSING] * streams
        self._ties = [_Ties() for _ in instruments]
        self._before = [np.full((history - 1, features), np.nan) for _ in instruments]
        nothing = np.empty((0, history * features))
        nothing.flags.writeable = False
        self._nothing = FeatureRows(EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, nothing)

    def make(self, chunk: Chunk, due: Due, values: Array, blocks: Array | None) -> FeatureRows:
        """Return the rows of a push.

        Args:
            chunk: What came.
            due: When rows are emitted.
            values: What was read then. Shape (n, blocks times features).
            blocks: The block that each row is of, where it is of one. Shape (n,).
        """
        return self._rows(due.instants, self._newest_events(chunk, due.counts), values, blocks)

    def absorb(self, chunk: Chunk) -> None:
        """Take a push that no row is made of."""
        self._newest_events(chunk, [EMPTY] * len(chunk.records))

    def make_one(
        self,
        place: int,
        event: int,
        row_at: Array,
        included: bool,
        values: Array,
        block: Array | None,
    ) -> FeatureRows:
        """Return the rows of a push of a single record.

        Args:
            place: The record's stream.
            event: Its `event_time`.
            row_at: When rows are emitted. Shape (1,) or (0,).
            included: Whether they include the record.
            values: What was read then. Shape (len(row_at), blocks times features).
            block: The block that the row is of, where it is of one. Shape (len(row_at),).
        """
        newest = self._newest
        if included:
            newest[place] = max(newest[place], event)
        if not len(row_at):
            return self._nothing
        latest = [max([newest[s] for s in streams], default=MISSING) for streams in self._behind]
        if not included:
            newest[place] = max(newest[place], event)
        if len(latest) > 1 or self._before[0].size:
            return self._rows(row_at, [np.array((one,)) for one in latest], values, block)
        event_time, tie = np.array(latest), self._ties[0].of(row_at)
        visible_at = row_at
        if self._latency_ns:
            visible_at = row_at + self._latency_ns
            visible_at.flags.writeable = False
        event_time.flags.writeable = tie.flags.writeable = values.flags.writeable = False
        return FeatureRows(row_at, visible_at, event_time, tie, self._instruments, values)

    def _rows(
        self, instants: Array, events: list[Array], values: Array, blocks: Array | None
    ) -> FeatureRows:
        if len(self._behind) == 1:
            emitted_at, event_time = instants, events[0]
            tie = self._ties[0].of(emitted_at)
            instrument = self._instruments
            if len(emitted_at) != 1:
                instrument = np.repeat(self._instruments, len(emitted_at))
            if self._before[0].size:
                values = self._stacked(0, values)
        else:
            emitted_at, event_time, tie, instrument, values = self._of_blocks(
                instants, events, values, blocks
            )
        visible_at = emitted_at + self._latency_ns if self._latency_ns else emitted_at
        rows = FeatureRows(emitted_at, visible_at, event_time, tie, instrument, values)
        for column in rows:
            column.flags.writeable = False
        return rows

    def _of_blocks(
        self, instants: Array, events: list[Array], values: Array, blocks: Array | None
    ) -> tuple[Array, Array, Array, Array, Array]:
        count = len(self._behind)
        values = values.reshape(len(instants), count, self._features)
        event = np.stack(events, axis=1)
        if blocks is None:  # each instant has a row of every block, in their order
            emitted_at = np.repeat(instants, count)
            blocks = np.tile(np.arange(count), len(instants))
            values, event = values.reshape(-1, self._features), event.reshape(-1)
        else:
            picked = np.arange(len(instants)), blocks
            emitted_at, values, event = instants, values[picked], event[picked]
        tie = np.empty(len(emitted_at), np.int64)
        stacked = np.empty((len(emitted_at), self._features * (len(self._before[0]) + 1)))
        for block, ties in enumerate(self._ties):
            own = blocks == block
            tie[own] = ties.of(emitted_at[own])
            stacked[own] = self._stacked(block, values[own])
        return emitted_at, event, tie, self._instruments[blocks], stacked

    def _stacked(self, block: int, values: Array) -> Array:
        """Return rows of one block with those before each, the oldest first."""
        before = self._before[block]
        if not before.size:
            return values
        known = np.concatenate([before, values])
        count = len(values)
        self._before[block] = known[count:].copy()
        return np.concatenate([known[i : i + count] for i in range(len(before) + 1)], axis=1)

    def _newest_events(self, chunk: Chunk, counts: list[Array]) -> list[Array]:
        """Return the newest `event_time` that each row includes, for each block. Shapes (n,)."""
        n = len(chunk.read_times)
        by_stream: list[Array | int] = []
        for place, records in enumerate(chunk.records):
            before = self._newest[place]
            if records is None or not len(records):
                by_stream.append(before)
                continue
            newest, self._newest[place] = _newest(records.event_time, counts[place], before)
            by_stream.append(newest)
        return [_newest_of([by_stream[place] for place in places], n) for places in self._behind]


class _Ties:
    """Ordinals within an instant, carried over pushes."""

    __slots__ = ("_count", "_emitted_at")

    def __init__(self) -> None:
        self._emitted_at = MISSING
        self._count = 0

    def of(self, emitted_at: Array) -> Array:
        """Return each row's ordinal among the rows of its instant. Shape (n,)."""
        if not len(emitted_at):
            return EMPTY
        if len(emitted_at) == 1:
            instant = int(emitted_at[0])
            self._count = self._count + 1 if instant == self._emitted_at else 1
            self._emitted_at = instant
            return _FIRST if self._count == 1 else np.array((self._count - 1,))
        from featurizer.operators.order import ordinals

        ties, self._count = ordinals(frozen(emitted_at), self._emitted_at, self._count)
        self._emitted_at = int(emitted_at[-1])
        return ties


def _newest(events: Array, counts: Array, before: int) -> tuple[Array | int, int]:
    """Return the newest of *before* and the first so many events, for each count; and of all."""
    if not len(counts):
        return before, max(before, int(events.max()))
    from featurizer.operators.order import largest_counted

    return largest_counted(frozen(events), frozen(counts), before)


def _newest_of(streams: Sequence[Array | int], n: int) -> Array:
    """Return the newest event of several streams, for each row. Shape (n,)."""
    if len(streams) == 1 and isinstance(streams[0], np.ndarray):
        return streams[0]
    newest = np.full(n, MISSING, np.int64)
    for stream in streams:
        np.maximum(newest, stream, out=newest)
    return newest
