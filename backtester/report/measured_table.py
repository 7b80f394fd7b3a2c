"""A profile, and a validation, as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table

__all__ = ["profile_table", "validation_table"]

_STYLE = {"pass": "green", "fail": "bold red", "inconclusive": "dim"}


def profile_table(content: dict[str, Any]) -> Group:
    """Return what a profile measured: the calls in this process, then each load."""
    alone = Table(
        title=f"{content['name']}: in this process", title_justify="left", box=None, padding=(0, 2)
    )
    for name in ("batch", "calls", "p50 ms", "p95 ms", "p99 ms"):
        alone.add_column(name, justify="right")
    for size, spread in content["in_process"].items():
        alone.add_row(size, f"{spread['count']}", *_points(spread))
    title = (
        f"deployed on {content['backend']}: {content['capacity']:,.0f} answers a second at load 1, "
        f"limited by {'its replicas' if content['bottleneck'] == 'replicas' else 'the overhead'}"
    )
    there = Table(title=title, title_justify="left", box=None, padding=(0, 2))
    there.add_column("load")
    names = ("answered", "a second", "p50 ms", "p95 ms", "p99 ms", "out p50", "service", "back p50")
    for name in names:
        there.add_column(name, justify="right")
    for name, told in content["scenarios"].items():
        rate = told["answers_a_second"]
        there.add_row(
            name + (" (lagged)" if told["lagged"] and name == "server" else ""),
            f"{told['answered']:,} of {told['requests']:,}",
            "–" if rate is None else f"{rate:,.0f}",
            *_points(told["latency"]),
            *(_points(told[leg])[0] for leg in ("out", "service", "back")),
        )
    return Group(alone, "", there)


def validation_table(content: dict[str, Any]) -> Group:
    """Return every cell of a validation: real, simulated, error, floor and verdict."""
    parts: list[Any] = []
    for trial in content["trials"]:
        fit = trial["fit"]
        title = (
            f"{trial['name']}: {trial['about']}. {fit['capacity']:,.0f} requests a second at load 1"
            f", limited by {fit['bottleneck']}"
        )
        table = Table(title=title, title_justify="left", box=None, padding=(0, 2))
        table.add_column("load")
        names = ("requests", "quantile", "real ms", "simulated", "error", "95 %", "floor", "bound")
        for name in names:
            table.add_column(name, justify="right")
        table.add_column("verdict")
        for load in trial["loads"]:
            for place, cell in enumerate(load["cells"]):
                table.add_row(*_cell(load, cell, first=place == 0))
        parts += [table, ""]
    counts = content["counts"]
    parts.append(
        f"{counts['pass']} pass, {counts['fail']} fail, {counts['inconclusive']} inconclusive of "
        f"{sum(counts.values())} cells"
    )
    if content.get("strategy"):
        parts += ["", _strategy_table(content["strategy"])]
    return Group(*parts)


def _cell(load: dict[str, Any], cell: dict[str, Any], *, first: bool) -> list[str]:
    lagged = f", {load['lagged_runs']} lagged" if load["lagged_runs"] else ""
    low, high = (_percent(bound) for bound in cell["interval"])
    style = _STYLE[cell["verdict"]]
    return [
        f"{load['load']}{lagged}" if first else "",
        f"{load['requests']:,}" if first else "",
        cell["quantile"],
        _ms(cell["real_ms"]),
        _ms(cell["simulated_ms"]),
        _percent(cell["error"]),
        f"{low} to {high}",
        _percent(cell["floor"], signed=False),
        _percent(cell["bound"], signed=False),
        f"[{style}]{cell['verdict']}[/{style}]",
    ]


def _strategy_table(strategy: dict[str, Any]) -> Table:
    title = "the strategy with these latencies"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2))
    table.add_column("latencies")
    for name in ("orders", "matched", "profit", "difference", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for name, told in strategy.items():
        matched = told["matched"]
        table.add_row(
            name,
            f"{told['orders']:,}",
            "–" if matched is None else f"{matched:.1%}",
            f"{float(told['profit']):,.2f}",
            f"{told['profit_difference']:+,.2f}",
            _ms(told["latency_p50_ms"]),
            _ms(told["latency_p99_ms"]),
        )
    return table


def _points(spread: dict[str, float] | None) -> list[str]:
    if spread is None:
        return ["–"] * 3
    return [_ms(spread[name]) for name in ("p50", "p95", "p99")]


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _percent(value: float | None, *, signed: bool = True) -> str:
    if value is None:
        return "inf"
    return f"{value:+.1%}" if signed else f"{value:.1%}"
