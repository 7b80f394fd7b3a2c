"""The venue's best bid and ask, and the queue of own orders behind them: docs/venue.md, 2 to 5."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtester.express import layout as at
from backtester.venue.matching import (
    CURSOR_WIDTH,
    NEXT,
    OPEN,
    ORDER_WIDTH,
    ROW,
    TAPE_WIDTH,
    peek,
    scan,
)
from clock.compiled import inlined_kernel, kernel

Array = NDArray[Any]

_UNKNOWN = -1
_NEAR = 8
FIRST_BLOCK = 16
_LARGEST_BLOCK = 1 << 14


@inlined_kernel
def _after(times: Array, start: int, size: int, now: int) -> int:
    """Return the first place from *start* on whose instant is later than *now*."""
    place = start
    while place < size and place < start + _NEAR and times[place] <= now:
        place += 1
    if place < size and times[place] <= now:
        low, high = place, size
        while low < high:
            middle = (low + high) >> 1
            if times[middle] <= now:
                low = middle + 1
            else:
                high = middle
        place = low
    return place


@kernel
def advance(market: Array, now: int) -> None:
    """Move the book to the last quote with `event_time <= now`."""
    size, before = market[at.QUOTES], market[at.QUOTE]
    if before >= size:
        return
    place = _after(at.ints(market[at.AT_TIMES], size), before, size, now)
    if place == before:
        return
    steps = at.floats(market[at.AT_STEPS], 2)
    tick, lot = steps[0], steps[1]
    bids, bid_sizes = at.floats(market[at.AT_BIDS], size), at.floats(market[at.AT_BID_SIZES], size)
    asks, ask_sizes = at.floats(market[at.AT_ASKS], size), at.floats(market[at.AT_ASK_SIZES], size)
    # what we took stays taken until a quote says something new about that side
    if market[at.BID_TAKEN] and _is_new(
        bids, bid_sizes, before, place, tick, lot, market[at.BID], market[at.BID_LOTS]
    ):
        market[at.BID_TAKEN] = 0
    if market[at.ASK_TAKEN] and _is_new(
        asks, ask_sizes, before, place, tick, lot, market[at.ASK], market[at.ASK_LOTS]
    ):
        market[at.ASK_TAKEN] = 0
    last = place - 1
    market[at.QUOTE] = place
    market[at.BID] = int(np.rint(bids[last] / tick))
    market[at.BID_LOTS] = int(np.rint(bid_sizes[last] / lot))
    market[at.ASK] = int(np.rint(asks[last] / tick))
    market[at.ASK_LOTS] = int(np.rint(ask_sizes[last] / lot))
    market[at.HAS_QUOTE] = 1


@kernel
def _is_new(
    prices: Array,
    sizes: Array,
    first: int,
    last: int,
    tick: float,
    lot: float,
    ticks: int,
    lots: int,
) -> bool:
    for row in range(first, last):
        if int(np.rint(prices[row] / tick)) != ticks or int(np.rint(sizes[row] / lot)) != lots:
            return True
    return False


@inlined_kernel
def left_at_best(market: Array, side: int) -> int:
    """Return the lots of the best level of a side, less what we took."""
    if side > 0:
        return market[at.BID_LOTS] - market[at.BID_TAKEN]
    return market[at.ASK_LOTS] - market[at.ASK_TAKEN]


@inlined_kernel
def take(market: Array, side: int, ticks: int, lots: int) -> None:
    """Take lots from a level, until the venue says something new about it."""
    if side > 0 and ticks == market[at.BID]:
        market[at.BID_TAKEN] = min(market[at.BID_TAKEN] + lots, market[at.BID_LOTS])
    elif side < 0 and ticks == market[at.ASK]:
        market[at.ASK_TAKEN] = min(market[at.ASK_TAKEN] + lots, market[at.ASK_LOTS])


@inlined_kernel
def queue_of(market: Array) -> Array:
    """Return the resting orders as the scan has them. Shape (room, ORDER_WIDTH)."""
    return at.table(market[at.AT_RESTING], market[at.ROOM], ORDER_WIDTH)


@inlined_kernel
def cursor_of(market: Array) -> Array:
    """Return how far the scan has come."""
    return at.ints(market[at.AT_CURSOR], CURSOR_WIDTH)


@inlined_kernel
def tape_of(market: Array) -> Array:
    """Return the window's records as the scan reads them. Shape (rows, TAPE_WIDTH)."""
    return at.table(market[at.AT_TAPE], market[at.ROWS], TAPE_WIDTH)


@inlined_kernel
def end_of(market: Array, now: int) -> int:
    """Return how many rows of the tape happened by an instant."""
    rows = market[at.ROWS]
    return _after(at.ints(market[at.AT_TAPE_TIMES], rows), cursor_of(market)[ROW], rows, now)


