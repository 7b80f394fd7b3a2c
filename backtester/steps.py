"""Whole steps as the floats that frames hold: each the nearest to the exact decimal."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Steps"]

_EXACT = 2**53
"""Whole numbers up to this are floats, and one division of two of them rounds once."""


class Steps:
    """A size of step, by which many whole numbers are multiplied at once.

    Args:
        size: Of one step.

    Example:
        >>> Steps(Decimal("0.1")).floats(np.array([3, 7])).tolist() == [0.3, 0.7]
        True
    """

    def __init__(self, size: Decimal | Fraction) -> None:
        exact = Fraction(size)
        self._numerator, self._denominator = exact.numerator, exact.denominator

    def floats(self, whole: NDArray[np.int64]) -> NDArray[Any]:
        """Return steps as floats. Shape (n,)."""
        if not len(whole):
            return np.empty(0)
        largest = max(abs(int(whole.min())), abs(int(whole.max()))) * self._numerator
        if largest <= _EXACT and self._denominator <= _EXACT:
            return (whole * self._numerator) / float(self._denominator)
        # Python divides whole numbers of any length with one rounding
        top, below = self._numerator, self._denominator
        return np.array([number * top / below for number in whole.tolist()])
