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

STEPS: Final = 2000
"""Steps of the ranked latencies that a bootstrap tells apart: a twentieth of a per cent each."""

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
    weights = np.stack([np.bincount(row, minlength=blocks) for row in chosen]).astype(np.float64)
    made, measured = (_weighted(side, weights, share) for side in (simulated, real))
    errors = [signed_error(a, b) for a, b in zip(made.tolist(), measured.tolist(), strict=True)]
    low, high = (quantile(np.array(errors), part) for part in (0.025, 0.975))
    return Interval(low, high)


class _Ranked(NamedTuple):
    """Latencies of one side, rising, and how many requests of each block lie in each step."""

    latency: Floats
    counts: Floats


def _in_blocks(
    traces: Sequence[tuple[Sequence[Floats], Sequence[Floats]]], block: int
) -> tuple[_Ranked, _Ranked, int]:
    sides: list[list[tuple[Floats, NDArray[np.int64]]]] = [[], []]
    first = 0
    for both in traces:
        count = max(len(run) for runs in both for run in runs)
        for side, runs in zip(sides, both, strict=True):
            side += [(run, first + np.arange(len(run)) // block) for run in runs]
        first += -(-count // block)
    real, simulated = (_ranked(side, first) for side in sides)
    return real, simulated, first


def _ranked(side: list[tuple[Floats, NDArray[np.int64]]], blocks: int) -> _Ranked:
    latency = np.concatenate([run for run, _ in side])
    block = np.concatenate([places for _, places in side])
    order = np.argsort(latency, kind="stable")
    steps = min(len(latency), STEPS)
    step = np.arange(len(latency)) * steps // len(latency)
    counts = np.zeros((blocks, steps))
    np.add.at(counts, (block[order], step), 1.0)
    last = np.searchsorted(step, np.arange(steps), side="right") - 1
    return _Ranked(latency[order][last], counts)


def _weighted(side: _Ranked, weights: Floats, share: float) -> Floats:
    """Return the quantile of a side in each resample, of which a block counts so many times."""
    reached = np.cumsum(weights @ side.counts, axis=1)
    wanted = np.maximum(np.ceil(share * reached[:, -1:]), 1.0)
    return side.latency[(reached >= wanted).argmax(axis=1)]
