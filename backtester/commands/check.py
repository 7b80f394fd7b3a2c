"""`lightcone check`: whether anything in a scenario looks ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from backtester.commands.shared_options import Jobs, Json, Overrides, ScenarioFile

__all__ = ["check"]


def check(
    scenario: ScenarioFile,
    budget: Annotated[str, typer.Option(help="How long to look, such as 60s.")] = "60s",
    seed: Annotated[int, typer.Option(min=0, help="Of the cuts and the other futures.")] = 0,
    jobs: Jobs = 2,
    replay: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Run one future again, as a counterexample names it."),
    ] = None,
    set_: Overrides = None,
    json_: Json = False,
) -> None:
    """Change the future of a scenario again and again, and see whether its past stays the same.

    Exit code 0: nothing found. 1: a leak, named. 3: could not decide, with the reasons.
    """
    from backtester.commands.console import print_json, print_table, progress, tell_if_compiling
    from backtester.commands.options import duration
    from backtester.scenario import load_scenario

    loaded = load_scenario(scenario, set_ or [])
    budget_ns = duration("--budget", budget)
    from backtester.causality.check import check_scenario, replay_future
    from backtester.causality.probe import Subject
    from backtester.causality.tell import future_of

    subject = Subject(loaded, str(scenario), Path.cwd())
    tell_if_compiling(quiet=json_)
    if replay is not None:
        verdict = replay_future(subject, future_of(replay))
    else:
        with progress(f"checking {loaded.name}", quiet=json_) as report:
            verdict = check_scenario(
                subject, budget_ns=budget_ns, seed=seed, jobs=jobs, progress=report
            )
    if json_:
        print_json(verdict.to_dict())
    else:
        from backtester.report.verdict import verdict_table

        print_table(verdict_table(verdict, loaded.name))
    raise typer.Exit(verdict.exit_code)
