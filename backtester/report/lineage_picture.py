"""The chain behind one order on an axis of time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from backtester.report.lineage_table import name_of, title_of
from backtester.report.style import BLUE, GREY, INK, ORANGE, RED, TEAL, look, titled
from clock.units import format_instant, parse_instant

__all__ = ["draw_chain"]

_Leg = tuple[str, str, str, str]
_MOST_LANES = 40

_LEGS: dict[str, tuple[_Leg, ...]] = {
    # from, to, colour, what it is
    "record": (("event_time", "receipt_time", GREY, "on the way to us"),),
    "row": (("emitted_at", "visible_at", TEAL, "computed"),),
    "request": (
        ("submitted_at", "sent_at", "#b9c3cd", "waits"),
        ("sent_at", "arrived_at", BLUE, "network"),
        ("arrived_at", "started_at", RED, "queue"),
        ("started_at", "completed_at", ORANGE, "service"),
        ("completed_at", "visible_at", BLUE, "network"),
    ),
    "report": (("event_time", "visible_at", BLUE, "network"),),
    "order": (
        ("decided_at", "sent_at", "#b9c3cd", "waits"),
        ("sent_at", "arrived_at", BLUE, "network"),
    ),
    "fill": (("venue_time", "visible_at", BLUE, "network"),),
}
_POINTS = {"decision": "decided_at", "prediction": "visible_at", "timer": ""}


def draw_chain(chain: dict[str, Any], path: Path) -> None:
    """Draw a chain as a PNG: the decision at zero, what was behind it above, what came of it below.

    Args:
        chain: As made by `chain_of`.
        path: File to write; written under another name first, then renamed.
    """
    decided = parse_instant(chain["order"]["decided_at"])
    lanes = _lanes(chain)
    with look():
        figure = Figure(figsize=(11, 1.5 + 0.34 * len(lanes)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for place, (kind, _, content) in enumerate(lanes):
            _draw_lane(axes, place, kind, content, decided)
        axes.axvline(0, color=INK, lw=1)
        axes.set_yticks(range(len(lanes)), [label for _, label, _ in lanes])
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.06)
        axes.set_xlabel("ms from the decision")
        titled(axes, title_of(chain), f"decided at {format_instant(decided)}")
        handles, labels = axes.get_legend_handles_labels()
        own = dict(zip(labels, handles, strict=True))
        axes.legend(
            own.values(),
            own.keys(),
            loc="upper left",
            bbox_to_anchor=(0, -0.12 if len(lanes) > 8 else -0.25),
            ncols=6,
        )
        temporary = path.with_name(f".{path.name}.new")
        figure.savefig(temporary, dpi=110, format="png", facecolor="white")
        os.replace(temporary, path)


def _lanes(chain: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return kind, label and stamps of each lane: causes before what they caused."""
    behind = [(one["link"], name_of(one), one) for one in reversed(chain["links"])]
    order = chain["order"]
    after = [("order", f"the order: {order['status']}", order)]
    after += [
        ("fill", f"fill: {fill['quantity']:g} at {fill['price']:g}", fill)
        for fill in chain["fills"]
    ]
    lanes = [lane for lane in behind if lane[0] != "timer"] + after
    if len(lanes) > _MOST_LANES:  # the oldest are left out, as the table tells them all
        lanes = lanes[len(lanes) - _MOST_LANES :]
    return lanes


def _draw_lane(axes: Axes, place: int, kind: str, content: dict[str, Any], decided: int) -> None:
    for first, last, color, what in _LEGS.get(kind, ()):
        if first in content and last in content:
            begin, end = (_ms(content[name], decided) for name in (first, last))
            if end > begin:
                axes.barh(place, end - begin, left=begin, height=0.5, color=color, label=what)
    stamps = [name for first, last, *_ in _LEGS.get(kind, ()) for name in (first, last)]
    stamps = stamps or [_POINTS[kind]]
    ends = [_ms(content[name], decided) for name in stamps if name in content]
    size = 40 if kind == "decision" else 14
    axes.scatter(ends, [place] * len(ends), s=size, color=INK, zorder=3, linewidths=0)


def _ms(instant: str, decided: int) -> float:
    return (parse_instant(instant) - decided) / 1e6
