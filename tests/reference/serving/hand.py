"""Builders for examples of the serving stack that are worked out on paper: instants in ms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clock.rank import Rank
from tests.reference.agenda import Agenda
from tests.reference.examples import MS
from tests.reference.features import FeatureRow
from tests.reference.loop import MISSING, Attempt, InferenceLoop, Request
from tests.reference.scenario import Loop

END = 100_000


def serve(
    asked: Sequence[float],
    *,
    predict: Any = None,
    instruments: Sequence[int] = (),
    values: Sequence[float] = (),
    until: float = END,
    watch: Callable[[InferenceLoop, Agenda], None] | None = None,
    **serving: Any,
) -> InferenceLoop:
    """Ask for rows that become visible at some instants, each with a place of its own.

    Args:
        asked: When, in ms.
        predict: The model; by default it answers with the only feature.
        instruments: What each row is of; by default all of the first.
        values: The feature of each row; by default 0, 1, 2, ...
        until: The end, in ms.
        watch: Called with the loop before it runs, to plan more.
        serving: The keys of a block in a scenario.
    """
    agenda = Agenda()
    agenda.now = 0
    serving = {"service_time": "10ms", **serving}
    loop = Loop(
        polling=serving.pop("polling", "on_feature"),
        max_in_flight=serving.pop("max_in_flight", 1000),
        on_new=serving.pop("on_new", "replace"),
        serving=serving,
    )
    names = ("COIN", "TOKEN")
    model = (lambda row: row[0]) if predict is None else predict
    client = InferenceLoop(agenda, loop, 0, 7, 0, ("x",), model, lambda request: None, names)
    ordinals: dict[float, int] = {}
    for number, at in enumerate(asked):
        instant = round(at * MS)
        tie = ordinals[at] = ordinals.get(at, -1) + 1
        value = float(values[number] if values else number)
        instrument = instruments[number] if instruments else 0
        row = FeatureRow(number, instant, instant, instant, tie, instrument, (value,))
        agenda.add(instant, Rank.FEATURE_ROW, (number,), lambda row=row: client.row_visible(row))
    if watch is not None:
        watch(client, agenda)
    agenda.run(round(until * MS))
    return client


def ms(instant: int) -> float | None:
    """Return an instant in ms, or None for one that was not reached."""
    return None if instant == MISSING else instant / MS


def stamps(of: Request | Attempt, *names: str) -> tuple[float | None, ...]:
    """Return some stamps of a request or an attempt in ms."""
    return tuple(ms(getattr(of, f"{name}_at")) for name in names)


def each(loop: InferenceLoop, *names: str) -> list[Any]:
    """Return some stamps of every request, by number; alone where only one is asked for."""
    rows = [stamps(request, *names) for request in loop.requests]
    return [row[0] for row in rows] if len(names) == 1 else rows


def ends(loop: InferenceLoop) -> list[tuple[str, float | None]]:
    """Return how and when every request ended, by number."""
    return [(request.outcome, ms(request.visible_at)) for request in loop.requests]
