"""The loop of the express lane: what is due next, in the published order, until a given turn."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from backtester.express import layout as at
from backtester.express.accounts import UNKNOWN, margin_for, may_be_liquidated, may_overflow
from backtester.express.books import FIRST_BLOCK, catch_up, cursor_of, end_of, look_ahead, widen
from backtester.express.matching import arrive, cancel, cancel_all, modify, resolve
from backtester.express.tell import hear, take_in
from backtester.orders import ReportKind
from backtester.venue.matching import ROW
from clock.compiled import kernel
from clock.rank import Rank

Array = NDArray[Any]

DONE, HEARD, MORE_ROOM, WANTS_TAPE, WANTS_RULES, IN_DANGER = range(6)
"""What the lane stopped for: nothing more to do; a report to hand over; tables that are full; a
market (`WHICH`) without a tape; an event that it leaves to the venue in Python; a fill after which
the account might be liquidated."""

_MATCHING, _ARRIVAL, _REPORT = int(Rank.MATCHING), int(Rank.VENUE_ARRIVAL), int(Rank.ORDER_REPORT)
_FILL = int(ReportKind.FILLED)
_IOC = 2
_UNKNOWN = -1


@kernel
def run(head: Array, until: int, rank: int) -> int:
    """Do everything that is due strictly before `(until, rank)`; return why it stopped."""
    take_in(head)
    code = DONE
    while code == DONE:
        now, turn, which = _next(head)
        if now > until or (now == until and turn >= rank):
            break
        if turn == _REPORT:
            head[at.NOW] = now
            code = _hear(head)
            continue
        if not _has_room(head, which, turn):
            code = MORE_ROOM
            break
        head[at.NOW], head[at.EVENT_RANK] = now, turn
        booked = head[at.BOOKED]
        code = _match(head, which) if turn == _MATCHING else _arrive(head)
        if code == DONE and head[at.BOOKED] > booked and may_be_liquidated(head):
            code = IN_DANGER
    _note_due(head)
    return code


@kernel
def _next(head: Array) -> tuple[int, int, int]:
    """Return instant, rank and market of what is due next."""
    now, turn, which = at.NEVER, _MATCHING, -1
    markets = at.markets_of(head)
    if head[at.IS_STALE]:
        if _arrives_too(head):
            message = at.messages_of(head)[head[at.ARRIVED]]
            return head[at.NOW], _ARRIVAL, message[at.M_MARKET]
        head[at.IS_STALE] = 0
        _look(head)
    for j in range(head[at.MARKETS]):
        if markets[j, at.MATCH_AT] < now:
            now, which = markets[j, at.MATCH_AT], j
    if head[at.ARRIVED] < head[at.MESSAGES]:
        message = at.messages_of(head)[head[at.ARRIVED]]
        if message[at.M_ARRIVES] < now:
            now, turn, which = message[at.M_ARRIVES], _ARRIVAL, message[at.M_MARKET]
    if head[at.DELIVERED] < head[at.REPORTS]:
        visible = at.reports_of(head)[head[at.DELIVERED], at.R_VISIBLE]
        if visible < now:
            now, turn, which = visible, _REPORT, -1
    return now, turn, which


@kernel
def _note_due(head: Array) -> None:
    """Note the next event that must not wait: what nobody hears of may."""
    now, turn, _ = _next(head)
    if turn == _REPORT and head[at.HEARS] == 0:
        now, turn = at.NEVER, _MATCHING
        markets = at.markets_of(head)
        for j in range(head[at.MARKETS]):
            now = min(now, markets[j, at.MATCH_AT])
        if head[at.ARRIVED] < head[at.MESSAGES]:
            arrives = at.messages_of(head)[head[at.ARRIVED], at.M_ARRIVES]
            if arrives < now:
                now, turn = arrives, _ARRIVAL
    head[at.DUE_AT], head[at.DUE_RANK] = now, turn


@kernel
def _hear(head: Array) -> int:
    row = hear(head)
    hears = head[at.HEARS]
    kind = at.reports_of(head)[row, at.R_KIND]
    if hears == 2 or (hears == 1 and kind == _FILL):
        head[at.HEARD] = row
        return HEARD
    return DONE


@kernel
def hear_until(head: Array, until: int, rank: int) -> None:
    """Take in what was sent and what has been reported before `(until, rank)`; nothing else."""
    take_in(head)
    while head[at.DELIVERED] < head[at.REPORTS]:
        visible = at.reports_of(head)[head[at.DELIVERED], at.R_VISIBLE]
        if visible > until or (visible == until and rank <= _REPORT):
            break
        hear(head)
    _note_due(head)


@kernel
def _has_room(head: Array, which: int, turn: int) -> bool:
    """Return whether all that an event may have to tell fits into the tables."""
    markets = at.markets_of(head)
    resting, rows = 0, 1
    for j in range(head[at.MARKETS]):
        resting += markets[j, at.RESTING]
    if which >= 0:
        market = markets[which]
        if market[at.RESTING] + 2 > market[at.ROOM]:
            return False
        if turn == _MATCHING:
            rows = end_of(market, market[at.MATCH_AT]) - cursor_of(market)[ROW] + 1
    needed = rows * (resting + 1) + 4
    return bool(head[at.REPORTS] + needed <= head[at.REPORT_ROOM])


@kernel
def _match(head: Array, which: int) -> int:
    market = at.markets_of(head)[which]
    resolve(head, market)
    widen(market)
    market[at.MATCH_AT] = _UNKNOWN
    head[at.IS_STALE] = 1
    return DONE


@kernel
def _arrives_too(head: Array) -> bool:
    """Return whether another message arrives within the instant: no record lies between."""
    if head[at.EVENT_RANK] != _ARRIVAL or head[at.ARRIVED] == head[at.MESSAGES]:
        return False
    return bool(at.messages_of(head)[head[at.ARRIVED], at.M_ARRIVES] == head[at.NOW])


@kernel
def _look(head: Array) -> None:
    """Look ahead in the markets of which it is not known when something is filled next."""
    until = at.NEVER
    if head[at.ARRIVED] < head[at.MESSAGES]:
        until = at.messages_of(head)[head[at.ARRIVED], at.M_ARRIVES]
    markets = at.markets_of(head)
    for j in range(head[at.MARKETS]):
        if markets[j, at.MATCH_AT] == _UNKNOWN:
            look_ahead(head, markets[j], until)


@kernel
def _arrive(head: Array) -> int:
    """Deal with the message that arrives."""
    message = at.messages_of(head)[head[at.ARRIVED]]
    markets, which, kind = at.markets_of(head), message[at.M_MARKET], message[at.M_KIND]
    for j in range(head[at.MARKETS]):
        if which in (-1, j):
            catch_up(head, markets[j], head[at.NOW])
    if kind == at.CANCEL:
        if message[at.M_ORDER] == 0:
            cancel_all(head, which)
        else:
            cancel(head, markets[which], message)
    else:
        market = markets[which]
        rests = kind == at.MODIFY or message[at.M_FORCE] != _IOC
        if rests and market[at.HAS_TAPE] == 0:
            head[at.WHICH] = which
            return WANTS_TAPE
        if _is_too_much(head, which, message):
            return WANTS_RULES
        if kind == at.NEW:
            arrive(head, market, which, message[at.M_ORDER])
        else:
            modify(head, market, which, message)
    head[at.ARRIVED] += 1
    for j in range(head[at.MARKETS]):
        if which in (-1, j):
            markets[j, at.BLOCK] = FIRST_BLOCK
            # where orders have only gone, nothing is due before what was found
            if kind != at.CANCEL or markets[j, at.RESTING] == 0:
                markets[j, at.MATCH_AT] = _UNKNOWN
                head[at.IS_STALE] = 1
    return DONE


@kernel
def _is_too_much(head: Array, which: int, message: Array) -> bool:
    """Return whether a message needs longer numbers than the lane has."""
    market = at.markets_of(head)[which]
    if may_overflow(head, market, message[at.M_LOTS], message[at.M_TICKS]):
        return True
    side, lots, own = message[at.M_SIDE], message[at.M_LOTS], 0
    if message[at.M_KIND] == at.MODIFY:
        row = message[at.M_ORDER] - head[at.BASE]
        if row < 0:
            return False
        order = at.orders_of(head)[row]
        side, own = order[at.SIDE], order[at.TOTAL] - order[at.FILLED]
        lots = (lots if lots else order[at.TOTAL]) - order[at.FILLED]
    return margin_for(head, which, side, lots, own, head[at.NOW]) == UNKNOWN


@kernel
def let_pass(head: Array, now: int) -> None:
    """Let the records up to an instant pass, of which it is known what they fill."""
    markets = at.markets_of(head)
    for j in range(head[at.MARKETS]):
        catch_up(head, markets[j], now)


@kernel
def open_window(head: Array) -> bool:
    """Look ahead over a new window; return whether the account might be liquidated in it."""
    markets = at.markets_of(head)
    for j in range(head[at.MARKETS]):
        markets[j, at.MATCH_AT] = _UNKNOWN
    _look(head)
    _note_due(head)
    return may_be_liquidated(head)
