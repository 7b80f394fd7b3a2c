"""The scan that resolves resting orders against the venue's records: docs/venue.md, section 4.

A tape holds an instrument's records of one window in the venue's order, one row each:

    trade   TRADE, ticks, lots, aggressor
    quote   QUOTE, bid ticks, bid lots, ask ticks, ask lots, bid is new, ask is new,
            bid lots before at this price, ask lots before at this price
    depth   DEPTH, side, ticks, lots, lots before, best bid, best ask (0 where a side is empty)
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from backtester.venue.queue_models import moved_up
from clock.compiled import kernel

__all__ = ["DONE", "FILL", "TRIGGER", "peek", "scan"]

Array = NDArray[Any]

TRADE, QUOTE, DEPTH = range(3)
TAPE_WIDTH = 9

SIDE, TICKS, LOTS, SHOWN, TRADED, STATUS = range(6)
"""Columns of the orders: sorted buys by price and rank, sells likewise, then stops."""
ORDER_WIDTH = 6

OPEN, WAITING, TRIGGERED, GONE = range(4)
"""Status of an order in the scan."""

ROW, NEXT, LEFT, LEFT_SELL, EVENT_ROW, EVENT_ORDER, EVENT_LOTS = range(7)
"""Places of the cursor: row, the order to visit next in it, and what of the row is left to fill
buy and sell orders; then what the scan stopped for."""
CURSOR_WIDTH = 7

DONE, FILL, TRIGGER = range(3)

_WHOLE = 1e-9
_UNKNOWN = -1


@kernel
def scan(
    rows: Array, end: int, orders: Array, ahead: Array, n: int, model: Array, cursor: Array
) -> int:
    """Go on through the tape until a row fills or triggers an order.

    The caller books the fill: it takes the lots off the order and off `cursor[LEFT]` (or
    `LEFT_SELL`, by the order's side) before it calls again.

    Args:
        rows: The tape. Shape (rows, TAPE_WIDTH).
        end: Row to stop before.
        orders: Shape (capacity, ORDER_WIDTH); the first *n* count.
        ahead: Lots of others ahead of each. Shape (capacity,).
        n: How many orders there are.
        model: Code and exponent of the queue model.
        cursor: Where it is. Shape (CURSOR_WIDTH,).

    Returns:
        DONE at *end*; FILL with `EVENT_ORDER` and `EVENT_LOTS`; TRIGGER after a row that triggered
        stops, now marked so. `EVENT_ROW` is the row.
    """
    row = cursor[ROW]
    while row < end:
        kind = rows[row, 0]
        if cursor[NEXT] == 0:
            _begin(rows[row], cursor)
        lots = 0
        k = cursor[NEXT]
        while k < n:
            if orders[k, STATUS] == OPEN:
                if kind == TRADE:
                    lots = _by_trade(rows[row], orders, ahead, k, cursor)
                elif kind == QUOTE:
                    lots = _by_quote(rows[row], orders, k, cursor)
                else:
                    lots = _by_depth(rows[row], orders, k, cursor)
            k += 1
            if lots > 0:
                cursor[ROW], cursor[NEXT] = row, k
                cursor[EVENT_ROW], cursor[EVENT_ORDER], cursor[EVENT_LOTS] = row, k - 1, lots
                return FILL
        triggered = False
        if kind != TRADE:
            for k in range(n):
                if orders[k, STATUS] == OPEN:
                    _move_up(rows[row], orders, ahead, k, model)
                elif orders[k, STATUS] == WAITING and _triggers(rows[row], orders, k):
                    orders[k, STATUS] = TRIGGERED
                    triggered = True
        row += 1
        cursor[NEXT] = 0
        if triggered:
            cursor[ROW], cursor[EVENT_ROW] = row, row - 1
            return TRIGGER
    cursor[ROW] = row
    return DONE


@kernel
def peek(
    rows: Array,
    end: int,
    orders: Array,
    ahead: Array,
    n: int,
    model: Array,
    cursor: Array,
    scratch: tuple[Array, Array, Array],
) -> int:
    """Return the first row before *end* that fills or triggers an order, -1 if there is none.

    Nothing changes but *scratch*, copies of orders, ahead and cursor.
    """
    trial_orders, trial_ahead, trial_cursor = scratch
    for k in range(n):
        trial_ahead[k] = ahead[k]
        for column in range(ORDER_WIDTH):
            trial_orders[k, column] = orders[k, column]
    for place in range(CURSOR_WIDTH):
        trial_cursor[place] = cursor[place]
    if scan(rows, end, trial_orders, trial_ahead, n, model, trial_cursor) == DONE:
        return -1
    return int(trial_cursor[EVENT_ROW])


@kernel
def _begin(record: Array, cursor: Array) -> None:
    """Note what a record has for our orders: what traded, or what is fresh on either side."""
    kind = record[0]
    if kind == TRADE:
        cursor[LEFT] = cursor[LEFT_SELL] = record[2]
    elif kind == QUOTE:
        cursor[LEFT] = max(record[4] - record[8], 0) if record[6] else 0
        cursor[LEFT_SELL] = max(record[2] - record[7], 0) if record[5] else 0
    else:
        fresh = max(record[3] - record[4], 0)
        cursor[LEFT] = fresh if record[1] < 0 else 0
        cursor[LEFT_SELL] = fresh if record[1] > 0 else 0


@kernel
def _by_trade(record: Array, orders: Array, ahead: Array, k: int, cursor: Array) -> int:
    """Return the lots of an order that a trade fills; its place in the queue moves up."""
    side = orders[k, SIDE]
    if side != -record[3]:
        return 0
    beyond = (orders[k, TICKS] - record[1]) * side
    if beyond > 0:
        return int(orders[k, LOTS])
    if beyond < 0 or orders[k, SHOWN] == _UNKNOWN:
        return 0
    left = cursor[LEFT] if side > 0 else cursor[LEFT_SELL]
    reach = math.floor(left - ahead[k] + _WHOLE)
    ahead[k] = max(ahead[k] - left, 0.0)
    orders[k, TRADED] += record[2]
    return int(min(orders[k, LOTS], max(reach, 0)))


@kernel
def _by_quote(record: Array, orders: Array, k: int, cursor: Array) -> int:
    """Return the lots of an order that a quote of the other side fills."""
    if orders[k, SIDE] > 0:
        return _met(
            orders[k, TICKS] - record[3],
            orders[k, LOTS],
            record[4] - record[8],
            record[6],
            cursor[LEFT],
        )
    return _met(
        record[1] - orders[k, TICKS],
        orders[k, LOTS],
        record[2] - record[7],
        record[5],
        cursor[LEFT_SELL],
    )


@kernel
def _by_depth(record: Array, orders: Array, k: int, cursor: Array) -> int:
    """Return the lots of an order that a change of a level of the other side fills."""
    side = orders[k, SIDE]
    if side == record[1]:
        return 0
    left = cursor[LEFT] if side > 0 else cursor[LEFT_SELL]
    beyond = (orders[k, TICKS] - record[2]) * side
    return _met(beyond, orders[k, LOTS], record[3] - record[4], 1, left)


@kernel
def _met(beyond: int, lots: int, fresh: int, is_new: int, left: int) -> int:
    """Return what fresh lots of the other side fill, *beyond* ticks inside our price."""
    if not is_new or fresh <= 0 or beyond < 0:
        return 0
    return int(lots) if beyond > 0 else int(min(lots, left))


@kernel
def _move_up(record: Array, orders: Array, ahead: Array, k: int, model: Array) -> None:
    """Move an order up its queue where the record says something new about its level."""
    side, ticks = orders[k, SIDE], orders[k, TICKS]
    displayed = _UNKNOWN
    if record[0] == DEPTH:
        if side == record[1] and ticks == record[2]:
            displayed = record[3]
    else:
        best, lots, is_new = record[1], record[2], record[5]
        if side < 0:
            best, lots, is_new = record[3], record[4], record[6]
        if is_new and ticks == best:
            displayed = lots
        elif is_new and (ticks - best) * side > 0:
            displayed = 0
    if displayed == _UNKNOWN:
        return
    if orders[k, SHOWN] == _UNKNOWN:
        ahead[k] = displayed
    else:
        ahead[k] = moved_up(
            ahead[k], orders[k, SHOWN], orders[k, TRADED], displayed, model[0], model[1]
        )
    orders[k, SHOWN] = displayed
    orders[k, TRADED] = 0


@kernel
def _triggers(record: Array, orders: Array, k: int) -> bool:
    """Return whether the best price after a book record has reached a waiting stop."""
    if record[0] == DEPTH:
        bid, ask = record[5], record[6]
    else:
        bid = record[1] if record[2] > 0 else 0
        ask = record[3] if record[4] > 0 else 0
    if orders[k, SIDE] > 0:
        return bool(ask > 0 and ask >= orders[k, TICKS])
    return bool(bid > 0 and bid <= orders[k, TICKS])
