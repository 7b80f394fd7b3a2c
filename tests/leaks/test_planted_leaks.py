"""Every planted leak changes what a strategy does and is found; without it, none is found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from backtester.causality.check import check_scenario
from backtester.causality.probe import Subject
from backtester.loading import open_catalog
from backtester.run import run_scenario
from backtester.scenario import load_scenario
from backtester.trace import EntryKind
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


def honest_setting(name: str) -> list[str]:
    """Return the setting that takes the mistake out, as the scenario's second line says it."""
    text = (HERE / f"{name}.yaml").read_text()
    return re.findall(r"^# The same without the mistake: --set (\S+)$", text, re.MULTILINE)


def orders(scenario: Any) -> list[bytes]:
    trace = run_scenario(scenario, keep_trace=True).trace
    return [entry for _, entry in trace if entry[16:24] == ORDER]


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_changes_a_decision_and_is_found(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    settings = honest_setting(name)
    leaking = load_scenario(HERE / f"{name}.yaml")
    open_catalog(leaking)  # a strategy that reads the catalog itself finds it there
    if settings:
        assert orders(leaking) != orders(load_scenario(HERE / f"{name}.yaml", settings))
    subject = Subject(leaking, f"tests/leaks/{name}.yaml", folder)
    verdict = check_scenario(subject, budget_ns=30 * SECOND, small=False)
    assert verdict.kind == "leak", verdict


@pytest.mark.parametrize("name", [name for name in LEAKS if honest_setting(name)])
def test_without_its_mistake_no_leak_is_found(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    scenario = load_scenario(HERE / f"{name}.yaml", honest_setting(name))
    verdict = check_scenario(Subject(scenario, name, folder), budget_ns=4 * SECOND, small=False)
    assert verdict.kind != "leak", verdict


def test_the_usual_detector_misses_what_the_check_finds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(HERE.parent.parent))
    found = {}
    for name in LEAKS:
        scenario = load_scenario(HERE / f"{name}.yaml")
        open_catalog(scenario)
        found[name] = finds_a_leak(Subject(scenario, name, folder))
    text = (HERE.parent.parent / "docs" / "causality.md").read_text()
    table = re.findall(
        r"^\| \[`(\w+)`\]\(\S+\) \| .* \| (yes|no) \| (yes|no) \|$", text, re.MULTILINE
    )
    assert {name: truncation == "yes" for name, _, truncation in table} == found
    assert {check for _, check, _ in table} == {"yes"}
    assert sum(found.values()) < len(LEAKS) * 0.8
