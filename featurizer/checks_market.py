"""Seeded records for the checks: many at one instant, prices that stand still and jump."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.emission import merge
from featurizer.market import STAMPS, Kind, Records, StreamKey, StreamRequest

__all__ = ["Market", "checked_market", "cut_market", "merged_times", "shifted"]

Market = dict[StreamKey, Records]
_MS = 1_000_000


def checked_market(
    requests: Sequence[StreamRequest],
    kinds: Mapping[str, Kind],
    start: int,
    length_ns: int,
    count: int,
    seed: int,
) -> Market:
    """Return records for some streams, received in [start, start + length).

    Args:
        requests: The streams and columns.
        kinds: The kinds by name.
        start: First instant, a multiple of a millisecond.
        length_ns: How long the market lasts.
        count: Records of each stream. Receipts are whole milliseconds, so that many coincide.
        seed: Of the draws.
    """
    market = {}
    for place, request in enumerate(requests):
        draw = np.random.Generator(np.random.Philox([seed, place]))
        if request.kind == "depth":
            market[request.key] = _depth(request, kinds["depth"], start, length_ns, count, draw)
            continue
        received = start + np.sort(draw.integers(0, length_ns // _MS, count)) * _MS
        columns: dict[str, NDArray[Any]] = {
            "event_time": received - draw.integers(0, 5, count) * _MS,
            "receipt_time": received,
            "sequence": np.arange(count),
        }
        price = 100.0 + 0.01 * np.cumsum(draw.choice([-1, 0, 0, 1], count))
        price[count // 2 : count // 2 + count // 20] += 5.0
        for name in request.columns:
            dtype = kinds[request.kind].dtype(name)
            columns[name] = _column(name, price, draw).astype(dtype)
        for column in columns.values():
            column.flags.writeable = False
        market[request.key] = Records(request.instrument, request.kind, columns)
    return market


def _depth(
    request: StreamRequest,
    kind: Kind,
    start: int,
    length_ns: int,
    count: int,
    draw: np.random.Generator,
) -> Records:
    """Return messages of several levels each; every twelfth is a snapshot, elsewhere in price."""
    rows: list[tuple[int, int, float, float, int]] = []
    message, middle = 0, 100.0
    while len(rows) < count:
        snapshot = message % 12 == 0
        if snapshot:
            middle = 100.0 + 0.01 * draw.integers(-20, 20)
        for i in range(10 if snapshot else int(draw.integers(1, 5))):
            side = 1 - 2 * (i % 2) if snapshot else int(draw.choice([-1, 1]))
            level = i // 2 + 1 if snapshot else int(draw.integers(1, 8))
            quantity = 0.1 * draw.integers(1 if snapshot else 0, 9)
            rows.append((message, side, middle - 0.01 * side * level, quantity, int(snapshot)))
        message += 1
    table = [np.array(column) for column in zip(*rows, strict=True)]
    numbers = table[0]
    received = start + np.sort(draw.integers(0, length_ns // _MS, message)) * _MS
    made = {
        "event_time": received[numbers] - _MS,
        "receipt_time": received[numbers],
        "sequence": numbers,
        "side": table[1],
        "price": table[2].round(2),
        "quantity": table[3],
        "is_snapshot": table[4],
    }
    columns = {}
    for name in (*STAMPS, *request.columns):
        columns[name] = made[name].astype(kind.dtype(name))
        columns[name].flags.writeable = False
    return Records(request.instrument, request.kind, columns)


def _column(name: str, price: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
    count = len(price)
    if name in ("bid_price", "low"):
        return price - 0.01
    if name in ("ask_price", "high"):
        return price + 0.01 * draw.integers(1, 3, count)
    if name in ("aggressor", "side"):
        return draw.choice([-1, 1], count)
    if name == "is_snapshot":
        return np.zeros(count)
    if "quantity" in name or "volume" in name:
        return 0.1 * draw.integers(1, 50, count)
    return price


def merged_times(market: Market) -> NDArray[Any]:
    """Return the receipt times of all records, in their total order."""
    return merge([records.receipt_time for records in market.values()])[0]


def cut_market(market: Market, cuts: Sequence[int]) -> list[Market]:
    """Cut a market at places of its total order; the streams must be in the graph's order.

    Args:
        market: Records by stream.
        cuts: Places, ascending, each from 0 to the number of records; they may repeat.

    Returns:
        One piece more than there are cuts.
    """
    _, counts = merge([records.receipt_time for records in market.values()])
    pieces, before = [], [0] * len(market)
    for cut in [*cuts, len(counts[0])]:
        upto = [int(count[cut - 1]) if cut else 0 for count in counts]
        pieces.append(
            {
                key: records.slice(before[place], upto[place])
                for place, (key, records) in enumerate(market.items())
            }
        )
        before = upto
    return pieces


def shifted(market: Market, by_ns: int) -> Market:
    """Return the same records, later in time and in their venue's sequence."""
    moved = {}
    for key, records in market.items():
        columns = dict(records.columns)
        for name in STAMPS:
            columns[name] = columns[name] + by_ns
            columns[name].flags.writeable = False
        moved[key] = Records(*key, columns)
    return moved
