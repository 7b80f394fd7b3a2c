"""A pytest plugin: `respects_time(scenario)`, with `--lightcone-budget` to look longer.

It is found by pytest wherever Lightcone is installed, and imports nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["pytest_addoption", "respects_time"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says how long each check looks."""
    group = parser.getgroup("lightcone")
    group.addoption(
        "--lightcone-budget",
        default="10s",
        help="How long `respects_time` looks for a leak in each scenario, such as 60s.",
    )


@pytest.fixture
def respects_time(request: pytest.FixtureRequest) -> Callable[[Path | str], Any]:
    """Return a check of a scenario that fails on a leak, and skips what cannot be decided.

    Example:
        def test_mine(respects_time):
            respects_time("scenarios/mine.yaml")
    """
    budget = request.config.getoption("--lightcone-budget")

    def check(scenario: Path | str) -> Any:
        from backtester.causality.check import check_scenario
        from backtester.causality.probe import Subject
        from backtester.commands.options import duration
        from backtester.scenario import load_scenario

        subject = Subject(load_scenario(scenario), str(scenario), Path.cwd())
        verdict = check_scenario(subject, budget_ns=duration("--lightcone-budget", budget))
        if verdict.kind == "leak":
            pytest.fail("\n".join(verdict.sentences()), pytrace=False)
        if verdict.kind == "unproven":
            pytest.skip("; ".join(verdict.doubts))
        return verdict

    return check
