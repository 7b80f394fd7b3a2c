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
ALL = "LIGHTCONE_ALL_SCENARIOS" in os.environ
"""All scenarios, each from start to end, take many minutes."""

SHORTER = {
    "quickstart": [
        "data.synthetic.duration=6m",
        "data.start=2024-01-01T00:04:00Z",
        "data.until=2024-01-01T00:05:00Z",
        "training.until=2024-01-01T00:03:55Z",
    ]
}
"""Of these a market, a training and a run that are a fifth and a tenth as long."""

BEGINNING = [
    "serving-autoscaler", "serving-breaker", "serving-cache", "serving-faults", "serving-triton",
    "serving-variants",
]  # fmt: skip
"""Of these the first seconds of the run."""

BEGINNING_NS = 15 * SECOND

SHIPPED = [
    path.stem
    for path in sorted((ROOT / "scenarios").glob("*.yaml"))
    if load_scenario(path).data.synthetic is not None
    and (ALL or path.stem in (*SHORTER, *BEGINNING))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shipped")


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_found_on_a_shipped_scenario(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    settings = [] if ALL else SHORTER.get(name, [])
    scenario = load_scenario(ROOT / "scenarios" / f"{name}.yaml", settings)
    open_catalog(scenario)
    if scenario.training is not None:
        train_scenario(scenario)
    if not ALL and name in BEGINNING:
        until = scenario.data.start + BEGINNING_NS
        data = scenario.data.model_copy(update={"until": until})
        # these share one training, which is looked at once
        training = scenario.training if name == BEGINNING[-1] else None
        scenario = scenario.model_copy(update={"data": data, "training": training})
    subject = Subject(scenario, f"scenarios/{name}.yaml", folder)
    budget_ns = 5 * SECOND if ALL else 0
    verdict = check_scenario(subject, budget_ns=budget_ns, small=False)
    assert verdict.kind == "none found", verdict.sentences()
    assert verdict.coverage.cuts
    assert not verdict.coverage.failed
