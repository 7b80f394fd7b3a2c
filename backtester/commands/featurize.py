"""`lightcone featurize`: a scenario's features and labels, as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

__all__ = ["featurize"]


def featurize(
    scenario: Annotated[Path, typer.Argument(help="The scenario's YAML file.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Parquet file to write; by default runs/<name>-features.parquet."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="Override: dotted.key=value, the value in YAML. Repeatable."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON, and nothing else.")
    ] = False,
) -> None:
    """Work out the rows of the scenario's range, with labels, and write them to Parquet.

    A row is visible at `visible_at`, its label at `label_visible_at`: join on those, never on
    `emitted_at`.
    """
    import os

    from backtester.commands.console import note, print_json, print_table, progress
    from backtester.errors import ScenarioError
    from backtester.loading import open_catalog
    from backtester.output import check_file, writing
    from backtester.report.table import frame_table
    from backtester.scenario import load_scenario

    loaded = load_scenario(scenario, set_ or [])
    config = loaded.featurizer
    if config is None:
        raise ScenarioError(f"{scenario}: `featurizer` must be given to make features. Add it.")
    path = Path("runs") / f"{loaded.name}-features.parquet" if out is None else out
    check_file(path)
    from featurizer.dataset import FeatureLabelSet

    start = loaded.data.start if config.start_date is None else config.start_date
    until = loaded.data.until if config.end_date is None else config.end_date
    catalog = open_catalog(loaded)
    with progress(f"featurizing {loaded.name}", quiet=json_) as report:
        tell = None if report is None else (lambda now: report(now - start, until - start))
        rows = FeatureLabelSet.build(catalog, config, loaded.data.instruments, start, until, tell)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        rows.frame.write_parquet(temporary)
        os.replace(temporary, path)
    if json_:
        columns = list(rows.frame.columns)
        print_json({"path": str(path), "rows": len(rows.frame), "columns": columns})
        return
    print_table(frame_table(rows.frame, f"{loaded.name}: {len(rows.frame):,} rows"))
    note(f"Saved to {path}.")
