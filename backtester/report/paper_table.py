"""What a person reads of a paper run beside its result: how late it was, how like its backtest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

__all__ = ["paper_table"]


def paper_table(summary: dict[str, Any]) -> Table:
    """Return the numbers that only a paper run has."""
    table = Table(title="in real time", title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for row in _rows(summary["paper"]):
        table.add_row(*row)
    if "paired" in summary:
        for row in _paired_rows(summary["paired"]):
            table.add_row(*row)
    return table


def _rows(paper: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    lag, speed = paper["lag"], paper["speed"]
    scaled = "" if speed == 1 else f"; real latencies are {speed:g} times longer in it"
    yield "answered by", paper.get("backend", ""), f"scenario time passes {speed:g} x{scaled}"
    told = f"ms p50, {lag['p99_ms']:.3g} p99, {lag['max_ms']:.3g} at most"
    yield "lag", f"{lag['p50_ms']:.3g}", told
    share = lag["late"] / lag["events"] if lag["events"] else 0.0
    told = f"of {lag['events']:,} events by more than {lag['late_after_ms']:g} ms"
    yield "late", f"{share:.2%}", told
    if lag["is_exceeded"]:
        told = f"the lag exceeded {lag['bound_ms']:g} ms: do not trust the latencies"
        yield "too late", "yes", told
    for name, errors in paper["errors"].items():
        if errors["count"]:
            yield f"errors of {name}", f"{errors['count']:,}", errors["newest"][-1][:100]
    if paper["stopped"]:
        told = paper.get("failure") or "the result holds what happened until then"
        yield "stopped", paper["stopped"], told[:100]


def _paired_rows(paired: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    orders, held, profit = paired["orders"], paired["held"], paired["profit"]
    share = "-" if orders["share"] is None else f"{orders['share']:.1%}"
    sent = f"{orders['paper']} here, {orders['backtest']} backtested"
    told = f"of the orders in either match ({sent})"
    yield "as backtested", share, told
    share = "-" if held["share"] is None else f"{held['share']:.1%}"
    yield "", share, f"of {held['rows']:,} rows found a prediction from the same row"
    yield "", f"{profit['difference']:,.2f}", "profit here less the backtest's"
    here, there = paired["latency_ms"]["paper"], paired["latency_ms"]["backtest"]
    if None not in (here["p50"], there["p50"]):
        backtested = f"{there['p50']:.3g} and {there['p99']:.3g} backtested"
        yield "latency", f"{here['p50']:.3g}", f"ms p50, {here['p99']:.3g} p99; {backtested}"
