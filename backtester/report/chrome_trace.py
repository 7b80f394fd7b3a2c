"""A run in the Trace Event Format, which chrome://tracing and ui.perfetto.dev open.

Replicas are rows, executions their slices; each request is a span with its legs inside. The format:
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from clock.units import format_duration, parse_instant
from inference.serving.explain import LEGS

if TYPE_CHECKING:
    from backtester.result import RunResult

__all__ = ["trace_events", "write_chrome_trace"]

Event = dict[str, Any]

_TRADING = 1
_FIRST_LOOP = 2
_LANES = 256
"""Numbers of rows kept for each replica: one for each execution that it may run at once."""


def write_chrome_trace(result: RunResult, path: Path) -> None:
    """Write the trace of a result as one JSON file.

    Args:
        result: The result, new or loaded.
        path: File to write.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit": "ns", "traceEvents": [\n')
        for number, event in enumerate(trace_events(result)):
            file.write(",\n" if number else "")
            file.write(json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")


def trace_events(result: RunResult) -> Iterator[Event]:
    """Yield the events of a result; instants count in microseconds from the run's start."""
    start = parse_instant(result.summary["start"])
    until = parse_instant(result.summary["until"]) - start
    process = _FIRST_LOOP
    for loop in result.summary["serving"]:
        mine = pl.col("loop") == loop
        predictions = _since(result.predictions.filter(mine), start)
        yield _named(process, f"requests of {loop}")
        yield from _requests(predictions, process, until)
        attempts = _since(result.attempts.filter(mine), start)
        changes = _since(result.deployment_changes.filter(mine), start)
        variants = sorted({*attempts["variant"], *changes["variant"]})
        for place, variant in enumerate(variants, start=process + 1):
            own = pl.col("variant") == variant
            label = f"{loop} {variant}".strip()
            yield _named(place, f"deployment {label}")
            yield from _replicas(attempts.filter(own), place, until)
            yield from _levels(attempts.filter(own), place, until)
            yield from _changes(changes.filter(own), place, until)
        process += len(variants) + 1
    yield _named(_TRADING, "trading")
    yield from _trading(result, start)


def _since(frame: pl.DataFrame, start: int) -> pl.DataFrame:
    """Return a frame with its instants as nanoseconds since the run's start."""
    stamps = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(name).to_physical() - start for name in stamps)


def _named(process: int, name: str) -> Event:
    return {"ph": "M", "name": "process_name", "pid": process, "args": {"name": name}}


def _row(process: int, row: int, name: str) -> Iterator[Event]:
    for kind, value in (
        ("thread_name", {"name": name}),
        ("thread_sort_index", {"sort_index": row}),
    ):
        yield {"ph": "M", "name": kind, "pid": process, "tid": row, "args": value}


def _span(
    process: int, about: str, number: Any, name: str, span: tuple[int, int]
) -> Iterator[Event]:
    """Yield the begin and the end of something that may overlap others of its kind."""
    for phase, instant in zip("be", span, strict=True):
        yield {
            "ph": phase,
            "cat": about,
            "name": name,
            "id": number,
            "pid": process,
            "tid": 0,
            "ts": instant / 1e3,
        }


def _requests(predictions: pl.DataFrame, process: int, until: int) -> Iterator[Event]:
    for row in predictions.iter_rows(named=True):
        number, now = row["number"], row["submitted_at"]
        flying = row["outcome"] == "in_flight"
        end = until if flying else row["visible_at"]
        begin, finish = _span(process, "request", number, f"request, {row['outcome']}", (now, end))
        yield begin | {"args": _told(row)}
        if not flying:
            for leg in LEGS:
                length = row[f"{leg}_ns"]
                if length:
                    yield from _span(process, "request", number, leg, (now, now + length))
                now += length
        yield finish


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a viewer shows beside a request."""
    told = {name: row[name] for name in ("instrument", "variant", "attempts", "replica")}
    if row["value"] == row["value"]:  # JSON has no NaN
        told["value"] = row["value"]
    if row["source"] >= 0:
        told["cached answer of request"] = row["source"]
    if row["fallback"]:
        told["fallback"] = True
    if row["reason"] != "none":
        told["reason"] = row["reason"]
    return told


def _replicas(attempts: pl.DataFrame, process: int, until: int) -> Iterator[Event]:
    """Yield executions on the rows of their replicas, in as many lanes as run at once."""
    ran = (
        attempts.filter(pl.col("started_at").is_not_null())
        .with_columns(end=pl.coalesce("completed_at", "ended_at", pl.lit(until)))
        .group_by("execution", "replica", "started_at", maintain_order=True)
        .agg(
            pl.col("end").max(),
            pl.col("batch_size").first(),
            pl.col("outcome").first(),
            requests=pl.col("number"),
        )
        .sort("replica", "started_at", "execution")
    )
    named: set[int] = set()
    for (replica,), executions in ran.group_by("replica", maintain_order=True):
        lanes = _Lanes()
        for row in executions.iter_rows(named=True):
            end = min(row["end"], until)
            tid = int(replica) * _LANES + lanes.take(row["started_at"], end)
            if tid not in named:
                named.add(tid)
                slot = tid % _LANES
                yield from _row(process, tid, f"replica {replica}{f', slot {slot}' * (slot > 0)}")
            size = row["batch_size"]
            yield {
                "ph": "X",
                "cat": "execution",
                "name": f"batch of {size}" if size > 1 else f"request {row['requests'][0]}",
                "pid": process,
                "tid": tid,
                "ts": row["started_at"] / 1e3,
                "dur": (end - row["started_at"]) / 1e3,
                "args": {"requests": row["requests"], "outcome": row["outcome"]},
            }


class _Lanes:
    """Gives each of some stays, in the order of their begins, the lowest lane that is free."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._busy: list[tuple[int, int]] = []
        self._made = 0

    def take(self, begin: int, end: int) -> int:
        while self._busy and self._busy[0][0] <= begin:
            heapq.heappush(self._free, heapq.heappop(self._busy)[1])
        if not self._free:
            heapq.heappush(self._free, self._made)
            self._made += 1
        lane = heapq.heappop(self._free)
        heapq.heappush(self._busy, (end, lane))
        return lane


