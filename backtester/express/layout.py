"""Where the state of the express lane lies: tables of whole numbers, found by their addresses.

A kernel is handed one array, the head: to hand over a dozen costs more than an order does. It holds
counters and, for each table, its address; `lane.py` makes the tables and keeps them alive.
"""

from __future__ import annotations

from typing import Any

import numba
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from clock.compiled import inlined_kernel
from clock.draws import LatencySpec

Array = NDArray[Any]

NEVER = 2**63 - 1

# --- the head: counters ---------------------------------------------------------------------------

(
    NOW,  # instant of the event that is dealt with, or was last
    EVENT_RANK,  # its rank
    DUE_AT,  # the next event that must not wait: its instant
    DUE_RANK,  # and its rank
    HEARS,  # which reports the strategy hears: 0 none, 1 fills, 2 all
    HEARD,  # row of the report that it is to hear now
    WHICH,  # market that a code is about
    MESSAGES,  # rows of the messages
    TAKEN_IN,  # of these our belief knows
    ARRIVED,  # of these the venue knows
    REPORTS,  # rows of the reports
    DELIVERED,  # of these have reached us
    REPORT_ROOM,  # capacity of the reports, of the venue's books and of ours
    REPORT_NUMBER,  # of the newest report
    LAST_REPORT,  # when it reaches us
    RANKS,  # the newest rank among own orders
    BOOKED,  # rows of the venue's books
    BOOKED_COUNT,  # entries of the run
    BELIEVED,  # rows of our books
    BELIEVED_COUNT,
    IS_STALE,  # whether it is not known of a market when something is filled next
    HEARD_COUNT,  # reports of the run that have reached us
    BASE,  # number of the order in the first row
    NEWEST,  # number of the newest order that our belief knows
    MARKETS,
    PURSES,
    SELF_TRADE,  # 0 cancels what rests, 1 what arrives, 2 both
    SCALE,  # of the shares of margin
    FILL_NS,  # latency of a fill's report, -1 where it is drawn
    ANSWER_NS,  # of any other
    FILL_TERMS,  # terms of the two models
    FILL_TABLE,
    ANSWER_TERMS,
    ANSWER_TABLE,
) = range(34)
(
    AT_MARKETS,
    AT_PURSES,
    AT_ORDERS,
    AT_MESSAGES,
    AT_REPORTS,
    AT_BOOKED,
    AT_BELIEVED,
    AT_MODEL,
) = range(36, 44)
AT_FILL_SPEC, AT_ANSWER_SPEC = 44, 50  # six addresses each
HEAD_WIDTH = 64

# --- markets --------------------------------------------------------------------------------------

(
    QUOTES,  # quotes of the window
    QUOTE,  # of these have happened
    BID,
    BID_LOTS,
    ASK,
    ASK_LOTS,
    HAS_QUOTE,
    BID_TAKEN,
    ASK_TAKEN,
    RESTING,  # own orders in the book
    ROOM,  # for so many
    ROWS,  # rows of the tape
    HAS_TAPE,
    MATCH_AT,  # nothing is filled before
    BLOCK,  # rows to look ahead
    OPEN_BUYS,  # lots
    OPEN_SELLS,
    LARGEST_TICKS,
    LOWEST,  # twice the mid in this window
    HIGHEST,
    PURSE,  # place of its currency
    MULTIPLIER,
    INITIAL,  # share of margin, times the scale
    MAINTENANCE,
    MAKER,  # fee: numerator, denominator
    MAKER_OF,
    TAKER,
    TAKER_OF,
) = range(28)
VENUE_ACCOUNT, OUR_ACCOUNT = 28, 33
POSITION, BASIS, ENTRY_FEES, BOUGHT, SOLD = range(5)
"""Columns from where an account begins."""
(
    AT_TIMES,
    AT_BIDS,
    AT_BID_SIZES,
    AT_ASKS,
    AT_ASK_SIZES,
    AT_TAPE_TIMES,
    AT_TAPE,
    AT_RESTING,
    AT_AHEAD,
    AT_NUMBERS,
    AT_CURSOR,
    AT_TRIAL,
    AT_TRIAL_AHEAD,
    AT_TRIAL_CURSOR,
    AT_STEPS,  # tick size, lot size
) = range(38, 53)
MARKET_WIDTH = 56

CASH, REALISED, MAKER_FEES, TAKER_FEES = range(4)
VENUE_PURSE, OUR_PURSE = 0, 4
PURSE_WIDTH = 8

# --- orders, by number ----------------------------------------------------------------------------

