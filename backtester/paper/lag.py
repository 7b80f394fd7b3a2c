"""How late things happened: a histogram of bounded size."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["LagMeter"]

_SUB_BITS = 4
_MS = 1_000_000


class LagMeter:
    """Counts delays in buckets that are a sixteenth of an octave wide, so that memory is bounded.

    Args:
        late_after_ns: A delay above this counts as late.

    >>> meter = LagMeter(late_after_ns=1_000_000)
    >>> for delay in (0, 100, 5_000_000): meter.note(delay)
    >>> meter.count, meter.late, meter.most_ns
    (3, 1, 5000000)
    """

    def __init__(self, late_after_ns: int) -> None:
        self.late_after_ns = late_after_ns
        self.count = self.late = self.most_ns = 0
        self._buckets: Counter[int] = Counter()

    def note(self, delay_ns: int) -> None:
        """Count a delay; a negative one is none."""
        self.count += 1
        if delay_ns > self.late_after_ns:
            self.late += 1
        if delay_ns > self.most_ns:
            self.most_ns = delay_ns
        shift = max(delay_ns.bit_length() - 1 - _SUB_BITS, 0)
        self._buckets[(shift << (_SUB_BITS + 1)) + (max(delay_ns, 0) >> shift)] += 1

    def quantile_ns(self, share: float) -> int:
        """Return the upper edge of the bucket that a quantile lies in, 0 where nothing was noted.

        >>> meter = LagMeter(0)
        >>> for delay in range(1000): meter.note(delay)
        >>> 500 <= meter.quantile_ns(0.5) <= 500 * 1.07
        True
        """
        wanted, seen = share * self.count, 0
        edges = {_upper(bucket): size for bucket, size in self._buckets.items()}
        for edge in sorted(edges):
            seen += edges[edge]
            if seen >= wanted:
                return min(edge, self.most_ns)
        return 0

    def numbers(self) -> dict[str, Any]:
        """Return the counts and quantiles as plain values, delays in ms."""
        return {
            "events": self.count,
            "late": self.late,
            "late_after_ms": self.late_after_ns / _MS,
            "p50_ms": round(self.quantile_ns(0.5) / _MS, 6),
            "p99_ms": round(self.quantile_ns(0.99) / _MS, 6),
            "max_ms": round(self.most_ns / _MS, 6),
        }


def _upper(bucket: int) -> int:
    shift, top = bucket >> (_SUB_BITS + 1), bucket & ((1 << (_SUB_BITS + 1)) - 1)
    return ((top + 1) << shift) - 1
