"""`lightcone train`: fit the scenario's model and register it."""

from __future__ import annotations

from backtester.commands.shared_options import Json, Overrides, ScenarioFile

__all__ = ["train"]


def train(
    scenario: ScenarioFile,
    set_: Overrides = None,
    json_: Json = False,
) -> None:
    """Fit the model that a scenario's `training` describes, and register it with MLflow."""
    from backtester.commands.console import (
        print_json,
        print_table,
        progress,
        tell_if_compiling,
    )
    from backtester.report.table import training_json, training_table
    from backtester.scenario import load_scenario

    loaded = load_scenario(scenario, set_ or [])
    from backtester.train import train_scenario

    tell_if_compiling(quiet=json_)
    with progress(f"reading {loaded.name}", quiet=json_) as report:
        trained = train_scenario(loaded, report)
    if json_:
        print_json(training_json(trained))
        return
    print_table(training_table(trained))
