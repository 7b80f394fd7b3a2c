"""What the venue does with plain orders: docs/venue.md, sections 3, 4, 6 and 8.

Plain is a market or limit order that stands for itself: immediate or until canceled, post-only or
not. Everything else is for `backtester.venue`, which knows all the rules.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from backtester.express import layout as at
from backtester.express import tell
from backtester.express.accounts import SHORT, book_fill, fee_of, margin_for
from backtester.express.books import (
    advance,
    cursor_of,
    end_of,
    join,
    leave,
    left_at_best,
    place_of,
    queue_of,
    scanned,
    take,
    tape_of,
)
from backtester.order_state import OrderState
from backtester.orders import Reason, ReportKind
from backtester.venue.matching import (
    EVENT_LOTS,
    EVENT_ORDER,
    EVENT_ROW,
    FILL,
    GONE,
    LEFT,
    LEFT_SELL,
    LOTS,
    SIDE,
    STATUS,
    TICKS,
    TRADE,
)
from clock.compiled import inlined_kernel, kernel

Array = NDArray[Any]

_OPEN, _PARTLY, _FILLED = (
    int(OrderState.OPEN),
    int(OrderState.PARTLY_FILLED),
    int(OrderState.FILLED),
)
_CANCELED, _REJECTED = int(OrderState.CANCELED), int(OrderState.REJECTED)
_FILLED_REPORT, _CANCELED_REPORT = int(ReportKind.FILLED), int(ReportKind.CANCELED)
_ACCEPTED, _REJECTED_REPORT = int(ReportKind.ACCEPTED), int(ReportKind.REJECTED)
_MODIFIED = int(ReportKind.MODIFIED)
_MODIFY_REJECTED, _CANCEL_REJECTED = (
    int(ReportKind.MODIFY_REJECTED),
    int(ReportKind.CANCEL_REJECTED),
)
_NONE, _NO_MARKET, _POST_ONLY = int(Reason.NONE), int(Reason.NO_MARKET), int(Reason.POST_ONLY)
_MARGIN, _REQUESTED = int(Reason.INSUFFICIENT_MARGIN), int(Reason.REQUESTED)
_REMAINDER, _SELF_TRADE = int(Reason.UNFILLED_REMAINDER), int(Reason.SELF_TRADE)
_NOT_OPEN = int(Reason.NOT_OPEN)

CANCEL_RESTING, CANCEL_INCOMING, CANCEL_BOTH = range(3)


# --- what refuses an order ------------------------------------------------------------------------


@kernel
def refusal(head: Array, market: Array, place: int, order: Array, own: int) -> int:
    """Return why an order must not take or rest, or none; the market's book is at the present."""
    side, limit = order[at.SIDE], order[at.LIMIT]
    if market[at.HAS_QUOTE] == 0:
        return _NO_MARKET
    if order[at.IS_POST_ONLY] and left_at_best(market, -side) > 0:
        best = market[at.ASK] if side > 0 else market[at.BID]
        if (limit - best) * side >= 0:
            return _POST_ONLY
    left = order[at.TOTAL] - order[at.FILLED]
    if margin_for(head, place, side, left, own, head[at.NOW]) == SHORT:
        return _MARGIN
    return _NONE


# --- what becomes of it ---------------------------------------------------------------------------


@inlined_kernel
def _is_live(order: Array) -> bool:
    return bool(order[at.STATE] == _OPEN or order[at.STATE] == _PARTLY)


@inlined_kernel
def _open(market: Array, side: int, lots: int) -> None:
    """Count lots that begin to rest, or cease to."""
    market[at.OPEN_BUYS if side > 0 else at.OPEN_SELLS] += lots


@kernel
def fill(
    head: Array, market: Array, number: int, order: Array, lots: int, ticks: int, is_maker: bool
) -> None:
    """Book an execution and tell of it."""
    side = order[at.SIDE]
    fee = fee_of(market, lots, ticks, is_maker)
    entry = at.table(head[at.AT_BOOKED], head[at.BOOKED] + 1, at.BOOKED_WIDTH)[head[at.BOOKED]]
    purse = at.purses_of(head)[market[at.PURSE]]
    book_fill(
        market,
        purse[at.VENUE_PURSE : at.OUR_PURSE],
        at.VENUE_ACCOUNT,
        side * lots,
        ticks,
        fee,
        is_maker,
        entry,
    )
    if is_maker:
        _open(market, side, -lots)
    order[at.FILLED] += lots
    is_last = order[at.FILLED] == order[at.TOTAL]
    order[at.STATE] = _FILLED if is_last else _PARTLY
    tell.booked(head, order, number, entry, is_maker)
    report = tell.report(
        head, order, number, _FILLED_REPORT, _NONE, order[at.SENT_AT], order[at.ORDINAL]
    )
    report[at.R_LOTS], report[at.R_TICKS], report[at.R_FEE] = lots, ticks, fee
    report[at.R_IS_MAKER], report[at.R_IS_LAST] = is_maker, is_last


