"""Moves from one update to the next."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel, readonly

__all__ = ["SquaredReturns"]


class SquaredReturns:
    """The squared log return of each update on the one before.

    NaN for the first update. An update that is not a positive number is left out: its own value is
    NaN, and the next one is compared with the last before it.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = np.full(1, np.nan)

    def scan(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the squares for some more values. Shape (n,), read-only, as is the result."""
        squares = np.empty(len(values))
        _scan(values, self._last, squares)
        return readonly(squares)


@kernel
def _scan(values: NDArray[Any], last: NDArray[Any], squares: NDArray[Any]) -> None:
    # first the ratios of what has changed, without a turn; then their logarithms
    before, count = last[0], 0
    changed = np.empty(len(values), np.int64)
    for i in range(len(values)):
        x = values[i]
        valid = (x > 0.0) & (x < np.inf)
        changed[count] = i
        count += int(valid & (x != before))
        squares[i] = 0.0 if x == before else (x / before if valid else np.nan)
        before = x if valid else before
    for k in range(count):
        move = math.log(squares[changed[k]])
        squares[changed[k]] = move * move
    last[0] = before
