"""How accurate a sliding variance is after millions of prices, against a fresh computation.

Prices around 60 000 in ticks of 0.1, with constant stretches and jumps. The fresh computation is
in whole ticks, by integers, so it has no rounding. Prints the largest error over
max(variance, tick²), which is to stay under 1e-9, and the time an update took.

    python benchmarks/window_accuracy.py --updates 10000000
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
from numpy.typing import NDArray

from clock.compiled import readonly
from featurizer.feature import Batch
from featurizer.operators.moments import WindowMoments

TICK = 0.1
CHUNK = 8192


def market(updates: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return instants and prices in ticks: steps, a constant stretch, and nine jumps."""
    draw = np.random.Generator(np.random.Philox(seed))
    steps = draw.integers(-2, 3, updates)
    steps[updates // 4 : updates // 3] = 0
    ticks = 600_000 + steps.cumsum()
    for jump in range(1, 10):
        ticks[jump * updates // 10 :] += 500 * (-1) ** jump * (1 + jump % 7)
    return draw.integers(0, 3, updates).cumsum(), ticks


def slid(
    times: NDArray[np.int64], prices: NDArray[np.float64], length: int
) -> tuple[NDArray[np.float64], float]:
    """Return the variance after every update, and the seconds that took."""
    operator = WindowMoments(length)
    none = readonly(np.empty(0, np.int64))
    found, spent = np.empty(len(times)), 0.0
    for begin in range(0, len(times), CHUNK):
        end = min(begin + CHUNK, len(times))
        picks = readonly(np.array([end - begin - 1]))
        batch = Batch(readonly(times[begin:end]), (), none, none, picks, True)
        values = readonly(prices[begin:end].reshape(1, -1))
        started = time.perf_counter()
        _, updates = operator.scan(values, batch)
        spent += time.perf_counter() - started
        found[begin:end] = updates.variance()
    return found, spent


def worst_error(
    times: NDArray[np.int64],
    ticks: NDArray[np.int64],
    variances: NDArray[np.float64],
    length: int,
) -> float:
    """Return the largest error over all updates, each window worked out by exact sums of ticks."""
    level = ticks - 600_000
    sums = np.concatenate([[0], level.cumsum()])
    squares = np.concatenate([[0], (level * level).cumsum()])
    ends = times.searchsorted(times, "right")
    last = ends == np.arange(1, len(times) + 1)  # where an instant is complete
    ends = ends[last]
    begins = times.searchsorted(times[last] - length, "right")
    n = ends - begins
    total, square = sums[ends] - sums[begins], squares[ends] - squares[begins]
    # int64 holds n * square up to windows of some million updates, long doubles the rest
    exact = np.longdouble(square) / n - (np.longdouble(total) / n) ** 2
    variance = np.asarray(exact * TICK * TICK, np.float64)
    known = ~np.isnan(variances[last])
    error = np.abs(variances[last] - variance) / np.maximum(variance, TICK * TICK)
    return float(error[known].max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    times, ticks = market(options.updates, seed=8)
    prices = ticks * TICK
    slid(times[:CHUNK], prices[:CHUNK], 100)  # compiles
    results = []
    for length in (100, 1_000, 100_000):
        variances, spent = slid(times, prices, length)
        results.append(
            {
                "updates": options.updates,
                "window": length,
                "worst_error": worst_error(times, ticks, variances, length),
                "ns_per_update": spent / options.updates * 1e9,
            }
        )
    if options.json:
        print(json.dumps(results))
    else:
        for result in results:
            print(result)
    sys.exit(any(result["worst_error"] > 1e-9 for result in results))


if __name__ == "__main__":
    main()
