"""Reports in the express lane: how the venue makes them, and what we believe once we hear them."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from backtester.express import layout as at
from backtester.express.accounts import book_fill
from backtester.order_state import OrderState
from backtester.orders import Reason, ReportKind
from clock.compiled import kernel
from clock.draws import draw_latency
from clock.rank import Rank

Array = NDArray[Any]

_SENT, _OPEN, _PARTLY = int(OrderState.SENT), int(OrderState.OPEN), int(OrderState.PARTLY_FILLED)
_FILLED, _CANCELED = int(OrderState.FILLED), int(OrderState.CANCELED)
_REJECTED = int(OrderState.REJECTED)
_ACCEPTED, _FILL = int(ReportKind.ACCEPTED), int(ReportKind.FILLED)
_REJECTION, _CANCEL = int(ReportKind.REJECTED), int(ReportKind.CANCELED)
_MODIFIED, _MODIFY_REJECTED = int(ReportKind.MODIFIED), int(ReportKind.MODIFY_REJECTED)
_CANCEL_REJECTED, _REQUESTED = int(ReportKind.CANCEL_REJECTED), int(Reason.REQUESTED)
_REPORT_RANK = int(Rank.ORDER_REPORT)


# --- at the venue ---------------------------------------------------------------------------------


@kernel
def _made(head: Array, kind: int, sent_at: int, ordinal: int) -> Array:
    """Return the row of the next report, on its way with its latency; the rest of it is zero."""
    now = head[at.NOW]
    if kind == _FILL:
        latency, place = head[at.FILL_NS], at.AT_FILL_SPEC
        terms, rows = head[at.FILL_TERMS], head[at.FILL_TABLE]
    else:
        latency, place = head[at.ANSWER_NS], at.AT_ANSWER_SPEC
        terms, rows = head[at.ANSWER_TERMS], head[at.ANSWER_TABLE]
    if latency < 0:
        # one draw for all that the venue says of an order at once: it is one message's way back
        spec = at.spec_of(head, place, terms, rows)
        latency = draw_latency(spec, now, now, sent_at, ordinal, 0)
    head[at.LAST_REPORT] = max(now + latency, head[at.LAST_REPORT])
    head[at.REPORT_NUMBER] += 1
    row = at.reports_of(head)[head[at.REPORTS]]
    head[at.REPORTS] += 1
    row[:] = 0
    row[at.R_VISIBLE], row[at.R_NUMBER] = head[at.LAST_REPORT], head[at.REPORT_NUMBER]
    row[at.R_VENUE_TIME], row[at.R_KIND] = now, kind
    return row


@kernel
def report(
    head: Array, order: Array, number: int, kind: int, reason: int, sent_at: int, ordinal: int
) -> Array:
    """Make a report about an order, and return its row."""
    row = _made(head, kind, sent_at, ordinal)
    row[at.R_ORDER], row[at.R_MARKET], row[at.R_SIDE] = number, order[at.MARKET], order[at.SIDE]
    row[at.R_REASON] = reason
    return row


@kernel
def modified(head: Array, order: Array, number: int, kind: int, reason: int) -> None:
    """Tell an order's total and limit as they are now."""
    row = report(head, order, number, kind, reason, order[at.SENT_AT], order[at.ORDINAL])
    row[at.R_LOTS], row[at.R_LIMIT] = order[at.TOTAL], order[at.LIMIT]


@kernel
def refused(head: Array, message: Array, kind: int, reason: int) -> None:
    """Tell that a cancel or a change was refused."""
    row = _made(head, kind, message[at.M_SENT], message[at.M_ORDINAL])
    row[at.R_ORDER], row[at.R_MARKET] = message[at.M_ORDER], message[at.M_MARKET]
    row[at.R_REASON] = reason


@kernel
def booked(head: Array, order: Array, number: int, entry: Array, is_maker: bool) -> None:
    """Complete the entry of a fill in the venue's books; its report is made next."""
    head[at.BOOKED] += 1
    head[at.BOOKED_COUNT] += 1
    entry[at.B_TIME], entry[at.B_RANK] = head[at.NOW], head[at.EVENT_RANK]
    entry[at.B_COUNT], entry[at.B_MARKET] = head[at.BOOKED_COUNT], order[at.MARKET]
    entry[at.B_REPORT], entry[at.B_ORDER] = head[at.REPORT_NUMBER] + 1, number
    entry[at.B_SIDE], entry[at.B_IS_MAKER] = order[at.SIDE], is_maker


