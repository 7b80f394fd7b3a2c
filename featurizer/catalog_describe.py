"""What a stream of a catalog holds: rows, range, the longest gap, feed latency."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from featurizer.catalog_parts import Part, PartReader
from featurizer.market import Array, Kind, StreamKey

__all__ = ["StreamSummary", "describe_stream"]

_SAMPLE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """What a stream holds.

    Attributes:
        instrument: Id of the instrument.
        kind: Name of the kind.
        rows: Number of records.
        parts: Number of Parquet files.
        size_bytes: Their size.
        start: First `event_time`.
        end: Last `event_time`.
        longest_gap_ns: Longest time between two neighbouring events.
        longest_gap_at: `event_time` at which it begins.
        latency_ns: `receipt_time - event_time`: p50, p95, p99, max. The quantiles come from
            every record of up to a million, of more from evenly spaced ones; max is exact.
        calibration: What was done to the stamps on ingest; empty where nothing was.
        columns: The kind's own columns and their types.
    """

    instrument: str
    kind: str
    rows: int
    parts: int
    size_bytes: int
    start: int
    end: int
    longest_gap_ns: int
    longest_gap_at: int
    latency_ns: dict[str, int]
    calibration: list[dict[str, Any]]
    columns: dict[str, str]


def describe_stream(
    key: StreamKey, parts: Sequence[Part], folder: Path, kind: Kind
) -> StreamSummary:
    """Return the summary of a stream that holds at least one part."""
    rows = sum(part.summary.rows for part in parts)
    stride = -(-rows // _SAMPLE)
    gap, gap_at, previous, seen = 0, parts[0].summary.first[0], None, 0
    samples: list[Array] = []
    for part in parts:
        reader = PartReader(part, ("event_time", "receipt_time"))
        for group in range(len(part.summary.groups)):
            columns = reader.read(group)
            event = columns["event_time"]
            samples.append((columns["receipt_time"] - event)[-seen % stride :: stride])
            seen += len(event)
            head = event[:1] if previous is None else np.array([previous])
            steps = np.diff(event, prepend=head)
            widest = int(steps.argmax())
            if steps[widest] > gap:
                gap = int(steps[widest])
                gap_at = int(event[widest]) - gap
            previous = int(event[-1])
        reader.close()
    quantiles = np.quantile(np.concatenate(samples), (0.5, 0.95, 0.99), method="nearest")
    latency = dict(zip(("p50", "p95", "p99"), (int(q) for q in quantiles), strict=True))
    latency["max"] = max(part.summary.max_lateness_ns for part in parts)
    notes = folder / "calibration.json"
    return StreamSummary(
        instrument=key[0],
        kind=key[1],
        rows=rows,
        parts=len(parts),
        size_bytes=sum(part.path.stat().st_size for part in parts),
        start=parts[0].summary.first[0],
        end=parts[-1].summary.last[0],
        longest_gap_ns=gap,
        longest_gap_at=gap_at,
        latency_ns=latency,
        calibration=json.loads(notes.read_text()) if notes.exists() else [],
        columns=dict(kind.columns),
    )