@kernel
def end(head: Array, market: Array, number: int, order: Array, kind: int, reason: int) -> None:
    """Let an order end with what is left of it given up."""
    left = order[at.TOTAL] - order[at.FILLED]
    place = place_of(market, number)
    if place >= 0:
        _open(market, order[at.SIDE], -left)
        leave(market, place)
    order[at.STATE] = _CANCELED if kind == _CANCELED_REPORT else _REJECTED
    report = tell.report(head, order, number, kind, reason, order[at.SENT_AT], order[at.ORDINAL])
    report[at.R_LOTS], report[at.R_IS_LAST] = left, 1


@kernel
def meet(head: Array, market: Array, number: int, order: Array, ticks: int) -> bool:
    """Deal with own orders up to a price; return whether the arriving order goes on."""
    side = order[at.SIDE]
    queue, numbers = queue_of(market), at.ints(market[at.AT_NUMBERS], market[at.ROOM])
    while True:
        first = -1
        for k in range(market[at.RESTING]):
            if queue[k, SIDE] == -side:
                first = k
                break
        if first < 0 or (ticks - queue[first, TICKS]) * side < 0:
            return True
        met = numbers[first]
        if head[at.SELF_TRADE] != CANCEL_INCOMING:
            other = at.orders_of(head)[met - head[at.BASE]]
            end(head, market, met, other, _CANCELED_REPORT, _SELF_TRADE)
        if head[at.SELF_TRADE] != CANCEL_RESTING:
            end(head, market, number, order, _CANCELED_REPORT, _SELF_TRADE)
            return False


@kernel
def execute(head: Array, market: Array, number: int, order: Array) -> None:
    """Take what the best level holds within the limit; the rest rests, or is canceled."""
    side, limit = order[at.SIDE], order[at.LIMIT]
    best = market[at.ASK] if side > 0 else market[at.BID]
    shown = market[at.ASK_LOTS] if side > 0 else market[at.BID_LOTS]
    lots = left_at_best(market, -side)
    if lots > 0 and (limit == 0 or (best - limit) * side <= 0):
        if not meet(head, market, number, order, best - side):
            return
        lots = min(order[at.TOTAL] - order[at.FILLED], lots)
        take(market, -side, best, lots)
        fill(head, market, number, order, lots, best, False)
        if not _is_live(order):
            return
    bound = limit
    if limit == 0 and shown > 0:
        bound = best
    if bound and not meet(head, market, number, order, bound):
        return
    if order[at.IS_IMMEDIATE]:
        end(head, market, number, order, _CANCELED_REPORT, _REMAINDER)
    else:
        left = order[at.TOTAL] - order[at.FILLED]
        _open(market, side, left)
        join(market, number, side, limit, left, head[at.NOW])


# --- messages -------------------------------------------------------------------------------------


@kernel
def arrive(head: Array, market: Array, place: int, number: int) -> None:
    """Take in an order."""
    order = at.orders_of(head)[number - head[at.BASE]]
    order[at.ARRIVED_AT] = head[at.NOW]
    reason = refusal(head, market, place, order, 0)
    if reason:
        end(head, market, number, order, _REJECTED_REPORT, reason)
        return
    head[at.RANKS] += 1
    order[at.RANK] = head[at.RANKS]
    order[at.STATE] = _OPEN
    tell.report(head, order, number, _ACCEPTED, _NONE, order[at.SENT_AT], order[at.ORDINAL])
    execute(head, market, number, order)


@kernel
def cancel(head: Array, market: Array, message: Array) -> None:
    """Cancel an order of a market, or say that it is not open."""
    number = message[at.M_ORDER]
    row = number - head[at.BASE]
    if row >= 0 and _is_live(at.orders_of(head)[row]):
        order = at.orders_of(head)[row]
        end(head, market, number, order, _CANCELED_REPORT, _REQUESTED)
    else:
        tell.refused(head, message, _CANCEL_REJECTED, _NOT_OPEN)


