"""Many latency models in one bank draw what each draws alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from clock.bank import draw_from_bank, make_bank
from clock.errors import LatencyError
from clock.latency import LatencyModel
from clock.recorded import read_profile
from clock.sampler import Sampler

PARSE = TypeAdapter[LatencyModel](LatencyModel).validate_python
MODELS = [
    "3ms",
    {"kind": "uniform", "low": "1ms", "high": "2ms"},
    {"kind": "lognormal", "median": "3ms", "p99": "15ms"},
    {"kind": "gamma", "mean": "4ms", "shape": 0.5},
    {"kind": "sum", "terms": ["1ms", {"kind": "gamma", "mean": "4ms", "shape": 2.0}]},
    {"kind": "empirical", "path": "recorded.parquet", "column": "latency"},
    {"kind": "interpolated", "path": "recorded.parquet"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    rows = {"instant": [10, 20, 40], "latency": [5, 900, 70], "batch_size": [4, 1, 4]}
    pl.DataFrame(rows).write_parquet(folder / "recorded.parquet")
    return folder


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_bank_draws_what_each_of_its_models_draws_alone(
    folder: Path, data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(MODELS), min_size=1, max_size=5))
    samplers = [
        Sampler(PARSE(model), 7, f"stream {place}", folder) for place, model in enumerate(chosen)
    ]
    bank = make_bank([sampler.spec for sampler in samplers])
    for place, sampler in enumerate(samplers):
        identity = data.draw(st.tuples(*[st.integers(0, 2**60)] * 4))
        instant = data.draw(st.integers(0, 60))
        assert draw_from_bank(bank, place, instant, *identity) == sampler.draw(instant, *identity)


def test_a_profile_holds_the_latencies_of_each_size_sorted(folder: Path) -> None:
    found = read_profile(folder / "recorded.parquet", "batch_size", "latency")
    assert {size: times.tolist() for size, times in found.items()} == {1: [900], 4: [5, 70]}


def test_a_profile_with_a_size_of_zero_is_refused(tmp_path: Path) -> None:
    rows = {"batch_size": [1, 0], "latency": [5, 6]}
    pl.DataFrame(rows).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(LatencyError, match=r"row 1: `batch_size` must be a batch size .* got 0"):
        read_profile(tmp_path / "p.parquet", "batch_size", "latency")


def test_the_arrays_of_a_bank_cannot_be_written(folder: Path) -> None:
    bank = make_bank([Sampler(PARSE("1ms"), 7, "x").spec])
    arrays: list[np.ndarray] = [*bank.spec, bank.starts]
    assert not any(array.flags.writeable for array in arrays)
