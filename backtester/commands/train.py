"""`lightcone train`: fit the scenario's model and register it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

__all__ = ["train"]


def train(
    scenario: Annotated[Path, typer.Argument(help="The scenario's YAML file.")],
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option("--set", help="Override: dotted.key=value, the value in YAML. Repeatable."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print what was trained as JSON, and nothing else.")
    ] = False,
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
