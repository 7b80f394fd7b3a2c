"""Oracles of quotes, trades and depth: see `definition_oracles`.

Nothing here is shared with the library. A `World` holds, for two instruments A and B, tuples in the
order of receipt: quotes (t, bid, bid quantity, ask, ask quantity), trades (t, price, quantity,
aggressor), and for A depth (t, sequence, side, price, quantity, is_snapshot).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

NAN = math.nan
MS = 1_000_000
World = dict[str, list[tuple[Any, ...]]]
Series = list[tuple[int, float]]


def seen(rows: list[tuple[Any, ...]], now: int) -> list[tuple[Any, ...]]:
    return [row for row in rows if row[0] <= now]


def mids(rows: list[tuple[Any, ...]]) -> Series:
    return [(t, (bid + ask) / 2) for t, bid, _, ask, _ in rows]


def last(series: Series, now: int) -> float:
    value = NAN
    for t, x in series:
        if t <= now:
            value = x
    return value


def warm(rows: list[tuple[Any, ...]], now: int, window: int) -> bool:
    return bool(rows) and rows[0][0] <= now - window


def inside(rows: list[tuple[Any, ...]], now: int, window: int) -> list[tuple[Any, ...]]:
    return [row for row in rows if now - window < row[0] <= now]


# -- quotes ----------------------------------------------------------------------------------------


def of_last_quote(formula: Callable[..., float]) -> Callable[[World, int], float]:
    def oracle(world: World, now: int) -> float:
        quotes = seen(world["quotes A"], now)
        return formula(*quotes[-1][1:]) if quotes else NAN

    return oracle


def micro_price(bid: float, bid_q: float, ask: float, ask_q: float) -> float:
    table = [[-0.4, -0.1, 0.1, 0.4], [-1.0, -0.2, 0.2, 1.0]]
    ticks = round((ask - bid) / 0.5)
    row = table[0] if ticks <= 1 else table[1]
    share = bid_q / (bid_q + ask_q)
    for column, upper in enumerate((0.25, 0.5, 0.75)):
        if share < upper:
            return (bid + ask) / 2 + 0.5 * row[column]
    return (bid + ask) / 2 + 0.5 * row[3]


def effective_spread(world: World, now: int) -> float:
    value = NAN
    for t, price, _, aggressor in seen(world["trades A"], now):
        mid = last(mids(world["quotes A"]), t)
        value = 2 * aggressor * (price - mid) / mid
    return value


def order_flow(world: World, now: int, window: int = 9 * MS) -> float:
    quotes = seen(world["quotes A"], now)
    flows = []
    for (_, b0, bq0, a0, aq0), (t, b1, bq1, a1, aq1) in itertools.pairwise(quotes):
        if b1 > b0:
            bid = bq1
        elif b1 == b0:
            bid = bq1 - bq0
        else:
            bid = -bq0
        if a1 < a0:
            ask = aq1
        elif a1 == a0:
            ask = aq1 - aq0
        else:
            ask = -aq0
        flows.append((t, bid - ask))
    if not warm(flows, now, window):
        return NAN
    return math.fsum(flow for _, flow in inside(flows, now, window))


def time_of_day(world: World, now: int) -> float:
    moment = datetime.fromtimestamp(now // 10**9, UTC)
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second + now % 10**9 / 1e9
    return math.sin(math.tau * seconds / 86_400)


def day_of_week(world: World, now: int) -> float:
    return math.cos(math.tau * datetime.fromtimestamp(now // 10**9, UTC).weekday() / 7)


# -- trades ----------------------------------------------------------------------------------------


def signed_volume(world: World, now: int, window: int = 9 * MS) -> float:
    trades = seen(world["trades A"], now)
    if not warm(trades, now, window):
        return NAN
    return math.fsum(a * q for _, _, q, a in inside(trades, now, window))


def intensity(world: World, now: int, window: int = 9 * MS) -> float:
    trades = seen(world["trades A"], now)
    if not warm(trades, now, window):
        return NAN
    return len(inside(trades, now, window)) / 0.009


def vwap_deviation(world: World, now: int, window: int = 9 * MS) -> float:
    trades = seen(world["trades A"], now)
    recent = inside(trades, now, window)
    if not warm(trades, now, window) or not recent:
        return NAN
    vwap = math.fsum(p * q for _, p, q, _ in recent) / math.fsum(q for _, _, q, _ in recent)
    return (trades[-1][1] - vwap) / vwap


def closes(first: int, now: int, every: int) -> list[int]:
    """Closes of the whole bars from the first boundary after *first* to *now*."""
    boundary = first - first % every + every
    return list(range(boundary + every, now + 1, every))


def kyle_lambda(world: World, now: int, every: int = 3 * MS, bars: int = 4) -> float:
    trades = seen(world["trades A"], now)
    if not trades:
        return NAN
    rows = []
    for close in closes(trades[0][0], now, every):
        price = last([(t, p) for t, p, _, _ in trades], close - 1)
        flow = sum(a * q for t, _, q, a in trades if close - every <= t < close)
        rows.append((price, flow))
    moves = [(p1 - p0, q) for (p0, _), (p1, q) in itertools.pairwise(rows)][-bars:]
    if len(moves) < bars:
        return NAN
    mean_p = math.fsum(p for p, _ in moves) / bars
    mean_q = math.fsum(q for _, q in moves) / bars
    below = math.fsum((q - mean_q) ** 2 for _, q in moves)
    if len({q for _, q in moves}) == 1:
        return NAN
    return math.fsum((p - mean_p) * (q - mean_q) for p, q in moves) / below


def time_bar(world: World, now: int, field: str, every: int = 5 * MS) -> float:
    trades = seen(world["trades A"], now)
    ends = closes(trades[0][0], now, every) if trades else []
    if not ends:
        return NAN
    made = [trade for trade in trades if ends[-1] - every <= trade[0] < ends[-1]]
    if made:
        return bar_field(made, field)
    return 0.0 if field == "volume" else last([(t, p) for t, p, _, _ in trades], ends[-1] - 1)


def bar_field(made: list[tuple[Any, ...]], field: str) -> float:
    prices = [p for _, p, _, _ in made]
    volume = math.fsum(q for _, _, q, _ in made)
    turnover = math.fsum(p * q for _, p, q, _ in made)
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": volume,
        "vwap": turnover / volume,
    }[field]


def measured_bar(
    world: World, now: int, measure: Callable[[float, float], float], size: float, field: str
) -> float:
    trades = seen(world["trades A"], now)
    value, made, measured = NAN, [], 0.0
    period = first = trades[0][0] // (20 * MS) if trades else 0
    for trade in trades:
        if trade[0] // (20 * MS) != period:
            period, made, measured = trade[0] // (20 * MS), [], 0.0
        if period == first:
            continue
        made.append(trade)
        measured += measure(trade[1], trade[2])
        if measured >= size:
            value, made, measured = bar_field(made, field), [], 0.0
    return value


# -- depth -----------------------------------------------------------------------------------------


def book(world: World, now: int) -> tuple[list[Any], list[Any]] | None:
    """Levels (price, quantity) of either side, best first; None without a sound book."""
    depth = seen(world["depth A"], now)
    snapshots = [row for row in depth if row[5]]
    if not snapshots:
        return None
    at = snapshots[-1][0]
    number = snapshots[-1][1]
    levels = {(row[2], row[3]): row[4] for row in snapshots if row[0] == at}
    for _, sequence, side, price, quantity, is_snapshot in depth:
        if not is_snapshot and sequence > number:
            levels[side, price] = quantity
    bids = sorted(((p, q) for (s, p), q in levels.items() if s > 0 and q > 0), reverse=True)
    asks = sorted((p, q) for (s, p), q in levels.items() if s < 0 and q > 0)
    if not bids or not asks or bids[0][0] >= asks[0][0]:
        return None
    return bids, asks


def depth_imbalance(world: World, now: int) -> float:
    found = book(world, now)
    if found is None:
        return NAN
    bid, ask = (math.fsum(q for _, q in side[:3]) for side in found)
    return (bid - ask) / (bid + ask)


def depth_weighted_mid(world: World, now: int) -> float:
    found = book(world, now)
    if found is None:
        return NAN
    best = found[0][:3] + found[1][:3]
    return math.fsum(p * q for p, q in best) / math.fsum(q for _, q in best)


def liquidity(world: World, now: int) -> float:
    found = book(world, now)
    if found is None:
        return NAN
    mid = (found[0][0][0] + found[1][0][0]) / 2
    return math.fsum(q for side in found for p, q in side if abs(p - mid) <= mid * 260 / 10_000)
