"""A validation as a picture: the map of errors, and latency curves real against simulated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from backtester.report.style import BLUE, GREY, INK, ORANGE, RED, TEAL, look, titled

__all__ = ["draw_error_map", "error_map"]

_COLORS = {"pass": TEAL, "fail": RED, "inconclusive": GREY}
_LOADS = (TEAL, BLUE, ORANGE, RED, INK)


def draw_error_map(content: dict[str, Any], path: Path) -> None:
    """Draw a validation as a PNG; written under another name first, then renamed.

    Args:
        content: What `validation.json` says.
        path: The picture.
    """
    temporary = path.with_name(f".{path.name}.new")
    error_map(content).savefig(temporary, dpi=110, format="png", facecolor="white")
    os.replace(temporary, path)


def error_map(content: dict[str, Any]) -> Figure:
    """Return a picture of a validation: for each model its map of errors, and its curves.

    A row of a map is a load, a column a quantile. Green passes, red fails, the fuller the larger
    the error; grey says nothing, as two real runs differ by more than the bound.
    """
    trials = content["trials"]
    with look():
        figure = Figure(figsize=(11, 4.2 * len(trials)), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(trials), 2, squeeze=False, width_ratios=[1, 1.15])
        for (left, right), trial in zip(grid, trials, strict=True):
            _draw_map(left, trial)
            _draw_curves(right, trial)
    return figure


def _draw_map(axes: Axes, trial: dict[str, Any]) -> None:
    titled(axes, trial["name"], "simulated against real; ± two real runs")
    loads = trial["loads"]
    for y, load in enumerate(loads):
        for x, cell in enumerate(load["cells"]):
            _draw_cell(axes, x, y, cell)
    cells = loads[0]["cells"]
    axes.set_xlim(-0.5, len(cells) - 0.5)
    axes.set_ylim(len(loads) - 0.5, -0.5)
    axes.set_xticks(
        range(len(cells)), [f"{cell['quantile']}, ≤ {cell['bound']:.0%}" for cell in cells]
    )
    axes.set_yticks(range(len(loads)), [load["load"] for load in loads])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)


def _draw_cell(axes: Axes, x: int, y: int, cell: dict[str, Any]) -> None:
    error, floor = cell["error"], cell["floor"]
    part = 1.0 if error is None else min(abs(error) / cell["bound"], 2) / 2
    place = Rectangle(
        (x - 0.48, y - 0.46),
        0.96,
        0.92,
        facecolor=_COLORS[cell["verdict"]],
        alpha=0.15 + 0.55 * part,
        lw=0,
    )
    axes.add_patch(place)
    told = "never" if error is None else f"{error:+.1%}"
    axes.text(x, y - 0.08, told, ha="center", va="center", fontsize=11, color=INK)
    apart = "±∞" if floor is None else f"±{floor:.1%}"
    axes.text(x, y + 0.25, apart, ha="center", va="center", fontsize=7.5, color=INK)


def _draw_curves(axes: Axes, trial: dict[str, Any]) -> None:
    titled(axes, "Requests that took longer", "real: solid, simulated: dashed")
    for color, load in zip(_LOADS * 3, trial["loads"], strict=False):
        curve = load["curve"]
        for side, style in (("real_ms", "-"), ("simulated_ms", "--")):
            points = [
                (late, share)
                for late, share in zip(curve[side], curve["longer"], strict=True)
                if late is not None
            ]
            label = f"{load['load']}, {load['rate']:.0f}/s" if style == "-" else None
            axes.plot(*zip(*points, strict=True), style, color=color, lw=1.3, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([1, 0.5, 0.05, 0.01, 0.001]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}%"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("ms from due to answered")
    axes.legend(loc="lower left")