@kernel
def cancel_all(head: Array, place: int) -> None:
    """Cancel what rests in a market, or in all, by order number."""
    markets = at.markets_of(head)
    while True:
        least, where = at.NEVER, -1
        for j in range(head[at.MARKETS]):
            if place in (-1, j):
                numbers = at.ints(markets[j, at.AT_NUMBERS], markets[j, at.ROOM])
                for k in range(markets[j, at.RESTING]):
                    if numbers[k] < least:
                        least, where = numbers[k], j
        if where < 0:
            return
        order = at.orders_of(head)[least - head[at.BASE]]
        end(head, markets[where], least, order, _CANCELED_REPORT, _REQUESTED)


@kernel
def modify(head: Array, market: Array, place: int, message: Array) -> None:
    """Give an order another total, another limit, or both."""
    number = message[at.M_ORDER]
    row = number - head[at.BASE]
    if row < 0 or not _is_live(at.orders_of(head)[row]):
        tell.refused(head, message, _MODIFY_REJECTED, _NOT_OPEN)
        return
    order = at.orders_of(head)[row]
    total = message[at.M_LOTS] if message[at.M_LOTS] else order[at.TOTAL]
    limit = message[at.M_TICKS] if message[at.M_TICKS] else order[at.LIMIT]
    if total <= order[at.FILLED]:
        end(head, market, number, order, _CANCELED_REPORT, _REQUESTED)
        return
    resting = place_of(market, number)
    before, limit_before = order[at.TOTAL], order[at.LIMIT]
    held = before - order[at.FILLED]
    order[at.TOTAL], order[at.LIMIT] = total, limit
    if limit == limit_before and total <= before:
        _open(market, order[at.SIDE], total - before)
        queue_of(market)[resting, LOTS] = total - order[at.FILLED]
        tell.modified(head, order, number, _MODIFIED, _REQUESTED)
        return
    reason = refusal(head, market, place, order, held)
    if reason:
        order[at.TOTAL], order[at.LIMIT] = before, limit_before
        tell.refused(head, message, _MODIFY_REJECTED, reason)
        return
    leave(market, resting)
    _open(market, order[at.SIDE], -held)
    head[at.RANKS] += 1
    order[at.RANK] = head[at.RANKS]
    tell.modified(head, order, number, _MODIFIED, _REQUESTED)
    execute(head, market, number, order)


# --- what fills by itself -------------------------------------------------------------------------


@kernel
def resolve(head: Array, market: Array) -> None:
    """Do what the records up to the present instant do to resting orders."""
    now = head[at.NOW]
    if market[at.RESTING] == 0:
        return
    last = end_of(market, now)
    rows, queue, cursor = tape_of(market), queue_of(market), cursor_of(market)
    numbers = at.ints(market[at.AT_NUMBERS], market[at.ROOM])
    # what resting orders took of either side, and by which record
    bid_row = ask_row = -1
    bid_lots = ask_lots = 0
    has_gone = False
    while scanned(market, last, at.floats(head[at.AT_MODEL], 2)) == FILL:
        k, lots, row = cursor[EVENT_ORDER], cursor[EVENT_LOTS], cursor[EVENT_ROW]
        number = numbers[k]
        order = at.orders_of(head)[number - head[at.BASE]]
        side = order[at.SIDE]
        queue[k, LOTS] -= lots
        what_is_left = LEFT if side > 0 else LEFT_SELL
        cursor[what_is_left] = max(cursor[what_is_left] - lots, 0)
        if rows[row, 0] != TRADE:
            if side > 0:
                ask_lots = ask_lots + lots if ask_row == row else lots
                ask_row = row
            else:
                bid_lots = bid_lots + lots if bid_row == row else lots
                bid_row = row
        fill(head, market, number, order, lots, order[at.LIMIT], True)
        if not _is_live(order):
            queue[k, STATUS] = GONE
            has_gone = True
    advance(market, now)
    if bid_row >= 0 and not _is_renewed(rows, bid_row, last, 5):
        take(market, 1, rows[bid_row, 1], bid_lots)
    if ask_row >= 0 and not _is_renewed(rows, ask_row, last, 6):
        take(market, -1, rows[ask_row, 3], ask_lots)
    if has_gone:
        for k in range(market[at.RESTING] - 1, -1, -1):
            if queue[k, STATUS] == GONE:
                leave(market, k)


@kernel
def _is_renewed(rows: Array, row: int, last: int, column: int) -> bool:
    """Return whether a later record of the instant says something new about a side."""
    for later in range(row + 1, last):  # noqa: SIM110  # numba compiles no generators
        if rows[later, 0] != TRADE and rows[later, column]:
            return True
    return False
