"""`lightcone swarm`: random whole scenarios, with all laws asserted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from backtester.commands.shared_options import Jobs, Json

__all__ = ["swarm"]

_A_YEAR = 525_600


def swarm(
    minutes: Annotated[float, typer.Option(help="How long to go on.")] = 10.0,
    seed: Annotated[
        Optional[int],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(min=0, help="The first seed; by default the host's clock gives one."),
    ] = None,
    seeds: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Most seeds; by default as many as there is time for."),
    ] = None,
    jobs: Jobs = 2,
    again: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Try one seed, or one scenario that was kept, again."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the log, and of scenarios that broke a law.")
    ] = Path("runs/swarm"),
    json_: Json = False,
) -> None:
    """Draw whole scenarios of every kind, and assert all laws on each.

    Exit code 0: every law held. 1: one was broken; the seed, the scenario and the command that
    shows it again are printed.
    """
    from backtester.commands.console import print_json, print_table, progress, tell_if_compiling
    from backtester.commands.options import one_again
    from backtester.errors import ScenarioError
    from backtester.report.swarm_table import swarm_table
    from clock.wall import host_ns

    if not 0 < minutes <= _A_YEAR:
        raise ScenarioError(
            f"`--minutes` must be above zero and at most {_A_YEAR:,}: got {minutes:g}."
        )
    first = host_ns() // 1_000_000_000 % 1_000_000_000 if seed is None else seed
    budget_ns = round(minutes * 60_000_000_000)
    if again is not None:
        folder, first = one_again(again)
        seeds, jobs = 1, 1
    tell_if_compiling(quiet=json_)
    from backtester.causality.swarm import Totals, run_swarm
    from backtester.causality.swarm.trial import try_folder

    if again is not None and folder is not None:
        totals = Totals(-1, "")
        totals.add(try_folder(folder))
    else:
        with progress("swarm", quiet=json_) as report:
            totals = run_swarm(
                out, budget_ns=budget_ns, first_seed=first, jobs=jobs, seeds=seeds, progress=report
            )
    if json_:
        print_json(totals.to_dict())
    else:
        print_table(swarm_table(totals))
    raise typer.Exit(1 if totals.failures else 0)
