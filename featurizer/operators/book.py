"""An order book from snapshots and differences, and what is read from its best levels.

How a book is joined (as exchanges prescribe it): a snapshot replaces the book as of its own
`sequence`; differences after that one which came before the snapshot are applied to it, later ones
as they come, and those up to it are left out. Before the first snapshot there is no book.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from featurizer.errors import MarketDataError
from featurizer.feature import Batch, Output

__all__ = ["DEPTH_COLUMNS", "IMBALANCE", "LIQUIDITY", "WEIGHTED_PRICE", "BookScan"]

Array = NDArray[Any]

DEPTH_COLUMNS: Final = ("side", "price", "quantity", "is_snapshot", "sequence")
IMBALANCE: Final = 0
"""(bids - asks) / (bids + asks) of the quantities of the best levels."""
WEIGHTED_PRICE: Final = 1
"""The average price of the best levels of both sides, by quantity."""
LIQUIDITY: Final = 2
"""The quantity of both sides within a share of the mid."""

RECENT: Final = 1 << 14
"""Differences remembered, for a snapshot that comes after later ones: a power of two."""

# places in the integer state
_BIDS, _ASKS, _KNOWN, _IN_SNAPSHOT, _SNAPSHOT_AT, _LAST, _SINCE, _SEEN, _NEWER = range(9)
_UPDATE, _READ, _REFUSED = range(9, 12)
_NEVER = -(2**63)
_FIRST_CAPACITY = 256
_FULL, _BACK, _LOST = 1, 2, 3


class BookScan:
    """A book kept record by record, and some numbers read from it.

    NaN while there is no book, while a side is empty, and while the best bid is not below the best
    ask. Within one message the book lies between two states: rows emitted with each depth record
    see it so; rows on a grid, or with quotes or trades, never do.

    Memory: the levels of the book, and the last `RECENT` differences.

    Args:
        asked: Of each number what it is (`IMBALANCE`, `WEIGHTED_PRICE` or `LIQUIDITY`), and how
            many levels of each side it takes; of `LIQUIDITY`, which share of the mid.
    """

    __slots__ = ("_ints", "_levels", "_recent", "_what")

    def __init__(self, asked: Sequence[tuple[int, float]]) -> None:
        self._what = np.array(asked, np.float64)
        self._ints = np.zeros(12, np.int64)
        self._ints[_LAST] = self._ints[_SINCE] = self._ints[_SNAPSHOT_AT] = _NEVER
        # for either side: prices (asks' negated), so that the best is the last; and quantities
        self._levels = np.zeros((4, _FIRST_CAPACITY))
        self._recent = np.zeros((4, RECENT))

    def scan(self, batch: Batch) -> list[Output]:
        """Absorb a batch of depth records, columns as `DEPTH_COLUMNS`; return each number's values.

        Raises:
            MarketDataError: If differences go back in sequence, or too many came before a snapshot.
        """
        numbers = len(self._what)
        reads = np.empty((numbers, len(batch.read_times)))
        updates = np.empty((numbers, len(batch.times) if batch.materialise else 0))
        side, price, quantity, is_snapshot, sequence = batch.columns
        while code := _scan(
            batch.times, side, price, quantity, is_snapshot, sequence, batch.read_counts,
            len(batch.read_times), self._ints, self._levels, self._recent, self._what,
            reads, updates,
        ):  # fmt: skip
            if code != _FULL:
                raise self._refusal(code, batch)
            self._levels = np.concatenate([self._levels, self._levels], axis=1)
        return [Output(reads[k], updates[k]) for k in range(numbers)]

    def _refusal(self, code: int, batch: Batch) -> MarketDataError:
        got = int(batch.columns[4][self._ints[_UPDATE]])
        at = int(batch.times[self._ints[_UPDATE]])
        if code == _BACK:
            return MarketDataError(
                f"depth received at {at}: `sequence` must not go back among differences: got {got} "
                f"after {int(self._ints[_LAST])}. Differences out of order give a wrong book: "
                "ingest the file again, sorted."
            )
        return MarketDataError(
            f"depth received at {at}: a snapshot must not lie more than {RECENT} differences back: "
            f"got one of `sequence` {got}, and later differences are gone. Start the run after it, "
            "or record a snapshot sooner."
        )


@kernel
def _scan(
    times: Array,
    side: Array,
    price: Array,
    quantity: Array,
    is_snapshot: Array,
    sequence: Array,
    read_counts: Array,
    m: int,
    ints: Array,
    levels: Array,
    recent: Array,
    what: Array,
    reads: Array,
    updates: Array,
) -> int:
    """Scan from where the state says; return 0, or why it stopped."""
    n = len(times)
    i, q = ints[_UPDATE], ints[_READ]
    limit = read_counts[q] if q < m else n
    while True:
        if i >= limit:
            if q >= m:
                break
            for k in range(len(what)):
                reads[k, q] = _value(ints, levels, what[k])
            q += 1
            limit = read_counts[q] if q < m else n
            continue
        bid = side[i] > 0.0
        key = price[i] if bid else -price[i]
        number = int(sequence[i])
        code = 0
        if max(ints[_BIDS], ints[_ASKS]) >= levels.shape[1]:
            code = _FULL
        elif is_snapshot[i] != 0.0:
            code = _snapshot(times[i], number, ints, levels, recent)
            if code == 0 and not _decided(bid, key, ints, recent):
                _set(bid, key, quantity[i], ints, levels)
        elif number < ints[_LAST]:
            code = _BACK
        else:
            ints[_IN_SNAPSHOT] = 0
            ints[_LAST] = number
            slot = ints[_SEEN] & (RECENT - 1)
            recent[0, slot], recent[1, slot] = sequence[i], 1.0 if bid else 0.0
            recent[2, slot], recent[3, slot] = key, quantity[i]
            ints[_SEEN] += 1
            if ints[_KNOWN] == 1 and number > ints[_SINCE]:
                _set(bid, key, quantity[i], ints, levels)
        if code != 0:
            ints[_UPDATE], ints[_READ] = i, q
            return code
        if updates.shape[1] > 0:
            for k in range(len(what)):
                updates[k, i] = _value(ints, levels, what[k])
        i += 1
    ints[_UPDATE] = ints[_READ] = 0
    return 0


@kernel
def _snapshot(now: int, number: int, ints: Array, levels: Array, recent: Array) -> int:
    """Begin a snapshot, unless this record goes on with one: its later differences come first."""
    if ints[_IN_SNAPSHOT] == 1 and ints[_SNAPSHOT_AT] == now:
        ints[_SINCE] = max(ints[_SINCE], number)
        return 0
    kept = min(ints[_SEEN], RECENT)
    newer = 0
    while newer < kept and recent[0, (ints[_SEEN] - 1 - newer) & (RECENT - 1)] > number:
        newer += 1
    if newer == RECENT:
        return _LOST
    if newer >= levels.shape[1]:  # with this record, there may be one level more
        return _FULL
    ints[_BIDS] = ints[_ASKS] = 0
    ints[_KNOWN] = ints[_IN_SNAPSHOT] = 1
    ints[_SNAPSHOT_AT], ints[_SINCE], ints[_NEWER] = now, number, newer
    for back in range(newer, 0, -1):
        slot = (ints[_SEEN] - back) & (RECENT - 1)
        _set(recent[1, slot] == 1.0, recent[2, slot], recent[3, slot], ints, levels)
    return 0


@kernel
def _decided(bid: bool, key: float, ints: Array, recent: Array) -> bool:
    """Return whether a difference later than the snapshot has set this level."""
    for back in range(1, ints[_NEWER] + 1):
        slot = (ints[_SEEN] - back) & (RECENT - 1)
        if recent[2, slot] == key and (recent[1, slot] == 1.0) == bid:
            return True
    return False


@kernel
def _set(bid: bool, key: float, quantity: float, ints: Array, levels: Array) -> None:
    """Set a level's quantity, make it, or remove it."""
    which = _BIDS if bid else _ASKS
    prices, sizes = levels[2 * which], levels[2 * which + 1]
    count = ints[which]
    low, rest = 0, count
    while rest > 0:  # halves without a branch to guess
        half = (rest + 1) >> 1
        low = low + half if prices[low + half - 1] < key else low
        rest -= half
    found = low < count and prices[low] == key
    if quantity > 0.0:
        if not found:
            _make_room(prices[low : count + 1])
            _make_room(sizes[low : count + 1])
            ints[which] = count + 1
        prices[low], sizes[low] = key, quantity
    elif found:
        _close_gap(prices[low:count])
        _close_gap(sizes[low:count])
        ints[which] = count - 1


