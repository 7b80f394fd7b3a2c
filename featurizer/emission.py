"""When rows are emitted: with each record, with one stream's records, or at set instants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clock.errors import TimeWentBackwardsError
from clock.units import format_instant
from featurizer.market import StreamKey

__all__ = ["EMPTY", "Due", "Emission", "RowClock", "frozen", "merge"]

Array: TypeAlias = NDArray[Any]
EMPTY = np.empty(0, np.int64)
EMPTY.flags.writeable = False

_SEARCHES = 10
"""A walk along a stream costs less than searches where it has fewer records than so many times
the instants."""


@dataclass(frozen=True, slots=True)
class Emission:
    """The rule by which a graph emits rows. Make one by a class method.

    Attributes:
        kind: `raw`, `input`, `grid` or `scheduled`.
        stream: Of `input`: the stream whose records emit rows; its instrument is empty where the
            records of every instrument do, each the row of its own.
        every: Of `input`: only each such record, counted from the stream's first one in the graph.
        period_ns: Of `grid`.
    """

    kind: Literal["raw", "input", "grid", "scheduled"]
    stream: StreamKey | None = None
    every: int = 1
    period_ns: int = 0

    @classmethod
    def raw(cls) -> Emission:
        """Emit a row with each input record: the state just after that record."""
        return cls("raw")

    @classmethod
    def of_input(cls, instrument: str, kind: str, every: int = 1) -> Emission:
        """Emit a row with each record of one stream, or each *every*-th."""
        return cls("input", stream=(instrument, kind), every=every)

    @classmethod
    def of_kind(cls, kind: str, every: int = 1) -> Emission:
        """Emit an instrument's row with each record of its stream of a kind, or each *every*-th."""
        return cls("input", stream=("", kind), every=every)

    @classmethod
    def grid(cls, period_ns: int) -> Emission:
        """Emit the row for each multiple T of a period since the epoch: all visible by T."""
        return cls("grid", period_ns=period_ns)

    @classmethod
    def scheduled(cls) -> Emission:
        """Emit rows for the instants handed to `FeatureGraph.schedule`, as on a grid."""
        return cls("scheduled")


class Due(NamedTuple):
    """The rows that a push completes.

    Attributes:
        instants: When each is emitted. Shape (n,).
        counts: For each stream, how many of its records each row includes. Each: shape (n,).
        emitters: Place of the stream whose record emits each row, where asked for. Shape (n,).
        each: The stream whose every record emits a row, and no other does; else -1.
    """

    instants: Array
    counts: list[Array]
    emitters: Array | None = None
    each: int = -1


