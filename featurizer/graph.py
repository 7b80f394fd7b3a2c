"""The feature graph: market records in, feature rows out, the same whichever way time is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clock.errors import TimeWentBackwardsError
from clock.units import format_instant
from featurizer.config import FeaturizerConfig
from featurizer.emission import EMPTY, Emission, RowClock
from featurizer.errors import FeatureError
from featurizer.feature import Batch
from featurizer.graph_chunk import NO_VALUES, Chunk, RowStamps, Track, frozen
from featurizer.graph_nodes import Column, Node, build_nodes, graph_streams
from featurizer.market import KINDS, STAMPS, Kind, Records, StreamKey, StreamRequest

__all__ = ["MISSING", "FeatureGraph", "FeatureRows"]

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
        tie: Ordinal among the rows of the same instant. Shape (n,).
        instrument: Place of the label feature's instrument, else 0, in the scenario. Shape (n,).
        values: The features in their declared order, NaN while warming up. Shape (n, features).
    """

    emitted_at: Array
    visible_at: Array
    event_time: Array
    tie: Array
    instrument: Array
    values: Array


class FeatureGraph:
    """The features of a scenario with their state.

    The total order of the records is (`receipt_time`, instrument's place, kind's number,
    `sequence`). `push(a + b, v)` gives the bits of `push(a, u)` and `push(b, v)` for every cut of
    that order, inside an instant too, and every *u* from the last of *a* to the first of *b*.

    Args:
        config: The features, and when to emit a row.
        instruments: Ids of the scenario's instruments; the first is the features' default.
        emission: When to emit a row instead of the config's `sampling`.
        start: First instant of the run: rows on a grid begin at its first multiple from there on.
        kinds: The kinds of market records by name, with the user's own.
        outputs: The features of a row, in its order; by default all of the config's.

    Attributes:
        names: The features' names, in the order of a row's values.
        requests: The streams and columns that `push` reads.
        nodes: The features behind the rows, each after those that it reads.

    Raises:
        FeatureError: If features need themselves, or read what is not there.
    """

    def __init__(
        self,
        config: FeaturizerConfig,
        instruments: Sequence[str],
        emission: Emission | None = None,
        start: int = 0,
        *,
        kinds: Mapping[str, Kind] = KINDS,
        outputs: Sequence[str] | None = None,
    ) -> None:
        named = config.definitions()
        self.names = tuple(named if outputs is None else outputs)
        self.nodes = build_nodes(named, self.names, instruments, kinds)
        self._latency_ns = config.compute_latency
        self._instrument = 0
        if config.label_feature is not None:
            behind = build_nodes(named, [config.label_feature], instruments, kinds)
            self._instrument = instruments.index(graph_streams(behind, instruments, kinds)[0][0])
        emission = emission or config.emission(instruments[0])
        inputs = graph_streams(self.nodes, instruments, kinds)
        self._streams = inputs
        if emission.stream is not None and emission.stream not in inputs:
            _check_trigger(emission.stream, instruments, kinds)
            self._streams = sorted(
                [*inputs, emission.stream],
                key=lambda key: (instruments.index(key[0]), kinds[key[1]].number),
            )
        trigger = 0 if emission.stream is None else self._streams.index(emission.stream)
        self._rows = RowClock(emission, start, trigger)
        self._stamps = RowStamps(len(self._streams), MISSING)
        self.requests = _requests(self.nodes, self._streams)
        self._plans = [_Plan(node, self.nodes, self._streams) for node in self.nodes]
        self._started = False

    @property
    def watermark(self) -> int:
        """The `until` of the last push: no record before it will come."""
        return self._rows.watermark

    def schedule(self, instants: Array) -> None:
        """Add instants at which rows are due; of `Emission.scheduled()` only.

        Args:
            instants: Sorted, none before those scheduled already or before the watermark; an
                instant may repeat. Shape (n,), ns.
        """
        self._rows.schedule(instants)

    def push(self, records: Mapping[StreamKey, Records], until: int) -> FeatureRows:
        """Absorb records and return the rows that they, and *until*, complete.

        A row with a record is emitted at once. A row at an instant T is emitted once *until* lies
        beyond T, as records at *until* itself may still come.

        Args:
            records: By stream, each sorted by (`receipt_time`, `sequence`); streams that the graph
                does not read are passed over. None before the last *until*, none after this one.
            until: No later push holds a record before this instant.

        Raises:
            TimeWentBackwardsError: If *until* or a record breaks that order.
        """
        if not self._started:
            for plan in self._plans:
                plan.state = plan.node.definition.start()
            self._started = True
        found = [records.get(stream) for stream in self._streams]
        times = [EMPTY if stream is None else frozen(stream.receipt_time) for stream in found]
        self._check_order(times, until)
        read_times, counts = self._rows.due(times, until)
        chunk = Chunk(found, times, read_times, counts)
        values = np.empty((len(read_times), len(self.names)))
        if len(read_times) or any(len(stream) for stream in times):
            with np.errstate(all="ignore"):
                for plan in self._plans:
                    plan.push(chunk, self._plans, values)
        values.flags.writeable = False
        return self._stamped(chunk, counts, values)

    def _stamped(self, chunk: Chunk, counts: list[Array], values: Array) -> FeatureRows:
        emitted_at = chunk.read_times
        visible_at = emitted_at
        if self._latency_ns:
            visible_at = emitted_at + self._latency_ns
            visible_at.flags.writeable = False
        instrument = np.full(len(emitted_at), self._instrument, np.int64)
        instrument.flags.writeable = False
        event_time = self._stamps.newest_events(chunk, counts)
        tie = self._stamps.ties(emitted_at)
        return FeatureRows(emitted_at, visible_at, event_time, tie, instrument, values)

    def _check_order(self, times: list[Array], until: int) -> None:
        watermark = self._rows.watermark
        if until < watermark:
            raise TimeWentBackwardsError(
                f"`until` must not go back: got {format_instant(until)}, "
                f"which is before {format_instant(watermark)}."
            )
        for stream, received in zip(self._streams, times, strict=True):
            if len(received) and (received[0] < watermark or received[-1] > until):
                raise TimeWentBackwardsError(
                    f"{stream[1]} of {stream[0]}: `receipt_time` must be from the last `until` "
                    f"({format_instant(watermark)}) to this one ({format_instant(until)}): got "
                    f"{format_instant(int(received[0]))} to {format_instant(int(received[-1]))}."
                )


