"""Numbers about a result: pure functions of columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = [
    "annualised_ratio",
    "block_bootstrap",
    "correlation",
    "drawdown",
    "information_coefficient",
    "paired_drop",
    "quantiles_ms",
]

YEAR_NS = 365 * 86_400 * 1_000_000_000
"""Markets here never close: a year is 365 days."""

MIN_PAIRS = 10
"""Fewest pairs for which a correlation is reported."""

MIN_BLOCKS = 10
"""Fewest blocks for which an interval is: with one block all resamples are the same."""


def quantiles_ms(durations_ns: np.ndarray) -> dict[str, float | None]:
    """Return p50, p95 and p99 of durations, in ms; None when there are none."""
    if not len(durations_ns):
        return {"p50": None, "p95": None, "p99": None}
    points = np.quantile(durations_ns, [0.5, 0.95, 0.99]) / 1e6
    return {name: round(float(p), 6) for name, p in zip(("p50", "p95", "p99"), points, strict=True)}


def drawdown(equity: np.ndarray) -> np.ndarray:
    """Return how far each value lies below the highest before it, in the same currency, ≥ 0."""
    if not len(equity):
        return equity
    return np.maximum.accumulate(equity) - equity


def annualised_ratio(equity: np.ndarray, period_ns: int, *, downside: bool = False) -> float | None:
    """Return the annualised Sharpe ratio of an equity curve, risk-free rate zero.

    Mean over standard deviation (n - 1) of the simple returns between samples, times the square
    root of samples a year. With `downside` the deviation is the root mean square of the losses
    alone (Sortino & Price 1994, target zero).

    Args:
        equity: Shape (n,), sampled at a regular period.
        period_ns: That period.
        downside: Sortino's ratio instead of Sharpe's.

    Returns:
        The ratio, or None where it is undefined: fewer than three samples, no variation, or an
        equity that is not positive.
    """
    if len(equity) < 3 or (equity[:-1] <= 0).any():
        return None
    returns = np.diff(equity) / equity[:-1]
    if downside:
        spread = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    else:
        spread = float(np.std(returns, ddof=1))
    if spread == 0:
        return None
    return float(np.mean(returns)) / spread * math.sqrt(YEAR_NS / period_ns)


def correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Pearson's correlation of the pairs that are both finite, None where undefined."""
    both = np.isfinite(first) & np.isfinite(second)
    x, y = first[both], second[both]
    if len(x) < MIN_PAIRS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    # scaled, so that no square leaves the range of floats
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    return max(-1.0, min(1.0, float(x @ y) / scale)) if scale else None


def block_bootstrap(
    columns: np.ndarray, statistic: Any, block: int, resamples: int, seed: int
) -> np.ndarray:
    """Return a statistic of moving-block resamples (Künsch 1989).

    Overlapping labels make neighbours dependent; whole blocks keep that dependence.

    Args:
        columns: Shape (n, k), rows in order of time.
        statistic: Maps such a table to a number.
        block: Rows a block; at least the horizon's worth of them.
        resamples: How many.
        seed: Of the resampling.

    Returns:
        Shape (resamples,), without the undefined ones.
    """
    size = len(columns)
    block = max(1, min(block, size))
    generator = np.random.Generator(np.random.Philox(seed))
    count = -(-size // block)
    found = []
    for _ in range(resamples):
        starts = generator.integers(0, size - block + 1, count)
        rows = (starts[:, None] + np.arange(block)).ravel()[:size]
        value = statistic(columns[rows])
        if value is not None:
            found.append(value)
    return np.array(found)


def horizon_rows(times: np.ndarray, horizon_ns: int) -> int:
    """Return how many rows a block needs to span twice the horizon, at the mean rate."""
    if len(times) < 2 or times[-1] <= times[0]:
        return 1
    rate = (len(times) - 1) / float(times[-1] - times[0])
    return max(1, math.ceil(2 * horizon_ns * rate))


def information_coefficient(
    predicted: np.ndarray,
    realised: np.ndarray,
    times: np.ndarray,
    horizon_ns: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the correlation of predictions with what came true, and its 95 % interval.

    Args:
        predicted: Shape (n,), in order of time.
        realised: Shape (n,), NaN where the horizon was not reached.
        times: Shape (n,), instants at which the predictions became visible.
        horizon_ns: The label's lookahead; blocks of the bootstrap span twice of it.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The coefficient and the interval; None where there are too few pairs, and no interval where
        they fill fewer than ten blocks.
    """
    whole = correlation(predicted, realised)
    if whole is None:
        return None, None
    both = np.isfinite(predicted) & np.isfinite(realised)
    table = np.column_stack([predicted[both], realised[both]])
    block = horizon_rows(times[both], horizon_ns)
    return whole, _interval(table, _coefficient, block, resamples, seed)


def paired_drop(
    predicted: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    times: np.ndarray,
    horizon_ns: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float | None, tuple[float, float] | None]:
    """Return how much the coefficient falls between two latencies on the same rows.

    Args:
        predicted: Shape (n,), the same predictions in both runs.
        before: Shape (n,), what came true from the first run's visible instants.
        after: Shape (n,), from the second's.
        times: Shape (n,), in order.
        horizon_ns: The label's lookahead.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The drop (first less second) and its 95 % interval from paired resamples; None as in
        `information_coefficient`.
    """
    both = np.isfinite(predicted) & np.isfinite(before) & np.isfinite(after)
    table = np.column_stack([predicted[both], before[both], after[both]])
    whole = _drop(table)
    if whole is None:
        return None, None
    block = horizon_rows(times[both], horizon_ns)
    return whole, _interval(table, _drop, block, resamples, seed)


def _interval(
    table: np.ndarray, statistic: Any, block: int, resamples: int, seed: int
) -> tuple[float, float] | None:
    if len(table) < MIN_BLOCKS * block:
        return None
    found = block_bootstrap(table, statistic, block, resamples, seed)
    if len(found) < resamples // 2:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _coefficient(table: np.ndarray) -> float | None:
    return correlation(table[:, 0], table[:, 1])


def _drop(table: np.ndarray) -> float | None:
    first = correlation(table[:, 0], table[:, 1])
    second = correlation(table[:, 0], table[:, 2])
    return None if first is None or second is None else first - second
