"""Row groups of Parquet as plain pages: numbers go from memory to the file as they lie there.

`pyarrow` copies each column into a page before it writes it, which took longer than writing. A
plain page without compression is a header and the bytes of the numbers, so here the system is
handed those bytes themselves. The layout is Parquet 2.6 with data pages of version 1, as any
reader of Parquet knows it: https://parquet.apache.org/docs/file-format.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.parquet_footer import Chunk, Column, data_header, dictionary_header, footer, varint

__all__ = ["Column", "Missing", "Names", "PageWriter", "Values"]

Array: TypeAlias = NDArray[Any]

_MAGIC: Final = b"PAR1"
_BUFFERS: Final = 512
"""Buffers handed over at once: the system takes 1024 at most."""


class Missing(NamedTuple):
    """The values of a column in which some may be missing.

    Attributes:
        pieces: The values, in the pieces in which they came.
        stands_for_none: What stands in them for one that is missing: NaN, or the least `int64`.
    """

    pieces: Sequence[Array]
    stands_for_none: float | int


class Names(NamedTuple):
    """The values of a column of a few names.

    Attributes:
        pieces: Places among the names, in the pieces in which they came.
        names: The names.
    """

    pieces: Sequence[Array]
    names: Sequence[str]


Values: TypeAlias = Sequence[Array] | Missing | Names


class PageWriter:
    """Writes one file, row group by row group; the bytes depend on the rows alone.

    Args:
        path: The file.
        columns: Its columns, in order.
        metadata: Text kept with the file.
    """

    def __init__(self, path: Path, columns: Sequence[Column], metadata: Mapping[str, str]) -> None:
        self._columns, self._metadata = tuple(columns), dict(metadata)
        self._file = path.open("wb", buffering=0)
        self._groups: list[tuple[int, list[Chunk]]] = []
        self._at = 0
        self._write([_MAGIC])

    def write_group(self, rows: int, values: Sequence[Values]) -> None:
        """Write a row group.

        Args:
            rows: How many rows it has, one at least.
            values: Of each column; `int64` or `float64`, contiguous.
        """
        buffers: list[Any] = []
        chunks: list[Chunk] = []
        begin = self._at
        for column, own in zip(self._columns, values, strict=True):
            pages, chunk = _pages(column, own, rows, begin)
            buffers += pages
            chunks.append(chunk)
            begin += chunk.size
        self._write(buffers)
        self._groups.append((rows, chunks))

    def close(self) -> None:
        """Write the end of the file."""
        text = footer(self._columns, self._groups, self._metadata)
        self._write([text, len(text).to_bytes(4, "little"), _MAGIC])
        self._file.close()

    def abandon(self) -> None:
        """Close a file that nobody will read."""
        self._file.close()

    def _write(self, buffers: Sequence[Any]) -> None:
        waiting = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
        self._at += sum(view.nbytes for view in waiting)
        while waiting:
            written = os.writev(self._file.fileno(), waiting[:_BUFFERS])
            done = 0
            while done < len(waiting) and written >= waiting[done].nbytes:
                written -= waiting[done].nbytes
                done += 1
            del waiting[:done]
            if written:
                waiting[0] = waiting[0][written:]


def _pages(column: Column, values: Values, rows: int, begin: int) -> tuple[list[Any], Chunk]:
    """Return the buffers of a column's pages, and what the footer says of them."""
    if isinstance(values, Names):
        return _named_pages(values, rows, begin)
    if isinstance(values, Missing):
        levels, pieces = _levels(values, rows)
    else:
        levels, pieces = b"", values
    size = len(levels) + sum(piece.nbytes for piece in pieces)
    header = data_header(rows, size, "PLAIN")
    smallest = largest = None
    if column.ascending:
        there = [piece for piece in pieces if len(piece)]
        smallest, largest = int(there[0][0]), int(there[-1][-1])
    chunk = Chunk(begin, None, len(header) + size, ("PLAIN", "RLE"), smallest, largest)
    return [header, levels, *pieces], chunk


def _levels(values: Missing, rows: int) -> tuple[bytes, Sequence[Array]]:
    """Return which values are there, as Parquet says it, and those that are."""
    none = values.stands_for_none
    if all(_whole(piece, none) for piece in values.pieces):
        runs, pieces = _run(rows, 1, 1), values.pieces
    else:
        there = [p == p if none != none else p != none for p in values.pieces]
        runs = _packed(np.concatenate(there).astype(np.int64), 1)
        pieces = [piece[own] for piece, own in zip(values.pieces, there, strict=True)]
    return len(runs).to_bytes(4, "little") + runs, pieces


def _whole(piece: Array, none: float | int) -> bool:
    """Return whether no value is missing: the least one tells, as NaN counts as less than all."""
    least = piece.min() if len(piece) else 0
    return bool(least == least and least != none)


def _named_pages(values: Names, rows: int, begin: int) -> tuple[list[Any], Chunk]:
    texts = [name.encode() for name in values.names]
    words = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    width = max(1, (len(texts) - 1).bit_length())
    first = next(int(piece[0]) for piece in values.pieces if len(piece))
    if all((piece == first).all() for piece in values.pieces):
        runs = _run(rows, first, width)
    else:
        runs = _packed(np.concatenate(values.pieces), width)
    places = bytes([width]) + runs
    dictionary = dictionary_header(len(texts), len(words)) + words
    data = data_header(rows, len(places), "RLE_DICTIONARY") + places
    size = len(dictionary) + len(data)
    chunk = Chunk(begin + len(dictionary), begin, size, ("PLAIN", "RLE", "RLE_DICTIONARY"))
    return [dictionary + data], chunk


def _run(count: int, value: int, width: int) -> bytes:
    """Return one value, so many times, in Parquet's hybrid of runs and packed bits."""
    return varint(count << 1) + value.to_bytes((width + 7) // 8, "little")


def _packed(values: Array, width: int) -> bytes:
    """Return small numbers, packed into so many bits each, in groups of eight."""
    groups = -(-len(values) // 8)
    bits = np.zeros((groups * 8, width), np.uint8)
    bits[: len(values)] = (values[:, None] >> np.arange(width)) & 1
    return varint(groups << 1 | 1) + np.packbits(bits, bitorder="little").tobytes()
