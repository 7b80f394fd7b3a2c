"""Backtests whose rows are predicted, and whose service times are lived, by replicas of Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost

from backtester.run import run_scenario
from backtester.scenario import Scenario
from inference.errors import ModelFailedError
from inference.predictors.xgboost import XGBoostPredictor
from inference.ray_serve import RayCluster
from tests.backtester.worlds import ALPHA, MIDS, Quote, content, make_catalog

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]


class Exploding(XGBoostPredictor):
    """A model that fails on the rows of the run, and not on those it is warmed up with."""

    def predict(self, values: Any) -> Any:
        if np.all(np.abs(values[:, 0] - 100.0) < 12.0):
            raise RuntimeError("the weights are on fire")
        return super().predict(values)


@pytest.fixture
def scenario(tmp_path: Path) -> Any:
    moves = np.cumsum(np.random.default_rng(4).integers(-1, 2, 400))
    quotes = [
        Quote(1 + 2 * at, 99.0 + move / 2, 101.0 + move / 2, 10.0 + at % 5)
        for at, move in enumerate(moves.tolist())
    ]
    make_catalog(tmp_path / "catalog", {ALPHA: quotes})
    values = np.random.default_rng(1).normal(100, 3, size=(300, 2))
    names = ["mid", "imbalance"]
    data = xgboost.DMatrix(values, np.sin(values[:, 0]), feature_names=names)
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, data, 20)
    booster.save_model(tmp_path / "model.json")

    def made(**inference: Any) -> Scenario:
        given = {
            "model_uri": str(tmp_path / "model.json"),
            "polling": "on_feature",
            "num_replicas": 2,
            "service_time": {"kind": "lognormal", "median": "4ms", "p99": "20ms"},
        }
        return Scenario.model_validate(
            content(
                tmp_path / "catalog",
                [ALPHA],
                featurizer=MIDS,
                inference=given | inference,
                strategy={
                    "class": "backtester.strategies.MLStrategy",
                    "params": {"buy_delta": 0.01, "sell_delta": 0.01, "quantity": 1},
                },
            )
        )

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
