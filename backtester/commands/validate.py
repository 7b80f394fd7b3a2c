"""`lightcone validate`: hold the simulated deployment against the real one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from backtester.commands.shared_options import (
    Address,
    Json,
    Loop,
    Overrides,
    RealOrLocal,
    ScenarioFile,
)

if TYPE_CHECKING:
    from backtester.measured.subject import Subject
    from backtester.scenario import Scenario

__all__ = ["validate"]

HEAVY_ROWS = 1536
SLEEP = "{kind: lognormal, median: 16ms, p99: 36ms}"


def validate(
    scenario: ScenarioFile,
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Folder of the validation; by default runs/NAME-validation."),
    ] = None,
    from_: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--from", help="Measure nothing: compute all again from this folder's logs."),
    ] = None,
    measure_only: Annotated[
        bool, typer.Option("--measure-only", help="Keep the logs; compute from them later.")
    ] = False,
    models: Annotated[
        str, typer.Option(help="`sleeping`, `heavy`, `scenario`: with a comma between.")
    ] = "sleeping,heavy,scenario",
    sleep: Annotated[
        str, typer.Option(help="How long the sleeping model takes, a latency in YAML.")
    ] = SLEEP,
    sleep_replicas: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Its replicas; by default the scenario's."),
    ] = None,
    heavy_rows: Annotated[
        int,
        typer.Option(min=1, help="Rows that the heavy model, 400 trees, is asked about at once."),
    ] = HEAVY_ROWS,
    backend: RealOrLocal = "ray_serve",
    pairs: Annotated[
        int, typer.Option(min=1, help="Traces of each load, each driven twice; 5 for a floor.")
    ] = 5,
    requests: Annotated[int, typer.Option(min=20, help="Requests of a trace.")] = 500,
    single: Annotated[
        int, typer.Option(min=20, help="Requests, one at a time, that the fit is made of.")
    ] = 1200,
    address: Address = None,
    loop: Loop = None,
    set_: Overrides = None,
    json_: Json = False,
) -> None:
    """Fit a simulation to a deployment, then hold it against the deployment on other loads.

    The fit sees one request at a time and a sweep of queries; the loads are Poisson, bursts and the
    scenario's own records. Exit code 1 if a cell fails, 3 if none does and some say nothing.
    """
    from backtester.commands.console import note, print_json, print_table
    from backtester.errors import ScenarioError
    from backtester.measured.judge import PICTURE, TRIALS, judge
    from backtester.measured.subject import one_loop
    from backtester.report.error_map import draw_error_map
    from backtester.report.measured_table import validation_table
    from backtester.scenario import load_scenario

    loaded = load_scenario(scenario, set_ or [])
    name, _ = one_loop(loaded, loop)
    if from_ is None:
        folder = Path("runs") / f"{loaded.name}-validation" if out is None else out
        asked = {
            "models": [part.strip() for part in models.split(",")],
            "sleep": (sleep, sleep_replicas),
            "heavy": heavy_rows,
            "amounts": (pairs, requests, single),
            "backend": (backend, address),
        }
        _measure(loaded, name, str(scenario), folder, asked, quiet=json_)
    else:
        folder = from_
        if not any((folder / trial / "trial.json").exists() for trial in TRIALS):
            raise ScenarioError(
                f"`--from` must be a folder that `lightcone validate` wrote: {folder} holds no "
                "trial. Name another one."
            )
    if measure_only:
        note(f"Saved to {folder}: logs of every request. Compute with --from {folder}.")
        return
    content = judge(folder, loaded, name, str(scenario))
    draw_error_map(content, folder / PICTURE)
    if json_:
        print_json(content)
    else:
        print_table(validation_table(content))
        note(f"Saved to {folder}: validation.json, {PICTURE}, logs of every request.")
    counts = content["counts"]
    if counts["fail"] or counts["inconclusive"]:
        raise typer.Exit(1 if counts["fail"] else 3)


def _measure(
    scenario: Scenario, loop: str, file: str, folder: Path, asked: dict[str, Any], *, quiet: bool
) -> None:
    from backtester.commands.console import progress
    from backtester.commands.options import one_of
    from backtester.measured.judge import FILES, TRIALS
    from backtester.measured.subject import BACKENDS, deployed, market_arrivals
    from backtester.output import check_own_folder, replacing
    from inference.measure.trial import DEFAULT_LOADS, Amounts, measure_trial

    for model in asked["models"]:
        one_of("--models", model, TRIALS)
    one_of("--backend", asked["backend"][0], BACKENDS)
    check_own_folder(folder, FILES)
    pairs, requests, single = asked["amounts"]
    amounts = Amounts(pairs=pairs, requests=requests, single=single)
    market = market_arrivals(scenario)
    loads = [load for load in DEFAULT_LOADS if load.kind != "market" or len(market)]
    with replacing(folder) as new:
        subjects = _subjects(scenario, loop, file, new, asked, amounts.pairs * amounts.requests)
        for model, subject in subjects.items():
            with (
                deployed(asked["backend"][0], [subject], asked["backend"][1]) as (running,),
                progress(f"driving {subject.name}", quiet=quiet) as report,
            ):
                measure_trial(
                    running,
                    subject.config,
                    subject.rows,
                    market,
                    new / model,
                    name=subject.name,
                    about=subject.about,
                    loads=loads,
                    amounts=amounts,
                    seed=scenario.seed,
                    progress=report,
                )


def _subjects(
    scenario: Scenario, loop: str, file: str, folder: Path, asked: dict[str, Any], rows: int
) -> dict[str, Subject]:
    from backtester.measured.heavy import heavy_subject
    from backtester.measured.subject import scenario_subject, sleeping_subject

    found = {}
    config = scenario.inference_config[loop]
    for model in asked["models"]:
        if model == "scenario":
            found[model] = scenario_subject(scenario, loop, file)
        elif model == "heavy":
            found[model] = heavy_subject(
                scenario, config, asked["heavy"], folder / model, asked["amounts"][1]
            )
        else:
            time, replicas = asked["sleep"]
            found[model] = sleeping_subject(config, time, replicas, folder / model, rows)
    return found
