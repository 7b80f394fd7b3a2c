"""One page a run: price and fills, equity and drawdown, then predictions or the position."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from backtester.metrics import drawdown
from backtester.report.axes import as_times, time_axis
from backtester.report.position import draw_position
from backtester.report.style import BLUE, GREY, INK, ORANGE, RED, TEAL, look, titled

if TYPE_CHECKING:
    from backtester.result import RunResult

__all__ = ["draw_report"]

_MOST_POINTS = 4000


def draw_report(result: RunResult, path: Path) -> None:
    """Draw a result as a PNG.

    Args:
        result: The result.
        path: File to write; written under another name first, then renamed.
    """
    with look():
        figure = Figure(figsize=(11, 8.2), layout="constrained")
        FigureCanvasAgg(figure)
        _headline(figure, result.summary)
        grid = figure.add_gridspec(3, 2, height_ratios=[1.25, 1, 1])
        price = figure.add_subplot(grid[0, :])
        _draw_price(price, result)
        _draw_equity(figure.add_subplot(grid[1, :], sharex=price), result)
        if len(result.predictions):
            _draw_latency(figure.add_subplot(grid[2, 0]), result.predictions)
            _draw_predictions(figure.add_subplot(grid[2, 1]), result)
        else:
            draw_position(figure.add_subplot(grid[2, :], sharex=price), result)
        temporary = path.with_name(f".{path.name}.new")
        figure.savefig(temporary, dpi=110, format="png", facecolor="white")
        os.replace(temporary, path)


def _headline(figure: Figure, summary: dict[str, Any]) -> None:
    parts = [
        f"profit {summary['profit']:,.2f} {summary['currency']}",
        f"fees {summary['fees']:,.2f}",
        f"{summary['fills']} fills",
    ]
    latency = summary["latency_ms"]["p50"]
    if latency is not None:
        parts.append(f"inference p50 {latency:.3g} ms, p99 {summary['latency_ms']['p99']:.3g} ms")
    coefficient = summary["information_coefficient"]
    if coefficient is not None:
        parts.append(f"information coefficient {coefficient:.3f}")
    figure.suptitle(
        f"{summary['name']}   ·   " + "   ·   ".join(parts), fontsize=11, x=0.012, ha="left"
    )


def _draw_price(axes: Axes, result: RunResult) -> None:
    equity = result.equity
    instruments = [name[4:] for name in equity.columns if name.startswith("mid:")]
    several = len(instruments) > 1
    for name in instruments:
        mid = equity[f"mid:{name}"].to_numpy()
        scale = _first_finite(mid) if several else 1.0
        axes.plot(as_times(equity["time"]), mid / scale, color=BLUE, lw=1, label=name)
        fills = result.fills.filter(pl.col("instrument") == name)
        for side, marker, color in ((1, "^", TEAL), (-1, "v", RED)):
            own = fills.filter(pl.col("side") == side)
            axes.scatter(
                as_times(own["venue_time"]),
                own["price"].to_numpy() / scale,
                marker=marker,
                s=16 if len(fills) < 400 else 6,
                color=color,
                linewidths=0,
                zorder=3,
                alpha=0.85,
            )
    titled(axes, "Price and fills", "relative to the first mid" if several else instruments[0])
    axes.legend(
        handles=[
            Line2D([], [], color=BLUE, lw=1, label="mid at the venue"),
            Line2D([], [], color=TEAL, marker="^", ls="", ms=5, label="bought"),
            Line2D([], [], color=RED, marker="v", ls="", ms=5, label="sold"),
        ],
        loc="best",
        ncols=3,
    )
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.tick_params(labelbottom=False)


def _draw_equity(axes: Axes, result: RunResult) -> None:
    times = as_times(result.equity["time"])
    curve = result.equity["equity"].to_numpy()
    profit = curve - curve[0]
    falls = drawdown(curve)
    axes.fill_between(times, profit, profit + falls, color=RED, alpha=0.13, lw=0, label="drawdown")
    gross = profit + _fees_paid(result)
    if np.isfinite(gross).all() and (gross != profit).any():
        axes.plot(times, gross, color=BLUE, lw=1, label="before fees")
    axes.plot(times, profit, color=INK, lw=1.2, label="profit, fees paid")
    axes.axhline(0, color=GREY, lw=0.7)
    axes.set_ylabel(result.summary["currency"])
    titled(axes, "Equity and drawdown", f"sampled every {result.summary['sampling']}")
    axes.legend(loc="best", ncols=3)
    time_axis(axes)


def _fees_paid(result: RunResult) -> np.ndarray:
    """Return the fees paid up to each sample of the equity; NaN where they are in other money."""
    fills = result.fills.sort("venue_time")
    if (fills["currency"] != result.summary["currency"]).any():
        return np.full(len(result.equity), np.nan)
    paid = np.concatenate([[0.0], np.cumsum(fills["fee"].to_numpy())])
    done = fills["venue_time"].search_sorted(result.equity["time"], side="right")
    return paid[done.to_numpy()]


def _draw_latency(axes: Axes, predictions: pl.DataFrame) -> None:
    done = predictions.filter(pl.col("outcome") == "completed")
    latency = (done["visible_at"] - done["submitted_at"]).dt.total_nanoseconds().to_numpy() / 1e6
    titled(axes, "Inference latency", f"{len(done):,} answers")
    axes.set_xlabel("ms from submitted to visible")
    if not len(latency):
        _say(axes, "no answers in this run")
        return
    top = float(np.quantile(latency, 0.998)) or 1.0
    axes.hist(np.minimum(latency, top), bins=60, color=BLUE, alpha=0.85)
    for share, color in ((0.5, INK), (0.95, ORANGE), (0.99, RED)):
        value = float(np.quantile(latency, share))
        axes.axvline(value, color=color, lw=1.1, label=f"p{share * 100:g} {value:.3g} ms")
    axes.set_ylabel("answers")
    axes.legend(loc="upper right")


def _draw_predictions(axes: Axes, result: RunResult) -> None:
    done = result.predictions.filter(pl.col("outcome") == "completed").sort("visible_at")
    titled(axes, "Predictions", "when they became visible")
    if not len(done):
        _say(axes, "no answers in this run")
        return
    shown = done.gather_every(max(1, len(done) // _MOST_POINTS))
    late = shown.filter(pl.col("superseded"))
    axes.scatter(
        as_times(shown["visible_at"]), shown["value"], s=3, color=BLUE, alpha=0.5, linewidths=0
    )
    axes.scatter(as_times(late["visible_at"]), late["value"], s=7, color=ORANGE, linewidths=0)
    axes.axhline(0, color=GREY, lw=0.7)
    axes.set_ylabel("predicted change")
    axes.legend(
        handles=[
            Line2D([], [], color=BLUE, marker="o", ls="", ms=3, label="latest"),
            Line2D([], [], color=ORANGE, marker="o", ls="", ms=4, label="superseded"),
        ],
        loc="upper right",
        ncols=2,
    )
    time_axis(axes, ticks=6)


def _first_finite(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[0]) if len(finite) else 1.0


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])
