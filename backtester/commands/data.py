"""`lightcone data`: bring market data into a catalog, make some, look at it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from backtester.commands import ingest
from backtester.commands.shared_options import Json

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Bring market data into a catalog, make some, describe it.",
)

app.add_typer(ingest.app, name="ingest")


@app.command("describe")
def describe(
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog.")],
    json_: Json = False,
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
        Optional[list[str]],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Id of an instrument; repeatable. By default SIM.ALPHA."),
    ] = None,
    json_: Json = False,
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


@app.command("compact")
def compact(
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog.")],
    json_: Json = False,
) -> None:
    """Put the small parts of each day together. No record changes, and no digest of a run."""
    from backtester.commands.console import print_json, print_table
    from backtester.report.table import compaction_table
    from featurizer.catalog import Catalog

    done = Catalog(catalog).compact()
    if json_:
        print_json([asdict(stream) for stream in done])
        return
    print_table(compaction_table(done, catalog))


@app.command("download")
def download(
    symbol: Annotated[str, typer.Option(help="As the archive writes it, such as BTCUSDT.")],
    data: Annotated[
        str, typer.Option(help="`trades`, `aggTrades`, `bookTicker`, or a length of bars: `1m`.")
    ],
    start: Annotated[str, typer.Option(help="First day, such as 2024-08-08.")],
    out: Annotated[Path, typer.Option(help="Folder for the files; made if there is none.")],
    until: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="First day that is left out. By default one day is fetched."),
    ] = None,
    market: Annotated[
        str, typer.Option(help="`um` (USD-M futures), `cm` (COIN-M futures) or `spot`.")
    ] = "um",
    base_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Address of the archive, or of a copy. By default Binance's."),
    ] = None,
    json_: Json = False,
) -> None:
    """Fetch daily files of Binance's public archive, verified; a broken download goes on."""
    from backtester.commands.console import note, print_json, print_table, progress
    from backtester.commands.options import days_between, one_of
    from backtester.report.table import download_table
    from featurizer.ingest.archive import DEFAULT_ARCHIVE, archive_files
    from featurizer.ingest.archive import download as fetch

    one_of("--market", market, ("um", "cm", "spot"))
    days = days_between(start, until)
    files = archive_files(market, data, symbol, days, base_url or DEFAULT_ARCHIVE)  # type: ignore[arg-type]
    done = []
    for file in files:
        with progress(file.name, quiet=json_) as report:
            done.append(fetch(file, out, report))
    if json_:
        print_json([asdict(file) | {"path": str(file.path)} for file in done])
        return
    print_table(download_table(done, out))
    note(
        f"Next: lightcone data ingest binance-archive {out}/{symbol}-{data}-*.zip "
        f"--instrument BINANCE.{symbol}-PERP --catalog FOLDER --feed-latency 20ms"
    )
