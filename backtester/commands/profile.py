"""`lightcone profile`: measure a scenario's predictor and its deployment."""

from __future__ import annotations

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
    from backtester.commands.options import one_of
    from backtester.measured.subject import BACKENDS, deployed, scenario_subject
    from backtester.output import check_file, check_own_folder, replacing, writing
    from backtester.scenario import load_scenario

    one_of("--backend", backend, BACKENDS)
    loaded = load_scenario(scenario, set_ or [])
    folder = Path("runs") / f"{loaded.name}-profile" if out is None else out
    from inference.measure.profile import FILES, measure_profile, scenario_block, write_profile

    check_own_folder(folder, FILES)
    if write_scenario is not None:
        check_file(write_scenario, "--write-scenario")
    subject = scenario_subject(loaded, loop, str(scenario))
    with (
        deployed(backend, [subject], address) as (running,),
        progress(f"measuring {subject.name}", quiet=json_) as report,
    ):
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
    if write_scenario is not None:
        with writing(write_scenario, "--write-scenario"):
            write_scenario.parent.mkdir(parents=True, exist_ok=True)
            write_scenario.write_text(scenario_block(found, folder))
    if json_:
        print_json(content)
        return
    from backtester.report.measured_table import profile_table

    print_table(profile_table(content))
    note(f"Rows: {subject.rows_are}. Saved to {folder}.")
    if write_scenario is not None:
        note(f"Written: {write_scenario}, an `inference_config` with what was measured.")