@kernel
def _make_room(part: Array) -> None:
    """Shift up by one. On a slice no index can be negative: the loop moves whole blocks."""
    for j in range(len(part) - 1, 0, -1):
        part[j] = part[j - 1]


@kernel
def _close_gap(part: Array) -> None:
    """Shift down by one."""
    for j in range(len(part) - 1):
        part[j] = part[j + 1]


@kernel
def _value(ints: Array, levels: Array, what: Array) -> float:
    bids, asks = ints[_BIDS], ints[_ASKS]
    if bids == 0 or asks == 0:
        return np.nan
    bid, ask = levels[0, bids - 1], -levels[2, asks - 1]
    if bid >= ask:
        return np.nan
    within = what[0] == LIQUIDITY
    reach = 0.5 * (bid + ask) * what[1]  # how far from the mid a level may lie
    totals, worth = 0.0, 0.0
    for which in range(2):
        count = bids if which == 0 else asks
        middle = 0.5 * (bid + ask) if which == 0 else -0.5 * (bid + ask)
        depth = count if within else min(count, int(what[1]))
        for j in range(count - 1, count - 1 - depth, -1):
            key, quantity = levels[2 * which, j], levels[2 * which + 1, j]
            if within and middle - key > reach:
                break
            totals += quantity
            if what[0] == WEIGHTED_PRICE:
                worth += quantity * abs(key)
            else:
                worth += quantity if which == 0 else -quantity
    return totals if within else worth / totals
