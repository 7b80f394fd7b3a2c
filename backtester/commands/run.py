"""`lightcone run`: one scenario, one answer."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from backtester.commands.shared_options import Address, Json, NoReport, Overrides, ScenarioFile

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.ray_serve.cluster import RayCluster

__all__ = ["run"]


def run(
    scenario: ScenarioFile,
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Folder of the result; by default runs/NAME."),
    ] = None,
    set_: Overrides = None,
    mode: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="`ahead` or `lockstep`; the result is the same, ahead is faster."),
    ] = None,
    window_rows: Annotated[
        int, typer.Option(min=1, help="Rows of the densest stream in a window.")
    ] = 32_768,
    trace: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write a Chrome trace as well: replicas as rows, requests with legs."),
    ] = None,
    lineage: Annotated[
        bool,
        typer.Option(
            "--lineage",
            help="Keep what is behind each order (`lightcone explain`); assert law 1 of each read.",
        ),
    ] = False,
    address: Address = None,
    no_report: NoReport = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only run it again in other ways, and compare.")
    ] = False,
    json_: Json = False,
) -> None:
    """Backtest a scenario; write its frames, `summary.json` and `report.png`."""
    from backtester.commands.console import (
        note,
        print_json,
        print_table,
        progress,
        tell_if_compiling,
    )
    from backtester.errors import ScenarioError
    from backtester.output import check_file, check_folder, writing
    from backtester.scenario import load_scenario

    loaded = load_scenario(scenario, set_ or [])
    if mode not in (None, "ahead", "lockstep"):
        raise ScenarioError(f"`--mode` must be ahead or lockstep: got {mode!r}.")
    if address is not None:
        _check_address(loaded, verify=verify)
    if verify:
        _verify(loaded, str(scenario), json_=json_)
        return
    folder = Path("runs") / loaded.name if out is None else out
    check_folder(folder)
    if trace is not None:
        check_file(trace, "--trace")
    from backtester.run import run_scenario

    tell_if_compiling(quiet=json_)
    with (
        _cluster(address, loaded) as cluster,
        progress(f"running {loaded.name}", quiet=json_) as report,
    ):
        result = run_scenario(
            loaded,
            mode=mode,  # type: ignore[arg-type]  # checked above
            window_rows=window_rows,
            lineage=lineage,
            progress=report,
            scenario_file=str(scenario),
            cluster=cluster,
        )
    result.save(folder, picture=not no_report)
    if trace is not None:
        from backtester.report.chrome_trace import write_chrome_trace

        with writing(trace, "--trace"):
            trace.parent.mkdir(parents=True, exist_ok=True)
            write_chrome_trace(result, trace)
    if json_:
        print_json(result.summary)
        return
    from backtester.report.table import summary_table

    print_table(summary_table(result.summary))
    for remark in result.summary["host_time"]:
        note(f"Note: {remark}")
    note(f"Saved to {folder}: summary.json, Parquet files{'' if no_report else ', report.png'}.")
    if trace is not None:
        note(f"Trace: {trace}. Open it with ui.perfetto.dev or chrome://tracing.")


def _check_address(scenario: Scenario, *, verify: bool) -> None:
    """Refuse an address that nothing would be deployed at."""
    from backtester.errors import ScenarioError

    if verify:
        raise ScenarioError("`--address` must be left out with `--verify`, which predicts here.")
    if all(loop.backend != "ray_serve" for loop in scenario.inference_config.values()):
        raise ScenarioError(
            "`--address` belongs to loops with `backend: ray_serve`: the scenario has none. Add "
            "--set inference_config.backend=ray_serve, or remove it."
        )


def _cluster(address: str | None, scenario: Scenario) -> AbstractContextManager[RayCluster | None]:
    """Return the Ray at an address, for a block; without one None: a run starts its own."""
    if address is None:
        return nullcontext()
    from inference.ray_serve import of_models, ray_cluster

    return ray_cluster(address, keep_off=of_models(scenario.inference_config.values()))


def _verify(scenario: Scenario, file: str, *, json_: bool) -> None:
    """Tell whether the run repeats itself, and where it first does not."""
    from backtester.causality.probe import Subject
    from backtester.causality.tell import in_words
    from backtester.causality.verify import verify
    from backtester.commands.console import print_json, print_table, progress, tell_if_compiling
    from backtester.report.verdict import reruns_table

    tell_if_compiling(quiet=json_)
    with progress(f"verifying {scenario.name}", quiet=json_) as report:
        reruns = verify(Subject(scenario, file, Path.cwd()), report)
    told = [
        (rerun.way.name, "" if rerun.difference is None else in_words(rerun.difference, scenario))
        for rerun in reruns
    ]
    if json_:
        print_json([{"way": way, "difference": what or None} for way, what in told])
    else:
        print_table(reruns_table(told, scenario.name))
    if any(what for _, what in told):
        raise typer.Exit(1)
