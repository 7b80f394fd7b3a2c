"""One Parquet file of a feature set, written as its rows come."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.graph import MISSING
from featurizer.labels import LabelledRows

__all__ = ["META", "Layout", "PartWriter", "part_of"]

Array: TypeAlias = NDArray[Any]

META: Final = b"lightcone.features"
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

    def schema(self) -> Any:
        """Return the Arrow schema."""
        import pyarrow as pa

        stamp, number = pa.timestamp("ns", "UTC"), pa.float64()
        # a column that says that nothing is missing is written, and read, without a mask
        fields = [pa.field(name, stamp, nullable=False) for name in ("emitted_at", "visible_at")]
        fields += [pa.field("event_time", stamp)]
        fields += [pa.field("instrument", pa.dictionary(pa.int32(), pa.string()), nullable=False)]
        fields += [pa.field(name, number, nullable=False) for name in self.kept]
        fields += [pa.field("label", number), pa.field("label_visible_at", stamp)]
        return pa.schema(fields)

    def table(self, parts: Sequence[LabelledRows]) -> Any:
        """Return labelled rows as one Arrow table: a missing instant or label is null."""
        import pyarrow as pa

        rows = [part.rows for part in parts]
        index = np.concatenate([own.instrument for own in rows], dtype=np.int32, casting="unsafe")
        named = pa.DictionaryArray.from_arrays(pa.array(index), pa.array(self.instruments))
        places = [self.names.index(name) for name in self.kept]
        # columns stay in the pieces in which they came: nothing is copied before it is encoded
        columns = [
            _stamps([own.emitted_at for own in rows]),
            _stamps([own.visible_at for own in rows]),
            _stamps([own.event_time for own in rows]),
            named,
            *[_pieces([own.values[:, place] for own in rows]) for place in places],
            _pieces([part.label for part in parts], from_pandas=True),  # NaN is null
            _stamps([part.label_visible_at for part in parts]),
        ]
        return pa.Table.from_arrays(columns, schema=self.schema())


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
        import pyarrow.parquet as pq

        # measured on 5 M rows of ten features: with differences of stamps, and dictionaries of
        # numbers, a third smaller and 1.7 times the work; with LZ4 half the size, three times
        self._writer = pq.ParquetWriter(
            path,
            layout.schema(),
            compression="none",
            use_dictionary=["instrument"],
            write_statistics=["emitted_at"],  # what readers look for a range of
            write_batch_size=ROW_GROUP,
            store_schema=False,  # readers see strings where it would say that they are coded
        )
        self._writer.add_key_value_metadata({META: json.dumps(layout.kept).encode()})
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
        with contextlib.suppress(Exception):
            self._writer.close()

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
        # the table is made here, as its many small steps would queue for the interpreter's lock
        table = self._layout.table([*parts[:-1], part_of(last, 0, cut)])
        self._wait()  # one row group is being written while the next is made, never more
        self._writing = self._thread.submit(self._write, table)

    def _write(self, table: Any) -> None:
        self._writer.write_table(table, row_group_size=ROW_GROUP)


def part_of(labelled: LabelledRows, begin: int, end: int) -> LabelledRows:
    """Return the rows [begin, end), as views."""
    rows = type(labelled.rows)(*(column[begin:end] for column in labelled.rows))
    return LabelledRows(rows, labelled.label[begin:end], labelled.label_visible_at[begin:end])


def _pieces(pieces: Sequence[Array], from_pandas: bool = False) -> Any:
    import pyarrow as pa

    return pa.chunked_array([pa.array(piece, from_pandas=from_pandas) for piece in pieces])


def _stamps(pieces: Sequence[Array]) -> Any:
    import pyarrow as pa

    stamp = pa.timestamp("ns", "UTC")
    return pa.chunked_array([_stamp_piece(np.ascontiguousarray(p), stamp) for p in pieces], stamp)


def _stamp_piece(piece: Array, stamp: Any) -> Any:
    import pyarrow as pa

    if len(piece) and piece.min() == MISSING:
        return pa.array(piece.view("datetime64[ns]"), stamp, mask=piece == MISSING)
    # from `datetime64` it would be worked over value by value
    return pa.Array.from_buffers(stamp, len(piece), [None, pa.py_buffer(piece)])
