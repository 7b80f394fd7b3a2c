"""Backtests whose rows are predicted, and whose service times are lived, by replicas of Ray."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtester.run import run_scenario
from backtester.scenario import Scenario
from inference.errors import ModelFailedError, SilentReplicasError
from inference.predictors.xgboost import XGBoostPredictor
from inference.ray_serve import RayCluster
from tests.inference.real.market import write_market

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]


class Exploding(XGBoostPredictor):
    """A model that fails on the rows of the run, and not on those it is warmed up with."""

    def predict(self, values: Any) -> Any:
        if np.all(np.abs(values[:, 0] - 100.0) < 12.0):
            raise RuntimeError("the weights are on fire")
        return super().predict(values)


class Hanging(XGBoostPredictor):
    """A model that does not come back from the rows of the run."""

    def predict(self, values: Any) -> Any:
        if np.all(np.abs(values[:, 0] - 100.0) < 12.0):
            threading.Event().wait(60)
        return super().predict(values)


@pytest.fixture
def scenario(tmp_path: Path) -> Any:
    mapping = write_market(tmp_path)

    def made(**inference: Any) -> Scenario:
        loop = mapping["inference_config"] | inference
        return Scenario.model_validate(mapping | {"inference_config": loop})

    return made


def applications() -> set[str]:
    from ray import serve

    return set(serve.status().applications)


def test_real_replicas_give_the_result_of_this_process(cluster: RayCluster, scenario: Any) -> None:
    here = run_scenario(scenario())
    there = run_scenario(scenario(backend="ray_serve"), window_rows=90, cluster=cluster)
    assert there.trace_digest == here.trace_digest
    assert there.summary["digests"] == here.summary["digests"]
    assert there.summary["predicted_by"] == {"main": "2 replicas on Ray Serve"}
    assert here.summary["predictions"]["completed"] > 200
    assert here.summary["fills"] > 0
    assert not applications()


def test_a_run_with_hardware_in_the_loop_is_told_again(
    cluster: RayCluster, scenario: Any, tmp_path: Path
) -> None:
    lived = scenario(backend="ray_serve", service_time={"kind": "measured"})
    measured = run_scenario(lived, window_rows=90, cluster=cluster)
    times = measured.service_times
    assert times is not None
    assert len(times) == measured.summary["feature_rows"] == 400
    assert times["started_at"].null_count() == 0
    assert times["replica"].n_unique() == 2
    wait = times["started_at"] - times["sent_at"]
    assert (wait > pl.Series([0]).cast(pl.Duration("ns"))[0]).all()
    assert "read the host's time" in measured.summary["host_time"][0]
    measured.save(tmp_path / "result", picture=False)
    told = {"kind": "measured", "from": str(tmp_path / "result" / "service_times.parquet")}
    again = run_scenario(scenario(service_time=told))
    assert again.trace_digest == measured.trace_digest
    assert not applications()


def test_a_model_that_fails_on_its_replica_ends_the_run_and_leaves_nothing(
    cluster: RayCluster, scenario: Any
) -> None:
    failing = scenario(backend="ray_serve", predictor_class_name=f"{__name__}.Exploding")
    with pytest.raises(ModelFailedError, match="the weights are on fire"):
        run_scenario(failing, cluster=cluster)
    assert not applications()


def test_a_model_that_hangs_on_its_replica_ends_the_run_once_its_time_is_up(
    cluster: RayCluster, scenario: Any
) -> None:
    hanging = scenario(
        backend="ray_serve",
        num_replicas=1,
        predictor_class_name=f"{__name__}.Hanging",
        predict_timeout="300ms",
    )
    told = r"`predict_timeout` bounds .* got no answer for 300ms, while [\d,]+ rows were waited for"
    with pytest.raises(SilentReplicasError, match=told):
        run_scenario(hanging, cluster=cluster)
    assert not applications()
