"""A validation as a picture: the map of errors, and latency curves real against simulated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from backtester.report.style import BLUE, GREY, INK, ORANGE, RED, TEAL, look, titled
from inference.measure.verdicts import Compared, LoadResult

__all__ = ["draw_error_map", "error_map", "map_axes"]

_COLORS = {"pass": TEAL, "fail": RED, "inconclusive": GREY}
_LOADS = (TEAL, BLUE, ORANGE, RED, INK)


def draw_error_map(compared: list[Compared], path: Path) -> None:
    """Draw a validation as a PNG; written under another name first, then renamed."""
    with look():
        figure = Figure(figsize=(11, 4.2 * len(compared)), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(compared), 2, squeeze=False, width_ratios=[1, 1.15])
        for (left, right), one in zip(grid, compared, strict=True):
            map_axes(left, one.name, error_map(one))
            _draw_curves(right, one)
        temporary = path.with_name(f".{path.name}.new")
        figure.savefig(temporary, dpi=110, format="png", facecolor="white")
        os.replace(temporary, path)


def error_map(compared: Compared) -> list[dict[str, Any]]:
    """Return the cells of a map: load, quantile, error, floor, bound and verdict."""
    return [
        {
            "load": load.name,
            "quantile": cell.quantile,
            "error": cell.error,
            "floor": cell.floor,
            "bound": cell.bound,
            "verdict": cell.verdict,
        }
        for load in compared.loads
        for cell in load.cells
    ]


def map_axes(axes: Axes, title: str, cells: list[dict[str, Any]]) -> None:
    """Draw a map: a row a load, a column a quantile; the fuller the colour, the larger the error.

    Green passes, red fails, grey says nothing: two real runs differ by more than the bound.
    """
    titled(axes, title, "simulated against real; ± how far two real runs lie apart")
    loads = list(dict.fromkeys(cell["load"] for cell in cells))
    points = list(dict.fromkeys(cell["quantile"] for cell in cells))
    for cell in cells:
        x, y = points.index(cell["quantile"]), loads.index(cell["load"])
        part = min(abs(cell["error"]) / cell["bound"], 2) / 2 if np.isfinite(cell["error"]) else 1
        axes.add_patch(
            Rectangle(
                (x - 0.48, y - 0.46),
                0.96,
                0.92,
                facecolor=_COLORS[cell["verdict"]],
                alpha=0.15 + 0.55 * part,
                lw=0,
            )
        )
        error = f"{cell['error']:+.1%}" if np.isfinite(cell["error"]) else "never"
        axes.text(x, y - 0.08, error, ha="center", va="center", fontsize=11, color=INK)
        axes.text(x, y + 0.25, f"±{cell['floor']:.1%}", ha="center", va="center", fontsize=7.5)
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.set_ylim(len(loads) - 0.5, -0.5)
    bounds = {cell["quantile"]: cell["bound"] for cell in cells}
    axes.set_xticks(range(len(points)), [f"{name}, ≤ {bounds[name]:.0%}" for name in points])
    axes.set_yticks(range(len(loads)), loads)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)


def _draw_curves(axes: Axes, compared: Compared) -> None:
    titled(axes, "Requests that took longer", "real: solid, simulated: dashed")
    for color, load in zip(_LOADS * 3, compared.loads, strict=False):
        for side, style in ((load.real, "-"), (load.simulated, "--")):
            x, y = tail(side)
            label = _label(load) if style == "-" else None
            axes.plot(x, y, style, color=color, lw=1.3, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(5e-4, 1)
    axes.yaxis.set_major_locator(FixedLocator([0.5, 0.05, 0.01, 0.001]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.1%}".replace(".0%", "%")))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("ms from due to answered")
    axes.legend(loc="lower left")


def _label(load: LoadResult) -> str:
    return f"{load.name}, {load.rate:.0f}/s"


def tail(runs: list[Any]) -> tuple[Any, Any]:
    """Return latencies in ms and the share of the requests that took longer, of runs together."""
    late = np.sort(np.concatenate(runs)) / 1e6
    late = late[np.isfinite(late)]
    share = 1 - (np.arange(len(late)) + 1) / len(late)
    keep = np.unique(np.linspace(0, len(late) - 1, min(len(late), 2000)).astype(int))
    return late[keep], np.maximum(share[keep], 1e-6)
