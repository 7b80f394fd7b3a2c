"""Every plane event by event, on the clock that trades.

Slower than running ahead, and the same to the last byte (law 4). Needed when what the strategy
does can change the planes: when it submits requests of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from backtester.engine import Engine
from backtester.planes import ExogenousPlanes, as_rows
from backtester.records import FeatureRow, Prediction
from backtester.sources import LiveSource, MarketSource, Place
from backtester.timeline import Subscription
from clock.base import Handle
from clock.rank import Rank
from featurizer.market import Records, StreamKey
from inference.rows import Rows, no_rows

if TYPE_CHECKING:
    from featurizer.graph import FeatureRows
    from inference.loop import InferenceLoop
    from inference.schedule import Outcomes

__all__ = ["LockstepPlanes"]

_COMPLETED = 0
_AFTER_ALL_RANKS = int(Rank.TIMER) + 1


class LockstepPlanes:
    """Feeds the graph and the loops from the clock, record by record.

    Args:
        planes: The planes, whose trace entries are made the same way in both modes.
        engine: The trading plane.
        names: Names of the features.
        run: Start and end of the run.
        grid_ns: Period of a grid emission, 0 for emission by records.
        wanted: Callbacks for rows and predictions that the strategy overrides, or None.
        in_chunks: With a grid, push the records of a period together when its row is due. The rows
            are the same (law 3), and a record costs a tenth.
    """

    def __init__(
        self,
        planes: ExogenousPlanes,
        engine: Engine,
        names: tuple[str, ...],
        run: tuple[int, int],
        grid_ns: int,
        wanted: tuple[Callable[[Any, Any], None] | None, Callable[[Any, Any], None] | None],
        *,
        in_chunks: bool = False,
    ) -> None:
        self._planes = planes
        self._engine = engine
        self._clock = engine.clock
        self._names = names
        self._until = run[1]
        self._on_features, self._on_prediction = wanted
        self._rows: list[FeatureRows] = []
        self._row_count = 0
        self._outcomes: list[list[Outcomes]] = [[] for _ in planes.loops]
        self._submissions: list[list[Any]] = [[] for _ in planes.loops]
        self._wakes: list[tuple[tuple[int, int], Handle] | None] = [None for _ in planes.loops]
        self._records: Mapping[StreamKey, Records] = {}
        self.row_source = LiveSource(Rank.FEATURE_ROW)
        self.answer_sources = [LiveSource(Rank.PREDICTION) for _ in planes.loops]
        self._grid_ns = grid_ns
        self._in_chunks = in_chunks and grid_ns > 0
        self._unpushed: dict[StreamKey, tuple[int, int]] = {}
        if grid_ns and planes.graph is not None:
            first = -(-run[0] // grid_ns) * grid_ns
            self._schedule_grid(first)
        for index in range(len(planes.loops)):
            self._schedule_wake(index)

    def open_window(self, records: Mapping[StreamKey, Records]) -> None:
        """Hold the records received in the next window."""
        self._records = records

    def subscription(
        self, source: MarketSource, wanted: Callable[[Any, Any], None] | None
    ) -> Subscription:
        """Return a stream's subscription that hands each record to the strategy and the graph."""
        graph = self._planes.graph
        feeds = graph is not None and any(
            (request.instrument, request.kind) == source.stream for request in graph.requests
        )

        def deliver(context: Any, record: Any) -> None:
            if wanted is not None:
                wanted(context, record)
            if feeds:
                place = self._engine.place()
                if self._in_chunks:
                    first, _ = self._unpushed.get(source.stream, (place.at, 0))
                    self._unpushed[source.stream] = (first, place.at + 1)
                else:
                    self._push_record(source.stream, place)

        return Subscription(source, source.callback, deliver)

    def close_window(self) -> list[Outcomes]:
        """Take the window into the trace; return each loop's outcomes."""
        planes = self._planes
        if self._unpushed:
            self._take_rows(self._push_graph(self._taken(), self._clock.now))
        rows = _concatenated(self._rows)
        if rows is not None:
            planes.note_rows(rows)
        ended = []
        for index, loop in enumerate(planes.loops):
            empty = loop.push(no_rows(len(self._names)), self._clock.now, 0)
            planes.keep(index, empty)
            made = _concatenated([*self._submissions[index], empty.submissions])
            outcomes = _concatenated([*self._outcomes[index], empty.outcomes])
            planes.note_requests(index, made)
            planes.note_outcomes(index, outcomes)
            ended.append(outcomes)
        self._rows = []
        self._outcomes = [[] for _ in planes.loops]
        self._submissions = [[] for _ in planes.loops]
        return ended

    def take_replies(self) -> None:
        """Let in what real deployments have answered; nothing of it is visible before now."""
        for index, loop in enumerate(self._planes.loops):
            if loop.live is not None and loop.live.take_replies(self._clock.now):
                self._schedule_wake(index)

    def submit(self, name: str, values: tuple[float, ...], instrument: int) -> int:
        """Send a request of the strategy's own to a loop's deployment."""
        index = next(i for i, loop in enumerate(self._planes.loops) if loop.name == name)
        loop = self._planes.loops[index]
        row: FeatureRow | None = self.row_source.newest
        number = loop.submit(
            self._clock.now,
            np.array(values, dtype=np.float64),
            instrument=instrument,
            emitted_at=self._clock.now,
            event_time=row.event_time if row is not None else self._clock.now,
        )
        self._schedule_wake(index)
        return number

    # --- features ------------------------------------------------------------------------------

    def _push_record(self, stream: StreamKey, place: Place) -> None:
        record = self._records[stream].slice(place.at, place.at + 1)
        self._take_rows(self._push_graph({stream: record}, place.now))

    def _taken(self) -> dict[StreamKey, Records]:
        """Return the records that were received and not pushed yet, and forget them."""
        some = {
            stream: self._records[stream].slice(*part) for stream, part in self._unpushed.items()
        }
        self._unpushed = {}
        return some

    def _push_graph(self, some: Mapping[StreamKey, Records], until: int) -> FeatureRows:
        graph = self._planes.graph
        assert graph is not None
        streams = [(request.instrument, request.kind) for request in graph.requests]
        nothing = {stream: self._records[stream].slice(0, 0) for stream in streams}
        return graph.push({**nothing, **some}, until)

    def _schedule_grid(self, instant: int) -> None:
        self._clock.call_at(instant, partial(self._emit_grid, instant), Rank.FEATURE_ROW, (-1,))

    def _emit_grid(self, instant: int) -> None:
        # every record visible at this instant has been pushed: receipts rank before rows
        self._take_rows(self._push_graph(self._taken(), instant + 1))
        self._schedule_grid(instant + self._grid_ns)

    def _take_rows(self, rows: FeatureRows) -> None:
        for index in range(len(rows.visible_at)):
            one = type(rows)(*(column[index : index + 1] for column in rows))
            visible_at = int(one.visible_at[0])
            self._row_count += 1
            if visible_at < self._until:
                self._clock.call_at(
                    visible_at,
                    partial(self._show_row, one),
                    Rank.FEATURE_ROW,
                    (self._row_count,),
                )

    def _show_row(self, row: FeatureRows) -> None:
        self._rows.append(row)
        now = self._clock.now
        item = FeatureRow(
            int(row.emitted_at[0]),
            int(row.visible_at[0]),
            int(row.event_time[0]),
            self._engine.instruments[int(row.instrument[0])],
            tuple(row.values[0].tolist()),
            self._names,
        )
        self.row_source.deliver(item)
        for index in range(len(self._planes.loops)):
            self._advance(index, as_rows(row), now, int(Rank.FEATURE_ROW) + 1)
        if self._on_features is not None:
            self._engine._act(
                Rank.FEATURE_ROW, "on_features", self._on_features, self._engine.context, item
            )

    # --- inference -----------------------------------------------------------------------------

    def _schedule_wake(self, index: int) -> None:
        due = self._planes.loops[index].next_due
        wake = self._wakes[index]
        if wake is not None:
            if wake[0] == due:
                return
            wake[1].cancel()
            self._wakes[index] = None
        if due[0] >= self._until:
            return
        instant, rank = due
        key = (0, index, -1) if rank == Rank.TIMER else (index, -1)
        # a loop may have had its event made due within the present instant already
        handle = self._clock.call_at(
            max(instant, self._clock.now), partial(self._wake, index), rank, key
        )
        self._wakes[index] = (due, handle)

    def _wake(self, index: int) -> None:
        due, _ = self._wakes[index] or ((0, 0), None)
        self._wakes[index] = None
        rank = min(int(due[1]) + 1, _AFTER_ALL_RANKS)
        self._advance(index, no_rows(len(self._names)), self._clock.now, rank)

    def _advance(self, index: int, rows: Rows, instant: int, rank: int) -> None:
        loop: InferenceLoop = self._planes.loops[index]
        output = loop.push(rows, instant, rank)
        self._planes.keep(index, output)
        self._submissions[index].append(output.submissions)
        ended = output.outcomes
        if len(ended.number):
            self._outcomes[index].append(ended)
            self._announce(index, loop, ended)
        self._schedule_wake(index)

    def _announce(self, index: int, loop: InferenceLoop, ended: Outcomes) -> None:
        news = np.flatnonzero((ended.outcome == _COMPLETED) & (ended.superseded == 0))
        for place in news.tolist():
            answer = Prediction(
                float(ended.value[place]),
                self._engine.instruments[int(ended.instrument[place])],
                loop.name,
                int(ended.number[place]),
                int(ended.emitted_at[place]),
                int(ended.event_time[place]),
                int(ended.submitted_at[place]),
                int(ended.visible_at[place]),
            )
            rank = int(ended.rank[place])
            key = (0, index, answer.number) if rank == Rank.TIMER else (index, answer.number)
            self._clock.call_at(
                answer.visible_at, partial(self._show, index, rank, answer), rank, key
            )

    def _show(self, index: int, rank: int, answer: Prediction) -> None:
        self.answer_sources[index].deliver(answer)
        if self._on_prediction is not None:
            self._engine._act(
                rank, "on_prediction", self._on_prediction, self._engine.context, answer
            )


def _concatenated(parts: Sequence[Any]) -> Any:
    """Return the parts of one kind joined column by column, None when there is none."""
    if not parts:
        return None
    kind = type(parts[0])
    return kind(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
