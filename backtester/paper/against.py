"""The backtest that a paper run is held against: a saved one, or one of measured latencies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backtester.errors import ScenarioError
from backtester.report.paired import check_range
from backtester.result import load_result
from backtester.scenario import load_scenario
from clock.units import format_instant

if TYPE_CHECKING:
    from backtester.result import RunResult
    from backtester.run import Progress
    from backtester.scenario import Scenario

__all__ = ["measured_backtest", "measured_scenario", "saved_backtest"]


def saved_backtest(folder: Path, paper: Scenario) -> RunResult:
    """Return a saved result of the same range.

    Raises:
        ScenarioError: If there is none, or it cannot be compared.
    """
    backtest = load_result(folder)
    check_range(format_instant(paper.data.start), format_instant(paper.data.until), backtest)
    return backtest


def measured_scenario(measured: Path, scenario: Path, settings: Sequence[str]) -> Scenario:
    """Return the scenario of a paper run with measured latencies in place of its deployments.

    The backtest of it predicts in this process, whoever predicts on paper.

    Args:
        measured: A file with an `inference_config`, as `lightcone profile --write-scenario` writes.
        scenario: The scenario's file.
        settings: Its overrides.

    Raises:
        ScenarioError: If a file cannot be used, or they have other loops.
    """
    plain = load_scenario(scenario, settings)
    found = load_scenario(scenario, settings, measured=measured)
    wanted, got = set(plain.inference_config), set(found.inference_config)
    if wanted != got:
        raise ScenarioError(
            f"{measured}: `inference_config` must describe the scenario's loops "
            f"({', '.join(sorted(wanted))}): got {', '.join(sorted(got))}. Profile each with "
            "`--loop`, and put what is written for it under its name."
        )
    loops = {
        name: loop.model_copy(update={"backend": "local"})
        for name, loop in found.inference_config.items()
    }
    return found.model_copy(update={"inference_config": loops})


def measured_backtest(
    scenario: Scenario, file: str, folder: Path, progress: Progress | None
) -> RunResult:
    """Run the backtest, and save it beside the paper run."""
    from backtester.run import run_scenario

    result = run_scenario(scenario, scenario_file=file, progress=progress)
    result.save(folder, picture=False)
    return result
