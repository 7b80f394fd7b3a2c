"""The kernels that draw latencies: one specification and one numba type for every model.

All arithmetic beyond the integers happens here and in `clock.elementary`, so that a draw alone has
the bits of the same draw in bulk.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clock.compiled import inlined_kernel, kernel
from clock.elementary import exp, log, normal_quantile, normal_quantile_alone
from clock.randomness import fold, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONSTANT, UNIFORM, LOGNORMAL, GAMMA, EMPIRICAL, INTERPOLATED, KEYED = range(7)


class LatencySpec(NamedTuple):
    """A latency model as arrays, all read-only; row *i* of each describes term *i* of a sum."""

    key: NDArray[np.uint64]
    """The stream's key, shape (1,)."""
    codes: NDArray[np.int64]
    """What each term is, shape (terms,)."""
    ranges: NDArray[np.int64]
    """The slice of the tables that each term reads, shape (terms, 2)."""
    params: NDArray[np.float64]
    """Two or three numbers a term, shape (terms, 3)."""
    instants: NDArray[np.int64]
    """Recorded instants, or sorted keys; zero where a term has none."""
    table: NDArray[np.int64]
    """Recorded latencies in nanoseconds."""


@kernel
def _gamma(key: np.uint64, d: float, boost: float) -> float:
    """Return a gamma draw of scale one by Marsaglia and Tsang, attempt *n* on sub-keys 2n, 2n+1.

    *boost* is one over the shape where that is below one, otherwise zero; its power of a uniform
    number takes a draw of shape + 1 down to the shape.
    """
    c = 1.0 / math.sqrt(9.0 * d)
    factor = 1.0
    if boost > 0.0:
        factor = exp(boost * log(uniform(fold(key, -1))))
    attempt = 0
    while True:
        z = normal_quantile_alone(uniform(fold(key, attempt)))
        u = uniform(fold(key, attempt + 1))
        attempt += 2
        v = 1.0 + c * z
        if v <= 0.0:
            continue
        v = v * v * v
        square = z * z
        # The first test only spares the logarithms: where it accepts, so does the second.
        if u < 1.0 - 0.0331 * square * square or log(u) < 0.5 * square + d * (1.0 - v + log(v)):
            return factor * d * v


@kernel
def _interpolate(spec: LatencySpec, first: int, last: int, instant: int) -> float:
    """Return the recorded latency at an instant; rows [first, last) hold the recording."""
    if instant <= spec.instants[first]:
        return float(spec.table[first])
    if instant >= spec.instants[last - 1]:
        return float(spec.table[last - 1])
    low, high = first, last - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if spec.instants[middle] <= instant:
            low = middle
        else:
            high = middle
    # Differences of instants first: as floats the instants themselves have steps of 238 ns.
    part = float(instant - spec.instants[low]) / float(spec.instants[high] - spec.instants[low])
    return float(spec.table[low]) + part * float(spec.table[high] - spec.table[low])


@inlined_kernel
def _rounded(value: float) -> int:
    return math.floor(value + 0.5)


@inlined_kernel
def _lognormal(key: np.uint64, median: float, sigma: float) -> int:
    return _rounded(median * exp(sigma * normal_quantile(uniform(key))))


@kernel
def _draw_formula(code: int, key: np.uint64, p0: float, p1: float, p2: float) -> int:
    """Return one draw of a term given by parameters; too large to slow down callers' compiling."""
    if code == LOGNORMAL:
        return _rounded(p0 * exp(p1 * normal_quantile_alone(uniform(key))))
    if code == UNIFORM:
        return _rounded(p0 + p1 * uniform(key))
    return _rounded(p0 * _gamma(key, p1, p2))


@kernel
def _draw_recorded(spec: LatencySpec, term: int, key: np.uint64, instant: int) -> int:
    """Return one draw of a term given by a recording."""
    first, last = spec.ranges[term, 0], spec.ranges[term, 1]
    if spec.codes[term] == EMPIRICAL:
        return spec.table[first + int(uniform(key) * float(last - first))]
    return _rounded(_interpolate(spec, first, last, instant))


@kernel
def _look_up(spec: LatencySpec, term: int, key: np.uint64) -> int:
    """Return the latency of a key; `instants` holds the keys, sorted. Zero for one not there."""
    low, high = spec.ranges[term, 0], spec.ranges[term, 1]
    wanted = np.int64(key)
    while low < high:
        middle = (low + high) >> 1
        if spec.instants[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    if low < spec.ranges[term, 1] and spec.instants[low] == wanted:
        return spec.table[low]
    return 0


@kernel
def draw_latency(spec: LatencySpec, instant: int, a: int, b: int, c: int, d: int) -> int:
    """Return one latency in nanoseconds for the thing identified by (a, b, c, d).

    Args:
        spec: The model, from `Sampler.spec`.
        instant: When the latency begins; only `interpolated` looks at it.
        a: First part of the identity; the order of the parts counts.
        b: Second part.
        c: Third part.
        d: Fourth part.
    """
    identity = fold(fold(fold(fold(spec.key[0], a), b), c), d)
    total = 0
    for term in range(spec.codes.shape[0]):
        code = spec.codes[term]
        if code == CONSTANT:
            total += spec.ranges[term, 0]
        elif code <= GAMMA:
            p0, p1, p2 = spec.params[term, 0], spec.params[term, 1], spec.params[term, 2]
            total += _draw_formula(code, fold(identity, term), p0, p1, p2)
        else:
            total += _draw_recorded(spec, term, fold(identity, term), instant)
    return total


@kernel
def fold_in(keys: NDArray[np.uint64], parts: NDArray[np.int64]) -> None:
    """Fold one part of the identity into every key; parts of length one stand for every row."""
    if len(parts) == 1:
        part = parts[0]
        for i in range(len(keys)):
            keys[i] = fold(keys[i], part)
    else:
        for i in range(len(keys)):
            keys[i] = fold(keys[i], parts[i])


@kernel
def add_draws(
    total: NDArray[np.int64],
    keys: NDArray[np.uint64],
    spec: LatencySpec,
    instants: NDArray[np.int64],
) -> None:
    """Add every term's draw to *total*: `draw_latency` turned inside out, so that it vectorises."""
    rows = len(total)
    step = int(len(instants) > 1)
    for term in range(len(spec.codes)):
        code = spec.codes[term]
        p0, p1 = spec.params[term, 0], spec.params[term, 1]
        if code == CONSTANT:
            fixed = spec.ranges[term, 0]
            for i in range(rows):
                total[i] += fixed
        elif code == LOGNORMAL:
            for i in range(rows):
                total[i] += _lognormal(fold(keys[i], term), p0, p1)
        elif code == UNIFORM:
            for i in range(rows):
                total[i] += _rounded(p0 + p1 * uniform(fold(keys[i], term)))
        elif code == GAMMA:
            p2 = spec.params[term, 2]
            for i in range(rows):
                total[i] += _draw_formula(code, fold(keys[i], term), p0, p1, p2)
        else:
            for i in range(rows):
                total[i] += _draw_recorded(spec, term, fold(keys[i], term), instants[i * step])
