"""Plain pages: what is written is what pyarrow and Polars read, missing values and names too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurizer.parquet_pages import Column, Missing, Names, PageWriter, Values

NONE = -(2**63)
COLUMNS = (
    Column("at", "instant", ascending=True),
    Column("known_at", "instant", optional=True),
    Column("who", "text"),
    Column("x", "float64"),
    Column("label", "float64", optional=True),
)


def cut(column: np.ndarray[Any, Any], size: int) -> list[np.ndarray[Any, Any]]:
    return [column[i : i + size] for i in range(0, len(column), size)]


def made(rows: int, names: int, holes: float, seed: int = 1) -> list[np.ndarray[Any, Any]]:
    draw = np.random.Generator(np.random.Philox(seed))
    at = 1_700_000_000_000_000_000 + np.cumsum(draw.integers(0, 10**9, rows))
    known_at = np.where(draw.random(rows) < holes, NONE, at + 5)
    x = draw.normal(size=rows)
    x[::7] = np.nan
    label = np.where(draw.random(rows) < holes, np.nan, x * 2.0)
    return [at, known_at, draw.integers(0, names, rows), x, label]


def values(columns: list[np.ndarray[Any, Any]], names: int, size: int) -> list[Values]:
    at, known_at, who, x, label = (cut(column, size) for column in columns)
    texts = [f"VENUE.Ü{n}" for n in range(names)]
    return [at, Missing(known_at, NONE), Names(who, texts), x, Missing(label, np.nan)]


def write(path: Path, rows: int, names: int, holes: float, size: int = 1000) -> pl.DataFrame:
    """Write two row groups; return what they hold."""
    writer = PageWriter(path, COLUMNS, {"a key": '["é"]'})
    frames = []
    for seed in (1, 2):
        columns = made(rows, names, holes, seed)
        writer.write_group(rows, values(columns, names, size))
        instant = pl.Datetime("ns", "UTC")
        frames.append(
            pl.DataFrame(
                {
                    "at": pl.Series(columns[0]).cast(instant),
                    "known_at": pl.Series(
                        [None if v == NONE else v for v in columns[1].tolist()], dtype=pl.Int64
                    ).cast(instant),
                    "who": [f"VENUE.Ü{n}" for n in columns[2].tolist()],
                    "x": columns[3],
                    "label": pl.Series(columns[4]).fill_nan(None),
                }
            )
        )
    writer.close()
    return pl.concat(frames)


@pytest.mark.parametrize("rows", [1, 8, 1003])
@pytest.mark.parametrize("names", [1, 2, 5, 300])
@pytest.mark.parametrize("holes", [0.0, 0.3, 1.0])
def test_other_readers_read_what_was_written(
    tmp_path: Path, rows: int, names: int, holes: float
) -> None:
    path = tmp_path / "set.parquet"
    wanted = write(path, rows, names, holes)
    assert pl.read_parquet(path).equals(wanted, null_equal=True)
    by_arrow = pl.from_arrow(pq.read_table(path))
    assert isinstance(by_arrow, pl.DataFrame)
    assert by_arrow.equals(wanted, null_equal=True)


def test_a_file_says_its_types_its_text_and_the_range_of_its_groups(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    wanted = write(path, 50, 2, 0.3)
    file = pq.ParquetFile(path)
    stamp = pa.timestamp("ns", "UTC")
    assert [(f.name, f.type, f.nullable) for f in file.schema_arrow] == [
        ("at", stamp, False),
        ("known_at", stamp, True),
        ("who", pa.string(), False),
        ("x", pa.float64(), False),
        ("label", pa.float64(), True),
    ]
    assert file.schema_arrow.metadata == {b"a key": '["é"]'.encode()}
    assert file.metadata.num_rows == 100
    for number in range(2):
        own = wanted["at"][number * 50 : (number + 1) * 50]
        group = file.metadata.row_group(number)
        told = group.column(0).statistics
        assert (told.min.value, told.max.value) == (own.to_physical()[0], own.to_physical()[-1])
        assert not group.column(3).is_stats_set
    late = pl.scan_parquet(path).filter(pl.col("at") >= wanted["at"].max()).collect()
    assert len(late) == 1


def test_the_bytes_do_not_depend_on_the_pieces_in_which_values_came(tmp_path: Path) -> None:
    for size in (1, 7, 1000):
        write(tmp_path / f"{size}.parquet", 100, 3, 0.3, size)
    whole = (tmp_path / "1000.parquet").read_bytes()
    assert all((tmp_path / f"{size}.parquet").read_bytes() == whole for size in (1, 7))


def test_a_file_without_rows_is_read_as_one(tmp_path: Path) -> None:
    writer = PageWriter(tmp_path / "none.parquet", COLUMNS, {})
    writer.close()
    assert pl.read_parquet(tmp_path / "none.parquet").shape == (0, 5)
    assert pq.read_table(tmp_path / "none.parquet").shape == (0, 5)


def test_buffers_that_the_system_takes_in_part_are_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    wanted = write(tmp_path / "whole.parquet", 100, 3, 0.3)
    whole = (tmp_path / "whole.parquet").read_bytes()
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda file, some: writev(file, [memoryview(some[0])[:5]]))
    assert write(tmp_path / "parts.parquet", 100, 3, 0.3).equals(wanted)
    assert (tmp_path / "parts.parquet").read_bytes() == whole
