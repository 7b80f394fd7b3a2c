"""When rows are emitted: with each record, with one stream's records, or at set instants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clock.errors import TimeWentBackwardsError
from clock.units import format_instant
from featurizer.market import StreamKey

__all__ = ["Emission", "RowClock"]

Array: TypeAlias = NDArray[Any]
EMPTY = np.empty(0, np.int64)
EMPTY.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Emission:
    """The rule by which a graph emits rows. Make one by a class method.

    Attributes:
        kind: `raw`, `input`, `grid` or `scheduled`.
        stream: Of `input`: the stream whose records emit rows.
        every: Of `input`: only each such record, counted from the graph's first one.
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
    def grid(cls, period_ns: int) -> Emission:
        """Emit the row for each multiple T of a period since the epoch: all visible by T."""
        return cls("grid", period_ns=period_ns)

    @classmethod
    def scheduled(cls) -> Emission:
        """Emit rows for the instants handed to `FeatureGraph.schedule`, as on a grid."""
        return cls("scheduled")


@dataclass(slots=True)
class RowClock:
    """Which rows are due: the state of an emission.

    Attributes:
        emission: The rule.
        watermark: The `until` of the last push: no record before it will come.
        trigger: Of `input`: place of its stream among the graph's streams.
    """

    emission: Emission
    watermark: int
    trigger: int = 0
    _next: int = 0
    _pending: Array = field(default_factory=lambda: EMPTY)

    def __post_init__(self) -> None:
        period = self.emission.period_ns
        if period:
            self._next = -(-self.watermark // period) * period

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

    def due(self, times: list[Array], until: int) -> tuple[Array, list[Array]]:
        """Return the rows that a push completes, and move the watermark.

        A row with a record includes what came before it in the total order: at one instant, the
        records of streams that stand before its own. A row at an instant includes all records
        visible by then, so it is due once *until* lies beyond.

        Args:
            times: Receipt times of the push, for each stream.
            until: The new watermark.

        Returns:
            Emission instants, and for each stream how many of its records each row includes.
        """
        self.watermark = until
        kind = self.emission.kind
        if kind == "raw":
            return merge(times)
        if kind == "input":
            return self._with_records(times)
        instants = self._on_grid(until) if kind == "grid" else self._scheduled(until)
        instants.flags.writeable = False
        return instants, [_visible(stream, instants, "right") for stream in times]

    def _with_records(self, times: list[Array]) -> tuple[Array, list[Array]]:
        own = times[self.trigger]
        every = self.emission.every
        if every == 1:
            picked = np.arange(1, len(own) + 1)
        else:
            picked = np.arange(every - self._next, len(own) + 1, every)
            self._next = (self._next + len(own)) % every
            own = own[picked - 1]
            own.flags.writeable = False
        picked.flags.writeable = False
        counts = [
            picked
            if place == self.trigger
            else _visible(stream, own, "right" if place < self.trigger else "left")
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
    else:
        counts = stream.searchsorted(instants, side)
    counts.flags.writeable = False
    return counts
