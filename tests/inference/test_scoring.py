from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clock.errors import InputError
from inference.errors import ModelFailedError
from inference.scoring import Scoring, score_file


class Weighted:
    """A model of two features that notes how many rows it is asked about at once."""

    feature_names = ("mid", "flow")
    digest, version, training = "d1", "3", None

    def __init__(self, *, accepts_nan: bool = False, batch_invariant: bool = True) -> None:
        self.accepts_nan, self.batch_invariant = accepts_nan, batch_invariant
        self.asked: list[int] = []

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        self.asked.append(len(values))
        return values[:, 0] * 3.0 - values[:, 1] * 0.1


def rows(count: int, holes: tuple[int, ...] = ()) -> pl.DataFrame:
    values = np.random.default_rng(3).normal(size=(count, 2))
    flow = [None if at in holes else value for at, value in enumerate(values[:, 1].tolist())]
    return pl.DataFrame(
        {"name": [f"r{at}" for at in range(count)], "flow": flow, "mid": values[:, 0]},
        schema={"name": pl.String, "flow": pl.Float64, "mid": pl.Float64},
    )


def score(frame: pl.DataFrame, folder: Path, model: Weighted, **given: Any) -> Scoring:
    frame.write_parquet(folder / "in.parquet")
    return score_file(model, folder / "in.parquet", folder / "out.parquet", **given)  # type: ignore[arg-type]


@pytest.mark.slow
@settings(max_examples=25)
@given(
    count=st.integers(0, 40), chunk=st.integers(1, 17), holes=st.sets(st.integers(0, 39)), nan=...
)
def test_scores_are_the_predictors_own_whatever_the_chunk(
    tmp_path_factory: pytest.TempPathFactory, count: int, chunk: int, holes: set[int], nan: bool
) -> None:
    folder = tmp_path_factory.mktemp("scores")
    frame = rows(count, tuple(holes))
    found = score(frame, folder, Weighted(accepts_nan=nan), chunk_rows=chunk)
    scored = pl.read_parquet(folder / "out.parquet")
    assert scored.drop("prediction").equals(frame)
    values = frame.select(pl.col("mid", "flow").fill_null(float("nan"))).to_numpy()
    wanted = Weighted().predict(values) if count else np.zeros(0)
    gaps = np.isnan(values).any(axis=1)
    if nan:
        assert scored["prediction"].to_numpy().tobytes() == wanted.tobytes()
        assert found == (count, count, 0, int(gaps.sum()))
    else:
        assert scored["prediction"].is_null().to_numpy().tolist() == gaps.tolist()
        kept = scored["prediction"].drop_nulls().to_numpy()
        assert kept.tobytes() == wanted[~gaps].tobytes()
        assert found == (count, count - int(gaps.sum()), int(gaps.sum()), 0)


def test_the_model_is_never_given_more_than_a_chunk(tmp_path: Path) -> None:
    model, seen = Weighted(), []
    score(rows(50), tmp_path, model, chunk_rows=20, progress=lambda *done: seen.append(done))
    assert model.asked == [20, 20, 10]
    assert seen == [(20, 50), (40, 50), (50, 50)]
    by_row = Weighted(batch_invariant=False)
    score(rows(5), tmp_path, by_row)
    assert by_row.asked == [1] * 5


def test_the_file_says_which_model_predicted(tmp_path: Path) -> None:
    table = rows(3).to_arrow().replace_schema_metadata({"source": "capture"})
    pq.write_table(table, tmp_path / "in.parquet")
    score_file(
        Weighted(),  # type: ignore[arg-type]
        tmp_path / "in.parquet",
        tmp_path / "out.parquet",
        model_uri="models:/mid/3",
    )
    told = pq.read_schema(tmp_path / "out.parquet").metadata
    assert told[b"source"] == b"capture"
    assert told[b"lightcone.model_uri"] == b"models:/mid/3"
    assert (told[b"lightcone.model_version"], told[b"lightcone.model_digest"]) == (b"3", b"d1")


def test_columns_of_other_names_are_given_in_the_models_order(tmp_path: Path) -> None:
    frame = rows(4).rename({"mid": "price", "flow": "volume"})
    frame = frame.with_columns(pl.col("volume").mul(100).cast(pl.Int32))
    score(frame, tmp_path, Weighted(), features=["price", "volume"])
    found = pl.read_parquet(tmp_path / "out.parquet")["prediction"].to_numpy()
    assert found.tolist() == Weighted().predict(frame["price", "volume"].to_numpy()).tolist()


@pytest.mark.parametrize(
    ("frame", "features", "message"),
    [
        (rows(2).rename({"mid": "midd"}), None, r"lacks mid \(did you mean midd\?\)"),
        (rows(2).with_columns(mid=pl.lit("x")), None, "`mid` must hold numbers: got .*string"),
        (rows(2).with_columns(mid=pl.lit(True)), None, "`mid` must hold numbers: got bool"),
        (rows(2), ["mid"], "each of the model's 2 features"),
        (rows(2).with_columns(prediction=0.0), None, "no column `prediction`"),
    ],
)
def test_columns_that_are_not_what_the_model_needs_are_refused(
    tmp_path: Path, frame: pl.DataFrame, features: list[str] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        score(frame, tmp_path, Weighted(), features=features)
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_text("mid,flow\n1,2\n")
    for name in ("in.parquet", "missing.parquet"):
        with pytest.raises(InputError, match=f"{name}` must be a Parquet file"):
            score_file(Weighted(), tmp_path / name, tmp_path / "out.parquet")  # type: ignore[arg-type]


def test_a_model_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    class Failing(Weighted):
        def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
            if len(self.asked) == 2:
                raise ValueError("no more")
            return super().predict(values)

    (tmp_path / "out.parquet").write_bytes(b"before")
    with pytest.raises(ModelFailedError, match="chunk from row 4: ValueError: no more"):
        score(rows(9), tmp_path, Failing(), chunk_rows=2)
    assert (tmp_path / "out.parquet").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (200_000, 2_000_000):
        table = pa.table({name: np.arange(float(count)) for name in ("mid", "flow")})
        pq.write_table(table, tmp_path / "in.parquet", row_group_size=50_000)
        del table
        pool = pa.default_memory_pool()
        before, most = pool.bytes_allocated(), [0]

        def watch(*_: int, pool: Any = pool, before: int = before, most: Any = most) -> None:
            most[0] = max(most[0], pool.bytes_allocated() - before)

        score_file(
            Weighted(),  # type: ignore[arg-type]
            tmp_path / "in.parquet",
            tmp_path / "out.parquet",
            chunk_rows=10_000,
            progress=watch,
        )
        peaks.append(most[0])
    assert peaks[1] < 1.5 * peaks[0]
