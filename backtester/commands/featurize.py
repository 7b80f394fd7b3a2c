"""`lightcone featurize`: a scenario's features and labels, as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from backtester.commands.shared_options import Json, Overrides, ScenarioFile

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from featurizer.catalog import Catalog
    from featurizer.dataset_store import Stored
    from featurizer.leaks import Leak

__all__ = ["featurize"]

_SHOWN_ROWS = 1_000_000


def featurize(
    scenario: ScenarioFile,
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            help="Folder to write to, a file for each day, or one .parquet file; by default "
            "runs/<name>-features."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that work out days side by side.")
    ] = 1,
    graph: Annotated[
        bool, typer.Option("--graph", help="Draw the features and what they read; write nothing.")
    ] = False,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="The same drawing, as a Mermaid flowchart.")
    ] = False,
    leaks: Annotated[
        bool, typer.Option("--leaks", help="Look for signs of a leak in what was written.")
    ] = False,
    set_: Overrides = None,
    json_: Json = False,
) -> None:
    """Work out the rows of the scenario's range, with labels, and write them to Parquet by day.

    A row is visible at `visible_at`, its label at `label_visible_at`: join on those, never on
    `emitted_at`. Memory does not grow with the range.
    """
    from backtester.errors import ScenarioError
    from backtester.loading import open_catalog
    from backtester.scenario import load_scenario

    loaded = load_scenario(scenario, set_ or [])
    if loaded.featurizer is None:
        raise ScenarioError(f"{scenario}: `featurizer` must be given to make features. Add it.")
    if graph or mermaid:
        _draw(loaded, mermaid)
        return
    path = Path("runs") / f"{loaded.name}-features" if out is None else out
    _check(path)
    catalog = open_catalog(loaded)
    stored = _write(loaded, catalog, path, workers, quiet=json_)
    found = _leaks(path) if leaks else []
    _tell(loaded.name, path, stored, found, as_json=json_, asked=leaks)
    if found:
        raise typer.Exit(1)


def _draw(loaded: Scenario, mermaid: bool) -> None:
    from backtester.loading import open_catalog
    from featurizer.drawing import draw_mermaid, draw_text
    from featurizer.graph import FeatureGraph

    assert loaded.featurizer is not None
    kinds = open_catalog(loaded).kinds
    made = FeatureGraph(loaded.featurizer, loaded.data.instruments, kinds=kinds)
    typer.echo(draw_mermaid(made) if mermaid else draw_text(made))


def _check(path: Path) -> None:
    """Refuse a place that holds something else than features."""
    from backtester.errors import ScenarioError
    from backtester.output import check_file

    if path.suffix == ".parquet":
        check_file(path)
        return
    if path.is_file():
        raise ScenarioError(
            f"`--out` must be a folder or a .parquet file: {path} is a file. Name another one."
        )
    others = sorted(
        entry.name
        for entry in (path.iterdir() if path.is_dir() else ())
        if entry.name[:5] != "date="
    )
    if others:
        raise ScenarioError(
            f"`--out` must be a new folder or one of features, whose days are replaced: {path} "
            f"holds other files ({', '.join(others[:3])}). Name another one."
        )


def _write(loaded: Scenario, catalog: Catalog, path: Path, workers: int, *, quiet: bool) -> Stored:
    from backtester.commands.console import progress
    from backtester.output import writing
    from featurizer.dataset_store import write_dataset

    config = loaded.featurizer
    assert config is not None
    start = loaded.data.start if config.start_date is None else config.start_date
    until = loaded.data.until if config.end_date is None else config.end_date
    with progress(f"featurizing {loaded.name}", quiet=quiet) as report, writing(path):
        tell = None if report is None else (lambda now: report(now - start, until - start))
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_dataset(
            catalog,
            config,
            loaded.data.instruments,
            start,
            until,
            path,
            workers=workers,
            progress=tell,
        )


def _leaks(path: Path) -> list[Leak]:
    from featurizer.dataset import FeatureLabelSet
    from featurizer.leaks import leak_report

    return leak_report(FeatureLabelSet.read(path))


def _tell(
    name: str, path: Path, stored: Stored, found: list[Leak], *, as_json: bool, asked: bool
) -> None:
    from backtester.commands.console import note, print_json, print_table
    from backtester.report.table import frame_table
    from featurizer.dataset_store import scan_dataset

    if as_json:
        told = {"path": str(path), "rows": stored.rows, "columns": list(stored.columns)}
        print_json(told | ({"leaks": [leak._asdict() for leak in found]} if asked else {}))
        return
    shown = scan_dataset(path).head(_SHOWN_ROWS).collect()
    first = "" if stored.rows <= _SHOWN_ROWS else f", of the first {_SHOWN_ROWS:,}"
    print_table(
        frame_table(shown, f"{name}: {stored.rows:,} rows, {stored.labelled:,} labelled{first}")
    )
    note(f"Saved to {path}, {len(stored.files)} file{'s' if len(stored.files) != 1 else ''}.")
    if asked:
        note("\n".join(leak.message for leak in found) or "No sign of a leak was found.")
