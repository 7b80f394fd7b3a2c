"""A few records each, small enough to work features out by hand."""

from __future__ import annotations

import math
from typing import Any

from tests.featurizer.definition_worlds import depth_records, fixed
from tests.featurizer.feature_markets import MS, A, B, Market, market, quotes, records

NAN = math.nan
LOG = math.log

# five quotes and five trades; spreads 1, 1, 2, 2, 1
TIMES = [0, 10, 20, 20, 50]
MIDS = [100.0, 101.0, 99.0, 100.0, 102.0]
HALVES = [0.5, 0.5, 1.0, 1.0, 0.5]
SIZES = {"bid_quantity": [1.0, 3.0, 1.0, 2.0, 5.0], "ask_quantity": [1.0, 1.0, 3.0, 2.0, 0.0]}
DAY = [0, 10, 20, 29, 30, 50, 70]

# ten trades, for bars that restart every 10 ms
TRADE_TIMES = [0, 5, 10, 12, 14, 16, 18, 20, 24, 31]
QUANTITIES = [1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 3.0, 2.0, 2.0, 1.0]
CLOSES = [5, 10, 12, 14, 15, 16, 20, 24, 31]

# a mid that moves each 10 ms, and within one bar up to 107 and back; and another instrument's
STEPS = [(0, 100), (10, 101), (20, 103), (22, 107), (25, 103), (30, 102), (40, 102), (50, 105)]
STEPS += [(60, 104), (70, 106)]
OTHER = [(0, 50), (10, 50), (20, 51), (30, 52), (40, 52), (50, 50), (60, 51), (70, 50)]
BARS = [20, 30, 40, 50, 60, 70, 80]

# (t, sequence, side, price, quantity, is_snapshot): a snapshot that comes after a later difference
DEPTH: list[tuple[Any, ...]] = [
    (10, 5, 1, 99.0, 7.0, 0),
    (12, 8, 1, 98.0, 4.0, 0),
    (12, 8, -1, 101.0, 0.0, 0),
    (20, 6, 1, 97.0, 3.0, 1),
    (20, 6, 1, 98.0, 2.0, 1),
    (20, 6, 1, 99.0, 1.0, 1),
    (20, 6, -1, 101.0, 1.0, 1),
    (20, 6, -1, 102.0, 2.0, 1),
    (20, 6, -1, 103.0, 4.0, 1),
    (30, 9, 1, 100.0, 5.0, 0),
    (30, 9, -1, 102.0, 6.0, 0),
    (40, 10, 1, 100.0, 0.0, 0),
    (40, 10, -1, 101.0, 2.0, 0),
    (50, 11, -1, 99.0, 1.0, 0),
    (60, 12, -1, 99.0, 0.0, 0),
]
READS = [10, 15, 20, 30, 40, 50, 60]


def ms(times: Any) -> list[int]:
    return [t * MS for t in times]


def day() -> Market:
    quoted = quotes(ms(TIMES), MIDS, **SIZES)
    for name, sign in (("bid_price", -1.0), ("ask_price", 1.0)):
        quoted.columns[name] = fixed([m + sign * h for m, h in zip(MIDS, HALVES, strict=True)])
    traded = records(
        A,
        "trades",
        ms(TIMES),
        price=[100.5, 100.5, 99.5, 100.5, 101.5],
        quantity=[1.0, 1.0, 2.0, 2.0, 3.0],
        aggressor=[1, -1, 1, 1, -1],
    )
    return market(quoted, traded)


def stream_of(name: str) -> Market:
    if name == "day":
        return day()
    if name == "trades":
        prices = [float(p) for p in range(10, 20)]
        return market(records(A, "trades", ms(TRADE_TIMES), price=prices, quantity=QUANTITIES))
    if name == "depth":
        return market(depth_records([(row[0] * MS, *row[1:]) for row in DEPTH]))
    pairs = [(STEPS, A), (OTHER, B)]
    return market(*[quotes(ms(t for t, _ in s), [float(x) for _, x in s], who) for s, who in pairs])
