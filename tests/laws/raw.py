"""What could be known when, straight from the raw records of a case: no stamp of ours is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from clock.units import parse_duration
from tests.reference.case import Case
from tests.reference.features import MISSING, Definitions, Seen
from tests.reference.scenario import KIND_NUMBERS

Place = tuple[int, int, tuple[int, ...]]
"""An instant, a rank and a key: a place in the published order of time."""


class RawRow(NamedTuple):
    """A feature row recomputed from the records received by its instant."""

    emitted_at: int
    visible_at: int
    event_time: int
    tie: int
    values: tuple[float, ...]


def received(case: Case) -> list[tuple[Place, Seen]]:
    """Return the records that reach us during the run, in the total order of section 3."""
    scenario = case.scenario
    ids = [instrument.id for instrument in scenario.instruments]
    order = []
    for (name, kind), rows in case.records.items():
        for row in rows:
            if scenario.start <= row["receipt_time"] < scenario.until:
                key = (ids.index(name), KIND_NUMBERS[kind], row["sequence"])
                order.append(((row["receipt_time"], 3, key), Seen(name, kind, row)))
    return sorted(order, key=lambda item: item[0])


def feature_rows(case: Case) -> list[RawRow]:
    """Return the rows that become visible, each from the records that may be behind it."""
    scenario = case.scenario
    features = scenario.features
    assert features is not None
    definitions = Definitions(features, [instrument.id for instrument in scenario.instruments])
    rows: list[RawRow] = []
    for emitted_at, seen in _emissions(case, definitions):
        if emitted_at + features.compute_latency >= scenario.until:
            continue
        rows.append(
            RawRow(
                emitted_at,
                emitted_at + features.compute_latency,
                max((record.row["event_time"] for record in seen), default=MISSING),
                sum(row.emitted_at == emitted_at for row in rows),
                tuple(definitions.value(f, seen, emitted_at) for f in features.columns),
            )
        )
    return rows


def _emissions(case: Case, definitions: Definitions) -> Iterator[tuple[int, list[Seen]]]:
    features = case.scenario.features
    assert features is not None
    trigger = features.sampling if isinstance(features.sampling, tuple) else None
    streams = {definitions.reads(feature) for feature in features.columns} | {trigger}
    seen = [s for _, s in received(case) if (s.instrument, s.kind) in streams]
    if isinstance(features.sampling, int):
        period = features.sampling
        for instant in range(-(-case.scenario.start // period) * period, case.until, period):
            yield instant, [s for s in seen if s.receipt_time <= instant]
        return
    for count, record in enumerate(seen, start=1):
        if trigger is None or (record.instrument, record.kind) == trigger:
            yield record.receipt_time, seen[:count]


def venue_quote(case: Case, instrument: str, now: int) -> dict[str, Any] | None:
    """Return the quote that stands at the venue at an instant: the last that happened by then."""
    happened = [
        row
        for row in case.records.get((instrument, "quotes"), [])
        if case.scenario.start <= row["event_time"] <= now
    ]
    return max(happened, key=lambda row: (row["event_time"], row["sequence"]), default=None)


def least(latency: Any) -> int:
    """Return the shortest duration that a latency of a case can draw."""
    if isinstance(latency, dict):
        return parse_duration(latency["low"]) if latency["kind"] == "uniform" else 0
    return parse_duration(latency)


def least_inference(case: Case) -> int:
    """Return the shortest time from a request's sending to its answer."""
    config = case.mapping["inference_config"]
    network = config["network"]
    return sum(
        map(least, (config["service_time"], config["latency"], network["out"], network["back"]))
    )
