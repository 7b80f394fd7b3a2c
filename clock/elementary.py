"""Logarithm, exponential and normal quantile out of IEEE arithmetic alone.

The `log` and `exp` of `math`, NumPy and numba differ in their last bits, by library, by processor,
and by whether a loop was vectorised. These are made of additions, multiplications, divisions and
square roots, which IEEE 754 fixes to the bit: a draw is the same alone, in bulk, and elsewhere.
They have no branches, so that a loop over them vectorises (`log`, `exp`: 1 ns a value).
"""

from __future__ import annotations

import math

import numpy as np

from clock.compiled import inlined_kernel, kernel

_FRACTION = np.int64(0x000FFFFFFFFFFFFF)
_HALF = np.int64(0x3FE0000000000000)
_BITS = np.int64(52)
_LN2 = 0.6931471805599453
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10


@inlined_kernel
def _pick(condition: bool, yes: float, no: float) -> float:
    """Return one of two numbers by their bits: a conditional would come out as a branch."""
    mask = np.int64(0) - np.int64(condition)
    chosen = (np.float64(yes).view(np.int64) & mask) | (np.float64(no).view(np.int64) & ~mask)
    return np.int64(chosen).view(np.float64)


@inlined_kernel
def log(x: float) -> float:
    """Return the natural logarithm of a positive normal number, within 4e-16 of itself."""
    bits = np.float64(x).view(np.int64)
    mantissa = np.int64((bits & _FRACTION) | _HALF).view(np.float64)
    low = mantissa < 0.7071067811865476
    m = mantissa + mantissa if low else mantissa
    exponent = float((bits >> _BITS) - np.int64(1022)) - (1.0 if low else 0.0)
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    series = 1 / 17 + t * (1 / 19 + t * (1 / 21))
    series = 1 / 9 + t * (1 / 11 + t * (1 / 13 + t * (1 / 15 + t * series)))
    series = t * (1 / 3 + t * (1 / 5 + t * (1 / 7 + t * series)))
    return exponent * _LN2 + 2.0 * (s + s * series)


@inlined_kernel
def exp(x: float) -> float:
    """Return e to the power x for x up to 700, within 4e-16 of itself; below -700, that of -700."""
    y = -700.0 if x < -700.0 else x
    k = math.floor(y * 1.4426950408889634 + 0.5)
    r = (y - float(k) * _LN2_HIGH) - float(k) * _LN2_LOW
    # Even and odd powers apart: two short chains run side by side.
    t = r * r
    even = 1 / 40320 + t * (1 / 3628800 + t * (1 / 479001600))
    even = 1 / 2 + t * (1 / 24 + t * (1 / 720 + t * even))
    odd = 1 / 362880 + t * (1 / 39916800 + t * (1 / 6227020800))
    odd = 1 / 6 + t * (1 / 120 + t * (1 / 5040 + t * odd))
    power = np.int64((np.int64(k) + np.int64(1023)) << _BITS).view(np.float64)
    return (1.0 + (r + t * (even + r * odd))) * power


@inlined_kernel
def _central(q: float) -> tuple[float, float]:
    """Return top and bottom of the quantile's fraction for probabilities 0.5 + q, |q| <= 0.425."""
    t = 0.180625 - q * q
    top = 45921.953931549871457 + t * (67265.770927008700853
        + t * (33430.575583588128105 + t * 2509.0809287301226727))  # fmt: skip
    top = 3.387132872796366608 + t * (133.14166789178437745
        + t * (1971.5909503065514427 + t * (13731.693765509461125 + t * top)))  # fmt: skip
    bottom = 21213.794301586595867 + t * (39307.89580009271061
        + t * (28729.085735721942674 + t * 5226.495278852545925))  # fmt: skip
    bottom = 1.0 + t * (42.313330701600911252
        + t * (687.1870074920579083 + t * (5394.1960214247511077 + t * bottom)))  # fmt: skip
    return q * top, bottom


@inlined_kernel
def _tail(r: float) -> tuple[float, float]:
    """Return the fraction for the tail at r <= 5, the root of minus the tail's logarithm."""
    t = r - 1.6
    top = 1.27045825245236838258 + t * (0.24178072517745061177
        + t * (0.0227238449892691845833 + t * 7.7454501427834140764e-4))  # fmt: skip
    top = 1.42343711074968357734 + t * (4.6303378461565452959
        + t * (5.7694972214606914055 + t * (3.64784832476320460504 + t * top)))  # fmt: skip
    bottom = 0.14810397642748007459 + t * (0.0151986665636164571966
        + t * (5.475938084995344946e-4 + t * 1.05075007164441684324e-9))  # fmt: skip
    bottom = 1.0 + t * (2.05319162663775882187
        + t * (1.6763848301838038494 + t * (0.68976733498510000455 + t * bottom)))  # fmt: skip
    return top, bottom


@inlined_kernel
def _far_tail(r: float) -> tuple[float, float]:
    """Return the fraction for the tail at r > 5."""
    t = r - 5.0
    top = 0.026532189526576123093 + t * (0.0012426609473880784386
        + t * (2.71155556874348757815e-5 + t * 2.01033439929228813265e-7))  # fmt: skip
    top = 6.6579046435011037772 + t * (5.4637849111641143699
        + t * (1.7848265399172913358 + t * (0.29656057182850489123 + t * top)))  # fmt: skip
    bottom = 7.868691311456132591e-4 + t * (1.8463183175100546818e-5
        + t * (1.4215117583164458887e-7 + t * 2.04426310338993978564e-15))  # fmt: skip
    bottom = 1.0 + t * (0.59983220655588793769
        + t * (0.13692988092273580531 + t * (0.0148753612908506148525 + t * bottom)))  # fmt: skip
    return top, bottom


@inlined_kernel
def normal_quantile(p: float) -> float:
    """Return the standard normal quantile of 0 < p < 1: Wichura's algorithm AS 241.

    For loops: all three ranges of the algorithm are computed and one is picked, without a branch.
    """
    q = p - 0.5
    r = math.sqrt(-log(_pick(q < 0.0, p, 1.0 - p)))
    central_top, central_bottom = _central(q)
    tail_top, tail_bottom = _tail(r)
    far_top, far_bottom = _far_tail(r)
    top = _pick(r > 5.0, far_top, tail_top)
    bottom = _pick(r > 5.0, far_bottom, tail_bottom)
    central = abs(q) <= 0.425
    top = _pick(central, central_top, _pick(q < 0.0, -top, top))
    return top / _pick(central, central_bottom, bottom)


@kernel
def normal_quantile_alone(p: float) -> float:
    """Return `normal_quantile` to the bit, by branches: three times as fast outside such loops."""
    q = p - 0.5
    if abs(q) <= 0.425:
        top, bottom = _central(q)
        return top / bottom
    r = math.sqrt(-log(p if q < 0.0 else 1.0 - p))
    if r <= 5.0:
        top, bottom = _tail(r)
    else:
        top, bottom = _far_tail(r)
    return (-top if q < 0.0 else top) / bottom
