"""One Parquet file of a feature set, written as its rows come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.graph import MISSING
from featurizer.labels import LabelledRows
from featurizer.parquet_pages import Column, Missing, Names, PageWriter, Values

__all__ = ["META", "Layout", "PartWriter", "part_of"]

Array: TypeAlias = NDArray[Any]

META: Final = "lightcone.features"
"""Key of the names of the features among a file's metadata."""
ROW_GROUP: Final = 65_536


class Layout(NamedTuple):
    """The columns of a feature set's files.

    Attributes:
        names: All columns of a row.
        kept: Those that are stored.
        instruments: Ids that the rows' instrument index stands for.
    """

    names: tuple[str, ...]
    kept: tuple[str, ...]
    instruments: tuple[str, ...]

    def columns(self) -> list[Column]:
        """Return the columns of the files."""
        # a column that says that nothing is missing is written, and read, without a mask
        found = [
            Column("emitted_at", "instant", ascending=True),  # what readers look for a range of
            Column("visible_at", "instant"),
            Column("event_time", "instant", optional=True),
            Column("instrument", "text"),
        ]
        found += [Column(name, "float64") for name in self.kept]
        found += [Column("label", "float64", optional=True)]
        return [*found, Column("label_visible_at", "instant", optional=True)]

    def values(self, parts: Sequence[LabelledRows]) -> list[Values]:
        """Return the columns of labelled rows, in the pieces in which these came."""
        rows = [part.rows for part in parts]
        places = [self.names.index(name) for name in self.kept]
        return [
            [own.emitted_at for own in rows],
            [own.visible_at for own in rows],
            Missing([own.event_time for own in rows], MISSING),
            Names([own.instrument for own in rows], self.instruments),
            *[[np.ascontiguousarray(own.values[:, place]) for own in rows] for place in places],
            Missing([part.label for part in parts], np.nan),
            Missing([part.label_visible_at for part in parts], MISSING),
        ]


class PartWriter:
    """Writes rows to a file in row groups of a fixed size, in a thread of its own.

    The bytes depend on the rows alone, not on the portions in which they come.

    Args:
        path: The file.
        layout: Its columns.

    Attributes:
        rows: Rows taken so far.
        labelled: Those of them that have a label.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self._writer = PageWriter(path, layout.columns(), {META: json.dumps(layout.kept)})
        self._layout = layout
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        self._held: list[LabelledRows] = []
        self._held_rows = 0
        self.rows = 0
        self.labelled = 0

    def write(self, part: LabelledRows) -> None:
        """Take rows that come after all taken before."""
        count = len(part.label)
        self.rows += count
        self.labelled += count - int(np.isnan(part.label).sum())
        self._held.append(part)
        self._held_rows += count
        if self._held_rows >= ROW_GROUP:
            self._flush(self._held_rows // ROW_GROUP * ROW_GROUP)

    def close(self) -> None:
        """Write what is held, and the end of the file."""
        if self._held_rows:
            self._flush(self._held_rows)
        self._wait()
        self._thread.shutdown()
        self._writer.close()

    def abandon(self) -> None:
        """Close a file that nobody will read."""
        self._thread.shutdown()
        self._writer.abandon()

    def _wait(self) -> None:
        """Wait for what is being written; raise what went wrong."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _flush(self, count: int) -> None:
        parts, rest = self._held, self._held_rows - count
        last = parts[-1]
        cut = len(last.label) - rest
        self._held = [part_of(last, cut, len(last.label))] if rest else []
        self._held_rows = rest
        self._wait()  # some row groups are being written while others are made, never more
        self._writing = self._thread.submit(self._write, [*parts[:-1], part_of(last, 0, cut)])

    def _write(self, parts: Sequence[LabelledRows]) -> None:
        while parts:
            group, parts = _cut(parts, ROW_GROUP)
            self._writer.write_group(sum(len(p.label) for p in group), self._layout.values(group))


def part_of(labelled: LabelledRows, begin: int, end: int) -> LabelledRows:
    """Return the rows [begin, end), as views."""
    rows = type(labelled.rows)(*(column[begin:end] for column in labelled.rows))
    return LabelledRows(rows, labelled.label[begin:end], labelled.label_visible_at[begin:end])


def _cut(
    parts: Sequence[LabelledRows], rows: int
) -> tuple[Sequence[LabelledRows], Sequence[LabelledRows]]:
    """Return the first so many rows of some parts, and those after them."""
    for place, part in enumerate(parts):
        count = len(part.label)
        if rows < count:
            head = [*parts[:place], part_of(part, 0, rows)] if rows else parts[:place]
            return head, [part_of(part, rows, count), *parts[place + 1 :]]
        rows -= count
    return parts, ()
