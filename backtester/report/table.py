"""The summary of a run as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.table import Table

from backtester.report.serving_table import serving_rows
from clock.units import format_duration, format_instant
from featurizer.market import KINDS

__all__ = [
    "catalog_table",
    "compaction_table",
    "download_table",
    "frame_table",
    "ingest_table",
    "summary_table",
    "training_json",
    "training_table",
]


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
    why = summary["lockstep_because"]
    mode = f"{summary['mode']}, for {why}" if why else summary["mode"]
    yield "range", summary["start"], f"until {summary['until']}, {mode}"
    yield "events", f"{summary['events']:,}", f"{summary['feature_rows']:,} feature rows"
    yield from _prediction_rows(summary)
    yield "orders", f"{summary['orders']:,}", f"{summary['fills']:,} fills"
    yield "profit", _number(summary["profit"], ",.2f"), f"{currency}, after fees"
    yield from _money_rows(summary)
    yield "max drawdown", _number(summary["max_drawdown"], ",.2f"), currency
    sampling = f"annualised, returns of {summary['sampling']}"
    yield "Sharpe", _number(summary["sharpe"], ".2f"), sampling
    yield "hit rate", _number(summary["hit_rate"], ".1%"), "closing fills that paid all their fees"
    yield "slippage", _number(summary["slippage_bps"], ".3f"), "bps against our mid at the decision"
    for name, held in summary["open_positions"].items():
        marked = f"{name}, marked at {held['marked_at']:g}"
        yield "open position", f"{held['position']:g}", marked
    yield "trace digest", summary["trace_digest"][:16], "SHA-256, first 16 digits"


def _money_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    currency, share = summary["currency"], summary["maker_share"]
    split = f", {share:.1%} of the turnover as maker" if share else ""
    yield "fees", _number(summary["fees"], ",.2f"), f"{currency}{split}"
    if summary["funding"]:
        yield "funding", _number(summary["funding"], "+,.2f"), f"{currency}, received is positive"
    if summary["liquidations"]:
        paid = summary["insurance"]
        covered = f", {paid:,.2f} {currency} covered by the venue" if paid else ""
        yield "liquidations", f"{summary['liquidations']:,}", f"closed by the venue{covered}"
    for name, held in summary["balances"].items():
        if len(summary["balances"]) > 1:
            opening = f"{name}, opened with {_number(held['opening'], ',.8g')}"
            yield "balance", _number(held["closing"], ",.8g"), opening


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
            text = f"ms p50, {_ms(points['p95'])} p95, {_ms(points['p99'])} p99: {what}"
            yield name.removesuffix("_ms"), _ms(points["p50"]), text
    yield from serving_rows(summary["serving"])
    value, interval = summary["information_coefficient"], summary["information_coefficient_ci"]
    if value is not None:
        text = f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        yield "information coeff.", f"{value:.3f}", text


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _number(value: float | None, pattern: str) -> str:
    return "–" if value is None else format(value, pattern)


def training_table(trained: Any) -> Table:
    """Return what was trained, on what, and how well it did where it was not trained."""
    table = _pairs(f"models:/{trained.model.name}/{trained.model.version}")
    for name, value in training_json(trained).items():
        if name != "uri":
            table.add_row(name.replace("_", " "), _shown(value))
    return table


def training_json(trained: Any) -> dict[str, Any]:
    """Return what was trained as plain values."""
    model = trained.model
    tags = {name.removeprefix("lightcone."): value for name, value in model.tags.items()}
    stamps = ("start", "until", "last_label_visible_at")
    return {
        "uri": f"models:/{model.name}/{model.version}",
        "reused": trained.reused,
        **{name: format_instant(int(tags[name])) for name in stamps if name in tags},
        **trained.metrics,
        "digest": model.digest,
        "path": str(model.path),
    }


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
    table = _pairs(f"{report.instrument} in {catalog}")
    for kind, rows in report.rows.items():
        table.add_row(kind, f"{rows:,}")
    for kind, rows in report.replaced.items():
        table.add_row(f"{kind} replaced", f"{rows:,} of the same days")
    table.add_row("range", f"{format_instant(report.start)} to {format_instant(report.end)}")
    table.add_row("feed latency", _latencies(report.latency_ns))
    if report.gaps:
        table.add_row("gaps accepted", f"{report.gaps:,}")
    fit = report.calibration
    if fit is not None:
        low, high = min(fit.offsets_ns), max(fit.offsets_ns)
        table.add_row("receipts moved by", f"{format_duration(low)} to {format_duration(high)}")
        table.add_row("", f"{fit.method}, drift {fit.drift_ppm:g} ppm; it knows the whole file")
        least = format_duration(fit.min_feed_latency_ns)
        table.add_row("", f"so that the fastest message took {least}, as stated")
        middle, most = (value / 1e3 for value in fit.residual_ns)
        table.add_row("residual of the fit", f"{middle:,.0f} µs median, {most:,.0f} µs at most")
    for remark in report.remarks:
        table.add_row("", remark)
    return table


def download_table(done: Any, folder: Any) -> Table:
    """Return what was downloaded, one line a file."""
    table = Table(title=str(folder), title_justify="left", box=None, header_style="dim")
    for name in ("file", "MB", "fetched MB", "SHA-256"):
        table.add_column(name, justify="left" if name in ("file", "SHA-256") else "right")
    for file in done:
        sizes = (f"{size / 1e6:.1f}" for size in (file.size_bytes, file.fetched_bytes))
        table.add_row(file.path.name, *sizes, f"{file.sha256[:16]}… verified")
    return table


def compaction_table(done: Any, catalog: Any) -> Table:
    """Return what a compaction did, one line a stream."""
    table = Table(title=str(catalog), title_justify="left", box=None, header_style="dim")
    for name in ("instrument", "kind", "parts before", "parts after", "rows put together"):
        table.add_column(name, justify="left" if name in ("instrument", "kind") else "right")
    for stream in done:
        counts = (stream.parts_before, stream.parts_after, stream.rows)
        table.add_row(stream.instrument, stream.kind, *(f"{count:,}" for count in counts))
    return table


def catalog_table(streams: Any, catalog: Any) -> Group:
    """Return one table an instrument of a catalog, one line a stream."""
    by_instrument: dict[str, list[Any]] = {}
    for stream in streams:
        by_instrument.setdefault(stream.instrument, []).append(stream)
    tables = [_streams_table(name, own) for name, own in by_instrument.items()]
    return Group(f"{catalog}: {len(streams)} streams", *tables, *_user_kinds(streams))


def _streams_table(instrument: str, streams: list[Any]) -> Table:
    start = min(stream.start for stream in streams)
    end = max(stream.end for stream in streams)
    title = f"{instrument}, {format_instant(start)} to {format_instant(end)}"
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    table.add_column("kind")
    for name in ("rows", "parts", "MB", "longest gap", "feed latency p50", "p95", "p99", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("receipts")
    for stream in streams:
        latency = [stream.latency_ns[name] / 1e6 for name in ("p50", "p95", "p99", "max")]
        table.add_row(
            stream.kind,
            f"{stream.rows:,}",
            f"{stream.parts:,}",
            f"{stream.size_bytes / 1e6:.1f}",
            f"{stream.longest_gap_ns / 1e9:.3g} s",
            *(f"{value:.3g} ms" for value in latency),
            _receipts(stream.calibration),
        )
    return table


def _receipts(notes: list[dict[str, Any]]) -> str:
    """Return where the receipt stamps of a stream come from."""
    methods = sorted({note["method"].removesuffix(" feed latency") for note in notes})
    return ", ".join(methods) or "recorded"


def _user_kinds(streams: Any) -> list[str]:
    """Return the columns of the kinds that a user declared."""
    own = {stream.kind: stream.columns for stream in streams if stream.kind not in KINDS}
    return [
        f"{kind}: {', '.join(f'{name} {type_}' for name, type_ in columns.items())}"
        for kind, columns in own.items()
    ]


def _pairs(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column()
    return table


def _latencies(latency_ns: dict[str, int]) -> str:
    return ", ".join(f"{name} {value / 1e6:.3g} ms" for name, value in latency_ns.items())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
