"""The clock that recorded a file, held against the venue's: an offset that drifts.

No message arrives before it is sent, so the smallest `receipt - event` of a while tells the
offset of the two clocks plus the smallest feed latency, and only their sum. The smallest latency
is therefore stated by the user. The fit knows the whole file: it is a calibration, which a live
system would have had to learn from the past.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from featurizer.market import Array

__all__ = ["KNOT_NS", "ClockCalibration", "fit_clock"]

KNOT_NS: Final = 30_000_000_000
"""Time between two knots of the envelope."""


@dataclass(frozen=True, slots=True)
class ClockCalibration:
    """What is added to each `receipt_time`, and how well it fits.

    Attributes:
        method: `constant`, or `lower envelope`.
        knots: Receipt stamps as recorded, at which the offset is given; between them it is
            linear, outside it is held.
        offsets_ns: The offset at each knot.
        min_feed_latency_ns: The smallest feed latency, as stated by the user.
        drift_ppm: Slope of the offset, in millionths, by least squares over the knots.
        residual_ns: How far above the envelope the fastest message between two neighbouring
            knots stays: median and max. Noise of the fit, part of every latency.
    """

    method: str
    knots: tuple[int, ...]
    offsets_ns: tuple[int, ...]
    min_feed_latency_ns: int = 0
    drift_ppm: float = 0.0
    residual_ns: tuple[int, int] = (0, 0)

    def apply(self, receipt: Array) -> Array:
        """Return receipt stamps by the venue's clock. Shape (n,), in the order given."""
        first = self.knots[0]
        at = np.asarray(self.knots, np.int64) - first
        shift = np.interp(receipt - first, at, np.asarray(self.offsets_ns, np.int64))
        return receipt + np.rint(shift).astype(np.int64)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for the catalog."""
        return asdict(self)


def fit_clock(event: Array, receipt: Array, min_feed_latency_ns: int) -> ClockCalibration:
    """Fit a piecewise-linear lower envelope to `receipt - event`.

    After it is applied the latency of every record is at least `min_feed_latency_ns`, and of
    the fastest ones about that.

    Args:
        event: Shape (n,), ns by the venue's clock.
        receipt: Shape (n,), ns by the recording clock.
        min_feed_latency_ns: What to take for the smallest feed latency.
    """
    first, last = int(receipt.min()), int(receipt.max())
    pieces = max(1, round((last - first) / KNOT_NS))
    at = np.linspace(0, last - first, pieces + 1)
    x = (receipt - first).astype(np.float64)
    gap = receipt - event
    base = int(gap.min())
    y = (gap - base).astype(np.float64)
    piece = np.clip(np.searchsorted(at, x, side="right") - 1, 0, pieces - 1)
    slope = _slope(x, y, piece, pieces)
    flat = y - slope * x
    lowest = _lowest(flat, piece, pieces)
    # a knot is as low as the lower of its two pieces: a line between two knots then stays below
    # every record of the piece
    knots = np.minimum(np.append(lowest, np.inf), np.append(np.inf, lowest))
    above = lowest - (knots[:-1] + knots[1:]) / 2
    envelope = knots + slope * at
    # rounding may lift the line by one nanosecond, the second covers that of the slope
    offsets = min_feed_latency_ns - base - np.floor(envelope).astype(np.int64) + 2
    return ClockCalibration(
        method="lower envelope",
        knots=tuple(int(k) + first for k in np.rint(at)),
        offsets_ns=tuple(int(offset) for offset in offsets),
        min_feed_latency_ns=min_feed_latency_ns,
        drift_ppm=round(-slope * 1e6, 3),
        residual_ns=(int(np.median(above)), int(above.max())),
    )


def _slope(x: Array, y: Array, piece: Array, pieces: int) -> float:
    lowest = _lowest(y, piece, pieces)
    known = np.flatnonzero(np.isfinite(lowest))
    if len(known) < 3:
        return 0.0
    middle = (known + 0.5) * (x.max() / pieces)
    return float(np.polyfit(middle, lowest[known], 1)[0])


def _lowest(values: Array, piece: Array, pieces: int) -> Array:
    lowest = np.full(pieces, np.inf)
    np.minimum.at(lowest, piece, values)
    # a piece in which nothing arrived says nothing: it takes over its left neighbour, or the
    # first that knows
    known = np.flatnonzero(np.isfinite(lowest))
    return lowest[known[np.maximum(np.searchsorted(known, np.arange(pieces), "right") - 1, 0)]]
