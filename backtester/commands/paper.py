"""`lightcone paper`: a scenario against the wall clock, with real answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from backtester.commands.shared_options import Address, Json, NoReport, Overrides, ScenarioFile

if TYPE_CHECKING:
    from backtester.paper.pacer import Pacer
    from backtester.result import RunResult
    from backtester.scenario import Scenario

__all__ = ["INTERRUPTED", "paper"]

INTERRUPTED = 130
"""Exit code of a run that Ctrl-C ended: its result is saved, up to then."""


def paper(
    scenario: ScenarioFile,
    speed: Annotated[
        float,
        typer.Option(help="Scenario time for one of the host's; latencies grow with it."),
    ] = 1.0,
    backend: Annotated[
        str, typer.Option(help="Who answers: `local`, threads of this process, or `ray_serve`.")
    ] = "local",
    for_: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option("--for", help="Only so much scenario time from its start, as 5m."),
    ] = None,
    max_lag: Annotated[
        str, typer.Option(help="Say so where something happened later than this.")
    ] = "100ms",
    against: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Compare with a backtest: the folder of its result, or what `lightcone profile "
            "--write-scenario` wrote, which is then backtested."
        ),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of the result; by default runs/NAME-paper."),
    ] = None,
    set_: Overrides = None,
    address: Address = None,
    no_report: NoReport = False,
    json_: Json = False,
) -> None:
    """Replay a scenario in real time: real inference, the simulated venue, the same strategy.

    Ctrl-C ends it cleanly: what happened until then is saved, and marked as stopped. So it is where
    the strategy raises, which ends the command with code 1.
    """
    from backtester.commands.console import note, print_json, print_table
    from backtester.commands.options import one_of
    from backtester.errors import ScenarioError
    from backtester.output import check_folder
    from backtester.paper.errors import PaperFailedError
    from backtester.report.paper_table import paper_table
    from backtester.report.table import summary_table
    from backtester.scenario import load_scenario

    one_of("--backend", backend, ("local", "ray_serve"))
    if not 0 < speed <= 1000:
        raise ScenarioError(f"`--speed` must be above 0 and at most 1000: got {speed:g}.")
    if address is not None and backend != "ray_serve":
        raise ScenarioError(
            f"`--address` belongs to `--backend ray_serve`: got it with {backend}. Remove it."
        )
    settings = _settings(scenario, set_ or [], for_)
    loaded = load_scenario(scenario, settings)
    folder = Path("runs") / f"{loaded.name}-paper" if out is None else out
    check_folder(folder)
    backtest = None if against is None else _backtest(against, scenario, settings, folder, json_)
    options = {"speed": speed, "backend": backend, "max_lag": max_lag, "address": address}
    try:
        result = _run(loaded, str(scenario), options, quiet=json_)
    except PaperFailedError as error:
        error.result.save(folder, picture=not no_report)
        note(f"Saved to {folder}: what happened until {error.result.summary['until']}.")
        raise
    if backtest is not None and not result.summary["paper"]["stopped"]:
        from backtester.report.paired import paired

        result.summary["paired"] = {"against": str(against), **paired(result, backtest)}
    result.save(folder, picture=not no_report)
    if json_:
        print_json(result.summary)
    else:
        print_table(summary_table(result.summary))
        print_table(paper_table(result.summary))
        note(
            f"Saved to {folder}: summary.json, Parquet files{'' if no_report else ', report.png'}."
        )
    if result.summary["paper"]["stopped"]:
        note(f"Stopped at {result.summary['until']}: the result holds what happened until then.")
        raise typer.Exit(INTERRUPTED)


def _settings(path: Path, settings: list[str], length: str | None) -> list[str]:
    """Return the overrides, with the end that follows from the length asked for."""
    from backtester.commands.options import duration
    from backtester.errors import ScenarioError
    from backtester.scenario import load_scenario
    from clock.units import format_instant

    if length is None:
        return settings
    length_ns = duration("--for", length)
    if length_ns <= 0:
        raise ScenarioError(f"`--for` must be longer than 0: got {length}.")
    data = load_scenario(path, settings).data
    return [*settings, f"data.until={format_instant(min(data.until, data.start + length_ns))}"]


def _backtest(
    against: Path, scenario: Path, settings: list[str], folder: Path, quiet: bool
) -> RunResult:
    """Return the backtest to compare with; what cannot be compared is refused before the run."""
    from backtester.commands.console import note, progress, tell_if_compiling
    from backtester.output import check_folder
    from backtester.paper.against import measured_backtest, measured_scenario, saved_backtest
    from backtester.scenario import load_scenario

    if not against.is_file():
        return saved_backtest(against, load_scenario(scenario, settings))
    measured = measured_scenario(against, scenario, settings)
    beside = folder.with_name(f"{folder.name}-backtest")
    check_folder(beside)
    tell_if_compiling(quiet=quiet)
    with progress(f"backtest with {against.name}", quiet=quiet) as report:
        found = measured_backtest(measured, str(scenario), beside, report)
    if not quiet:
        note(f"Backtested with {against}; saved to {beside}.")
    return found


def _run(loaded: Scenario, file: str, options: dict[str, Any], *, quiet: bool) -> RunResult:
    import signal
    from contextlib import ExitStack

    from backtester.commands.console import note, progress, tell_if_compiling
    from backtester.commands.options import duration
    from backtester.paper.run import run_paper

    def begin(pacer: Pacer) -> None:
        """Let Ctrl-C end the run at its present instant; a second one ends the process."""

        def stop(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, before)
            pacer.stop()

        before = signal.signal(signal.SIGINT, stop)
        undo.callback(signal.signal, signal.SIGINT, before)

    max_lag_ns = duration("--max-lag", options["max_lag"])
    tell_if_compiling(quiet=quiet)
    if not quiet:
        whole = (loaded.data.until - loaded.data.start) / options["speed"] / 1e9
        note(f"Getting ready, then {whole:,.0f} s in real time; Ctrl-C ends it and saves.")
    with ExitStack() as undo:
        report = undo.enter_context(progress(f"paper run of {loaded.name}", quiet=quiet))
        cluster = None
        if options["address"] is not None:
            from inference.ray_serve import of_models, ray_cluster

            kept = of_models(loaded.inference_config.values())
            cluster = undo.enter_context(ray_cluster(options["address"], keep_off=kept))
        return run_paper(
            loaded,
            speed=options["speed"],
            backend=options["backend"],
            cluster=cluster,
            max_lag_ns=max_lag_ns,
            progress=report,
            scenario_file=file,
            on_begin=begin,
        )
