"""Quantiles, their errors, the noise floor beside them, and what may be concluded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.latency import Uniform
from clock.sampler import Sampler

__all__ = [
    "BOUNDS",
    "QUANTILES",
    "Verdict",
    "bootstrap_errors",
    "noise_floor",
    "quantile",
    "signed_error",
    "verdict",
]

Floats = NDArray[np.float64]

QUANTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

BOUNDS: Final = {"p50": 0.05, "p95": 0.10, "p99": 0.15}
"""The largest error of each quantile with which a cell passes, as a share of the real one."""

BLOCK: Final = 50
"""Requests in a row that a bootstrap draws together: neighbours wait for one another."""

Verdict = Literal["pass", "fail", "inconclusive"]


def quantile(latency: Floats, share: float) -> float:
    """Return the smallest latency that a share of the requests does not exceed.

    >>> quantile(np.array([4.0, 1.0, 3.0, 2.0]), 0.5)
    2.0
    """
    place = max(math.ceil(share * len(latency)), 1) - 1
    return float(np.partition(latency, place)[place])


def signed_error(simulated: float, real: float) -> float:
    """Return by which share of the real number the simulated one is too large.

    Infinite where the one is and the other is not; 0 where both are.
    """
    if math.isinf(simulated) or math.isinf(real):
        return 0.0 if simulated == real else math.inf if math.isinf(simulated) else -1.0
    return (simulated - real) / real


def noise_floor(pairs: Sequence[tuple[Floats, Floats]], share: float) -> float:
    """Return how far two real runs of the same trace lie apart, in the median over pairs.

    Of each pair: the difference of the quantiles as a share of their mean.
    """
    apart = []
    for first, second in pairs:
        a, b = quantile(first, share), quantile(second, share)
        if math.isinf(a) or math.isinf(b):
            apart.append(0.0 if a == b else math.inf)
        else:
            apart.append(abs(b - a) / ((a + b) / 2))
    return float(np.median(apart)) if apart else math.inf


def verdict(error: float, floor: float, bound: float) -> Verdict:
    """Say what an error means where real runs differ by a floor from each other."""
    if not floor <= bound:
        return "inconclusive"
    return "pass" if abs(error) <= bound else "fail"


class Interval(NamedTuple):
    """The middle 95 % of what resampling gave."""

    low: float
    high: float


def bootstrap_errors(
    traces: Sequence[tuple[Sequence[Floats], Sequence[Floats]]],
    share: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
    block: int = BLOCK,
) -> Interval:
    """Return an interval of the signed error of a quantile, by a paired block bootstrap.

    Blocks of consecutive requests of the traces are drawn with replacement; a block brings what
    all runs of its trace, real and simulated, made of these requests. So what the arrivals did is
    in both, and cancels.

    Args:
        traces: For each trace its real runs and its simulated runs, each a latency a request.
        share: Which quantile.
        resamples: How many draws of all blocks.
        seed: Draws are the same for the same seed.
        block: Requests in a block.
    """
    real, simulated, blocks = _in_blocks(traces, block)
    part = Uniform.model_construct(low=0, high=1 << 40)
    drawn = Sampler(part, seed, "measure/bootstrap").draw_many(0, np.arange(resamples * blocks))
    chosen = (np.minimum(drawn, (1 << 40) - 1) * blocks >> 40).reshape(resamples, blocks)
    errors = []
    for row in chosen:
        weight = np.bincount(row, minlength=blocks)
        errors.append(
            signed_error(_weighted(simulated, weight, share), _weighted(real, weight, share))
        )
    low, high = (quantile(np.array(errors), part) for part in (0.025, 0.975))
    return Interval(low, high)


class _Sorted(NamedTuple):
    latency: Floats
    block: NDArray[np.int64]


def _in_blocks(
    traces: Sequence[tuple[Sequence[Floats], Sequence[Floats]]], block: int
) -> tuple[_Sorted, _Sorted, int]:
    """Return all real and all simulated latencies, sorted, each with its block's number."""
    sides: list[list[tuple[Floats, NDArray[np.int64]]]] = [[], []]
    first = 0
    for both in traces:
        count = max(len(run) for runs in both for run in runs)
        for side, runs in zip(sides, both, strict=True):
            side += [(run, first + np.arange(len(run)) // block) for run in runs]
        first += -(-count // block)
    real, simulated = (_sorted(side) for side in sides)
    return real, simulated, first


def _sorted(side: list[tuple[Floats, NDArray[np.int64]]]) -> _Sorted:
    latency = np.concatenate([run for run, _ in side])
    block = np.concatenate([places for _, places in side])
    order = np.argsort(latency, kind="stable")
    return _Sorted(latency[order], block[order])


def _weighted(side: _Sorted, weight: NDArray[np.int64], share: float) -> float:
    """Return the quantile of a side of which each block counts so many times."""
    reached = np.cumsum(weight[side.block])
    place = int(np.searchsorted(reached, max(math.ceil(share * reached[-1]), 1)))
    return float(side.latency[place])
