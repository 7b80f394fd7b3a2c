"""Several results side by side: what a change of one setting did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from backtester.report.axes import as_times, time_axis
from backtester.report.style import BLUE, GREY, ORANGE, RED, TEAL, look, titled

if TYPE_CHECKING:
    from backtester.result import RunResult

__all__ = ["comparison", "draw_comparison"]

_COLORS = (TEAL, BLUE, ORANGE, RED, GREY)


def comparison(results: Mapping[str, RunResult]) -> pl.DataFrame:
    """Return one row a result: what a person compares first.

    Args:
        results: Results by the label to show.
    """
    return pl.DataFrame(
        [
            {
                "run": label,
                "profit": result.summary["profit"],
                "fees": result.summary["fees"],
                "orders": result.summary["orders"],
                "latency_p50_ms": result.summary["latency_ms"]["p50"],
                "latency_p99_ms": result.summary["latency_ms"]["p99"],
                "staleness_p50_ms": result.summary["staleness_ms"]["p50"],
                "information_coefficient": result.summary["information_coefficient"],
                "max_drawdown": result.summary["max_drawdown"],
                "trace_digest": result.trace_digest[:12],
            }
            for label, result in results.items()
        ]
    )


def draw_comparison(results: Mapping[str, RunResult]) -> Figure:
    """Draw equity curves, and information coefficients with their 95 % intervals.

    Args:
        results: Results by the label to show, in the order to show them.
    """
    with look():
        figure = Figure(figsize=(10.5, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
        _draw_curves(left, results)
        _draw_coefficients(right, results)
    return figure


def _draw_curves(axes: Axes, results: Mapping[str, RunResult]) -> None:
    for place, (label, result) in enumerate(results.items()):
        curve = result.equity["equity"].to_numpy()
        color = _COLORS[place % len(_COLORS)]
        axes.plot(as_times(result.equity["time"]), curve - curve[0], color=color, label=label)
    axes.axhline(0, color=GREY, lw=0.7)
    first = next(iter(results.values()))
    axes.set_ylabel(first.summary["currency"])
    titled(axes, "Profit, fees paid")
    axes.legend(loc="best")
    time_axis(axes)


def _draw_coefficients(axes: Axes, results: Mapping[str, RunResult]) -> None:
    for place, result in enumerate(results.values()):
        value = result.summary["information_coefficient"]
        interval = result.summary["information_coefficient_ci"]
        if value is None:
            continue
        color = _COLORS[place % len(_COLORS)]
        if interval is not None:
            axes.plot([place, place], interval, color=color, lw=2, alpha=0.5)
        axes.plot([place], [value], color=color, marker="o", ms=6)
    axes.axhline(0, color=GREY, lw=0.7)
    axes.set_xticks(np.arange(len(results)), list(results))
    axes.set_xlim(-0.6, len(results) - 0.4)
    titled(axes, "Information coefficient", "95 % interval")
