"""Sines and cosines, one by one: NumPy's differ in the last bit between one value and many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel, readonly

__all__ = ["waves"]


def waves(turns: NDArray[Any], cosine: bool) -> NDArray[Any]:
    """Return the sine (or cosine) of some shares of a full turn. Shape (n,), as is theirs."""
    heights = np.empty(len(turns))
    _scan(readonly(turns), cosine, heights)
    return heights


@kernel
def _scan(turns: NDArray[Any], cosine: bool, heights: NDArray[Any]) -> None:
    for i in range(len(turns)):
        angle = 2.0 * math.pi * turns[i]
        heights[i] = math.cos(angle) if cosine else math.sin(angle)
