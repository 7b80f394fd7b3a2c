"""How unusual a value is among those before it."""

from __future__ import annotations

import math
from collections.abc import Collection

__all__ = ["z_score"]

_ROUNDING = 1e-12


def z_score(value: float, among: Collection[float]) -> float | None:
    """Return how many standard deviations a value lies from the mean, None where all are the same.

    The deviation divides by the count; one that is no more than rounding counts as none.

    >>> z_score(3.0, [1.0, 1.0, 3.0, 3.0]), z_score(0.1, [0.1, 0.1, 0.1])
    (1.0, None)
    """
    mean = math.fsum(among) / len(among)
    variance = math.fsum((each - mean) ** 2 for each in among) / len(among)
    deviation = math.sqrt(variance)
    return (value - mean) / deviation if deviation > _ROUNDING * abs(mean) else None
