"""The first commands of a new user, from an empty folder to a result."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backtester.result import load_result

ROOT = Path(__file__).parents[1]
KEYS = {
    "trace_digest",
    "events",
    "feature_rows",
    "orders",
    "fills",
    "profit",
    "fees",
    "sharpe",
    "max_drawdown",
    "predictions",
    "latency_ms",
    "staleness_ms",
    "information_coefficient",
    "information_coefficient_ci",
}
OUTCOMES = {
    "submitted",
    "completed",
    "timed_out",
    "rejected",
    "failed",
    "replaced",
    "in_flight",
}

pytestmark = pytest.mark.slow


def lightcone(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    code = "import sys; from backtester.cli import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder in which the quickstart was trained and run, and what the run printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(ROOT / "scenarios", folder / "scenarios")
    for command in ("train", "run"):
        done = lightcone(folder, command, "scenarios/quickstart.yaml")
        assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def place(first: tuple[Path, Any]) -> Path:
    return first[0]


def summary(place: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((place / "runs/quickstart/summary.json").read_text())
    return content


def test_the_quickstart_leaves_a_summary_a_picture_and_frames(place: Path) -> None:
    folder = place / "runs" / "quickstart"
    assert summary(place).keys() >= KEYS
    assert summary(place)["predictions"].keys() == OUTCOMES
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    result = load_result(folder)
    assert len(result.orders) == result.summary["orders"] > 0
    assert len(result.predictions) == result.summary["predictions"]["submitted"] > 1000


def test_a_second_run_event_by_event_in_other_windows_has_the_same_digest(place: Path) -> None:
    done = lightcone(
        place,
        *("run", "scenarios/quickstart.yaml", "--json", "--no-report", "--out", "runs/again"),
        *("--mode", "lockstep", "--window-rows", "97"),
        PYTHONHASHSEED="3",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trace_digest"] == summary(place)["trace_digest"]


def test_training_again_registers_nothing_new(place: Path) -> None:
    done = lightcone(place, "train", "scenarios/quickstart.yaml", "--json")
    trained = json.loads(done.stdout)
    assert (trained["uri"], trained["reused"]) == ("models:/quickstart/1", True)


def test_a_slow_answer_turns_the_profit_into_a_loss(place: Path) -> None:
    setting = "inference_config.latency=500ms"
    command = ("run", "scenarios/quickstart.yaml", "--json", "--no-report", "--out", "runs/slow")
    done = lightcone(place, *command, "--set", setting)
    slow = json.loads(done.stdout)
    assert summary(place)["profit"] > 0 > slow["profit"]
    assert summary(place)["information_coefficient_ci"][0] > slow["information_coefficient"]


def test_the_table_is_on_standard_output_and_remarks_are_not(first: tuple[Path, Any]) -> None:
    _, done = first
    assert "profit" in done.stdout
    assert "Saved to" not in done.stdout
    assert "Saved to runs/quickstart" in done.stderr