def _levels(attempts: pl.DataFrame, process: int, until: int) -> Iterator[Event]:
    """Yield how many attempts wait and how many run, whenever that changes."""
    arrived = attempts.filter(pl.col("arrived_at").is_not_null())
    gone = pl.coalesce("completed_at", "ended_at", pl.lit(until))
    left = pl.min_horizontal(pl.coalesce("started_at", gone), until)
    moves: list[tuple[int, int, int]] = []
    for begin, start, end in arrived.select(
        "arrived_at", left.alias("s"), gone.alias("e")
    ).iter_rows():
        moves += [(begin, 1, 0), (start, -1, 1), (max(start, min(end, until)), 0, -1)]
    waiting = running = 0
    shown = (-1, -1)
    moves.sort(key=lambda move: move[0])
    for place, (instant, wait, run) in enumerate(moves):
        waiting, running = waiting + wait, running + run
        last = place + 1 == len(moves) or moves[place + 1][0] > instant
        if last and (waiting, running) != shown:
            shown = (waiting, running)
            counted = {"waiting": waiting, "running": running}
            yield {
                "ph": "C",
                "name": "requests",
                "pid": process,
                "ts": instant / 1e3,
                "args": counted,
            }


def _changes(changes: pl.DataFrame, process: int, until: int) -> Iterator[Event]:
    """Yield states of replicas and of the breaker as spans, the autoscaler's target as a level."""
    since: dict[tuple[str, int], tuple[int, str]] = {}
    for instant, kind, replica, value in changes.select(
        "changed_at", "kind", "replica", "value"
    ).iter_rows():
        if kind == "target":
            counted = {"target": int(value)}
            yield {
                "ph": "C",
                "name": "target",
                "pid": process,
                "ts": instant / 1e3,
                "args": counted,
            }
            continue
        subject = (kind, replica)
        if subject in since:
            yield from _state(process, subject, since.pop(subject), instant)
        if value not in ("stopped", "closed"):
            since[subject] = (instant, value)
    for subject, (instant, value) in since.items():
        yield from _state(process, subject, (instant, value), until)


def _state(
    process: int, subject: tuple[str, int], since: tuple[int, str], end: int
) -> Iterator[Event]:
    kind, replica = subject
    name = f"replica {replica} {since[1]}" if kind == "replica" else f"breaker {since[1]}"
    yield from _span(process, kind, f"{kind} {replica}", name, (since[0], end))


def _trading(result: RunResult, start: int) -> Iterator[Event]:
    orders = _since(result.orders, start)
    for row in orders.filter(pl.col("arrived_at").is_not_null()).iter_rows(named=True):
        name = f"order {row['order']} on its way"
        yield from _span(_TRADING, "order", row["order"], name, (row["sent_at"], row["arrived_at"]))
    for row in _since(result.fills, start).iter_rows(named=True):
        yield {
            "ph": "i",
            "s": "p",
            "name": f"fill of order {row['order']}",
            "pid": _TRADING,
            "tid": 0,
            "ts": row["venue_time"] / 1e3,
            "args": {
                "price": row["price"],
                "quantity": row["quantity"],
                "known to us after": format_duration(row["visible_at"] - row["venue_time"])
                if row["visible_at"] is not None
                else "the run",
            },
        }
