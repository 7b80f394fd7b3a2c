"""`lightcone serve http` and `lightcone score`: real commands on a small model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
import xgboost
import yaml

from backtester.cli import main
from tests.backtester.worlds import ALPHA, MIDS, content

pytestmark = pytest.mark.slow

ROWS = np.random.default_rng(1).normal(size=(40, 2))


@pytest.fixture
def model(tmp_path: Path) -> xgboost.Booster:
    data = xgboost.DMatrix(ROWS, ROWS.sum(axis=1), feature_names=["mid", "imbalance"])
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, data, 5)
    booster.save_model(tmp_path / "model.json")
    return booster


@pytest.fixture
def scenario(tmp_path: Path, model: xgboost.Booster) -> Path:
    inference = {"model_uri": str(tmp_path / "model.json"), "deployment_name": "mid-model"}
    mapping = content("catalog", [ALPHA], featurizer=MIDS, inference=inference)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(mapping))
    return path


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    code: Any = ended.value.code
    return int(code)


@pytest.fixture
def served(scenario: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the address that it tells."""
    program = [sys.executable, "-c", "from backtester.cli import main; main()"]
    with subprocess.Popen(
        [*program, "serve", "http", str(scenario), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path.cwd(),
        env=os.environ | {"LIGHTCONE_HTTP_TOKEN": "t" * 20},
    ) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        assert told.startswith("Serving mid-model at http://127.0.0.1:"), told
        try:
            yield process, told.split(" at ")[1].split(". ")[0]
        finally:
            process.kill()


def test_a_scenario_is_served_until_it_is_interrupted(
    served: tuple[subprocess.Popen[str], str], model: xgboost.Booster
) -> None:
    process, address = served
    headers = {"Authorization": "Bearer " + "t" * 20}
    wanted = model.inplace_predict(ROWS).tolist()
    with httpx.Client(base_url=address, headers=headers, timeout=20) as client:
        answer = client.post("/api/v1/predictions/batch", json={"rows": ROWS.tolist()})
        assert [one["prediction"] for one in answer.json()["predictions"]] == wanted
        (told,) = client.get("/api/v1/deployments").json()["deployments"]
        assert (told["name"], told["features"]) == ("mid-model", ["mid", "imbalance"])
    assert httpx.get(f"{address}/metrics").status_code == 401
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "rayserve"], "Did you mean 'ray_serve'"),
        (["--host", "0.0.0.0"], "loopback address where there is no token"),
        (["--token-file", "no-such-file"], "`--token-file` must be a readable text file"),
        (["--timeout", "soon"], "`--timeout`"),
        (["--set", "inference_config.model_uri=nowhere", "--port", "0"], "there is nothing at"),
    ],
)
def test_what_cannot_be_served_is_one_message(
    scenario: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LIGHTCONE_HTTP_TOKEN", raising=False)
    assert command("serve", "http", str(scenario), *arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_file_is_scored_by_a_scenario_or_a_models_uri(
    scenario: Path, tmp_path: Path, model: xgboost.Booster, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame({"mid": ROWS[:, 0], "imbalance": [None, *ROWS[1:, 1].tolist()]})
    frame.write_parquet(tmp_path / "rows.parquet")
    options = ["--input", str(tmp_path / "rows.parquet"), "--chunk-rows", "7"]
    for place, subject in enumerate((scenario, tmp_path / "model.json")):
        out = tmp_path / f"scored-{place}.parquet"
        assert command("score", str(subject), *options, "--out", str(out)) == 0
        assert "1 rows lack a feature" in capsys.readouterr().err
        found = pl.read_parquet(out)["prediction"]
        assert found[0] is None
        assert found[1:].to_list() == model.inplace_predict(ROWS)[1:].tolist()
    out = str(tmp_path / "scored.parquet")
    assert command("score", str(scenario), *options, "--out", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["predicted"], told["missing"]) == (40, 39, 1)


def test_what_cannot_be_scored_is_one_message(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = str(tmp_path / "rows.parquet")
    pl.DataFrame({"midd": [1.0], "imbalance": [1.0]}).write_parquet(rows)
    out = str(tmp_path / "out.parquet")
    for arguments, message in (
        (["--input", rows, "--out", out], "lacks mid (did you mean midd?)"),
        (["--input", rows, "--out", rows], "must be another file"),
        (["--input", rows, "--out", str(tmp_path)], "is a folder"),
        (["--input", rows, "--out", out, "--loop", "mian"], "must name a loop"),
    ):
        assert command("score", str(scenario), *arguments) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1
    assert not Path(out).exists()
