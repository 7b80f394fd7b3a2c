"""One request's latency, leg by leg."""

from __future__ import annotations

from typing import Any

import polars as pl
from rich.table import Table

from backtester.errors import ScenarioError
from backtester.result import RunResult
from clock.units import format_duration, format_instant
from inference.serving.explain import LEGS

__all__ = ["request_json", "request_table"]

_MEANS = {
    "wait": "asked, not yet sent",
    "retries": "earlier attempts and the backoff after them",
    "network": "on the way to the deployment",
    "routing": "until a replica took it on",
    "queue": "in the replica's queue",
    "batch_wait": "in a batch that was not yet running",
    "service": "on the replica",
    "reply": "on the way back",
}


def request_json(result: RunResult, number: int, loop: str | None = None) -> dict[str, Any]:
    """Return what is known of one request, with its attempts, as plain values.

    Raises:
        ScenarioError: If the run has no such request, or several loops and none is named.
    """
    loops = list(result.summary["serving"])
    if loop is None and len(loops) == 1:
        loop = loops[0]
    if loop not in loops:
        got = "nothing" if loop is None else f"'{loop}'"
        raise ScenarioError(
            f"`--loop` must name a loop of the run: got {got}. Known: {', '.join(loops) or 'none'}."
        )
    own = (pl.col("loop") == loop) & (pl.col("number") == number)
    found = result.predictions.filter(own)
    if not len(found):
        asked = len(result.predictions.filter(pl.col("loop") == loop))
        raise ScenarioError(
            f"`--request` must be one of the {asked} requests of {loop}, counted from 0: got "
            f"{number}."
        )
    row = _exact(found).row(0, named=True)
    legs = {leg: row[f"{leg}_ns"] for leg in LEGS}
    flying = row["outcome"] == "in_flight"
    return {
        **_plain({k: v for k, v in row.items() if not k.endswith("_ns")}),
        "legs_ns": None if flying else legs,
        "latency_ns": None if flying else sum(legs.values()),
        "attempts": [
            _plain(one) for one in _exact(result.attempts.filter(own)).iter_rows(named=True)
        ],
    }


def request_table(told: dict[str, Any]) -> Table:
    """Return the legs of a request, what each is, and what followed them."""
    title = f"request {told['number']} of {told['loop']}: {told['outcome']}"
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("asked", told["submitted_at"], told["instrument"])
    for leg, length in (told["legs_ns"] or {}).items():
        if length:
            table.add_row(leg.replace("_", " "), format_duration(length), _MEANS[leg])
    if told["latency_ns"] is not None:
        table.add_row("in all", format_duration(told["latency_ns"]), told["visible_at"])
    if told["source"] >= 0:
        table.add_row("cache", "", f"the answer of request {told['source']} again")
    if told["fallback"]:
        table.add_row("fallback", "", "the circuit breaker was open")
    for one in told["attempts"]:
        where = f"{one['variant']} replica {one['replica']}".strip() if one["replica"] >= 0 else ""
        batch = f", batch of {one['batch_size']}" if one["batch_size"] > 1 else ""
        why = f" ({one['reason'].replace('_', ' ')})" if one["reason"] != "none" else ""
        table.add_row(f"attempt {one['attempt']}", one["outcome"] + why, f"{where}{batch}")
    return table


def _exact(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with its instants as text: Python's own have microseconds only."""
    stamps = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(
        pl.col(name).to_physical().map_elements(format_instant, return_dtype=pl.String)
        for name in stamps
    )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON takes it, which knows no NaN."""
    return {name: None if value != value else value for name, value in row.items()}
