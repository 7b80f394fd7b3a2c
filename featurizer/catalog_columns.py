"""Tables of any make to plain columns: types checked, nothing missing, nothing unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clock.nearest import did_you_mean
from featurizer.errors import MarketDataError
from featurizer.ingest.refusal import Origin
from featurizer.market import Array, ColumnType, Kind

__all__ = ["arrow_schema", "columns_of_table", "plain_values", "to_columns"]

_ARROW: dict[ColumnType, pa.DataType] = {
    "instant": pa.timestamp("ns", "UTC"),
    "int64": pa.int64(),
    "float64": pa.float64(),
}


def arrow_schema(kind: Kind) -> pa.Schema:
    """Return the schema of a kind's Parquet files."""
    return pa.schema([(name, _ARROW[type_]) for name, type_ in kind.all_columns.items()])


def to_columns(data: Any, kind: Kind, origin: Origin) -> dict[str, Array]:
    """Return the columns of a table as arrays of `int64` and `float64`.

    Args:
        data: A mapping of arrays (instants as `int64` ns), a Polars frame or an Arrow table.
        kind: The kind of record that it holds.
        origin: Where it comes from, for messages.

    Raises:
        MarketDataError: If a column is missing, unknown, of another type, or has missing values.
    """
    if isinstance(data, Mapping):
        _check_names(data.keys(), kind, origin)
        return {n: _plain_array(n, data[n], t, origin) for n, t in kind.all_columns.items()}
    table = data.to_arrow() if hasattr(data, "to_arrow") else data
    return columns_of_table(table, kind, origin)


def columns_of_table(table: pa.Table, kind: Kind, origin: Origin) -> dict[str, Array]:
    """Return the columns of an Arrow table; see `to_columns`."""
    _check_names(table.column_names, kind, origin)
    return {
        name: _arrow_array(name, table.column(name), type_, origin)
        for name, type_ in kind.all_columns.items()
    }


def _check_names(found: Any, kind: Kind, origin: Origin) -> None:
    names = list(found)
    for name in kind.all_columns:
        if name not in names:
            raise MarketDataError(
                f"{origin.file}: {kind.name} must have a column `{name}`: got "
                f"{', '.join(names)}. Add it."
            )
    for name in names:
        if name not in kind.all_columns:
            hint = did_you_mean(name, kind.all_columns, "`")
            raise MarketDataError(
                f"{origin.file}: {kind.name} have no column `{name}`.{hint} Known columns: "
                f"{', '.join(kind.all_columns)}."
            )


def _plain_array(name: str, data: Any, type_: ColumnType, origin: Origin) -> Array:
    values = np.asarray(data)
    wanted = np.dtype(np.float64 if type_ == "float64" else np.int64)
    safe = values.dtype == wanted or (values.dtype.kind in "iu" and type_ == "float64")
    if not safe or values.ndim != 1:
        raise MarketDataError(
            f"{origin.file}: column `{name}` must be one-dimensional {wanted}: got "
            f"{values.dtype} of {values.ndim} dimensions. Convert it."
        )
    return np.ascontiguousarray(values, wanted)


def _arrow_array(name: str, column: pa.ChunkedArray, type_: ColumnType, origin: Origin) -> Array:
    wanted, found = _ARROW[type_], column.type
    exact = found == wanted or (pa.types.is_integer(found) and type_ != "instant")
    utc = pa.types.is_timestamp(found) and found.tz == "UTC" and type_ == "instant"
    if not (exact or utc):
        raise MarketDataError(
            f"{origin.file}: column `{name}` must be {wanted}: got {found}. Convert it."
        )
    if column.null_count:
        missing = column.is_null()
        first = pc.index(missing, True).as_py()
        raise MarketDataError(
            f"{origin.at(first)}: `{name}` must be present: got null. "
            f"{column.null_count} of {len(column)} {origin.word}s lack it. Give every value."
        )
    return plain_values(column.cast(wanted))


def plain_values(column: pa.ChunkedArray) -> Array:
    """Return a column without missing values as a read-only array, without a copy if it can be.

    Args:
        column: Instants in ns, `int64` or `double`.
    """
    chunk = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    dtype = np.dtype(np.float64 if pa.types.is_floating(chunk.type) else np.int64)
    if len(chunk) == 0:
        return np.empty(0, dtype)
    # not `to_numpy`: it imports pandas for instants, which takes half a second
    values = np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)
    values.flags.writeable = False
    return values
