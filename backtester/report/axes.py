"""Instants on a picture's axis."""

from __future__ import annotations

from typing import Any

import matplotlib.dates as mdates
import numpy as np
import polars as pl
from matplotlib.axes import Axes

__all__ = ["as_times", "time_axis"]


def as_times(column: pl.Series) -> np.ndarray:
    """Return instants as matplotlib takes them: naive `datetime64`, read as UTC."""
    return column.dt.replace_time_zone(None).to_numpy()


def time_axis(axes: Axes, ticks: int = 8) -> None:
    """Label an axis of instants, the common part once."""
    dates: Any = mdates
    locator = dates.AutoDateLocator(maxticks=ticks)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
