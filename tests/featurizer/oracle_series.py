"""Oracles of prices sampled on a grid and of two instruments; see `definition_oracles`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from tests.featurizer.oracle_records import MS, NAN, Series, World, closes, last, mids, seen

# -- a price sampled on a grid ---------------------------------------------------------------------


def sampled(series: Series, now: int, every: int) -> list[float]:
    known = [(t, x) for t, x in series if t <= now]
    return [last(known, close - 1) for close in closes(known[0][0], now, every)] if known else []


def exponential_volatility(world: World, now: int) -> float:
    prices = sampled(mids(world["quotes A"]), now, 2 * MS)
    squares = [math.log(b / a) ** 2 for a, b in pairwise(prices)]
    if not squares:
        return NAN
    n = len(squares)
    weights = [0.9 ** (n - 1)] + [0.1 * 0.9 ** (n - 1 - k) for k in range(1, n)]
    return math.sqrt(math.fsum(w * s for w, s in zip(weights, squares, strict=True)))


def wilder(values: list[float], periods: int) -> float:
    mean = sum(values[:periods]) / periods
    for value in values[periods:]:
        mean = (mean * (periods - 1) + value) / periods
    return mean


def rsi(world: World, now: int) -> float:
    prices = sampled(mids(world["quotes A"]), now, 2 * MS)
    moves = [b - a for a, b in pairwise(prices)]
    if len(moves) < 5:
        return NAN
    up = wilder([max(move, 0.0) for move in moves], 5)
    down = wilder([max(-move, 0.0) for move in moves], 5)
    if up == down == 0:
        return 50.0
    return 100.0 if down == 0 else 100 - 100 / (1 + up / down)


def ema(values: list[float], n: int) -> list[float]:
    """From the nth value on: the plain mean of n, then weight 2 / (n + 1)."""
    if len(values) < n:
        return []
    found = [sum(values[:n]) / n]
    for value in values[n:]:
        found.append(2 / (n + 1) * value + (1 - 2 / (n + 1)) * found[-1])
    return found


def macd(world: World, now: int) -> float:
    prices = sampled(mids(world["quotes A"]), now, 2 * MS)
    slow = ema(prices, 6)
    if not slow:
        return NAN
    line = [f - s for f, s in zip(ema(prices, 3)[-len(slow) :], slow, strict=True)]
    signal = ema(line, 4)
    return line[-1] - signal[-1] if signal else NAN


def bollinger(world: World, now: int) -> float:
    prices = sampled(mids(world["quotes A"]), now, 2 * MS)[-6:]
    if len(prices) < 6:
        return NAN
    mean = math.fsum(prices) / 6
    std = math.sqrt(math.fsum((price - mean) ** 2 for price in prices) / 6)
    if std == 0:
        return 0.5
    lower, upper = mean - 1.5 * std, mean + 1.5 * std
    return (prices[-1] - lower) / (upper - lower)


def atr(world: World, now: int) -> float:
    series = [(t, x) for t, x in mids(world["quotes A"]) if t <= now]
    ranges = []
    ends = closes(series[0][0], now, 4 * MS) if series else []
    for before, close in pairwise(ends):
        held = last(series, before - 1)
        made = [x for t, x in series if before <= t < close] or [held]
        ranges.append(max(max(made) - min(made), abs(max(made) - held), abs(min(made) - held)))
    return wilder(ranges, 3) if len(ranges) >= 3 else NAN


# -- two instruments -------------------------------------------------------------------------------


def two(formula: Callable[[float, float], float]) -> Callable[[World, int], float]:
    def oracle(world: World, now: int) -> float:
        return formula(last(mids(world["quotes A"]), now), last(mids(world["quotes B"]), now))

    return oracle


def lead_return(world: World, now: int, window: int = 9 * MS) -> float:
    def log_return(name: str) -> float:
        return math.log(last(mids(world[name]), now) / last(mids(world[name]), now - window))

    return log_return("quotes B") - log_return("quotes A")


def returns_of_two(world: World, now: int) -> list[tuple[float, float]]:
    a, b = mids(seen(world["quotes A"], now)), mids(seen(world["quotes B"], now))
    if not a or not b:
        return []
    prices = [
        (last(a, close - 1), last(b, close - 1))
        for close in closes(max(a[0][0], b[0][0]), now, 3 * MS)
    ]
    return [(math.log(x1 / x0), math.log(y1 / y0)) for (x0, y0), (x1, y1) in pairwise(prices)][-4:]


def sums_of_products(pairs: list[tuple[float, float]]) -> tuple[float, float, float]:
    mean_x = math.fsum(x for x, _ in pairs) / len(pairs)
    mean_y = math.fsum(y for _, y in pairs) / len(pairs)
    return (
        math.fsum((x - mean_x) ** 2 for x, _ in pairs),
        math.fsum((y - mean_y) ** 2 for _, y in pairs),
        math.fsum((x - mean_x) * (y - mean_y) for x, y in pairs),
    )


def beta(world: World, now: int) -> float:
    pairs = returns_of_two(world, now)
    if len(pairs) < 4 or len({y for _, y in pairs}) == 1:
        return NAN
    _, yy, xy = sums_of_products(pairs)
    return xy / yy


def correlation(world: World, now: int) -> float:
    pairs = returns_of_two(world, now)
    if len(pairs) < 4 or len({x for x, _ in pairs}) == 1 or len({y for _, y in pairs}) == 1:
        return NAN
    xx, yy, xy = sums_of_products(pairs)
    return xy / math.sqrt(xx * yy)


# -- statistics of a window ------------------------------------------------------------------------


def rolling(world: World, now: int, statistic: str, window: int = 9 * MS) -> float:
    known = [(t, x) for t, x in mids(world["quotes A"]) if t <= now]
    if not known or known[0][0] > now - window:
        return NAN
    values = [x for t, x in known if t > now - window]
    if statistic == "sum":
        return math.fsum(values)
    if statistic == "count":
        return float(len(values))
    if not values:
        return NAN
    mean = math.fsum(values) / len(values)
    variance = math.fsum((x - mean) ** 2 for x in values) / len(values)
    if statistic == "z_score":
        return (values[-1] - mean) / math.sqrt(variance) if variance else 0.0
    ranked = sorted(values)
    return {
        "mean": mean,
        "variance": variance,
        "std": math.sqrt(variance),
        "min": ranked[0],
        "max": ranked[-1],
        "median": (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2,
        "quantile": between(ranked, 0.3 * (len(ranked) - 1)),
        "first": values[0],
        "last": values[-1],
    }[statistic]


def between(ranked: list[float], at: float) -> float:
    low = math.floor(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] * (1 - (at - low)) + ranked[high] * (at - low)
