"""The chain behind one order: as plain values, and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from backtester.errors import ScenarioError
from backtester.lineage.frame import STAMPS
from backtester.orders import Side
from backtester.result import RunResult
from clock.units import format_duration, format_instant, parse_instant

__all__ = ["chain_of", "chain_table", "title_of"]

_SENT = ("sent_at", "arrived_at")


def chain_of(result: RunResult, order: int, folder: Path | str) -> dict[str, Any]:
    """Return an order, the links behind it and behind its changes, and what came of it.

    Args:
        result: The run.
        order: Number of the order.
        folder: Where the run is saved, for messages.

    Returns:
        `order`, `links`, `fills`, and `changes`, each with its own `links`. A link names the step
        that it is behind of (null: the decision). Instants are texts, and only those that are.

    Raises:
        ScenarioError: If the run has no lineage, or no such order.
    """
    if result.lineage is None:
        raise ScenarioError(
            f"`{folder}` must be a run with lineage: it has no lineage.parquet. Make one with "
            "`lightcone run SCENARIO --lineage`."
        )
    found = result.orders.filter(pl.col("order") == order)
    if not len(found):
        last = len(result.orders)
        known = (
            f"one of the {last} orders of the run, 1 to {last},"
            if last
            else "an order, of which there is none"
        )
        raise ScenarioError(f"`ORDER` must be {known} in {folder}: got {order}. Name another run.")
    lineage = result.lineage.filter(pl.col("order") == order)
    own = pl.col("order") == order
    # a change's number is its place among all of the run
    changes = result.order_changes.with_row_index("change", offset=1).filter(own)
    return {
        "order": _plain(found)[0],
        "links": _links(lineage, 0),
        "fills": _plain(result.fills.filter(own)),
        "changes": [
            {**change, "links": _links(lineage, change["change"])} for change in _plain(changes)
        ],
    }


def _links(lineage: pl.DataFrame, change: int) -> list[dict[str, Any]]:
    return _plain(lineage.filter(pl.col("change") == change).drop("order", "change"))


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows with instants as texts; what is null or NaN is left out."""
    instants = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    exact = frame.with_columns(pl.col(name).dt.epoch("ns") for name in instants)
    return [
        {
            name: format_instant(value) if name in instants else value
            for name, value in row.items()
            if value is not None and value == value
        }
        for row in exact.iter_rows(named=True)
    ]


def title_of(chain: dict[str, Any]) -> str:
    """Return what was ordered, in words."""
    order = chain["order"]
    side = Side(order["side"]).name.lower()
    price = order.get("limit_price")
    at = "" if price is None else f" at {price:g}"
    return (
        f"order {order['order']}: {side} {order['quantity']:g} {order['instrument']}, "
        f"{order['type']}{at}"
    )


def chain_table(chain: dict[str, Any]) -> Table:
    """Return every link with its stamps, and how long before the decision each was."""
    table = Table(title=title_of(chain), title_justify="left", box=None, header_style="dim")
    table.add_column("behind it", no_wrap=True)
    table.add_column("stamp", style="dim", no_wrap=True)
    table.add_column("instant", no_wrap=True)
    table.add_column("from the decision", justify="right", no_wrap=True)
    for row in _rows(chain["links"]):
        table.add_row(*row)
    for row in _outcome(chain):
        table.add_row(*row)
    for change in chain["changes"]:
        table.add_section()
        table.add_row(f"[bold]change {change['change']}: {change['kind']}[/bold]")
        for row in _rows(change["links"]):
            table.add_row(*row)
        decided = parse_instant(change["decided_at"])
        for row in _stamps(change, ("arrived_at",), decided):
            table.add_row("  the change", *row)
    return table


def _rows(links: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    decided = parse_instant(links[0]["decided_at"])
    depth: dict[int, int] = {}
    for link in links:
        deep = depth[link["behind"]] + 1 if "behind" in link else 0
        depth[link["step"]] = deep
        label = "  " * deep + name_of(link)
        for row in _stamps(link, STAMPS, decided) or [("", "", "")]:
            yield label, *row
            label = ""


def _outcome(chain: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    order = chain["order"]
    decided = parse_instant(order["decided_at"])
    label = f"order: {order['status']}" + (f", {order['reason']}" if order["reason"] else "")
    for row in _stamps(order, _SENT, decided):
        yield label, *row
        label = ""
    for fill in chain["fills"]:
        label = f"fill: {fill['quantity']:g} at {fill['price']:g}"
        for row in _stamps(fill, ("venue_time", "visible_at"), decided):
            yield label, *row
            label = ""


def _stamps(
    content: dict[str, Any], names: tuple[str, ...], decided: int
) -> list[tuple[str, str, str]]:
    """Return name, instant and distance from the decision of each stamp that there is."""
    found = []
    for name in names:
        if name in content:
            away = parse_instant(content[name]) - decided
            sign = "-" if away < 0 else "+"
            told = f"{sign}{format_duration(abs(away))}" if away else "0"
            found.append((name, content[name], told))
    return found


def name_of(link: dict[str, Any]) -> str:
    """Return what a link is, in words."""
    kind, name = link["link"], link.get("name", "")
    how = {"woke": ", woke it", "read": ", read in it", "cached": ", whose answer the cache kept"}
    told = how.get(link["how"], "")
    if kind == "decision":
        return f"decision in {name}, rank {link['rank']}"
    if kind == "prediction":
        return f"prediction {link['value']:.6g} of {name}{told}"
    if kind == "request":
        on = f", replica {link['replica']}" if link["replica"] >= 0 else ""
        again = f", attempt {link['attempt']}" if link["attempt"] > 1 else ""
        return f"request {link['number']}{on}{again}{told}"
    if kind == "row":
        return f"feature row {link['number']} of {link['instrument']}{told}"
    if kind == "record":
        return f"{name} of {link['instrument']}, sequence {link['number']}{told}"
    if kind == "report":
        return f"report {link['number']}: {name}{told}"
    return f"timer {name!r}{told}"