(
    STATE,
    SIDE,
    MARKET,
    TOTAL,
    FILLED,
    LIMIT,
    SENT_AT,
    ORDINAL,
    RANK,
    IS_IMMEDIATE,
    IS_POST_ONLY,
    LOTS,  # as it left us
    LIMIT_SENT,
    OUR_STATE,
    OUR_TOTAL,
    OUR_FILLED,
    OUR_LIMIT,
    CANCELS,
    CHANGES,
    ASKED,
    ARRIVED_AT,
) = range(21)
ORDER_WIDTH = 22

# --- messages, in the order of sending ------------------------------------------------------------

NEW, CANCEL, MODIFY = range(3)
(
    M_ARRIVES,
    M_KIND,
    M_ORDER,
    M_MARKET,
    M_SIDE,
    M_TYPE,
    M_LOTS,
    M_TICKS,
    M_FORCE,
    M_FLAGS,
    M_SENT,
    M_ORDINAL,
    M_DECIDED,
    M_RANK,
    M_SOURCE,  # of the record that is decided on, -1: mid and staleness are given
    M_PLACE,  # of that record, or the mid's bits
    M_STALENESS,
    M_CHANGE,  # place among the changes of the run
) = range(18)
MESSAGE_WIDTH = 18

(
    R_VISIBLE,
    R_NUMBER,
    R_ORDER,
    R_MARKET,
    R_KIND,
    R_REASON,
    R_LOTS,
    R_VENUE_TIME,
    R_IS_LAST,
    R_LIMIT,
    R_TICKS,
    R_FEE,
    R_IS_MAKER,
    R_SIDE,
) = range(14)
REPORT_WIDTH = 14

(
    B_TIME,
    B_RANK,
    B_COUNT,
    B_MARKET,
    B_LOTS,
    B_TICKS,
    B_FEE,
    B_REALISED,
    B_CASH,
    B_POSITION,
    B_BASIS,
    B_NET,
    B_CLOSED,
    B_REPORT,
    B_ORDER,
    B_SIDE,
    B_IS_MAKER,
) = range(17)
BOOKED_WIDTH = 17
BELIEVED_WIDTH = 11


# --- views ----------------------------------------------------------------------------------------


def _pointer(kind: Any) -> Any:
    def make(_: Any, address: Any) -> Any:
        pointer: Any = types.CPointer  # type: ignore[attr-defined]  # numba has no types
        signature = pointer(kind)(types.int64)

        def code(context: Any, builder: Any, made: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(made.return_type))

        return signature, code

    return make


_ints_at = intrinsic(_pointer(types.int64))
_floats_at = intrinsic(_pointer(types.float64))
_keys_at = intrinsic(_pointer(types.uint64))


@inlined_kernel
def ints(address: int, size: int) -> Array:
    """Return whole numbers at an address. Shape (size,)."""
    return numba.carray(_ints_at(address), (size,))


@inlined_kernel
def floats(address: int, size: int) -> Array:
    """Return floats at an address. Shape (size,)."""
    return numba.carray(_floats_at(address), (size,))


@inlined_kernel
def table(address: int, rows: int, width: int) -> Array:
    """Return a table of whole numbers at an address. Shape (rows, width)."""
    return numba.carray(_ints_at(address), (rows, width))


@inlined_kernel
def markets_of(head: Array) -> Array:
    """Return the table of markets."""
    return table(head[AT_MARKETS], head[MARKETS], MARKET_WIDTH)


@inlined_kernel
def purses_of(head: Array) -> Array:
    """Return the table of currencies."""
    return table(head[AT_PURSES], head[PURSES], PURSE_WIDTH)


@inlined_kernel
def orders_of(head: Array) -> Array:
    """Return the table of orders, without its length."""
    return table(head[AT_ORDERS], 1 << 40, ORDER_WIDTH)


@inlined_kernel
def messages_of(head: Array) -> Array:
    """Return the table of messages."""
    return table(head[AT_MESSAGES], head[MESSAGES], MESSAGE_WIDTH)


@inlined_kernel
def reports_of(head: Array) -> Array:
    """Return the table of reports."""
    return table(head[AT_REPORTS], head[REPORT_ROOM], REPORT_WIDTH)


@inlined_kernel
def spec_of(head: Array, at: int, terms: int, rows: int) -> LatencySpec:
    """Return a latency model."""
    return LatencySpec(
        numba.carray(_keys_at(head[at]), (1,)),
        ints(head[at + 1], terms),
        table(head[at + 2], terms, 2),
        numba.carray(_floats_at(head[at + 3]), (terms, 3)),
        ints(head[at + 4], rows),
        ints(head[at + 5], rows),
    )
