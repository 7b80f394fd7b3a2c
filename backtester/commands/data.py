"""`lightcone data`: bring market data into a catalog, make some, look at it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Bring market data into a catalog, make some, describe it.",
)

FORMATS = ("binance-capture",)


@app.command("ingest")
def ingest(
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="`binance-capture`.")],
    file: Annotated[Path, typer.Argument(help="The file to read.")],
    instrument: Annotated[str, typer.Option(help="Id, such as BINANCE.BTCUSDT-PERP.")],
    catalog: Annotated[Path, typer.Option(help="Folder of the catalog; made if there is none.")],
    clock_offset: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            help="`auto` fits the recording clock to the venue's; or a duration such as 1.27s "
            "that is added to every receipt."
        ),
    ] = None,
    min_feed_latency: Annotated[
        str, typer.Option(help="With `auto`: the feed latency of the fastest message.")
    ] = "1ms",
    max_lateness: Annotated[
        str, typer.Option(help="Refuse a record received later than this after its event.")
    ] = "60s",
    instruments: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="YAML with tick size, lot size and fees of instruments not built in."),
    ] = None,
    accept_gaps: Annotated[
        bool, typer.Option("--accept-gaps", help="Accept lost messages, and count them.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the days that the catalog already holds.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read a file of market data into a catalog. What breaks a rule is refused, not repaired."""
    import difflib

    from backtester.commands.console import print_json, print_table, progress
    from backtester.errors import ScenarioError
    from backtester.report.table import ingest_table

    if format_ not in FORMATS:
        close = difflib.get_close_matches(format_, FORMATS, n=1, cutoff=0.3)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ScenarioError(
            f"`FORMAT` must be one that there is an adapter for: got {format_!r}.{hint} "
            f"Known: {', '.join(FORMATS)}."
        )
    from featurizer.ingest.binance import ingest_binance_capture

    offset: Any = clock_offset
    if clock_offset not in (None, "auto"):
        text = str(clock_offset)
        size = _duration("--clock-offset", text.removeprefix("-"))
        offset = -size if text.startswith("-") else size
    least = _duration("--min-feed-latency", min_feed_latency)
    most = _duration("--max-lateness", max_lateness)
    with progress(f"reading {file.name}", quiet=json_) as report:
        done = ingest_binance_capture(
            file,
            instrument,
            catalog,
            clock_offset=offset,
            min_feed_latency_ns=least,
            max_lateness_ns=most,
            instruments_file=instruments,
            accept_gaps=accept_gaps,
            replace=replace,
            progress=report,
        )
    if json_:
        print_json(asdict(done))
        return
    print_table(ingest_table(done, catalog))


@app.command("describe")
def describe(
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog.")],
    json_: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what a catalog holds: rows, range, gaps and feed latency of every stream."""
    from backtester.commands.console import print_json, print_table
    from backtester.report.table import catalog_table
    from featurizer.catalog import Catalog

    streams = Catalog(catalog).describe()
    if json_:
        print_json([asdict(stream) for stream in streams])
        return
    print_table(catalog_table(streams, catalog))


@app.command("synth")
def synth(
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the market.")] = 1,
    duration: Annotated[str, typer.Option(help="Length, such as 30m.")] = "30m",
    start: Annotated[str, typer.Option(help="First instant.")] = "2024-01-01T00:00:00Z",
    instrument: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Id of an instrument; repeatable. By default SIM.ALPHA."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Write a seeded synthetic market: quotes, trades and depth that a model can learn from."""
    from backtester.commands.console import print_json, print_table, progress
    from backtester.loading import make_synthetic
    from backtester.report.table import catalog_table
    from backtester.scenario_faults import checked_model
    from featurizer.catalog import Catalog
    from featurizer.synthetic import SyntheticMarket

    settings: dict[str, Any] = {"seed": seed, "duration": duration, "start": start}
    if instrument:
        settings["instruments"] = instrument
    config = checked_model(SyntheticMarket, settings, "lightcone data synth")
    with progress("making a market", quiet=json_) as report:
        make_synthetic(config, catalog, report)
    streams = Catalog(catalog).describe()
    if json_:
        print_json([asdict(stream) for stream in streams])
        return
    print_table(catalog_table(streams, catalog))


def _duration(option: str, text: str) -> int:
    from backtester.errors import ScenarioError
    from clock.errors import UnitError
    from clock.units import parse_duration

    try:
        return parse_duration(text)
    except UnitError as error:
        raise ScenarioError(f"`{option}`: {error}") from error
