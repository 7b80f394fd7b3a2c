"""One Parquet part of a catalog: its layout, its summary in the footer, its row groups."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clock.units import format_instant
from featurizer.catalog_columns import arrow_schema, columns_of_table, plain_values
from featurizer.errors import CatalogError, MarketDataError
from featurizer.ingest.refusal import Origin
from featurizer.ingest.validation import check_records
from featurizer.market import Array, Instrument, Kind

__all__ = [
    "ROW_GROUP",
    "Part",
    "PartReader",
    "Summary",
    "list_parts",
    "open_part",
    "summarise",
    "write_part",
]

ROW_GROUP: Final = 65_536
"""Rows that are decoded together: what a scan holds of each stream, two or three times."""

_META: Final = b"lightcone"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Summary:
    """What a part says about itself in its footer.

    Attributes:
        rows: Number of records.
        max_lateness_ns: Largest `receipt_time - event_time`.
        digest: BLAKE2b of the records' little-endian bytes, column after column.
        first: (`event_time`, `sequence`) of the first record.
        last: (`event_time`, `sequence`) of the last record.
        groups: For each row group: first and last `event_time`, largest `receipt_time`.
        pieces: First `event_time`, last `receipt_time` and digest of each part that this one was
            compacted from; of itself where it was not.
    """

    rows: int
    max_lateness_ns: int
    digest: str
    first: tuple[int, int]
    last: tuple[int, int]
    groups: tuple[tuple[int, int, int], ...]
    pieces: tuple[tuple[int, int, str], ...]

    @property
    def last_receipt(self) -> int:
        """The newest `receipt_time` of the part."""
        return max(receipt for _, _, receipt in self.groups)


@dataclass(frozen=True, slots=True)
class Part:
    """A Parquet file of a stream and its summary.

    Attributes:
        path: Where the file lies.
        summary: What it says about itself.
        home: Where it belongs. Elsewhere than `path` only when the process that committed it
            was killed before it could move it.
    """

    path: Path
    summary: Summary
    home: Path


def summarise(
    columns: Mapping[str, Array],
    kind: Kind,
    bounds: Sequence[int],
    pieces: Sequence[tuple[int, int, str]] = (),
) -> Summary:
    """Return the summary of records that lie in row groups ending at the given bounds."""
    event, receipt, sequence = (columns[c] for c in ("event_time", "receipt_time", "sequence"))
    digest = hashlib.blake2b(digest_size=32)
    for name in kind.all_columns:
        digest.update(name.encode())
        little = columns[name].dtype.newbyteorder("<")
        digest.update(np.ascontiguousarray(columns[name], little).data)
    groups, begin = [], 0
    for end in bounds:
        newest = int(receipt[begin:end].max())
        groups.append((int(event[begin]), int(event[end - 1]), newest))
        begin = end
    own = (int(event[0]), max(newest for _, _, newest in groups), digest.hexdigest())
    return Summary(
        rows=len(event),
        max_lateness_ns=int((receipt - event).max()),
        digest=digest.hexdigest(),
        first=(int(event[0]), int(sequence[0])),
        last=(int(event[-1]), int(sequence[-1])),
        groups=tuple(groups),
        pieces=tuple(pieces) or (own,),
    )


def write_part(
    path: Path,
    columns: Mapping[str, Array],
    kind: Kind,
    pieces: Sequence[tuple[int, int, str]] = (),
) -> Summary:
    """Write validated records as one part, to a path where nobody looks for it yet."""
    rows = len(columns["event_time"])
    bounds = [*range(ROW_GROUP, rows, ROW_GROUP), rows]
    summary = summarise(columns, kind, bounds, pieces)
    schema = arrow_schema(kind)
    arrays = [
        pa.array(columns[field.name]).cast(field.type, safe=False)
        if pa.types.is_timestamp(field.type)
        else pa.array(columns[field.name])
        for field in schema
    ]
    text = json.dumps({"format": _FORMAT, "kind": kind.name} | _as_json(summary))
    table = pa.Table.from_arrays(arrays, schema=schema.with_metadata({_META: text}))
    stamps = [field.name for field in schema if not pa.types.is_floating(field.type)]
    # measured on 2 M quotes: the smallest file of those that decode at full speed
    pq.write_table(
        table,
        path,
        row_group_size=ROW_GROUP,
        compression="lz4",
        use_dictionary=[field.name for field in schema if field.name not in stamps],
        column_encoding=dict.fromkeys(stamps, "DELTA_BINARY_PACKED"),
        store_schema=True,
    )
    return summary


def _as_json(summary: Summary) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in Summary.__dataclass_fields__}


def open_part(
    path: Path,
    kind: Kind,
    definitions: Sequence[Instrument],
    max_late: int,
    home: Path | None = None,
) -> Part:
    """Read the summary of a part.

    A part that something else wrote has none: its records are then held against every rule.

    Raises:
        CatalogError: If it is no Parquet file, or lacks a column.
        MarketDataError: If it is empty, or a foreign part breaks a rule.
    """
    home = home or path
    with _open(path) as file:
        _check_schema(file, path, kind)
        text = (file.schema_arrow.metadata or {}).get(_META)
        if text is not None:
            return Part(path, _summary(json.loads(text)), home)
        columns = columns_of_table(file.read(), kind, Origin(str(path)))
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
    check_records(columns, kind, definitions, Origin(str(path)), max_late)
    return Part(path, summarise(columns, kind, np.cumsum(sizes).tolist()), home)


def _summary(known: dict[str, Any]) -> Summary:
    groups = tuple(tuple(group) for group in known["groups"])
    receipt = max(newest for _, _, newest in groups)
    # parts from before compaction say nothing of pieces: they are their own
    pieces = known.get("pieces", [[known["first"][0], receipt, known["digest"]]])
    return Summary(
        rows=known["rows"],
        max_lateness_ns=known["max_lateness_ns"],
        digest=known["digest"],
        first=tuple(known["first"]),
        last=tuple(known["last"]),
        groups=groups,
        pieces=tuple(tuple(piece) for piece in pieces),
    )


def list_parts(
    files: Iterable[tuple[Path, Path]],
    kind: Kind,
    definitions: Sequence[Instrument],
    max_late: int,
) -> list[Part]:
    """Return the parts of a stream in order of time.

    Args:
        files: For each part where it belongs and where it lies; see `present_files`.
        kind: The stream's kind.
        definitions: The instrument's definitions.
        max_late: Longest lateness accepted of a foreign part.

    Raises:
        CatalogError: If a part cannot be read, or parts overlap.
        MarketDataError: If a part is empty, or a foreign one breaks a rule.
    """
    parts = [open_part(path, kind, definitions, max_late, home) for home, path in files]
    parts.sort(key=lambda part: part.summary.first)
    for earlier, later in pairwise(parts):
        if later.summary.first <= earlier.summary.last:
            raise CatalogError(
                f"{later.path}: parts of a stream must not overlap: got records from "
                f"{format_instant(later.summary.first[0])}, while {earlier.path} reaches "
                f"{format_instant(earlier.summary.last[0])}. Remove one of them."
            )
    return parts


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise CatalogError(
            f"{path}: the part must not be removed while the catalog is read. Open it again."
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise CatalogError(
            f"{path}: a part must be a Parquet file: got {str(error).splitlines()[0]}. "
            f"Write it again with `lightcone data ingest`."
        ) from None


def _check_schema(file: pq.ParquetFile, path: Path, kind: Kind) -> None:
    if file.metadata.num_rows == 0:
        raise MarketDataError(
            f"{path}: a part must hold records: got an empty Parquet file. Remove it, or write "
            f"it again with `lightcone data ingest`."
        )
    found = {field.name: field.type for field in file.schema_arrow}
    for field in arrow_schema(kind):
        if found.get(field.name) != field.type:
            raise MarketDataError(
                f"{path}: column `{field.name}` of {kind.name} must be {field.type}: got "
                f"{found.get(field.name, 'no such column')}. Correct the file."
            )


class PartReader:
    """A part that is open for reading, row group by row group.

    Raises:
        CatalogError: If the part is not the one that the catalog saw when it was opened.
    """

    def __init__(self, part: Part, names: Sequence[str]) -> None:
        self._file, self._names = _open(part.path), list(names)
        text = (self._file.schema_arrow.metadata or {}).get(_META)
        rows = self._file.metadata.num_rows
        changed = rows != part.summary.rows
        if text is not None:
            changed |= json.loads(text)["digest"] != part.summary.digest
        if changed:
            raise CatalogError(
                f"{part.path}: the part must not change while the catalog is read: got other "
                f"records than when it was opened. Open the catalog again."
            )

    def read(self, group: int) -> dict[str, Array]:
        """Return the columns of a row group, read-only. Each: shape (rows of the group,)."""
        # Arrow's threads would save nothing at this size, and make peak memory a matter of luck
        table = self._file.read_row_group(group, columns=self._names, use_threads=False)
        return {name: plain_values(table.column(name)) for name in self._names}

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        self._file.close()
