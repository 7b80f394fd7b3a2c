"""`lightcone serve deploy|status|scale|delete` as a person uses them, with a Ray that stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backtester.cli import main
from inference.ray_serve.guard import living
from inference.ray_serve.running import running
from tests.inference.real.conftest import family, wait_for
from tests.inference.real.market import write_market
from tests.inference.real.moody import write_model

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]

SCENARIO: dict[str, Any] = {
    "name": "served",
    "data": {
        "catalog": "nowhere",
        "instruments": ["ALPHA"],
        "start": "2024-01-01T00:00:00Z",
        "until": "2024-01-01T01:00:00Z",
    },
    "featurizer": {
        "feature_configs": [
            {"feature_definition": "price.MidPrice", "name": "mid"},
        ]
    },
    "strategy": {"class": "backtester.strategies.BuyAndHold"},
    "portfolio": {"quote": "USD", "balances": {"USD": 1000}},
}


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIGHTCONE_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "served.yaml"
    path.write_text(
        yaml.safe_dump(
            SCENARIO
            | {
                "inference_config": {
                    "deployment_name": "mood",
                    "model_uri": write_model(tmp_path / "model.json"),
                    "predictor_class_name": "tests.inference.real.moody.Moody",
                    "service_time": "5ms",
                }
            }
        )
    )
    return path


def lightcone(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as leave:
        main(["serve", *(str(one) for one in arguments)])
    out, err = capsys.readouterr()
    assert isinstance(leave.value.code, int)
    return leave.value.code, out, err


def status(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    code, out, err = lightcone(capsys, "status", "--json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)["deployments"]
    return found


def test_a_detached_deployment_lives_on_until_it_is_deleted(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = lightcone(capsys, "deploy", scenario, "--detach")
    assert (code, out) == (0, ""), err
    assert "Note: `service_time` belongs to the simulation" in err
    assert "mood" in err.splitlines()[-1]
    (head,) = running()
    all_of_them = family(head.pid)
    try:
        assert status(capsys) == [
            {"name": "mood", "status": "RUNNING", "replicas": {"RUNNING": 1}, "message": ""}
        ]
        assert lightcone(capsys, "scale", scenario, "--replicas", "2")[0] == 0
        assert status(capsys)[0]["replicas"] == {"RUNNING": 2}
        _backtest_at(head.address, scenario.parent, capsys)
        assert [one["name"] for one in status(capsys)] == ["mood"], "the run took its own away"
        code, _, err = lightcone(capsys, "delete", "moot")
        assert (code, err.count("\n")) == (2, 1)
        assert "got 'moot'. Deployed: mood." in err
        all_of_them |= family(head.pid)
        assert lightcone(capsys, "delete", scenario)[0] == 0
    finally:
        head.stop()
    wait_for(lambda: not living(all_of_them), "every process to end")
    assert running() == []


def _backtest_at(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a backtest whose rows replicas of a Ray predict that runs already."""
    mapping = write_market(folder, rows=60)
    mapping["inference_config"]["backend"] = "ray_serve"
    (folder / "run.yaml").write_text(yaml.safe_dump(mapping))
    options = ["--address", address, "--no-report", "--json", "--out", str(folder / "runs")]
    with pytest.raises(SystemExit) as leave:
        main(["run", str(folder / "run.yaml"), *options])
    out, err = capsys.readouterr()
    assert leave.value.code == 0, err
    assert json.loads(out)["predicted_by"] == {"main": "2 replicas on Ray Serve"}


def test_a_deployment_in_the_foreground_ends_with_ctrl_c(scenario: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from backtester.cli import main; main()"]
        + ["serve", "deploy", str(scenario)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = [process.stderr.readline()]
    while said[-1] and "Ctrl-C stops it" not in said[-1]:
        said.append(process.stderr.readline())
    assert said[-1].startswith("Serving mood at"), said
    all_of_them = family(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    wait_for(lambda: not living(all_of_them), "every process to end")


@pytest.mark.parametrize("command", ["status", "delete --all", "scale SCENARIO --replicas 2"])
def test_without_a_ray_a_command_says_how_to_get_one(
    scenario: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    code, out, err = lightcone(capsys, *command.replace("SCENARIO", str(scenario)).split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no Ray of ours runs on this machine" in err
    assert "lightcone serve deploy" in err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["delete"], "needs the name of a deployment, a scenario, or --all"),
        (["delete", "x", "--all"], "needs the name of a deployment, a scenario, or --all"),
        (["deploy", "SCENARIO", "--set", "inference_config={}"], "needs `inference_config`"),
        (
            ["scale", "SCENARIO", "--replicas", "2"]
            + ["--set", "inference_config.autoscaling_config={max_replicas: 3}"],
            "has an `autoscaling_config`",
        ),
        (
            ["deploy", "SCENARIO", "--set", "inference_config.ray_actor_options={num_gpus: 1.5}"],
            "`num_gpus` above 1 must be whole",
        ),
    ],
)
def test_bad_input_is_one_message_before_a_ray_is_started(
    scenario: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    code, out, err = lightcone(
        capsys, *(one.replace("SCENARIO", str(scenario)) for one in arguments)
    )
    assert (code, out) == (2, "")
    assert error in err
