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
from clock.units import format_duration, format_instant, parse_instant

__all__ = ["draw_chain"]

_Leg = tuple[str, str, str, str]
_Lane = tuple[str, str, dict[str, Any]]
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
_POINTS = {"decision": "decided_at", "prediction": "visible_at", "timer": "decided_at"}


def draw_chain(chain: dict[str, Any], path: Path) -> None:
    """Draw a chain as a PNG: the decision at zero, what was behind it above, what came of it below.

    What is much older than the rest stands at the left edge, with its age.

    Args:
        chain: As made by `chain_of`.
        path: File to write; written under another name first, then renamed.
    """
    decided = parse_instant(chain["order"]["decided_at"])
    lanes = _lanes(chain)
    with look():
        figure = Figure(figsize=(11, 1.3 + 0.34 * len(lanes)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        left, right = _limits(lanes, decided)
        axes.set_xlim(left, right)
        for place, (kind, _, content) in enumerate(lanes):
            _draw_lane(axes, place, kind, content, decided)
        axes.axvline(0, color=INK, lw=1)
        axes.set_yticks(range(len(lanes)), [label for _, label, _ in lanes])
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("ms from the decision")
        titled(axes, title_of(chain), f"decided at {format_instant(decided)}")
        handles, labels = axes.get_legend_handles_labels()
        own = dict(zip(labels, handles, strict=True))
        figure.legend(own.values(), own.keys(), loc="outside lower left", ncols=6)
        temporary = path.with_name(f".{path.name}.new")
        figure.savefig(temporary, dpi=110, format="png", facecolor="white")
        os.replace(temporary, path)


def _lanes(chain: dict[str, Any]) -> list[_Lane]:
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


def _limits(lanes: list[_Lane], decided: int) -> tuple[float, float]:
    """Return the ends of the axis: all but the records, and of those the newest."""
    spans = [(kind, _ends(kind, content, decided)) for kind, _, content in lanes]
    shown = [ends for kind, ends in spans if kind != "record" and ends]
    records = [ends for kind, ends in spans if kind == "record" and ends]
    shown += sorted(records, key=lambda ends: ends[-1])[-1:]
    left, right = min(min(ends) for ends in shown), max(max(ends) for ends in shown)
    width = max(right - left, 1e-3)
    return left - 0.15 * width, right + 0.12 * width


def _ends(kind: str, content: dict[str, Any], decided: int) -> list[float]:
    """Return the stamps of a lane, in ms from the decision."""
    stamps = [name for first, last, *_ in _LEGS.get(kind, ()) for name in (first, last)]
    names = stamps or [_POINTS[kind]]
    return [_ms(content[name], decided) for name in names if name in content]


def _draw_lane(axes: Axes, place: int, kind: str, content: dict[str, Any], decided: int) -> None:
    ends = _ends(kind, content, decided)
    if not ends:
        return
    left, right = axes.get_xlim()
    if max(ends) < left:
        age = format_duration(round(-max(ends) * 1e6))
        told = f"\N{BLACK LEFT-POINTING SMALL TRIANGLE} {age} before"
        axes.text(left + 0.006 * (right - left), place, told, va="center", fontsize=8, color=GREY)
        return
    for first, last, color, what in _LEGS.get(kind, ()):
        if first in content and last in content:
            begin, end = (_ms(content[name], decided) for name in (first, last))
            if end > begin:
                axes.barh(place, end - begin, left=begin, height=0.5, color=color, label=what)
    size = 40 if kind == "decision" else 14
    axes.scatter(ends, [place] * len(ends), s=size, color=INK, zorder=3, linewidths=0)
    if max(ends) > min(ends):
        told = f"{max(ends) - min(ends):.3g} ms"
        note: dict[str, Any] = {
            "textcoords": "offset points",
            "va": "center",
            "fontsize": 8,
            "color": GREY,
        }
        axes.annotate(told, (max(ends), place), (7, 0), **note)


def _ms(instant: str, decided: int) -> float:
    return (parse_instant(instant) - decided) / 1e6
