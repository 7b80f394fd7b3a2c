"""The HTTP service over replicas of Ray Serve: it is the proxy of this design, and may die too."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest
import xgboost
import yaml

from inference.config import InferenceConfig
from inference.http.app import make_app
from inference.http.on_ray_serve import on_ray_serve
from inference.http.settings import Settings
from inference.ray_serve import RayCluster, RayServeBackend
from tests.inference.http_cases import BATCH, ONE, using
from tests.inference.real.conftest import moody, wait_for
from tests.inference.real.conftest import row as asked
from tests.inference.real.moody import NAN, PID, RAISE, SHAPE, SLEEP, SUM, write_model
from tests.inference.real.test_serve_commands import SCENARIO

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


def test_a_model_that_misbehaves_on_its_replica_is_an_error_with_its_reason(
    cluster: RayCluster, tmp_path: Path
) -> None:
    config = moody(tmp_path / "model.json", max_ongoing_requests=4)
    app = make_app(on_ray_serve(cluster, {"moods": config}), Settings(timeout_ns=1_000_000_000))

    async def work(client: httpx.AsyncClient) -> None:
        async def ask(mood: int, argument: float = 0.0) -> tuple[int, str]:
            answer = await client.post(ONE, json={"features": [mood, argument]})
            told = answer.json()
            return answer.status_code, str(told.get("message", told.get("prediction")))

        assert await ask(SUM, 2.5) == (200, "2.5")
        for mood, reason in (
            (RAISE, "the model raised RuntimeError: not today"),
            (SHAPE, "must return one value a row: got shape (1, 2)"),
            (NAN, "NaN"),
        ):
            status, told = await ask(mood)
            assert (status, reason in told) == (502, True), told
        assert (await ask(SLEEP, 2.5))[0] == 504  # what hangs holds a place, and no client
        for _ in range(4):
            assert await ask(SUM, 3.5) == (200, "3.5")
        told = (await client.get("/api/v1/deployments/moods/metrics")).json()
        assert told["requests"] == 1 + 3 + 1 + 4
        assert sum(told["errors"].values()) == 3 + 1

    from ray import serve

    try:
        using(app, work)
    finally:
        serve.delete("moods")


class Client(threading.Thread):
    """Asks and asks until it is let go, and counts what it was told of each request."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.told: Counter[str] = Counter()
        self.asked = 0
        self.address, self.enough = address, threading.Event()

    def run(self) -> None:
        # one request a connection: none is resent by the client behind its back
        with httpx.Client(headers={"Connection": "close"}, timeout=30) as client:
            while not self.enough.is_set():
                self.asked += 1
                try:
                    answer = client.post(f"{self.address}{ONE}", json={"features": [SLEEP, 0.005]})
                    self.told["answered" if answer.status_code == 200 else answer.text] += 1
                except httpx.TransportError as error:
                    self.told[type(error).__name__] += 1
                    self.enough.wait(0.02)

    @property
    def answered(self) -> int:
        return self.told["answered"]


def test_a_killed_server_loses_no_request_silently_and_another_takes_over(
    cluster: RayCluster, tmp_path: Path
) -> None:
    loop = {
        "deployment_name": "behind",
        "model_uri": write_model(tmp_path / "model.json"),
        "predictor_class_name": "tests.inference.real.moody.Moody",
        "num_replicas": 2,
    }
    scenario = tmp_path / "served.yaml"
    scenario.write_text(yaml.safe_dump(SCENARIO | {"inference_config": loop}))

    def serving(port: str) -> tuple[subprocess.Popen[str], str]:
        program = [sys.executable, "-c", "from backtester.cli import main; main()"]
        options = ["--backend", "ray_serve", "--address", cluster.address, "--port", port]
        process = subprocess.Popen(
            [*program, "serve", "http", str(scenario), *options], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("Serving behind at http://"), said + process.stderr.read()
        return process, said.split(" at ")[1].split(". ")[0]

    first, address = serving("0")
    direct = RayServeBackend(cluster, "behind")

    def pids() -> set[float]:
        return {direct.submit(asked(PID)).result(30).value for _ in range(8)}

    before = pids()
    clients = [Client(address) for _ in range(4)]
    for client in clients:
        client.start()
    wait_for(lambda: all(one.answered > 5 for one in clients), "answers")
    first.kill()
    first.communicate()
    wait_for(lambda: all(len(one.told) > 1 for one in clients), "every client to be told")
    assert pids() == before, "the deployment goes on, whoever stood in front of it"

    second, _ = serving(address.rpartition(":")[2])
    seen = [one.answered for one in clients]
    wait_for(lambda: all(a.answered > b + 5 for a, b in zip(clients, seen, strict=True)), "answers")
    for client in clients:
        client.enough.set()
        client.join(60)
        assert sum(client.told.values()) == client.asked
        refused = set(client.told) - {"answered"}
        assert refused <= {"ConnectError", "ReadError", "RemoteProtocolError"}, client.told
    assert pids() == before, "who takes over finds the same replicas"
    second.terminate()
    assert second.wait(60) == 0
    second.communicate()
    direct.close()
    from ray import serve

    serve.delete("behind")
