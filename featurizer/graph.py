"""The feature graph: market records in, feature rows out, the same whichever way time is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clock.errors import TimeWentBackwardsError
from clock.units import format_instant
from featurizer.config import FeaturizerConfig, row_names
from featurizer.emission import EMPTY, Due, Emission, RowClock, frozen
from featurizer.errors import FeatureError
from featurizer.graph_chunk import Chunk
from featurizer.graph_live import LivePath
from featurizer.graph_nodes import build_nodes, graph_requests, graph_streams
from featurizer.graph_plan import Plan, start_plans
from featurizer.graph_rows import MISSING, FeatureRows, RowMaker
from featurizer.market import KINDS, Kind, Records, StreamKey

__all__ = ["MISSING", "FeatureGraph", "FeatureRows"]

Array: TypeAlias = NDArray[Any]


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
        outputs: The features of a row, in its order; by default all of the config's, with the
            earlier rows that the config's `rows` asks for.
        instrument: Emit the rows of this instrument alone: it is then the features' default.
        columnar: Keep the values of a feature together in memory, for those who store them by
            column; otherwise those of a row, as models read them.

    Attributes:
        names: Names of a row's values, in their order.
        features: Names of the features: those of `names` that are not of earlier rows.
        instruments: Ids of the scenario's instruments.
        blocks: How many instruments have rows of their own.
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
        instrument: str | None = None,
        columnar: bool = False,
    ) -> None:
        self._order: Literal["F", "C"] = "F" if columnar else "C"
        named = config.definitions()
        features = tuple(named if outputs is None else outputs)
        history = config.rows if outputs is None else 1
        self.names = row_names(features, history)
        self._history = history
        self.features = features
        each = config.per_instrument and instrument is None
        defaults = instruments if each else (instrument or instruments[0],)
        self.nodes = build_nodes(named, features, instruments, kinds, defaults)
        self.instruments, self.blocks = tuple(instruments), len(defaults)
        self._streams = graph_streams(self.nodes, instruments, kinds)
        emission = emission or config.emission(instruments[0])
        triggers = self._add_triggers(emission, instruments, kinds)
        # a record that may be anyone's emits the row of its own instrument alone
        anyone = emission.kind == "raw" or (emission.stream is not None and not emission.stream[0])
        self._block_of = None
        if each and anyone:
            self._block_of = np.array([instruments.index(key[0]) for key in self._streams])
        self._clock = RowClock(emission, start, triggers, tells=self._block_of is not None)
        places = [instruments.index(name) for name in defaults]
        if not each and instrument is None and config.label_feature is not None:
            behind = build_nodes(named, [config.label_feature], instruments, kinds)
            places = [instruments.index(graph_streams(behind, instruments, kinds)[0][0])]
        self._width = len(features) * len(defaults)
        self._maker = RowMaker(
            places,
            self._behind(len(features), places if each else None, triggers, instruments),
            len(self._streams),
            len(features),
            history,
            config.compute_latency,
        )
        self.requests = graph_requests(self.nodes, self._streams)
        self._plans = [Plan(node, self.nodes, self._streams) for node in self.nodes]
        self._live: LivePath | None = None
        self._started = False

    def _add_triggers(
        self, emission: Emission, instruments: Sequence[str], kinds: Mapping[str, Kind]
    ) -> tuple[int, ...]:
        """Add the streams whose records emit rows to those that are read; return their places."""
        if emission.stream is None:
            return ()
        instrument, kind = emission.stream
        wanted = [(name, kind) for name in ([instrument] if instrument else instruments)]
        for stream in wanted:
            _check_trigger(stream, instruments, kinds)
        self._streams = sorted(
            {*self._streams, *wanted},
            key=lambda key: (instruments.index(key[0]), kinds[key[1]].number),
        )
        return tuple(self._streams.index(stream) for stream in wanted)

    def _behind(
        self,
        features: int,
        blocks: Sequence[int] | None,
        triggers: Sequence[int],
        instruments: Sequence[str],
    ) -> list[tuple[int, ...]]:
        """Return for each block of rows the streams whose records its rows include."""
        if blocks is None:
            return [tuple(range(len(self._streams)))]
        found = []
        for block, instrument in enumerate(blocks):
            own = range(block * features, (block + 1) * features)
            read = {
                self._streams.index(stream)
                for node in self.nodes
                for stream in node.streams
                if not set(own).isdisjoint(node.outputs)
            }
            mine = {t for t in triggers if self._streams[t][0] == instruments[instrument]}
            found.append(tuple(sorted(read | mine)))
        return found

    @property
    def watermark(self) -> int:
        """The `until` of the last push: no record before it will come."""
        return self._clock.watermark

    def schedule(self, instants: Array) -> None:
        """Add instants at which rows are due; of `Emission.scheduled()` only.

        Args:
            instants: Sorted, none before those scheduled already or before the watermark; an
                instant may repeat. Shape (n,), ns.
        """
        self._clock.schedule(instants)

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
        found = self._found(records)
        alone = _alone(found)
        if alone is not None:
            place, one = alone
            columns, received = self._live_path().columns_of(place, one), frozen(one.receipt_time)
            rows = self.push_one(place, int(one.event_time[0]), received, columns, until)
            if rows is not None:
                return rows
        times, due = self._due(found, until)
        chunk = Chunk(found, times, due.instants, due.counts, due.each)
        values = self._work(chunk, len(due.instants))
        blocks = None if self._block_of is None else self._block_of[due.emitters]
        return self._maker.make(chunk, due, values, blocks)

    def read(self, records: Mapping[StreamKey, Records], until: int) -> Array:
        """Push records, and return the rows' values without their stamps; for one block of rows.

        Args:
            records: As of `push`.
            until: As of `push`.

        Returns:
            Shape (n, features), in the order of `names`; of a graph without earlier rows.
        """
        found = self._found(records)
        times, due = self._due(found, until)
        return self._work(
            Chunk(found, times, due.instants, due.counts, due.each), len(due.instants)
        )

    def absorb(self, records: Mapping[StreamKey, Records], until: int) -> None:
        """Absorb records as `push` does, and work out no row: the graph is then as after it.

        That is so by the promise of features that what is read of them changes nothing.
        """
        if self._history > 1:  # later rows hold these
            self.push(records, until)
            return
        found = self._found(records)
        times, _ = self._due(found, until)
        chunk = Chunk(found, times, EMPTY, [EMPTY] * len(times))
        self._work(chunk, 0)
        self._maker.absorb(chunk)

    def _found(self, records: Mapping[StreamKey, Records]) -> list[Records | None]:
        if not self._started:
            start_plans(self._plans)
            self._started = True
        return [records.get(stream) for stream in self._streams]

    def _due(self, found: Sequence[Records | None], until: int) -> tuple[list[Array], Due]:
        times = [EMPTY if stream is None else frozen(stream.receipt_time) for stream in found]
        self._check_order(times, until)
        return times, self._clock.due(times, until)

    def _work(self, chunk: Chunk, rows: int) -> Array:
        """Push a chunk through the nodes; return what is read. Shape (rows, features)."""
        values = np.empty((rows, self._width), order=self._order)
        if rows or any(records is not None and len(records) for records in chunk.records):
            with np.errstate(all="ignore"):
                for plan in self._plans:
                    plan.push(chunk, self._plans, values)
        return values

    def live_inputs(self, stream: StreamKey) -> tuple[int, tuple[str, ...]]:
        """Return a stream's place, and the columns that `push_one` needs of it."""
        place = self._streams.index(stream)
        return place, self._live_path().columns[place]

    def _live_path(self) -> LivePath:
        if self._live is None:
            self._found({})
            self._live = LivePath(self._plans, len(self._streams))
        return self._live

    def push_one(
        self, place: int, event_time: int, times: Array, columns: Mapping[str, Array], until: int
    ) -> FeatureRows | None:
        """Push one record the short way; None, with nothing done, where that does not suffice.

        Args:
            place: The place of its stream: see `live_inputs`.
            event_time: When it happened.
            times: Its receipt. Shape (1,), read-only.
            columns: What the features read of it, by name. Each: `float64`, shape (1,), read-only.
            until: As of `push`.
        """
        time = int(times[0])
        if not self._clock.watermark <= time <= until:
            return None  # the long way says what is wrong
        due = self._clock.due_one(place, time, until)
        if due is None:
            return None
        row_at, included = due
        values = np.empty((len(row_at), self._width))
        with np.errstate(all="ignore"):
            self._live_path().push(place, times, columns, row_at, included, values.ravel())
        block = self._block_of
        if block is not None:
            block = block[place : place + 1] if len(row_at) else EMPTY
        return self._maker.make_one(place, event_time, row_at, included, values, block)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_live": None}

    def _check_order(self, times: list[Array], until: int) -> None:
        watermark = self._clock.watermark
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


def _alone(found: Sequence[Records | None]) -> tuple[int, Records] | None:
    """Return the only record and its stream's place, None where there are more, or none."""
    only = None
    for place, records in enumerate(found):
        count = 0 if records is None else len(records)
        if records is not None and count:
            if count > 1 or only is not None:
                return None
            only = (place, records)
    return only


def _check_trigger(
    stream: StreamKey, instruments: Sequence[str], kinds: Mapping[str, Kind]
) -> None:
    if stream[0] not in instruments or stream[1] not in kinds:
        raise FeatureError(
            f"`sampling` names the unknown stream {stream[1]!r} of {stream[0]!r}. Instruments: "
            f"{', '.join(instruments)}. Kinds: {', '.join(kinds)}."
        )
