"""The records of one push, as each feature sees them: updates in their total order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.emission import frozen, merge
from featurizer.market import Records

__all__ = ["NO_VALUES", "Chunk", "Timeline", "Track"]

Array: TypeAlias = NDArray[Any]
Track: TypeAlias = tuple[int, ...]
"""The streams that update a feature, as places among the graph's streams, ascending."""

NO_VALUES = np.empty(0)
NO_VALUES.flags.writeable = False


@dataclass(slots=True)
class Timeline:
    """The updates of the features on one track.

    Attributes:
        times: Shape (n,).
        read_counts: How many of the updates each row includes. Shape (m,).
        picks: `read_counts - 1`, then n - 1. Shape (m + 1,).
        counts: On several streams: how many records of each come up to and including each update.
        each: Whether each row comes just after the update of its place.
    """

    times: Array
    read_counts: Array
    picks: Array
    counts: dict[int, Array]
    each: bool = False


class Chunk:
    """One push: its records by stream, its rows, and the timelines made on demand.

    Args:
        records: For each of the graph's streams, its records or None.
        times: Receipt times, for each stream.
        read_times: The rows' instants. Shape (m,).
        read_counts: For each stream, how many of its records each row includes.
        each: The stream whose every record emits a row, where there is one; else -1.
    """

    __slots__ = ("_counts", "_each", "_timelines", "_times", "read_times", "records")

    def __init__(
        self,
        records: Sequence[Records | None],
        times: list[Array],
        read_times: Array,
        read_counts: list[Array],
        each: int = -1,
    ) -> None:
        self.records = records
        self.read_times = read_times
        self._times = times
        self._counts = read_counts
        self._each = each
        self._timelines: dict[Track, Timeline] = {}

    def timeline(self, track: Track) -> Timeline:
        """Return the updates of a track, merged at the first asking."""
        found = self._timelines.get(track)
        if found is None:
            found = self._timelines[track] = self._merge(track)
        return found

    def _merge(self, track: Track) -> Timeline:
        counts: dict[int, Array] = {}
        if len(track) == 1:
            times, read_counts = self._times[track[0]], self._counts[track[0]]
        else:
            times, merged = merge([self._times[place] for place in track])
            counts = dict(zip(track, merged, strict=True))
            read_counts = np.zeros(len(self.read_times), np.int64)
            for place in track:
                read_counts += self._counts[place]
            read_counts.flags.writeable = False
        picks = np.empty(len(read_counts) + 1, np.int64)
        np.subtract(read_counts, 1, out=picks[:-1])
        picks[-1] = len(times) - 1
        picks.flags.writeable = False
        return Timeline(times, read_counts, picks, counts, track == (self._each,))

    def column(self, place: int, name: str) -> Array:
        """Return a column of one stream as read-only `float64`; empty where nothing came."""
        records = self.records[place]
        if records is None:
            return NO_VALUES
        column = records.columns[name]
        if column.dtype != np.float64:
            column = column.astype(np.float64)
        return frozen(column)

    def aligned(self, values: Array, own: Track, target: Track, before: float) -> Array:
        """Return the latest value of an input at each update of a track.

        Args:
            values: The input's updates in this chunk.
            own: The input's track.
            target: The track to align with.
            before: The input's value before this chunk.
        """
        reached = self._reached(own[0], target)
        for place in own[1:]:
            reached = reached + self._reached(place, target)
        if len(values):
            latest = values[reached - 1]
            latest[: reached.searchsorted(0, side="right")] = before
        else:
            latest = np.full(len(reached), before)
        latest.flags.writeable = False
        return latest

    def _reached(self, place: int, target: Track) -> Array:
        """Return how many records of a stream come before, or with, each update of a track."""
        if target == (place,):
            return np.arange(1, len(self._times[place]) + 1)
        if place in target:
            return self.timeline(target).counts[place]
        both = self.timeline(tuple(sorted((*target, place))))
        counts = both.counts[place]
        return counts[np.diff(counts, prepend=0) == 0]  # the others' updates
