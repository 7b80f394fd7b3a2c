"""The real capture: from the file to what latency costs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtester.metrics import paired_drop
from backtester.result import RunResult
from backtester.run import run_scenario
from backtester.scenario import load_scenario
from backtester.train import train_scenario
from clock.errors import InputError
from featurizer.ingest.binance import ingest_binance_capture
from tests.real_data import capture_path

ROOT = Path(__file__).parents[1]
SCENARIO = ROOT / "scenarios" / "btc-latency.yaml"
INSTRUMENT = "BINANCE.BTCUSDT-PERP"

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with the capture in its catalog and the model in its registry."""
    file = capture_path("binance-usdm-btcusdt-20240808.gz")
    folder = tmp_path_factory.mktemp("btc")
    ingest_binance_capture(file, INSTRUMENT, folder / "data" / "btc", clock_offset="auto")
    shutil.copy(SCENARIO, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with pytest.raises(InputError, match=r"lightcone train btc-latency\.yaml"):
            run_scenario(load_scenario("btc-latency.yaml"), scenario_file="btc-latency.yaml")
        train_scenario(load_scenario("btc-latency.yaml"))
        yield folder


def at_latency(latency: str) -> RunResult:
    settings = ["inference_config.service_time=0ms", f"inference_config.latency={latency}"]
    return run_scenario(load_scenario("btc-latency.yaml", settings))


def change(result: RunResult) -> pl.DataFrame:
    frame = result.predictions.filter(pl.col("outcome") == "completed")
    return frame.select(
        "emitted_at", "value", change=pl.col("label_after") - pl.col("label_before")
    )


def test_the_coefficient_is_positive_at_once_and_falls_within_a_second(here: Path) -> None:
    fast, slow = at_latency("0ms"), at_latency("1s")
    assert fast.summary["information_coefficient_ci"][0] > 0
    both = change(fast).join(change(slow), on="emitted_at", suffix="_slow").sort("emitted_at")
    # the same rows gave the same predictions: only the instant of the answer moved
    assert (both["value"] == both["value_slow"]).all()
    assert len(both) > 1200
    value, interval = paired_drop(
        both["value"].to_numpy(),
        both["change"].to_numpy(),
        both["change_slow"].to_numpy(),
        both["emitted_at"].to_physical().to_numpy(),
        1_000_000_000,
        seed=7,
    )
    assert value is not None
    assert interval is not None
    assert 0 < interval[0] < value < interval[1]


def test_every_answer_takes_the_latency_that_was_asked_for(here: Path) -> None:
    result = at_latency("20ms")
    done = result.predictions.filter(pl.col("outcome") == "completed")
    took = (done["visible_at"] - done["submitted_at"]).dt.total_nanoseconds()
    assert np.unique(took.to_numpy()).tolist() == [20_000_000]


def test_ahead_and_lockstep_agree_on_the_real_market(here: Path) -> None:
    settings = ["data.until=2024-08-08T23:58:05Z"]
    scenario = load_scenario("btc-latency.yaml", settings)
    ahead = run_scenario(scenario, mode="ahead", window_rows=1000)
    lockstep = run_scenario(scenario, mode="lockstep")
    assert ahead.trace_digest == lockstep.trace_digest
    assert ahead.summary["orders"] > 0
