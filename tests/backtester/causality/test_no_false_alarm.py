"""The check finds nothing on a shipped scenario whose market is synthetic."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backtester.causality.check import check_scenario
from backtester.causality.probe import Subject
from backtester.loading import open_catalog
from backtester.scenario import load_scenario
from backtester.train import train_scenario

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SECOND = 1_000_000_000
FEW = ["quickstart", "serving-breaker", "serving-variants"]
"""All take minutes: `LIGHTCONE_ALL_SCENARIOS=1` tries every one that makes its own market."""

SHIPPED = [
    path.stem
    for path in sorted((ROOT / "scenarios").glob("*.yaml"))
    if load_scenario(path).data.synthetic is not None
    and (path.stem in FEW or "LIGHTCONE_ALL_SCENARIOS" in os.environ)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shipped")


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_found_on_a_shipped_scenario(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    scenario = load_scenario(ROOT / "scenarios" / f"{name}.yaml")
    open_catalog(scenario)
    if scenario.training is not None:
        train_scenario(scenario)
    subject = Subject(scenario, f"scenarios/{name}.yaml", folder)
    verdict = check_scenario(subject, budget_ns=5 * SECOND, small=False)
    assert verdict.kind == "none found", verdict.sentences()
    assert verdict.coverage.cuts
    assert not verdict.coverage.failed
