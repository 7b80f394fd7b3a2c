"""What was held, over time."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from backtester.report.axes import as_times, time_axis
from backtester.report.style import BLUE, GREY, ORANGE, RED, TEAL, titled

if TYPE_CHECKING:
    from backtester.result import RunResult

__all__ = ["draw_position", "position_steps"]


def position_steps(result: RunResult, instrument: str) -> tuple[np.ndarray, np.ndarray]:
    """Return instants and the position from each on, from the start of the run to its end.

    Args:
        result: The result.
        instrument: Id of the instrument.

    Returns:
        Times (`datetime64[ns]`) and signed base units. Shape (fills + 2,) each.
    """
    fills = result.fills.filter(pl.col("instrument") == instrument).sort("venue_time", "report")
    times = as_times(result.equity["time"])
    held = fills["position"].to_numpy()
    last = held[-1] if len(held) else 0.0
    return (
        np.concatenate([times[:1], as_times(fills["venue_time"]), times[-1:]]),
        np.concatenate([[0.0], held, [last]]),
    )


def draw_position(axes: Axes, result: RunResult) -> None:
    """Draw the position in each instrument, as the venue has it."""
    instruments = [name[4:] for name in result.equity.columns if name.startswith("mid:")]
    colors = cycle((BLUE, ORANGE, TEAL, RED))
    for name, color in zip(instruments, colors, strict=False):
        times, held = position_steps(result, name)
        axes.step(times, held, where="post", color=color, lw=1, label=name)
        if len(instruments) == 1:
            axes.fill_between(times, held, step="post", color=color, alpha=0.13, lw=0)
    axes.axhline(0, color=GREY, lw=0.7)
    axes.set_ylabel("base units")
    titled(axes, "Position", "held at the venue")
    if len(instruments) > 1:
        axes.legend(loc="best", ncols=min(4, len(instruments)))
    time_axis(axes)
