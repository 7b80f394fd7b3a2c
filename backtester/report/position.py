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

__all__ = ["draw_position", "position_bands", "position_steps"]

_MOST_STEPS = 1200
_SLOTS = 300


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


def position_bands(
    times: np.ndarray, held: np.ndarray, slots: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what a position was in each of even slots of time.

    Args:
        times: When it changed, ascending, and the end. Shape (n,).
        held: Position from each on. Shape (n,).
        slots: How many.

    Returns:
        Middle, mean over time, least and largest of each slot. Shape (slots,) each.
    """
    instants = times.astype(np.int64)
    edges = np.linspace(instants[0], instants[-1], slots + 1)
    area = np.concatenate([[0.0], np.cumsum(np.diff(instants) * held[:-1])])
    mean = np.diff(np.interp(edges, instants, area)) / np.diff(edges)
    first = np.maximum(instants.searchsorted(edges[:-1], side="right") - 1, 0)
    last = np.maximum(instants.searchsorted(edges[1:], side="left"), first + 1)
    parts = [held[begin:end] for begin, end in zip(first, last, strict=True)]
    middle = ((edges[:-1] + edges[1:]) / 2).astype(np.int64).astype(times.dtype)
    low = np.array([part.min() for part in parts])
    return middle, mean, low, np.array([part.max() for part in parts])


def draw_position(axes: Axes, result: RunResult) -> None:
    """Draw the position in each instrument, as the venue has it."""
    instruments = [name[4:] for name in result.equity.columns if name.startswith("mid:")]
    single, note = len(instruments) == 1, "held at the venue"
    colors = cycle((BLUE, ORANGE, TEAL, RED))
    for name, color in zip(instruments, colors, strict=False):
        times, held = position_steps(result, name)
        if len(times) > _MOST_STEPS:
            middle, mean, low, high = position_bands(times, held, _SLOTS)
            axes.fill_between(middle, low, high, color=color, alpha=0.13, lw=0)
            axes.plot(middle, mean, color=color, lw=1, label=name)
            note = "held at the venue: mean, least and largest"
            continue
        axes.step(times, held, where="post", color=color, lw=1, label=name)
        if single:
            axes.fill_between(times, held, step="post", color=color, alpha=0.13, lw=0)
    axes.axhline(0, color=GREY, lw=0.7)
    axes.set_ylabel("base units")
    titled(axes, "Position", note)
    if not single:
        axes.legend(loc="best", ncols=min(4, len(instruments)))
    time_axis(axes)
