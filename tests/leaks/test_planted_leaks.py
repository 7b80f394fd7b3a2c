"""Every planted leak changes what a strategy does and is found; without it, none is found.

Some mistakes are planted in the library itself, so every run is made in a process of its own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from backtester.causality.check import check_scenario
from backtester.causality.probe import Subject, trace_of
from backtester.causality.workers import Workers
from backtester.loading import open_catalog
from backtester.run import WINDOW_ROWS
from backtester.scenario import load_scenario
from backtester.trace import EntryKind
from backtester.train import train_scenario
from tests.leaks.make_data import main as make_data
from tests.leaks.truncation import finds_a_leak

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
LEAKS = sorted(path.stem for path in HERE.glob("*.yaml"))
SECOND = 1_000_000_000
ORDER = int(EntryKind.ORDER).to_bytes(8, "little")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leaks")
    make_data(folder / "data" / "leaks")
    return folder


def honest_settings(name: str) -> list[str]:
    """Return the settings that take the mistake out, as the scenario says them."""
    text = (HERE / f"{name}.yaml").read_text()
    told = re.findall(r"^# The same without the mistake: (.*)$", text, re.MULTILINE)
    return [setting for line in told for setting in re.findall(r"--set (\S+)", line)]


def subject(name: str, folder: Path, settings: list[str] | None = None) -> Subject:
    """Return a scenario, its market made and its model trained; to be called in the folder."""
    scenario = load_scenario(HERE / f"{name}.yaml", settings or [])
    open_catalog(scenario)  # a strategy that reads the catalog itself finds it there
    if scenario.training is not None:
        train_scenario(scenario)
    return Subject(scenario, f"tests/leaks/{name}.yaml", folder)


def apart(subject: Subject, scratch: Path, call: Any) -> Any:
    """Return what a call makes of a scenario in a fresh process."""
    with Workers(subject, scratch) as workers:
        return workers.result(workers.start(call, subject))


def orders(subject: Subject) -> list[bytes]:
    trace = trace_of(subject, open_catalog(subject.scenario), WINDOW_ROWS)
    return [entry for _, entry in trace if entry[16:24] == ORDER]


TWINS = [name for name in LEAKS if honest_settings(name)]
if "LIGHTCONE_ALL_SCENARIOS" not in os.environ:
    TWINS = TWINS[::4]  # each takes seconds to find nothing


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_changes_a_decision_and_is_found(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(HERE.parent.parent))
    settings = honest_settings(name)
    leaking = subject(name, folder)
    if settings:
        honest = subject(name, folder, settings)
        assert apart(leaking, tmp_path, orders) != apart(honest, tmp_path, orders)
    verdict = check_scenario(leaking, budget_ns=30 * SECOND, small=False)
    assert verdict.kind == "leak", verdict


def test_a_scaler_fitted_on_all_data_is_found_by_training_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    leaking = subject("scaled_training_rows", folder)
    verdict = check_scenario(leaking, budget_ns=30 * SECOND, small=False)
    assert [told for told in verdict.leaks if told.startswith("training: `scaled` of the row")]


@pytest.mark.parametrize("name", TWINS)
def test_without_its_mistake_no_leak_is_found(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    honest = subject(name, folder, honest_settings(name))
    verdict = check_scenario(honest, budget_ns=SECOND, small=False)
    assert verdict.kind != "leak", verdict


def test_the_usual_detector_misses_what_the_check_finds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(HERE.parent.parent))
    found = {name: apart(subject(name, folder), tmp_path, finds_a_leak) for name in LEAKS}
    text = (HERE.parent.parent / "docs" / "causality.md").read_text()
    table = re.findall(
        r"^\| \[`(\w+)`\]\(\S+\) \| .* \| (yes|no) \| (yes|no) \|$", text, re.MULTILINE
    )
    assert {name: truncation == "yes" for name, _, truncation in table} == found
    assert {check for _, check, _ in table} == {"yes"}
    assert sum(found.values()) < len(LEAKS) * 0.8
