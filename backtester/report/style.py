"""One look for every picture."""

from __future__ import annotations

from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes

__all__ = ["BLUE", "GREY", "INK", "ORANGE", "RED", "TEAL", "look", "titled"]

INK: Final = "#1c2733"
GREY: Final = "#8a97a5"
BLUE: Final = "#2a6fbb"
TEAL: Final = "#12876f"
RED: Final = "#c8413b"
ORANGE: Final = "#d9822b"

_SETTINGS: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": "#c9d1d9",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8ecf0",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": "#5b6875",
    "ytick.color": "#5b6875",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "timezone": "UTC",
}


def look() -> Any:
    """Return a context in which everything is drawn our way."""
    settings: Any = _SETTINGS  # matplotlib's stubs want literal keys
    return rc_context(settings)


def titled(axes: Axes, title: str, note: str = "") -> None:
    """Give axes a title at the left and a quieter note at the right."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    if note:
        axes.set_title(note, loc="right", fontsize=8, color=GREY)
