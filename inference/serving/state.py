"""What a simulated deployment remembers between two pushes: five arrays, so it pickles.

Every live request has a slot, a row of `table`; slot 0 is no request but the newest feature row.
The queues hold slots: rings (waiting, being sent, on the way there, on the way back), the heap of
running requests, and the stack of free slots. They lie in further columns of `table`, because few
arrays compile fast: a kernel that takes twelve takes four times as long to compile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.base import NEVER
from inference.rows import MISSING

# fields of a live request; the first SHARED of them open an outcome, in this order
(NUMBER, LOOP, INSTRUMENT, EMITTED_AT, TIE, EVENT_TIME, SUBMITTED_AT) = range(7)
(SENT_AT, ARRIVED_AT, STARTED_AT, COMPLETED_AT, VISIBLE_AT, REPLICA) = range(7, 13)
SHARED = 13
(ROW, KEY_B, KEY_C, KEY_D, OWN) = range(13, 18)
# queues: columns of `table` that hold slots
(WAITING, SENDING, ARRIVALS, ANSWERS, RUNNING, FREE) = range(18, 24)
FIELDS = 24

# fields of an outcome beyond the shared ones, then those of a submission
(RANK, OUTCOME, ATTEMPTS, SUPERSEDED, OUT_OWN) = range(13, 18)
OUTCOME_FIELDS = 18
SUBMISSION_FIELDS = 5

# scalars; the head and the size of a queue lie at HEAD and SIZE plus its column
(NEXT_NUMBER, IN_FLIGHT, MAX_IN_FLIGHT, POLLING, PERIOD, NEXT_POLL, REPLACE) = range(7)
(SERVE_AT, TIMER_RAN_AT, LAST_ARRIVAL, LAST_VISIBLE, ROUND_ROBIN, REPLICAS) = range(7, 13)
(ASKED_ROW, ASKED_TIMES, ANSWERED_ROWS, ROWS_SEEN, SKIPPED, ACCEPTS_NAN) = range(13, 19)
(LOOP_INDEX, BUSY_NS, SUBMITTED, OUTCOMES, OWN_AT, OWN_COUNT) = range(19, 25)
COUNTS = 25  # one for each outcome code
HEAD = 31 - WAITING
SIZE = 37 - WAITING
# then, for each replica, when it is free, then the columns that the model reads, then, from
# ANSWERED_ROWS on, the newest row answered of each instrument
SCALARS = 43

CONTINUOUS, EVERY, ON_FEATURE = range(3)


class State(NamedTuple):
    """The arrays of one deployment, all its own and mutable."""

    scalars: NDArray[np.int64]
    table: NDArray[np.int64]
    """Shape (capacity, FIELDS); capacity is a power of two, so that rings wrap by a mask."""
    values: NDArray[np.float64]
    """Shape (capacity, n_features): what each live request asks about."""
    records: NDArray[np.int64]
    """Shape (OUTCOME_FIELDS + SUBMISSION_FIELDS, room): this push's outcomes, and submissions."""
    asked: NDArray[np.float64]
    """Shape (room, n_features): the features behind each outcome."""


def new_state(columns: list[int], replicas: int, capacity: int = 64, instruments: int = 1) -> State:
    """Return an idle deployment that reads these columns of a row."""
    answered = SCALARS + replicas + len(columns)
    scalars = np.zeros(answered + instruments, np.int64)
    scalars[[SERVE_AT, NEXT_POLL]] = NEVER
    scalars[[TIMER_RAN_AT, LAST_ARRIVAL, LAST_VISIBLE, OWN_AT]] = MISSING
    scalars[ASKED_ROW] = scalars[answered:] = -1
    scalars[ANSWERED_ROWS] = answered
    scalars[REPLICAS] = replicas
    scalars[SCALARS : SCALARS + replicas] = MISSING
    scalars[SCALARS + replicas : answered] = columns
    scalars[SIZE + FREE] = capacity - 1
    table = np.zeros((capacity, FIELDS), np.int64)
    table[0, ROW] = -1
    table[: capacity - 1, FREE] = np.arange(capacity - 1, 0, -1)
    features = len(columns)
    return State(
        scalars=scalars,
        table=table,
        values=np.zeros((capacity, features)),
        records=np.zeros((OUTCOME_FIELDS + SUBMISSION_FIELDS, capacity), np.int64),
        asked=np.zeros((capacity, features)),
    )


def slots_in(state: State, queue: int) -> NDArray[np.int64]:
    """Return the slots in a ring or in the heap, first one first."""
    head, size = state.scalars[HEAD + queue], state.scalars[SIZE + queue]
    return np.roll(state.table[:, queue], -head)[:size]


def more_slots(state: State) -> State:
    """Return the same deployment with room for twice as many live requests."""
    capacity = len(state.table)
    table = np.concatenate((state.table, np.zeros_like(state.table)))
    scalars = state.scalars.copy()
    for queue in (WAITING, SENDING, ARRIVALS, ANSWERS):
        held = slots_in(state, queue)
        table[: len(held), queue] = held
        scalars[HEAD + queue] = 0
    free = scalars[SIZE + FREE]
    table[free : free + capacity, FREE] = np.arange(2 * capacity - 1, capacity - 1, -1)
    scalars[SIZE + FREE] += capacity
    values = np.concatenate((state.values, np.zeros_like(state.values)))
    return state._replace(scalars=scalars, table=table, values=values)


def more_room(state: State) -> State:
    """Return the same deployment with room for twice as many records in one push."""
    return state._replace(
        records=np.concatenate((state.records, np.zeros_like(state.records)), axis=1),
        asked=np.concatenate((state.asked, np.zeros_like(state.asked))),
    )
