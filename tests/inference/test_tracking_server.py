"""A registry that is a tracking server on the loopback: train into it, resolve from it, load."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from inference import mlflow_client
from inference.config import InferenceConfig
from inference.errors import ModelNotFoundError
from inference.models import load_model, model_specs
from inference.registry import Registry
from tests.inference.test_registry_and_training import samples, train

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server, wait until it says that it runs, and end it with all its processes."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    server = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    told = []
    deadline = Timer(120, lambda: os.killpg(server.pid, signal.SIGKILL))
    deadline.start()
    try:
        for line in server.stdout:
            told.append(line)
            if "startup complete" in line:
                break
        else:
            pytest.fail("the server ended: " + "".join(told))
        deadline.cancel()
        drain = subprocess.Popen(["cat"], stdin=server.stdout, stdout=subprocess.DEVNULL)
        yield f"http://127.0.0.1:{port}"
    finally:
        deadline.cancel()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)
        server.stdout.close()
        drain.wait(30)


def test_a_model_trained_into_a_server_is_resolved_and_loaded_from_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    registry = Registry(tmp_path)
    assert registry.database is None
    made = train(registry)
    assert (made.model.uri, made.reused) == ("models:/btc-mid/1", False)
    assert train(registry).reused
    with mlflow_client.mlflow_client(address) as client:
        client.set_registered_model_alias("btc-mid", "champion", "1")
        run = client.get_model_version("btc-mid", "1").run_id
    uris = ("models:/btc-mid@champion", "models:/btc-mid/latest", f"runs:/{run}/model")
    for uri in uris:
        found = registry.resolve(uri)
        assert (found.digest, found.registered) == (made.model.digest, True)
    config = InferenceConfig.model_validate({"model_uri": uris[0]})
    predictor = load_model(model_specs(config, registry)[""])
    assert predictor.version == "1"
    values, labels = samples()
    assert np.corrcoef(predictor.predict(values), labels)[0, 1] > 0.8
    with pytest.raises(ModelNotFoundError, match=r"btc-mid/9.*says.*Train it"):
        registry.resolve("models:/btc-mid/9", "Train it.")
    assert not (tmp_path / "mlruns").exists()


def test_a_server_that_does_not_answer_is_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ModelNotFoundError, match=r"models:/a/1.*says"):
        Registry(tmp_path).resolve("models:/a/1")
