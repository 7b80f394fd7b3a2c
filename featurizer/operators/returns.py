"""Moves from one update to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel, readonly
from featurizer.operators.logarithm import take_logs

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
    if len(values) == 0:
        return
    invalid = 0
    for i in range(len(values)):
        invalid += int(not ((values[i] > 0.0) & (values[i] < np.inf)))
    before = last[0]
    if invalid == 0:
        squares[0] = values[0] / before
        for i in range(1, len(values)):
            squares[i] = values[i] / values[i - 1]
        before = values[-1]
    else:
        for i in range(len(values)):
            x = values[i]
            valid = (x > 0.0) & (x < np.inf)
            squares[i] = x / before if valid else np.nan
            before = x if valid else before
    take_logs(squares)
    for i in range(len(values)):
        squares[i] *= squares[i]
    last[0] = before
