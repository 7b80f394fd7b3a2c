"""The HTTP service over replicas of Ray Serve."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
import xgboost

from inference.config import InferenceConfig
from inference.http.app import make_app
from inference.http.on_ray_serve import on_ray_serve
from inference.ray_serve import RayCluster
from tests.inference.http_cases import BATCH, ONE, using

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]


def test_the_service_over_replicas_answers_as_the_model_and_knows_when_they_are_gone(
    cluster: RayCluster, tmp_path: Path
) -> None:
    rows = np.random.default_rng(1).normal(size=(50, 2))
    data = xgboost.DMatrix(rows, rows.sum(axis=1), feature_names=["mid", "flow"])
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, data, 5)
    booster.save_model(tmp_path / "model.json")
    wanted = booster.inplace_predict(rows).tolist()
    config = InferenceConfig.model_validate({"model_uri": str(tmp_path / "model.json")})
    app = make_app(on_ray_serve(cluster, {"over-http": config}))

    async def work(client: httpx.AsyncClient) -> None:
        from ray import serve

        one = (await client.post(ONE, json={"features": rows[0].tolist()})).json()
        assert one["prediction"] == wanted[0]
        legs = one["latency"]
        assert 0 < legs["model_ms"] + legs["queue_ms"] < legs["total_ms"]
        batch = (await client.post(BATCH, json={"rows": rows.tolist()})).json()
        assert [part["prediction"] for part in batch["predictions"]] == wanted
        (told,) = (await client.get("/api/v1/deployments")).json()["deployments"]
        assert (told["backend"], told["ready"]) == ("ray_serve", True)
        serve.delete("over-http")
        health = await client.get("/health")
        assert health.status_code == 503
        assert "no such application" in health.json()["deployments"]["over-http"]["reason"]

    using(app, work)