# --- and where we hear of it ----------------------------------------------------------------------


@kernel
def take_in(head: Array) -> None:
    """Note the messages sent since the last call among our open orders."""
    messages, orders, base = at.messages_of(head), at.orders_of(head), head[at.BASE]
    for k in range(head[at.TAKEN_IN], head[at.MESSAGES]):
        message = messages[k]
        number = message[at.M_ORDER]
        if message[at.M_KIND] == at.NEW:
            _begin(orders[number - base], message)
            head[at.NEWEST] = number
        elif number == 0:
            for row in range(messages[k, at.M_STALENESS] - base + 1):
                own = message[at.M_MARKET] in (-1, orders[row, at.MARKET])
                orders[row, at.CANCELS] += own and orders[row, at.OUR_STATE] < _FILLED
        elif message[at.M_KIND] == at.CANCEL:
            orders[number - base, at.CANCELS] += 1
        else:
            order = orders[number - base]
            order[at.CHANGES] += 1
            order[at.ASKED] = max(order[at.ASKED], message[at.M_LOTS])
    head[at.TAKEN_IN] = head[at.MESSAGES]


@kernel
def _begin(order: Array, message: Array) -> None:
    order[:] = 0
    order[at.STATE] = order[at.OUR_STATE] = _SENT
    order[at.SIDE], order[at.MARKET] = message[at.M_SIDE], message[at.M_MARKET]
    order[at.TOTAL] = order[at.OUR_TOTAL] = order[at.LOTS] = message[at.M_LOTS]
    order[at.LIMIT] = order[at.OUR_LIMIT] = order[at.LIMIT_SENT] = message[at.M_TICKS]
    order[at.SENT_AT], order[at.ORDINAL] = message[at.M_SENT], message[at.M_ORDINAL]
    order[at.IS_IMMEDIATE] = message[at.M_TYPE] == 0 or message[at.M_FORCE] == 2
    order[at.IS_POST_ONLY] = message[at.M_FLAGS]


@kernel
def hear(head: Array) -> int:
    """Take the next report into our books and our view of the order; return its row."""
    row = head[at.DELIVERED]
    head[at.DELIVERED] += 1
    head[at.HEARD_COUNT] += 1
    told = at.reports_of(head)[row]
    kind = told[at.R_KIND]
    if kind == _FILL:
        _believe(head, told)
    place = told[at.R_ORDER] - head[at.BASE]
    if place < 0:
        return row
    order = at.orders_of(head)[place]
    if order[at.OUR_STATE] >= _FILLED:
        return row
    if kind == _ACCEPTED:
        order[at.OUR_STATE] = _OPEN
    elif kind == _FILL:
        order[at.OUR_FILLED] += told[at.R_LOTS]
        whole = order[at.OUR_FILLED] >= order[at.OUR_TOTAL]
        order[at.OUR_STATE] = _FILLED if whole else _PARTLY
    elif kind in (_REJECTION, _CANCEL):
        order[at.OUR_STATE] = _REJECTED if kind == _REJECTION else _CANCELED
    elif kind == _CANCEL_REJECTED:
        order[at.CANCELS] -= 1
    else:
        if kind == _MODIFIED:
            order[at.OUR_TOTAL], order[at.OUR_LIMIT] = told[at.R_LOTS], told[at.R_LIMIT]
        order[at.CHANGES] -= 1
        if order[at.CHANGES] == 0:
            order[at.ASKED] = 0
    return row


@kernel
def _believe(head: Array, told: Array) -> None:
    market = at.markets_of(head)[told[at.R_MARKET]]
    purse = at.purses_of(head)[market[at.PURSE]]
    size = head[at.BELIEVED]
    entry = at.table(head[at.AT_BELIEVED], size + 1, at.BELIEVED_WIDTH)[size]
    book_fill(
        market,
        purse[at.OUR_PURSE : at.PURSE_WIDTH],
        at.OUR_ACCOUNT,
        told[at.R_SIDE] * told[at.R_LOTS],
        told[at.R_TICKS],
        told[at.R_FEE],
        told[at.R_IS_MAKER] != 0,
        entry,
    )
    head[at.BELIEVED] += 1
    head[at.BELIEVED_COUNT] += 1
    entry[at.B_TIME], entry[at.B_RANK] = told[at.R_VISIBLE], _REPORT_RANK
    entry[at.B_COUNT], entry[at.B_MARKET] = head[at.BELIEVED_COUNT], told[at.R_MARKET]
