"""Natural logarithms of many ratios near one, such as those of successive prices.

A call of the C library for each number forbids a processor to work on several at once. What it
does near one is short enough to stand here: the polynomial of Arm's optimized routines (MIT
licence), which glibc uses, step by step with the same fused multiplications. So the bits are those
of glibc on a processor that fuses them, and the same on every other processor.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from clock.compiled import inlined_kernel, kernel

__all__ = ["take_logs"]

_BLOCK: Final = 1024
_LEAST: Final = 1.0 - 1.0 / 16.0
_BEYOND: Final = float.fromhex("0x1.109p0")
"""The polynomial holds from the least to what lies just below this."""

_B0, _B1, _B2, _B3, _B4, _B5, _B6, _B7, _B8, _B9, _B10 = map(
    float.fromhex,
    (
        "-0x1p-1",
        "0x1.5555555555577p-2",
        "-0x1.ffffffffffdcbp-3",
        "0x1.999999995dd0cp-3",
        "-0x1.55555556745a7p-3",
        "0x1.24924a344de30p-3",
        "-0x1.fffffa4423d65p-4",
        "0x1.c7184282ad6cap-4",
        "-0x1.999eb43b068ffp-4",
        "0x1.78182f7afd085p-4",
        "-0x1.5521375d145cdp-4",
    ),
)
_SPLIT: Final = float(2**27)


@intrinsic
def _fused(_: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def built(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), built


@inlined_kernel
def _log_near_one(x: float) -> float:
    r = x - 1.0
    r2 = r * r
    r3 = r * r2
    low = _fused(r2, _B3, _fused(r, _B2, _B1))
    middle = _fused(r2, _B6, _fused(r, _B5, _B4))
    high = _fused(r3, _B10, _fused(r2, _B9, _fused(r, _B8, _B7)))
    tail = _fused(_fused(high, r3, middle), r3, low)
    # the first two terms, r - r * r / 2, in two parts
    rounded = _fused(-_SPLIT, r, _fused(r, _SPLIT, r))
    square = rounded * rounded
    first = _fused(square, _B0, r)
    rest = _fused(square, _B0, r - first)
    rest = _fused(_B0 * (r - rounded), r + rounded, rest)
    return first + _fused(tail, r3, rest)


@kernel
def take_logs(ratios: NDArray[Any]) -> None:
    """Put the logarithm in the place of each ratio; NaN in that of NaN."""
    for begin in range(0, len(ratios), _BLOCK):
        block = ratios[begin : begin + _BLOCK]
        far = 0
        for j in range(len(block)):
            far += int(not ((block[j] >= _LEAST) & (block[j] < _BEYOND)))
        if far == 0:
            for j in range(len(block)):
                block[j] = _log_near_one(block[j])
            continue
        for j in range(len(block)):
            x = block[j]
            if (x >= _LEAST) & (x < _BEYOND):
                block[j] = _log_near_one(x)
            else:
                block[j] = math.log(x) if x == x else np.nan
