"""What an ingest wrote, and what it did to the stamps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from clock.units import format_duration, format_instant
from featurizer.ingest.calibration import ClockCalibration
from featurizer.market import Array

__all__ = ["IngestReport", "latency_quantiles"]


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest wrote, and what it did to the stamps.

    Attributes:
        source: The file, or the first and how many more.
        instrument: Id of the instrument.
        rows: Records written, by kind.
        start: First `event_time`.
        end: Last `event_time`.
        latency_ns: p50, p95, p99 and max of `receipt_time - event_time` over the first kind.
        gaps: Lost messages that were accepted.
        calibration: How receipt stamps were moved; None where they were taken as they are.
        replaced: Records of the catalog that made place, by kind.
        remarks: What else a reader must know, as sentences.
    """

    source: str
    instrument: str
    rows: dict[str, int]
    start: int
    end: int
    latency_ns: dict[str, int]
    gaps: int = 0
    calibration: ClockCalibration | None = None
    replaced: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what happened, as sentences for the terminal."""
        counts = ", ".join(f"{count} {kind}" for kind, count in self.rows.items())
        span = f"{format_instant(self.start)} to {format_instant(self.end)}"
        text = [f"{self.source}: wrote {counts} of {self.instrument}, {span}."]
        if self.calibration is not None:
            text.append(_explain(self.calibration))
        shown = ", ".join(f"{name} {_ms(value)}" for name, value in self.latency_ns.items())
        text.append(f"Feed latency: {shown}.")
        if self.gaps:
            text.append(f"Accepted {self.gaps} gaps where messages were lost.")
        return text + self.remarks


def latency_quantiles(late: Array) -> dict[str, int]:
    """Return p50, p95, p99 and max of durations in ns. Shape (n,), n > 0."""
    values = np.quantile(late, (0.5, 0.95, 0.99, 1.0), method="nearest")
    return dict(zip(("p50", "p95", "p99", "max"), map(int, values), strict=True))


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.1f} ms"


def _explain(calibration: ClockCalibration) -> str:
    if calibration.method == "constant":
        return f"Moved every receipt by {format_duration(calibration.offsets_ns[0])}."
    offsets = calibration.offsets_ns
    return (
        f"Moved receipts by {_ms(offsets[0])} at the start to {_ms(offsets[-1])} at the end "
        f"({calibration.drift_ppm:+.1f} ppm): a lower envelope of receipt - event with "
        f"{len(offsets)} knots, {_ms(calibration.residual_ns[0])} (median) and "
        f"{_ms(calibration.residual_ns[1])} (max) below the fastest messages, plus a stated "
        f"minimum feed latency of {_ms(calibration.min_feed_latency_ns)}. This fit knows the whole "
        f"file; it is recorded in `calibration.json` of each stream."
    )
