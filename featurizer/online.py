"""The feature graph on a live feed: one event at a time, rows as they become due.

The same graph as in a backtest, given the same records, gives the same rows to the last bit: a live
event is a push of one. What a live feed does not bring is the certainty that nothing more will come
for an instant. `OnlineFeaturizer` therefore lags the clock by `slack`: a grid row for T is emitted
once the clock, or a later event, is past T + slack.

    featurizer = OnlineFeaturizer(config, ["BINANCE.BTCUSDT-PERP"], start=clock.now)
    async for rows in featurizer.stream(queue, WallClock()):
        ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from clock.base import Clock, Handle
from clock.errors import TimeWentBackwardsError
from clock.nearest import nearest
from clock.units import format_instant
from featurizer.config import FeaturizerConfig
from featurizer.emission import Emission
from featurizer.errors import FeatureError
from featurizer.graph import FeatureGraph, FeatureRows
from featurizer.graph_live import one
from featurizer.market import KINDS, STAMPS, Kind, Records, StreamKey, Window

__all__ = ["Event", "OnlineFeaturizer", "events_of"]


class Event(NamedTuple):
    """One market record as it reaches us.

    Attributes:
        instrument: Id of the instrument.
        kind: Name of the kind.
        event_time: When it happened at its source, ns.
        receipt_time: When it reached us, ns: never before that of an earlier event.
        values: The columns of its kind that the features read, by name, others too if at hand.
        sequence: The venue's update id.
    """

    instrument: str
    kind: str
    event_time: int
    receipt_time: int
    values: Mapping[str, float]
    sequence: int = 0


class OnlineFeaturizer:
    """Feeds a graph from events.

    Events come in the order of their receipt; those of one instant in any order, but the rows have
    the batch's bits only where they come in its total order (instrument, kind, `sequence`).

    Args:
        config: The features, and when to emit a row.
        instruments: Ids of the instruments, the features' default first.
        start: First instant: grid rows begin there.
        emission: When to emit a row instead of the config's `sampling`.
        kinds: The kinds of market records by name, with the user's own.

    Attributes:
        graph: The graph; `graph.names` are the columns of a row.
    """

    def __init__(
        self,
        config: FeaturizerConfig,
        instruments: Sequence[str],
        *,
        start: int,
        emission: Emission | None = None,
        kinds: Mapping[str, Kind] = KINDS,
    ) -> None:
        self.graph = FeatureGraph(config, instruments, emission, start, kinds=kinds)
        self._columns: dict[StreamKey, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._inputs: dict[StreamKey, tuple[int, tuple[str, ...]]] = {}
        for request in self.graph.requests:
            kind = kinds[request.kind]
            floats = tuple(c for c in request.columns if kind.dtype(c) == np.float64)
            ints = tuple(c for c in request.columns if c not in floats)
            self._columns[request.key] = (floats, ints)

    @property
    def watermark(self) -> int:
        """The instant up to which rows have been emitted: no event before it may come."""
        return self.graph.watermark

    def push(self, event: Event) -> FeatureRows:
        """Take an event and return the rows that it completes: most often none, or one.

        An event of a stream that no feature reads moves the watermark and nothing else.

        Raises:
            TimeWentBackwardsError: If it was received before the watermark.
            FeatureError: If it lacks a column that a feature reads.
        """
        stream = (event.instrument, event.kind)
        columns = self._columns.get(stream)
        received = event.receipt_time
        if received < self.watermark:
            raise TimeWentBackwardsError(
                f"{event.kind} of {event.instrument}: `receipt_time` must not be before the "
                f"watermark ({format_instant(self.graph.watermark)}): got "
                f"{format_instant(received)}. Push events as they come, with more slack for a "
                "clock that runs ahead of them."
            )
        if columns is None:
            return self.graph.push({}, received)
        rows = self._push_one(stream, event)
        if rows is None:  # more than a row is due, or something is wrong
            return self.graph.push({stream: _record(event, *columns)}, received)
        return rows

    def _push_one(self, stream: StreamKey, event: Event) -> FeatureRows | None:
        """Push an event the short way; None, with nothing done, where that does not suffice."""
        inputs = self._inputs.get(stream)
        if inputs is None:
            inputs = self._inputs[stream] = self.graph.live_inputs(stream)
        place, names = inputs
        given = event.values
        try:
            values = [
                float(given[name]) if name not in STAMPS else float(getattr(event, name))
                for name in names
            ]
        except (KeyError, TypeError, ValueError):
            return None
        row = np.array(values)
        row.flags.writeable = False
        columns = {name: row[i : i + 1] for i, name in enumerate(names)}
        received = event.receipt_time
        return self.graph.push_one(place, event.event_time, one(received), columns, received)

    def advance(self, until: int) -> FeatureRows:
        """Promise that no event before *until* comes any more; return the rows that this completes.

        An *until* before the watermark says nothing new, and changes nothing.
        """
        return self.graph.push({}, max(until, self.graph.watermark))

    def run(self, events: Iterable[Event], until: int | None = None) -> Iterator[FeatureRows]:
        """Push events from an iterator, yielding rows as they are completed.

        Args:
            events: In order of receipt.
            until: Where the run ends; without it, rows that no event has completed stay out.
        """
        for event in events:
            rows = self.push(event)
            if len(rows.emitted_at):
                yield rows
        if until is not None:
            rows = self.advance(until)
            if len(rows.emitted_at):
                yield rows

    def keep_time(
        self,
        clock: Clock,
        take: Callable[[FeatureRows], None],
        *,
        tick_ns: int = 10_000_000,
        slack_ns: int = 0,
    ) -> Callable[[], None]:
        """Let a timer of a clock move the watermark, for whoever pushes events by himself.

        Args:
            clock: A `WallClock`, or a `SimulatedClock`.
            take: Given the rows that an advance completes, where there are any.
            tick_ns: How often it moves.
            slack_ns: How far the watermark stays behind the clock.

        Returns:
            A function that stops the timer.
        """
        handles: list[Handle] = []

        def tick() -> None:
            rows = self.advance(clock.now - slack_ns)
            handles[:] = [clock.call_later(tick_ns, tick)]
            if len(rows.emitted_at):
                take(rows)

        def stop() -> None:
            for handle in handles:
                handle.cancel()

        handles.append(clock.call_later(tick_ns, tick))
        return stop

    async def stream(
        self,
        events: asyncio.Queue[Event | None],
        clock: Clock,
        *,
        tick_ns: int = 10_000_000,
        slack_ns: int = 0,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> AsyncIterator[FeatureRows]:
        """Push events from a queue, and let a timer move the watermark while none comes.

        Args:
            events: In order of receipt; None ends the stream, at the clock's present instant.
            clock: What `receipt_time` is read from. Never ahead of the events still to come by more
                than *slack_ns*.
            tick_ns: How often the timer looks.
            slack_ns: How far the watermark stays behind the clock.
            sleep: Waits so many seconds: `asyncio.sleep`, or what moves a simulated clock.
        """
        while True:
            rows = []
            ended = False
            while not events.empty():
                event = events.get_nowait()
                if event is None:
                    ended = True
                    break
                rows.append(self.push(event))
            # whoever waits in the queue was received before now: it has been pushed
            rows.append(self.advance(clock.now - slack_ns))
            for some in rows:
                if len(some.emitted_at):
                    yield some
            if ended:
                return
            await sleep(tick_ns / 1e9)


def events_of(windows: Iterable[Window]) -> Iterator[Event]:
    """Yield what reached us in a catalog's windows, one event at a time, in the total order.

    The streams of a window must stand in the graph's order, as its `requests` do.
    """
    for window in windows:
        merged = sorted(
            (int(received), place, row)
            for place, records in enumerate(window.ours.values())
            for row, received in enumerate(records.receipt_time)
        )
        streams = list(window.ours.values())
        for received, place, row in merged:
            records = streams[place]
            values = {
                name: column[row].item()
                for name, column in records.columns.items()
                if name not in STAMPS
            }
            yield Event(
                records.instrument,
                records.kind,
                int(records.event_time[row]),
                received,
                values,
                int(records.sequence[row]),
            )


def _record(event: Event, floats: tuple[str, ...], ints: tuple[str, ...]) -> Records:
    """Return an event as records of one: two arrays, seen column by column."""
    values = event.values
    try:
        whole = np.array(
            (event.event_time, event.receipt_time, event.sequence, *[values[c] for c in ints]),
            np.int64,
        )
        real = np.array([values[c] for c in floats], np.float64)
    except KeyError as error:
        raise FeatureError(
            f"an event of {event.kind} of {event.instrument} must have the column {error}. "
            f"{nearest(str(error.args[0]), values)}"
        ) from None
    whole.flags.writeable = real.flags.writeable = False
    columns: dict[str, Any] = {
        "event_time": whole[:1],
        "receipt_time": whole[1:2],
        "sequence": whole[2:3],
    }
    for i, name in enumerate(ints, 3):
        columns[name] = whole[i : i + 1]
    for i, name in enumerate(floats):
        columns[name] = real[i : i + 1]
    return Records(event.instrument, event.kind, columns)