@dataclass(slots=True)
class RowClock:
    """Which rows are due: the state of an emission.

    Attributes:
        emission: The rule.
        watermark: The `until` of the last push: no record before it will come.
        triggers: Of `input`: places of its streams among the graph's streams.
        tells: Whether it says whose record emits each row.
    """

    emission: Emission
    watermark: int
    triggers: tuple[int, ...] = ()
    tells: bool = False
    _next: int = 0
    _passed: dict[int, int] = field(default_factory=dict)
    _pending: Array = field(default_factory=lambda: EMPTY)

    def __post_init__(self) -> None:
        period = self.emission.period_ns
        if period:
            self._next = -(-self.watermark // period) * period
        self._passed = dict.fromkeys(self.triggers, 0)

    def schedule(self, instants: Array) -> None:
        """Add instants at which rows are due, in order, at or after the watermark."""
        instants = np.asarray(instants, np.int64)
        if not len(instants):
            return
        known = int(self._pending[-1]) if len(self._pending) else self.watermark
        if instants[0] < known or (instants[1:] < instants[:-1]).any():
            raise TimeWentBackwardsError(
                "`instants` must be sorted, and not before those scheduled or pushed already: got "
                f"{format_instant(int(instants.min()))}, "
                f"and {format_instant(known)} has been reached."
            )
        self._pending = np.concatenate([self._pending, instants])

    def due(self, times: list[Array], until: int) -> Due:
        """Return the rows that a push completes, and move the watermark.

        A row with a record includes what came before it in the total order: at one instant, the
        records of streams that stand before its own. A row at an instant includes all records
        visible by then, so it is due once *until* lies beyond.

        Args:
            times: Receipt times of the push, for each stream.
            until: The new watermark.
        """
        self.watermark = until
        kind = self.emission.kind
        if kind == "raw":
            merged, counts = merge(times)
            busy = [place for place, stream in enumerate(times) if len(stream)]
            each = busy[0] if len(busy) == 1 else -1
            return Due(merged, counts, _emitters(counts) if self.tells else None, each)
        if kind == "input":
            return self._with_records(times)
        instants = self._on_grid(until) if kind == "grid" else self._scheduled(until)
        instants.flags.writeable = False
        return Due(instants, [_visible(stream, instants, "right") for stream in times])

    def due_one(self, place: int, time: int, until: int) -> tuple[Array, bool] | None:
        """Return the row that a push of a single record completes, and move the watermark.

        Args:
            place: The record's stream.
            time: Its receipt.
            until: The new watermark.

        Returns:
            The row's instant, shape (1,) or (0,), and whether it includes the record. None, with
            nothing moved, where there is more than one row.
        """
        kind = self.emission.kind
        at, included = EMPTY, True
        if kind == "grid":
            period = self.emission.period_ns
            if self._next + period < until:
                return None
            if self._next < until:
                at, included = _one(self._next), time <= self._next
                self._next += period
        elif kind == "scheduled":
            if len(self._pending) and self._pending[0] < until:
                return None
        elif kind == "raw":
            at = _one(time)
        elif place in self._passed:
            passed = self._passed[place] + 1
            if passed == self.emission.every:
                at, passed = _one(time), 0
            self._passed[place] = passed
        self.watermark = until
        return at, included

    def _with_records(self, times: list[Array]) -> Due:
        parts = [self._of_trigger(trigger, times) for trigger in self.triggers]
        if len(parts) == 1:
            own, counts = parts[0]
            trigger = self.triggers[0]
            emitters = np.full(len(own), trigger) if self.tells else None
            return Due(own, counts, emitters, trigger if self.emission.every == 1 else -1)
        instants, reached = merge([own for own, _ in parts])
        places = _emitters(reached)
        counts = [np.empty(len(instants), np.int64) for _ in times]
        for part, (_, own_counts) in enumerate(parts):
            for count, own_count in zip(counts, own_counts, strict=True):
                count[places == part] = own_count
        for count in counts:
            count.flags.writeable = False
        return Due(instants, counts, np.array(self.triggers, np.int64)[places])

    def _of_trigger(self, trigger: int, times: list[Array]) -> tuple[Array, list[Array]]:
        own = times[trigger]
        every = self.emission.every
        if every == 1:
            picked = _ordinals(len(own))
        else:
            passed = self._passed[trigger]
            picked = np.arange(every - passed, len(own) + 1, every)
            picked.flags.writeable = False
            self._passed[trigger] = (passed + len(own)) % every
            own = own[picked - 1]
            own.flags.writeable = False
        counts = [
            picked
            if place == trigger
            else _visible(stream, own, "right" if place < trigger else "left")
            for place, stream in enumerate(times)
        ]
        return own, counts

    def _on_grid(self, until: int) -> Array:
        instants = np.arange(self._next, until, self.emission.period_ns, dtype=np.int64)
        self._next += len(instants) * self.emission.period_ns
        return instants

    def _scheduled(self, until: int) -> Array:
        cut = self._pending.searchsorted(until, "left")
        due, self._pending = self._pending[:cut].copy(), self._pending[cut:]
        return due


def frozen(column: Array) -> Array:
    """Return a read-only view: a kernel compiles once for such, and nobody writes to it."""
    if column.flags.writeable:
        column = column.view()
        column.flags.writeable = False
    return column


_counted = [EMPTY]


def _ordinals(count: int) -> Array:
    """Return 1, 2, … count; read-only, as all ask for the same numbers."""
    known = _counted[0]
    if len(known) < count:
        known = np.arange(1, max(count, 2 * len(known)) + 1)
        known.flags.writeable = False
        _counted[0] = known
    return known[:count]


def _one(instant: int) -> Array:
    array = np.array((instant,), np.int64)
    array.flags.writeable = False
    return array


def _emitters(counts: list[Array]) -> Array:
    """Return which stream's record each merged record is."""
    places = np.zeros(len(counts[0]) if counts else 0, np.int64)
    for place, count in enumerate(counts):
        places[np.diff(count, prepend=0) == 1] = place
    return places


def merge(times: list[Array]) -> tuple[Array, list[Array]]:
    """Merge streams into their total order.

    Args:
        times: Receipt times of each stream; at one instant, the streams come in this order.

    Returns:
        The merged times, and for each stream how many of its records come up to and including
        each merged record. Shapes (n,), n being the number of all records.
    """
    busy = [place for place, stream in enumerate(times) if len(stream)]
    if not busy:
        return EMPTY, [EMPTY] * len(times)
    if len(busy) == 1:
        merged = times[busy[0]]
        none = np.zeros(len(merged), np.int64) if len(times) > 1 else EMPTY
        none.flags.writeable = False
        all_own = _ordinals(len(merged))
        return merged, [all_own if place == busy[0] else none for place in range(len(times))]
    n = sum(len(times[place]) for place in busy)
    merged = np.empty(n, np.int64)
    counts = [np.zeros(n, np.int64) for _ in times]
    for place in busy:
        own = times[place]
        before = {
            other: _visible(times[other], own, "right" if other < place else "left")
            for other in busy
            if other != place
        }
        places = np.arange(len(own))
        for count in before.values():
            places = places + count
        merged[places] = own
        counts[place][places] = np.arange(1, len(own) + 1)
        for other, count in before.items():
            counts[other][places] = count
    for array in (merged, *counts):
        array.flags.writeable = False
    return merged, counts


def _visible(stream: Array, instants: Array, side: Literal["left", "right"]) -> Array:
    """Return how many records of a stream come before (left) or by (right) each instant."""
    if not len(stream):
        counts = np.zeros(len(instants), np.int64)
    elif len(instants) * _SEARCHES > len(stream):
        from featurizer.operators.order import counted

        return counted(frozen(stream), frozen(instants), side == "right")
    else:
        counts = stream.searchsorted(instants, side)
    counts.flags.writeable = False
    return counts