@kernel
def join(market: Array, number: int, side: int, ticks: int, lots: int, now: int) -> None:
    """Let the newest order rest: behind all own orders at its price, and all that is displayed."""
    size = market[at.RESTING]
    cursor = cursor_of(market)
    if size == 0:
        cursor[ROW], cursor[NEXT] = 0, 0
        cursor[ROW] = end_of(market, now)
    best, shown = market[at.ASK], market[at.ASK_LOTS]
    if side > 0:
        best, shown = market[at.BID], market[at.BID_LOTS]
    if ticks != best:
        shown = 0 if (ticks - best) * side > 0 else _UNKNOWN
    queue, numbers = queue_of(market), at.ints(market[at.AT_NUMBERS], market[at.ROOM])
    ahead = at.floats(market[at.AT_AHEAD], market[at.ROOM])
    place = size
    while place > 0 and _comes_after(queue, place - 1, side, ticks):
        place -= 1
    for k in range(size, place, -1):
        _move(queue, ahead, numbers, k - 1, k)
    queue[place, 0], queue[place, 1], queue[place, 2] = side, ticks, lots
    queue[place, 3], queue[place, 4], queue[place, 5] = shown, 0, OPEN
    ahead[place] = np.inf if shown == _UNKNOWN else float(shown)
    numbers[place] = number
    market[at.RESTING] = size + 1


@inlined_kernel
def _comes_after(queue: Array, place: int, side: int, ticks: int) -> bool:
    """Return whether a resting order is visited after a new one: buys, then sells, by price."""
    if queue[place, 0] != side:
        return bool(side > 0)
    return bool((ticks - queue[place, 1]) * side > 0)


@inlined_kernel
def _move(queue: Array, ahead: Array, numbers: Array, source: int, target: int) -> None:
    for column in range(ORDER_WIDTH):
        queue[target, column] = queue[source, column]
    ahead[target], numbers[target] = ahead[source], numbers[source]


@kernel
def place_of(market: Array, number: int) -> int:
    """Return the place of an order among those that rest, -1 if it does not."""
    numbers = at.ints(market[at.AT_NUMBERS], market[at.ROOM])
    for place in range(market[at.RESTING]):
        if numbers[place] == number:
            return place
    return -1


@kernel
def leave(market: Array, place: int) -> None:
    """Forget the resting order at a place."""
    queue, numbers = queue_of(market), at.ints(market[at.AT_NUMBERS], market[at.ROOM])
    ahead = at.floats(market[at.AT_AHEAD], market[at.ROOM])
    market[at.RESTING] -= 1
    for k in range(place, market[at.RESTING]):
        _move(queue, ahead, numbers, k + 1, k)


@kernel
def scanned(market: Array, end: int, model: Array) -> int:
    """Go on through the tape, to a row or to what happens before it; see `matching.scan`."""
    room = market[at.ROOM]
    return scan(
        tape_of(market),
        end,
        queue_of(market),
        at.floats(market[at.AT_AHEAD], room),
        market[at.RESTING],
        model,
        cursor_of(market),
    )


@kernel
def catch_up(head: Array, market: Array, now: int) -> None:
    """Let the records up to an instant pass: what they fill has been seen to."""
    if market[at.RESTING]:
        end = end_of(market, now)
        if end > cursor_of(market)[ROW]:
            scanned(market, end, at.floats(head[at.AT_MODEL], 2))
    advance(market, now)


@kernel
def look_ahead(head: Array, market: Array, until: int) -> None:
    """Note the instant before which no resting order is filled, from the next few records.

    Records after *until* need no look: something arrives then, and changes the answer.
    """
    if market[at.RESTING] == 0:
        market[at.MATCH_AT] = at.NEVER
        return
    rows, row, room = market[at.ROWS], cursor_of(market)[ROW], market[at.ROOM]
    times = at.ints(market[at.AT_TAPE_TIMES], rows)
    end = min(row + market[at.BLOCK], rows)
    if end > row and times[end - 1] > until:
        end = _after(times, row, end, until)
    found = -1
    if end > row:
        found = peek(
            tape_of(market),
            end,
            queue_of(market),
            at.floats(market[at.AT_AHEAD], room),
            market[at.RESTING],
            at.floats(head[at.AT_MODEL], 2),
            cursor_of(market),
            (
                at.table(market[at.AT_TRIAL], room, ORDER_WIDTH),
                at.floats(market[at.AT_TRIAL_AHEAD], room),
                at.ints(market[at.AT_TRIAL_CURSOR], CURSOR_WIDTH),
            ),
        )
    if found >= 0:
        market[at.MATCH_AT] = times[found]
    else:
        market[at.MATCH_AT] = times[end] if end < rows else at.NEVER


@inlined_kernel
def widen(market: Array) -> None:
    """Look further ahead the next time: nothing of ours has changed."""
    market[at.BLOCK] = min(2 * market[at.BLOCK], _LARGEST_BLOCK)
