"""Random records of two instruments, as plain tuples and as the library's records."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurizer.emission import Emission
from featurizer.graph import FeatureGraph
from tests.featurizer.feature_markets import MS, A, B, Market, config, market, quotes, records

BASE = 1_700_000_000_000_000_000
World = dict[str, list[tuple[Any, ...]]]


def world(seed: int, rows: int = 45) -> World:
    """Records in whole milliseconds, most of them shared, with silences."""
    draw = np.random.default_rng(seed)
    made: World = {}
    for name in ("quotes A", "quotes B", "trades A"):
        times = BASE + np.cumsum(draw.choice([0, 0, 1, 2, 11], rows)) * MS
        if name.startswith("quotes"):
            mids = 100.0 + 0.5 * np.cumsum(draw.integers(-1, 2, rows))
            half = 0.25 * draw.integers(1, 4, rows)
            sizes = draw.integers(1, 9, (2, rows)).astype(float)
            columns = (times, mids - half, sizes[0], mids + half, sizes[1])
        else:
            prices = 100.0 + 4.0 * draw.integers(-3, 4, rows)
            columns = (times, prices, draw.integers(1, 6, rows) * 0.5, draw.choice([-1, 1], rows))
        made[name] = list(zip(*[column.tolist() for column in columns], strict=True))
    made["depth A"] = depth(draw)
    return made


def depth(draw: np.random.Generator, messages: int = 60) -> list[tuple[Any, ...]]:
    """Differences, and now and then a snapshot: as of now, or of some messages ago."""
    rows, now, middle = [], BASE, 100
    for number in range(10, 10 + messages):
        now += int(draw.choice([0, 1, 2, 7])) * MS
        if number % 17 == 12:
            now += MS  # two snapshots of one instant would be one
            middle = 100 + int(draw.integers(-1, 2))
            late = number - int(draw.integers(0, 6))
            for side in (1, -1):
                for level in range(1, 6):
                    quantity = float(draw.integers(1, 6))
                    rows.append((now, late, side, float(middle - side * level), quantity, 1))
            continue
        for side in sorted(draw.choice([-1, 1], int(draw.integers(1, 4))).tolist(), reverse=True):
            level = int(draw.integers(0, 6))
            quantity = float(draw.integers(0, 5))
            rows.append((now, number, side, float(middle - side * level), quantity, 0))
    # by (receipt, sequence), as the catalog hands them over
    return sorted(rows, key=lambda row: row[:2])


def streams(rows: World) -> Market:
    """The same records as the library takes them."""
    found = []
    for name, instrument in (("quotes A", A), ("quotes B", B)):
        t, bid, bid_q, ask, ask_q = (list(c) for c in zip(*rows[name], strict=True))
        mids = [(b + a) / 2 for b, a in zip(bid, ask, strict=True)]
        stream = quotes(t, mids, instrument, bid_quantity=bid_q, ask_quantity=ask_q)
        stream.columns["bid_price"] = fixed(bid)
        stream.columns["ask_price"] = fixed(ask)
        found.append(stream)
    t, price, quantity, aggressor = (list(c) for c in zip(*rows["trades A"], strict=True))
    found.append(records(A, "trades", t, price=price, quantity=quantity, aggressor=aggressor))
    found.append(depth_records(rows["depth A"]))
    return market(*found)


def depth_records(rows: list[tuple[Any, ...]]) -> Any:
    t, sequence, side, price, quantity, flag = (list(c) for c in zip(*rows, strict=True))
    stream = records(A, "depth", t, side=side, price=price, quantity=quantity, is_snapshot=flag)
    stream.columns["sequence"] = fixed(sequence, np.int64)
    return stream


def fixed(values: Any, dtype: Any = np.float64) -> Any:
    array = np.array(values, dtype)
    array.flags.writeable = False
    return array


def read(name: str, params: dict[str, Any], given: Market, instants: list[int]) -> list[float]:
    """The values of a feature at some instants, each after all records by then."""
    graph = FeatureGraph(
        config((name, "x", params)), [A, B], Emission.scheduled(), min(0, *instants)
    )
    graph.schedule(np.array(instants, np.int64))
    ends = [int(stream.receipt_time[-1]) for stream in given.values()]
    return graph.push(given, max(*ends, *instants) + 1).values[:, 0].tolist()
