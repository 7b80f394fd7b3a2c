"""`lightcone profile`: measure a scenario's predictor and its deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from backtester.commands.shared_options import (
    Address,
    Json,
    Loop,
    Overrides,
    RealOrLocal,
    ScenarioFile,
)

__all__ = ["profile"]


def profile(
    scenario: ScenarioFile,
    backend: RealOrLocal = "ray_serve",
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Folder of the profile; by default runs/NAME-profile."),
    ] = None,
    requests: Annotated[
        int, typer.Option(min=20, help="Of single-stream, server and offline each.")
    ] = 500,
    flow: Annotated[
        str,
        typer.Option(
            help="So much market before the scenario's start is played in real time, to measure "
            "how late a paper run asks; it is added to the way out. 0s: none."
        ),
    ] = "0s",
    write_scenario: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write an `inference_config` that behaves as what was measured."),
    ] = None,
    address: Address = None,
    loop: Loop = None,
    set_: Overrides = None,
    json_: Json = False,
) -> None:
    """Measure how long answers take: the model alone, then deployed, under LoadGen's four loads.

    Single-stream, queries of several at once, server (Poisson arrivals at half of what it can
    serve) and offline. `service_time: {kind: profile, path: FOLDER/service.parquet}` replays it.
    """
    from backtester.commands.console import note, print_json, print_table, progress
    from backtester.commands.options import duration, one_of
    from backtester.measured.subject import BACKENDS, deployed, one_loop, scenario_subject
    from backtester.output import check_file, check_own_folder, replacing, writing
    from backtester.scenario import load_scenario

    one_of("--backend", backend, BACKENDS)
    flow_ns = duration("--flow", flow)
    loaded = load_scenario(scenario, set_ or [])
    folder = Path("runs") / f"{loaded.name}-profile" if out is None else out
    from backtester.paper.rehearsal import FLOW_FILE, measure_flow, with_flow, write_flow
    from inference.measure.profile import FILES, measure_profile, scenario_block, write_profile

    check_own_folder(folder, (*FILES, FLOW_FILE))
    if write_scenario is not None:
        check_file(write_scenario, "--write-scenario")
    subject = scenario_subject(loaded, loop, str(scenario))
    with (
        deployed(backend, [subject], address) as (running,),
        progress(f"measuring {subject.name}", quiet=json_) as report,
    ):
        lags = None
        if flow_ns > 0:
            of_loop, _ = one_loop(loaded, loop)
            lags = measure_flow(loaded, of_loop, subject.predictor, running, flow_ns)
        found = measure_profile(
            running,
            subject.predictor,
            subject.config,
            subject.rows,
            name=subject.name,
            told=(backend, subject.rows_are),
            requests=requests,
            seed=loaded.seed,
            progress=report,
        )
    with replacing(folder) as new:
        content = write_profile(found, new)
        if lags is not None:
            content["flow"] = write_flow(lags, new)
            (new / "profile.json").write_text(json.dumps(content, indent=1) + "\n")
    if write_scenario is not None:
        with writing(write_scenario, "--write-scenario"):
            write_scenario.parent.mkdir(parents=True, exist_ok=True)
            block = scenario_block(found, folder)
            write_scenario.write_text(block if lags is None else with_flow(block, folder))
    if json_:
        print_json(content)
        return
    from backtester.report.measured_table import profile_table

    print_table(profile_table(content))
    if lags is not None:
        told = content["flow"]
        late = f"{told['p50']:.3g} ms p50, {told['p99']:.3g} p99, of {told['count']:,} requests"
        note(f"Flow of events, played for {flow} before the start: {late} asked so late.")
    note(f"Rows: {subject.rows_are}. Saved to {folder}.")
    if write_scenario is not None:
        note(f"Written: {write_scenario}, an `inference_config` with what was measured.")
