"""The options that formats share, each written once. typer reads them at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

__all__ = [
    "MINUTE",
    "AcceptGaps",
    "Catalog",
    "Columns",
    "Delimiter",
    "FeedLatency",
    "Files",
    "Instrument",
    "Instruments",
    "KindName",
    "Kinds",
    "MaxLateness",
    "Replace",
    "Start",
    "Symbol",
    "Unit",
    "Until",
    "Zone",
]

Files = Annotated[list[Path], typer.Argument(help="Files to read, in order of time.")]
Instrument = Annotated[str, typer.Option(help="Id, such as BINANCE.BTCUSDT-PERP.")]
Catalog = Annotated[Path, typer.Option(help="Folder of the catalog; made if there is none.")]
Instruments = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="YAML with tick size, lot size and fees of instruments not built in."),
]
MaxLateness = Annotated[
    str, typer.Option(help="Refuse a record received later than this after its event.")
]
Start = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Leave out what happened before this instant."),
]
Until = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Leave out what happened at this instant or after."),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace the days that the records touch.")
]
Columns = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Which column holds what: `time=ts,receipt_time=rx,price=px`."),
]
Unit = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--time-unit", help="Unit of instants that are numbers: s, ms, us or ns."),
]
Zone = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--time-zone", help="Zone of instants that do not say theirs, such as UTC."),
]
FeedLatency = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Declare when records reach us, where no column says it: `20ms`."),
]
KindName = Annotated[str, typer.Option("--kind", help="quotes, trades, depth, or a kind of yours.")]
Kinds = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--kinds", help="YAML that declares kinds of yours; see docs/data.md."),
]
AcceptGaps = Annotated[
    bool, typer.Option("--accept-gaps", help="Accept lost messages, and count them.")
]
Delimiter = Annotated[str, typer.Option(help="What separates the values of a line.")]
Symbol = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="The symbol to take, where `--instrument` does not name it."),
]
MINUTE = "60s"
"""Lateness accepted by default, as `DEFAULT_MAX_LATENESS_NS`."""
