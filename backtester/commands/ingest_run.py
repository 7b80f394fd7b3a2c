"""What the formats of `lightcone data ingest` have in common: from options to a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from backtester.commands.options import duration, instant, one_of

if TYPE_CHECKING:
    from featurizer.ingest.convert import TimeFormat
    from featurizer.ingest.delimited import Layout
    from featurizer.ingest.pipeline import Target
    from featurizer.ingest.report import IngestReport

__all__ = ["latency_of", "layout", "run_ingest", "show"]


def run_ingest(
    ingest: Callable[[Target], IngestReport],
    files: list[Path],
    instrument_: str,
    catalog: Path,
    instruments: Path | None,
    max_lateness: str,
    start: str | None,
    until: str | None,
    replace: bool,
    quiet: bool,
    kinds: Path | None = None,
) -> None:
    """Ingest files into a catalog, with progress, and show the report."""
    from backtester.commands.console import progress
    from featurizer.catalog_kinds import read_kinds
    from featurizer.ingest.pipeline import Target

    with progress(f"reading {files[0].name}", quiet=quiet) as report:
        target = Target(
            instrument=instrument_,
            catalog=catalog,
            instruments_file=instruments,
            kinds=read_kinds(kinds) if kinds is not None else (),
            max_lateness_ns=duration("--max-lateness", max_lateness),
            start=instant("--start", start),
            until=instant("--until", until),
            replace=replace,
            progress=report,
        )
        done = ingest(target)
    show(done, catalog, quiet)


def layout(
    columns: str | None,
    unit: str | None,
    zone: str | None,
    feed_latency: str | None,
    delimiter: str = ",",
    no_header: str | None = None,
) -> Layout:
    """Return how the files are laid out, as the options say."""
    from featurizer.ingest.delimited import Layout
    from featurizer.ingest.mapping import parse_columns

    return Layout(
        columns=parse_columns(columns),
        time=_time_format(unit, zone),
        feed_latency_ns=latency_of(feed_latency),
        names=[name.strip() for name in no_header.split(",")] if no_header else None,
        delimiter=delimiter.replace("\\t", "\t"),
    )


def _time_format(unit: str | None, zone: str | None) -> TimeFormat:
    from featurizer.ingest.convert import TimeFormat

    if unit is not None:
        one_of("--time-unit", unit, ("s", "ms", "us", "ns"))
    return TimeFormat(unit, zone)  # type: ignore[arg-type]


def latency_of(text: str | None) -> int | None:
    """Return the declared feed latency in ns; None where none is declared."""
    return None if text is None else duration("--feed-latency", text)


def show(done: IngestReport, catalog: Path, json_: bool) -> None:
    """Print what an ingest wrote."""
    from backtester.commands.console import print_json, print_table
    from backtester.report.table import ingest_table

    if json_:
        print_json(asdict(done))
        return
    print_table(ingest_table(done, catalog))
