"""`lightcone data ingest FORMAT`: a command for each format, with the options that it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from backtester.commands.ingest_options import (
    MINUTE,
    AcceptGaps,
    Catalog,
    Columns,
    Delimiter,
    FeedLatency,
    Files,
    Instrument,
    Instruments,
    KindName,
    Kinds,
    MaxLateness,
    Replace,
    Start,
    Symbol,
    Unit,
    Until,
    Zone,
)
from backtester.commands.ingest_run import latency_of, layout, run_ingest, show
from backtester.commands.options import duration, one_of, signed_duration
from backtester.commands.shared_options import Json

__all__ = ["app"]


class _Formats(TyperGroup):
    """The formats; one that is not known is refused with the nearest one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        one_of("FORMAT", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


app = typer.Typer(
    no_args_is_help=True,
    cls=_Formats,
    help="Read files of market data into a catalog. What breaks a rule is refused, not repaired: "
    "the message names the file, the row, the rule, the value, and what would accept it.",
)


@app.command("binance-capture")
def binance_capture(
    file: Annotated[Path, typer.Argument(help="The file to read.")],
    instrument: Instrument,
    catalog: Catalog,
    clock_offset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="`auto` fits the recording clock to the venue's; or a duration such as 1.27s "
            "that is added to every receipt."
        ),
    ] = None,
    min_feed_latency: Annotated[
        str, typer.Option(help="With `auto`: the feed latency of the fastest message.")
    ] = "1ms",
    max_lateness: MaxLateness = MINUTE,
    instruments: Instruments = None,
    accept_gaps: AcceptGaps = False,
    replace: Replace = False,
    json_: Json = False,
) -> None:
    """A raw websocket capture of Binance USD-M futures: `<local ns> <json>` a line."""
    from backtester.commands.console import progress
    from featurizer.ingest.binance import ingest_binance_capture

    offset: Any = clock_offset
    if clock_offset not in (None, "auto"):
        offset = signed_duration("--clock-offset", str(clock_offset))
    least = duration("--min-feed-latency", min_feed_latency)
    most = duration("--max-lateness", max_lateness)
    with progress(f"reading {file.name}", quiet=json_) as report:
        done = ingest_binance_capture(
            file, instrument, catalog,
            clock_offset=offset, min_feed_latency_ns=least, max_lateness_ns=most,
            instruments_file=instruments, accept_gaps=accept_gaps, replace=replace,
            progress=report,
        )  # fmt: skip
    show(done, catalog, json_)


@app.command("binance-archive")
def binance_archive(
    files: Files,
    instrument: Instrument,
    catalog: Catalog,
    feed_latency: FeedLatency = None,
    max_lateness: MaxLateness = MINUTE,
    instruments: Instruments = None,
    accept_gaps: AcceptGaps = False,
    start: Start = None,
    until: Until = None,
    replace: Replace = False,
    json_: Json = False,
) -> None:
    """Files of Binance's public archive, as `lightcone data download` fetches them."""
    from featurizer.ingest.archive_files import ingest_archive

    latency = latency_of(feed_latency)
    run_ingest(
        lambda to: ingest_archive(files, latency, to, accept_gaps=accept_gaps),
        files, instrument, catalog, instruments, max_lateness, start, until, replace, json_,
    )  # fmt: skip


def _tardis(kind: str, what: str) -> Callable[..., None]:
    def command(
        files: Files,
        instrument: Instrument,
        catalog: Catalog,
        symbol: Symbol = None,
        max_lateness: MaxLateness = MINUTE,
        instruments: Instruments = None,
        start: Start = None,
        until: Until = None,
        replace: Replace = False,
        json_: Json = False,
    ) -> None:
        from featurizer.ingest.tardis import ingest_tardis

        run_ingest(
            lambda to: ingest_tardis(files, kind, to, symbol=symbol),  # type: ignore[arg-type]
            files, instrument, catalog, instruments, max_lateness, start, until, replace, json_,
        )  # fmt: skip

    command.__doc__ = f"{what} in a Tardis CSV file, plain or gzip."
    return command


app.command("tardis-trades")(_tardis("trades", "Trades"))
app.command("tardis-quotes")(_tardis("quotes", "Quotes"))
app.command("tardis-book")(_tardis("book", "`incremental_book_L2` or `book_snapshot_…`"))


@app.command("csv")
def csv(
    files: Files,
    instrument: Instrument,
    catalog: Catalog,
    kind: KindName,
    columns: Columns = None,
    time_unit: Unit = None,
    time_zone: Zone = None,
    feed_latency: FeedLatency = None,
    kinds: Kinds = None,
    delimiter: Delimiter = ",",
    no_header: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Names of the columns of files without a line of names: `ts,px,qty`."),
    ] = None,
    max_lateness: MaxLateness = MINUTE,
    instruments: Instruments = None,
    start: Start = None,
    until: Until = None,
    replace: Replace = False,
    json_: Json = False,
) -> None:
    """A CSV file, plain, gzip or zip, of any make: its columns are mapped."""
    from featurizer.ingest.delimited import ingest_delimited

    form = layout(columns, time_unit, time_zone, feed_latency, delimiter, no_header)
    run_ingest(
        lambda to: ingest_delimited(files, kind, form, to),
        files, instrument, catalog, instruments, max_lateness, start, until, replace, json_, kinds,
    )  # fmt: skip


@app.command("parquet")
def parquet(
    files: Files,
    instrument: Instrument,
    catalog: Catalog,
    kind: KindName,
    columns: Columns = None,
    time_unit: Unit = None,
    time_zone: Zone = None,
    feed_latency: FeedLatency = None,
    kinds: Kinds = None,
    max_lateness: MaxLateness = MINUTE,
    instruments: Instruments = None,
    start: Start = None,
    until: Until = None,
    replace: Replace = False,
    json_: Json = False,
) -> None:
    """A Parquet file of any make: its columns are mapped."""
    from featurizer.ingest.delimited import ingest_delimited

    form = layout(columns, time_unit, time_zone, feed_latency)
    run_ingest(
        lambda to: ingest_delimited(files, kind, form, to),
        files, instrument, catalog, instruments, max_lateness, start, until, replace, json_, kinds,
    )  # fmt: skip


@app.command("bars")
def bars(
    files: Files,
    instrument: Instrument,
    catalog: Catalog,
    stamp: Annotated[str, typer.Option(help="What bars are stamped with: `open` or `close`.")],
    interval: Annotated[str, typer.Option(help="Length of a bar.")] = "1m",
    columns: Columns = None,
    time_unit: Unit = None,
    time_zone: Zone = None,
    feed_latency: FeedLatency = None,
    accept_stamp: Annotated[
        bool, typer.Option("--accept-stamp", help="Accept a stamp that the data speak against.")
    ] = False,
    max_lateness: MaxLateness = MINUTE,
    instruments: Instruments = None,
    start: Start = None,
    until: Until = None,
    replace: Replace = False,
    json_: Json = False,
) -> None:
    """Bars in CSV or Parquet; `event_time` becomes the close, as no bar is known before it."""
    from featurizer.ingest.bars import ingest_bars

    one_of("--stamp", stamp, ("open", "close"))
    length = duration("--interval", interval)
    form = layout(columns, time_unit, time_zone, feed_latency)
    run_ingest(
        lambda to: ingest_bars(
            files, stamp, form, to, interval_ns=length, accept_stamp=accept_stamp  # type: ignore[arg-type]
        ),
        files, instrument, catalog, instruments, max_lateness, start, until, replace, json_,
    )  # fmt: skip
