"""A catalog read by window: what happened in it, and what reached us in it.

Memory stays bounded: of each stream a window needs its own rows, the late ones that have happened
and not yet reached us, and one row group.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from featurizer.catalog_parts import Part, PartReader
from featurizer.market import Array, Kind, Records, Window

__all__ = ["StreamReader", "read_windows"]

Columns = dict[str, Array]


def read_windows(
    streams: Sequence[StreamReader], start: int, until: int, rows: int, max_window_ns: int
) -> Iterator[Window]:
    """Yield the windows that cover [start, until) without a gap.

    A window ends where the densest stream has had about `rows` rows. Where it ends never
    changes what the windows hold when they are put together.
    """
    try:
        while start < until:
            end = min(until, start + max_window_ns)
            for stream in streams:
                end = min(end, stream.cut(rows, start, end))
            venue, ours = {}, {}
            for stream in streams:
                venue[stream.key], ours[stream.key] = stream.take(end)
            yield Window(start, end, venue, ours)
            start = end
    finally:
        for stream in streams:
            stream.close()


class StreamReader:
    """Rows of one stream from `start` on, handed out twice: by event and by receipt.

    Args:
        instrument: Id of the instrument.
        kind: Kind of the records.
        names: Columns to hand out, stamps included.
        parts: Parts of the stream, in order of time.
        start: First instant of the run; rows from before it are ours if they reach us after.
        until: First instant after the run.
    """

    def __init__(
        self,
        instrument: str,
        kind: Kind,
        names: Sequence[str],
        parts: Sequence[Part],
        start: int,
        until: int,
    ) -> None:
        self.key = (instrument, kind.name)
        self._start, self._until = start, until
        self._chunks = _read_chunks(parts, names, start, until)
        self._nothing = Records.empty(instrument, kind, names)
        self._venue, self._ours = _Queue("event_time"), _Queue("receipt_time")
        # every row with an earlier event_time has been loaded
        self._loaded_before = start

    def cut(self, rows: int, start: int, end: int) -> int:
        """Return the end of a window of about `rows` rows from `start`: at most `end`."""
        while self._venue.size <= rows and self._loaded_before < end:
            self._load()
        if self._venue.size <= rows:
            return end
        # an instant is never split, so a window holds one at least
        return min(end, max(self._venue.stamp_at(rows), start + 1))

    def take(self, end: int) -> tuple[Records, Records]:
        """Return, and forget, the rows that happened and those that reached us before `end`."""
        while self._loaded_before < end:
            self._load()
        return self._records(self._venue.take(end)), self._records(self._ours.take(end))

    def close(self) -> None:
        """Close the files; records handed out stay valid."""
        self._chunks.close()

    def _records(self, columns: Columns | None) -> Records:
        if columns is None:
            return self._nothing
        return Records(*self.key, columns)

    def _load(self) -> None:
        columns = next(self._chunks, None)
        if columns is None:
            self._loaded_before = self._until
            return
        event = columns["event_time"]
        first, last = np.searchsorted(event, [self._start, self._until])
        self._venue.append(_slice(columns, first, last))
        if first > 0:
            late = columns["receipt_time"] >= self._start
            late[last:] = False
            self._ours.merge(_pick(columns, np.flatnonzero(late)))
        else:
            self._ours.merge(_slice(columns, first, last))
        self._loaded_before = max(self._loaded_before, min(int(event[-1]), self._until))


def _read_chunks(
    parts: Sequence[Part], names: Sequence[str], start: int, until: int
) -> Generator[Columns, None, None]:
    """Yield the row groups that may hold a row of the run, in the catalog's order."""
    for part in parts:
        wanted = [
            number
            for number, (first, last, receipt) in enumerate(part.summary.groups)
            if first < until and (last >= start or receipt >= start)
        ]
        if not wanted:
            continue
        reader = PartReader(part, names)
        try:
            for number in wanted:
                yield reader.read(number)
        finally:
            reader.close()


class _Queue:
    """Columns that wait to be handed out, ordered by one stamp."""

    def __init__(self, stamp: str) -> None:
        self.size = 0
        self._stamp = stamp
        self._segments: deque[Columns] = deque()

    def stamp_at(self, index: int) -> int:
        """Return the stamp of the row at an index, counted from the oldest that waits."""
        for segment in self._segments:
            stamps = segment[self._stamp]
            if index < len(stamps):
                return int(stamps[index])
            index -= len(stamps)
        raise IndexError(index)

    def append(self, columns: Columns) -> None:
        """Add rows that come after all that wait."""
        rows = len(columns[self._stamp])
        if rows:
            self._segments.append(columns)
            self.size += rows

    def merge(self, columns: Columns) -> None:
        """Add rows wherever they belong by (`stamp`, `sequence`).

        Rows alike in both keep the catalog's order, as the sort is stable and what waits comes
        earlier in the catalog.
        """
        if len(columns[self._stamp]) == 0:
            return
        if not self._is_ordered(columns):
            overlap = self._withdraw(int(columns[self._stamp].min()))
            together = _concatenate([*overlap, columns])
            order = np.lexsort((together["sequence"], together[self._stamp]))
            columns = _pick(together, order)
        self.append(columns)

    def _withdraw(self, stamp: int) -> list[Columns]:
        """Return, and forget, the rows that wait and are stamped at or after `stamp`."""
        withdrawn: deque[Columns] = deque()
        while self._segments and int(self._segments[-1][self._stamp][-1]) >= stamp:
            segment = self._segments.pop()
            stamps = segment[self._stamp]
            keep = int(np.searchsorted(stamps, stamp))
            withdrawn.appendleft(_slice(segment, keep, len(stamps)))
            self.size -= len(stamps) - keep
            if keep:
                self._segments.append(_slice(segment, 0, keep))
        return list(withdrawn)

    def _is_ordered(self, columns: Columns) -> bool:
        stamps, sequence = columns[self._stamp], columns["sequence"]
        if self._segments:
            waiting = self._segments[-1]
            newest = (waiting[self._stamp][-1], waiting["sequence"][-1])
            if (stamps[0], sequence[0]) < newest:
                return False
        if not (stamps[1:] >= stamps[:-1]).all():
            return False
        back = sequence[1:] < sequence[:-1]
        return not (back.any() and (back & (stamps[1:] == stamps[:-1])).any())

    def take(self, end: int) -> Columns | None:
        """Return, and forget, the rows stamped before `end`; None where there is none."""
        taken: list[Columns] = []
        while self._segments:
            segment = self._segments[0]
            stamps = segment[self._stamp]
            count = int(np.searchsorted(stamps, end))
            if count == 0:
                break
            self.size -= count
            if count < len(stamps):
                taken.append(_slice(segment, 0, count))
                self._segments[0] = _slice(segment, count, len(stamps))
                break
            taken.append(self._segments.popleft())
        if not taken:
            return None
        return taken[0] if len(taken) == 1 else _concatenate(taken)


def _slice(columns: Columns, start: int, stop: int) -> Columns:
    return {name: values[start:stop] for name, values in columns.items()}


def _pick(columns: Columns, order: Array) -> Columns:
    return _frozen({name: values[order] for name, values in columns.items()})


def _concatenate(parts: Sequence[Columns]) -> Columns:
    return _frozen({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _frozen(columns: Columns) -> Columns:
    for values in columns.values():
        values.flags.writeable = False
    return columns
