"""Latencies recorded in Parquet files, checked before anything is drawn from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clock.errors import LatencyError
from clock.latency import LONGEST_NS
from clock.units import format_instant

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def read_latencies(path: Path, column: str) -> NDArray[np.int64]:
    """Return a recorded column of latencies in nanoseconds, one element a row.

    Raises:
        LatencyError: If the file or column is missing, empty, of another type, or a row holds no
            latency or a negative one.
    """
    values = _column(path, column)
    latencies = _nanoseconds(values, path, column, "duration")
    wrong = np.flatnonzero((latencies < 0) | (latencies > LONGEST_NS))
    if len(wrong):
        row = int(wrong[0])
        raise LatencyError(
            f"{path} row {row}: `{column}` must be a latency from 0 to 73 years: "
            f"got {int(latencies[row])} ns."
        )
    return latencies


def read_recording(
    path: Path, instant_column: str, latency_column: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return recorded instants and the latencies at them, both in nanoseconds.

    Raises:
        LatencyError: If a column cannot be read, or the instants do not strictly increase.
    """
    latencies = read_latencies(path, latency_column)
    instants = _nanoseconds(_column(path, instant_column), path, instant_column, "timestamp")
    back = np.flatnonzero(instants[1:] <= instants[:-1])
    if len(back):
        row = int(back[0]) + 1
        raise LatencyError(
            f"{path} row {row}: `{instant_column}` must be later than in the row before: got "
            f"{format_instant(int(instants[row]))}, the row before has "
            f"{format_instant(int(instants[row - 1]))}. Sort the file and drop duplicates."
        )
    return instants, latencies


def read_profile(path: Path, size_column: str, latency_column: str) -> dict[int, NDArray[np.int64]]:
    """Return the latencies recorded for each batch size, sorted, by size.

    Raises:
        LatencyError: If a column cannot be read, or a size is not at least 1.
    """
    latencies = read_latencies(path, latency_column)
    sizes = _nanoseconds(_column(path, size_column), path, size_column, "size")
    wrong = np.flatnonzero(sizes < 1)
    if len(wrong):
        row = int(wrong[0])
        raise LatencyError(
            f"{path} row {row}: `{size_column}` must be a batch size of 1 or more: "
            f"got {int(sizes[row])}."
        )
    return {int(size): np.sort(latencies[sizes == size]) for size in np.unique(sizes)}


def _column(path: Path, column: str) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise LatencyError(f"{path}: a recorded latency must be a file: got none there.")
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                raise LatencyError(
                    f"{path}: `{column}` must be a column: got a file with {', '.join(names)}."
                )
            values = file.read(columns=[column]).column(column)
    except pa.ArrowInvalid as error:
        raise LatencyError(f"{path}: must be a Parquet file: {error}") from None
    if len(values) == 0:
        raise LatencyError(f"{path}: `{column}` must hold at least one row: got an empty file.")
    if values.null_count:
        row = values.is_null().to_pylist().index(True)
        raise LatencyError(f"{path} row {row}: `{column}` must hold a value: got null.")
    return values


def _nanoseconds(
    values: pa.ChunkedArray, path: Path, column: str, wanted: str
) -> NDArray[np.int64]:
    """Return durations, instants, or integers already in nanoseconds as int64."""
    import pyarrow as pa

    kind = values.type
    if wanted == "duration" and pa.types.is_duration(kind):
        values = values.cast(pa.duration("ns"))
    elif wanted == "timestamp" and pa.types.is_timestamp(kind) and kind.tz is not None:
        values = values.cast(pa.timestamp("ns", tz=kind.tz))
    elif not pa.types.is_integer(kind):
        zone = " with a zone" if wanted == "timestamp" else ""
        whole = "" if wanted == "size" else " or whole nanoseconds"
        raise LatencyError(f"{path}: `{column}` must be a {wanted}{zone}{whole}: got {kind}.")
    return np.ascontiguousarray(values.cast(pa.int64()).to_numpy())
