"""The summary of a run as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from clock.units import format_duration, format_instant

__all__ = ["catalog_table", "frame_table", "ingest_table", "summary_table", "training_table"]


def summary_table(summary: dict[str, Any]) -> Table:
    """Return the numbers that a person reads first."""
    table = Table(title=summary["name"], title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for row in _rows(summary):
        table.add_row(*row)
    return table


def _rows(summary: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    currency = summary["currency"]
    yield "range", summary["start"], f"until {summary['until']}, {summary['mode']}"
    yield "events", f"{summary['events']:,}", f"{summary['feature_rows']:,} feature rows"
    yield from _prediction_rows(summary)
    yield "orders", f"{summary['orders']:,}", f"{summary['fills']:,} fills"
    yield "profit", _number(summary["profit"], ",.2f"), f"{currency}, after fees"
    yield "fees", _number(summary["fees"], ",.2f"), currency
    yield "max drawdown", _number(summary["max_drawdown"], ",.2f"), currency
    sampling = f"annualised, returns of {summary['sampling']}"
    yield "Sharpe", _number(summary["sharpe"], ".2f"), sampling
    yield "hit rate", _number(summary["hit_rate"], ".1%"), "closing fills that paid their fee"
    yield "slippage", _number(summary["slippage_bps"], ".3f"), "bps against our mid at the decision"
    for name, held in summary["open_positions"].items():
        marked = f"{name}, marked at {held['marked_at']:g}"
        yield "open position", f"{held['position']:g}", marked
    yield "trace digest", summary["trace_digest"][:16], "SHA-256, first 16 digits"


def _prediction_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    counts = summary["predictions"]
    if not counts["submitted"]:
        return
    others = [f"{n:,} {name}" for name, n in counts.items() if n and name != "submitted"]
    yield "predictions", f"{counts['submitted']:,}", ", ".join(others)
    for name, what in (
        ("latency_ms", "submitted to visible"),
        ("staleness_ms", "newest event to decision"),
    ):
        points = summary[name]
        if points["p50"] is not None:
            text = f"ms p50, {points['p95']:.3g} p95, {points['p99']:.3g} p99: {what}"
            yield name.removesuffix("_ms"), f"{points['p50']:.3g}", text
    for loop, share in summary["utilisation"].items():
        note = f"{loop}: requests arrive faster than they are served" if share >= 1 else loop
        yield "utilisation", f"{share:.1%}", note
    value, interval = summary["information_coefficient"], summary["information_coefficient_ci"]
    if value is not None:
        text = f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        yield "information coeff.", f"{value:.3f}", text


def _number(value: float | None, pattern: str) -> str:
    return "–" if value is None else format(value, pattern)


def training_table(trained: Any) -> Table:
    """Return what was trained, on what, and how well it did where it was not trained."""
    content = trained.as_json()
    table = Table(title=content["uri"], title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column()
    for name, value in content.items():
        if name != "uri":
            table.add_row(name.replace("_", " "), _shown(value))
    return table


def frame_table(frame: Any, title: str) -> Table:
    """Return the columns of a frame with how many values each has, and their middle."""
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    for name in ("column", "known", "median", "from", "to"):
        table.add_column(name, justify="left" if name == "column" else "right")
    for name in frame.columns:
        column = frame[name]
        if not column.dtype.is_float():
            continue
        known = column.fill_nan(None).drop_nulls()
        values = (known.median(), known.min(), known.max())
        table.add_row(name, f"{len(known):,}", *(_number(value, ".6g") for value in values))
    return table


def ingest_table(report: Any, catalog: Any) -> Table:
    """Return what an ingest wrote, and what it did to the stamps."""
    title = f"{report.instrument} in {catalog}"
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column()
    for kind, rows in report.rows.items():
        table.add_row(kind, f"{rows:,}")
    table.add_row("range", f"{format_instant(report.start)} to {format_instant(report.end)}")
    table.add_row("feed latency", _latencies(report.latency_ns))
    if report.gaps:
        table.add_row("gaps accepted", f"{report.gaps:,}")
    if report.calibration is not None:
        table.add_row("clock", report.calibration.describe())
    return table


def catalog_table(streams: Any, catalog: Any) -> Table:
    """Return one line a stream of a catalog."""
    table = Table(title=str(catalog), title_justify="left", box=None, header_style="dim")
    names = ("instrument", "kind", "rows", "from", "to", "longest gap", "feed latency", "size")
    for name in names:
        table.add_column(name, justify="right" if name in ("rows", "size") else "left")
    for stream in streams:
        table.add_row(
            stream.instrument,
            stream.kind,
            f"{stream.rows:,}",
            format_instant(stream.start),
            format_instant(stream.end),
            format_duration(stream.longest_gap_ns),
            _latencies(stream.latency_ns),
            f"{stream.size_bytes / 1e6:.1f} MB",
        )
    return table


def _latencies(latency_ns: dict[str, int]) -> str:
    return ", ".join(f"{name} {value / 1e6:.3g} ms" for name, value in latency_ns.items())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
