"""Offline scoring: a Parquet file in, the same rows with predictions out, chunk by chunk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.errors import InputError
from clock.nearest import closest
from inference.errors import ModelFailedError

if TYPE_CHECKING:
    from inference.predictors.base import Predictor

__all__ = ["CHUNK_ROWS", "PREDICTION", "Scoring", "score_file"]

CHUNK_ROWS: Final = 65_536
PREDICTION: Final = "prediction"
"""Name of the column that is added."""

Progress = Callable[[int, int], None]


class Scoring(NamedTuple):
    """What became of the rows of a file."""

    rows: int
    predicted: int
    """Rows that the model was asked about."""
    missing: int
    """Rows with a missing feature that the model does not accept: their prediction is null."""
    not_a_number: int
    """Rows that the model answered with NaN."""


def score_file(
    predictor: Predictor,
    source: Path,
    target: Path,
    *,
    features: Sequence[str] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    model_uri: str = "",
    progress: Progress | None = None,
) -> Scoring:
    """Write a file's rows, in order, with a column `prediction` (double, nullable).

    Memory is bounded by the chunk and by the file's row groups. The file appears at *target* whole
    or not at all. Its metadata say which model predicted: `lightcone.model_uri`, `model_version`,
    `model_digest`, `chunk_rows`.

    Args:
        predictor: The model.
        source: The Parquet file to read.
        target: The Parquet file to write; may not be the source.
        features: Columns of the file that are the model's features, in its order; by default
            those of the model's own names.
        chunk_rows: Rows that are predicted at once. A model that is `batch_invariant` gives the
            same bits with any; one that is not is asked row by row.
        model_uri: What the model was loaded from, for the metadata.
        progress: Called with the rows done and in all.

    Raises:
        InputError: If the file cannot be read, or its columns are not what the model needs.
        ModelFailedError: If the model raises, or does not return one value a row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if chunk_rows < 1:
        raise InputError(f"`chunk_rows` must be at least 1: got {chunk_rows}.")
    names = _features(predictor, features)
    try:
        file = pq.ParquetFile(source)
    except FileNotFoundError:
        raise InputError(f"`{source}` must be a Parquet file: there is no such file.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"`{source}` must be a Parquet file: {_first_line(error)}.") from None
    with file:
        schema = file.schema_arrow
        _check(schema, names, source)
        metadata = {
            **(schema.metadata or {}),
            b"lightcone.model_uri": model_uri.encode(),
            b"lightcone.model_version": predictor.version.encode(),
            b"lightcone.model_digest": predictor.digest.encode(),
            b"lightcone.chunk_rows": str(chunk_rows).encode(),
        }
        wider = schema.append(pa.field(PREDICTION, pa.float64())).with_metadata(metadata)
        new = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            with pq.ParquetWriter(new, wider) as writer:
                found = _score(file, writer, predictor, names, chunk_rows, progress)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
    return found


def _score(
    file: Any,
    writer: Any,
    predictor: Predictor,
    names: Sequence[str],
    chunk_rows: int,
    progress: Progress | None,
) -> Scoring:
    import pyarrow as pa

    total = file.metadata.num_rows
    done = missing = not_a_number = 0
    for chunk in _chunks(file, chunk_rows):
        values = _as_array(chunk, names)
        askable: NDArray[np.bool_] = np.ones(len(values), np.bool_)
        if not predictor.accepts_nan:
            askable = np.logical_not(np.isnan(values).any(axis=1))
        answers = np.zeros(len(values))
        if askable.any():
            rows = values if askable.all() else values[askable]
            answers[askable] = _predict(predictor, rows, done)
        column = pa.array(answers, pa.float64(), mask=~askable)
        writer.write_batch(
            pa.record_batch([*chunk.columns, column], schema=writer.schema), chunk_rows
        )
        done += len(values)
        missing += int((~askable).sum())
        not_a_number += int(np.isnan(answers).sum())
        if progress is not None:
            progress(done, total)
    return Scoring(done, done - missing, missing, not_a_number)


def _chunks(file: Any, chunk_rows: int) -> Iterator[Any]:
    """Yield record batches of at most so many rows, reading row groups as they are needed."""
    groups: list[int] = []
    rows = 0
    for group in range(file.num_row_groups):  # a reader of all of them keeps what it has read
        groups.append(group)
        rows += file.metadata.row_group(group).num_rows
        if rows >= chunk_rows or group + 1 == file.num_row_groups:
            yield from file.iter_batches(batch_size=chunk_rows, row_groups=groups)
            groups, rows = [], 0


def _predict(predictor: Predictor, values: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    where = f"the model failed in the chunk from row {first}"
    try:
        if predictor.batch_invariant:
            found = np.asarray(predictor.predict(values), np.float64)
        else:
            alone = [np.asarray(predictor.predict(row[None]), np.float64) for row in values]
            found = np.concatenate(alone)
    except Exception as error:
        raise ModelFailedError(f"{where}: {type(error).__name__}: {error}") from error
    if found.shape != (len(values),):
        raise ModelFailedError(
            f"{where}: it must return one value a row, got shape {found.shape} for {len(values)}."
        )
    return found


def _as_array(chunk: Any, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the features of a chunk, shape (n, n_features); null becomes NaN."""
    import pyarrow as pa

    columns = [
        chunk.column(name).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        for name in names
    ]
    return np.ascontiguousarray(np.stack(columns, axis=1), np.float64)


def _features(predictor: Predictor, features: Sequence[str] | None) -> tuple[str, ...]:
    wanted = tuple(predictor.feature_names)
    if features is None:
        return wanted
    if len(features) != len(wanted):
        raise InputError(
            f"`--features` must name a column for each of the model's {len(wanted)} features, in "
            f"its order ({', '.join(wanted)}): got {len(features)}."
        )
    return tuple(features)


def _check(schema: Any, names: Sequence[str], source: Path) -> None:
    import pyarrow.types as kinds

    known = list(schema.names)
    missing = [name for name in names if name not in known]
    if missing:
        meant = [
            f"{name} (did you mean {near}?)" if (near := closest(name, known)) else name
            for name in missing
        ]
        raise InputError(
            f"{source} must hold the model's features: it lacks {', '.join(meant)}. Its columns: "
            f"{', '.join(known)}. Name others, in the model's order, with `--features`."
        )
    for name in names:
        if known.count(name) > 1:
            raise InputError(f"{source}: column `{name}` must be there once: got it twice.")
        kind = schema.field(name).type
        if not (kinds.is_floating(kind) or kinds.is_integer(kind) or kinds.is_decimal(kind)):
            raise InputError(
                f"{source}: column `{name}` must hold numbers: got {kind}. Convert it, or name "
                "another column with `--features`."
            )
    if PREDICTION in known:
        raise InputError(
            f"{source} must have no column `{PREDICTION}`: it holds one already. Rename it."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