class _Plan:
    """A node with its state, and where its inputs come from."""

    __slots__ = ("_before", "_inputs", "_last", "node", "state", "track", "updates")

    def __init__(self, node: Node, nodes: Sequence[Node], streams: Sequence[StreamKey]) -> None:
        self.node = node
        self.track = _track(node, streams)
        self.state: Any = None
        self.updates = NO_VALUES
        self._inputs: list[tuple[int, str, Track]] = []
        for source in node.inputs:
            if isinstance(source, Column):
                place = streams.index(source.stream)
                self._inputs.append((place, source.name, (place,)))
            else:
                self._inputs.append((source, "", _track(nodes[source], streams)))
        self._before = [np.nan] * len(self._inputs)

    def push(self, chunk: Chunk, plans: Sequence[_Plan], rows: Array) -> None:
        """Work the node out: its updates if wanted, and its column of the rows."""
        node = self.node
        timeline = chunk.timeline(self.track)
        reading = bool(node.outputs)
        n, m = len(timeline.times), len(rows) if reading else 0
        if n == 0 and m == 0 and not node.definition.joined:
            self.updates = NO_VALUES
            return
        columns = tuple(self._columns(chunk, plans))
        batch = Batch(
            timeline.times,
            columns,
            chunk.read_times if reading else EMPTY,
            timeline.read_counts if reading else EMPTY,
            timeline.picks if reading else timeline.picks[-1:],
            node.wanted,
        )
        reads, updates = node.definition.push(self.state, batch)
        if len(reads) != m or (node.wanted and len(updates) != n):
            raise FeatureError(
                f"feature {node.label!r}: `push` must return {m} reads and {n} updates: got "
                f"{len(reads)} and {len(updates)}."
            )
        for output in node.outputs:
            rows[:, output] = reads
        if node.wanted:
            self.updates = frozen(np.ascontiguousarray(updates, np.float64))

    def _columns(self, chunk: Chunk, plans: Sequence[_Plan]) -> list[Array]:
        columns = []
        for i, (place, name, own) in enumerate(self._inputs):
            values = chunk.column(place, name) if name else plans[place].updates
            if own == self.track:
                columns.append(values)
                continue
            columns.append(chunk.aligned(values, own, self.track, self._before[i]))
            if len(values):
                self._before[i] = float(values[-1])
        return columns


def _track(node: Node, streams: Sequence[StreamKey]) -> Track:
    return tuple(place for place, stream in enumerate(streams) if stream in node.updating)


def _requests(nodes: Sequence[Node], streams: Sequence[StreamKey]) -> list[StreamRequest]:
    columns: dict[StreamKey, list[str]] = {stream: [] for stream in streams}
    for node in nodes:
        for source in node.inputs:
            if isinstance(source, Column) and source.name not in (
                *STAMPS,  # these always come
                *columns[source.stream],
            ):
                columns[source.stream].append(source.name)
    return [StreamRequest(*stream, tuple(names)) for stream, names in columns.items()]


def _check_trigger(
    stream: StreamKey, instruments: Sequence[str], kinds: Mapping[str, Kind]
) -> None:
    if stream[0] not in instruments or stream[1] not in kinds:
        raise FeatureError(
            f"`sampling` names the unknown stream {stream[1]!r} of {stream[0]!r}. Instruments: "
            f"{', '.join(instruments)}. Kinds: {', '.join(kinds)}."
        )
