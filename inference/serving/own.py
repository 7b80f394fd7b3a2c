"""A strategy's own requests, and what a deployment still holds at the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.rows import MISSING
from inference.schedule import Outcome, Outcomes
from inference.serving import state as f
from inference.serving.state import State
from inference.serving.widen import plain_outcomes

OWN_KEY = 1 << 32
"""Part of the identity of a strategy's own request: no row is asked so often."""


def submit(
    state: State,
    values: NDArray[np.float64],
    now: int,
    row: tuple[int, int, int, int],
) -> tuple[State, int]:
    """Queue a request that occupies none of the loop's places; return the state and its number.

    *row* is (instrument, emitted_at, tie, event_time). It leaves with the next run of the
    deployment, whatever its watermark.
    """
    if not state.scalars[f.SIZE + f.FREE]:
        state = f.more_slots(state)
    if state.scalars[f.SUBMITTED] >= state.records.shape[1]:
        state = f.more_room(state)
    c, t = state.scalars, state.table
    c[f.OWN_COUNT] = c[f.OWN_COUNT] + 1 if c[f.OWN_AT] == now else 0
    c[f.OWN_AT] = now
    c[f.SIZE + f.FREE] -= 1
    slot = t[c[f.SIZE + f.FREE], f.FREE]
    instrument, emitted_at, tie, _ = row
    request = t[slot]
    request[: f.WAITING] = MISSING
    request[[f.NUMBER, f.LOOP, f.REPLICA]] = c[f.NEXT_NUMBER], c[f.LOOP_INDEX], -1
    request[[f.INSTRUMENT, f.EMITTED_AT, f.TIE, f.EVENT_TIME]] = row
    request[[f.SUBMITTED_AT, f.SENT_AT, f.OWN]] = now, now, 1
    request[[f.KEY_B, f.KEY_C, f.KEY_D]] = now, c[f.OWN_COUNT], OWN_KEY
    state.values[slot] = values
    place = c[f.SUBMITTED]
    state.records[f.OUTCOME_FIELDS :, place] = c[f.NEXT_NUMBER], now, instrument, emitted_at, tie
    t[(c[f.HEAD + f.SENDING] + c[f.SIZE + f.SENDING]) % len(t), f.SENDING] = slot
    c[[f.SIZE + f.SENDING, f.SUBMITTED, f.NEXT_NUMBER]] += 1
    return state, int(request[f.NUMBER])


def unfinished(state: State, until: int) -> Outcomes:
    """Return every live request, by number, with the stamps it has reached before *until*."""
    queues = (f.WAITING, f.SENDING, f.ARRIVALS, f.ANSWERS, f.RUNNING)
    live = state.table[np.concatenate([f.slots_in(state, queue) for queue in queues])]
    live = live[np.argsort(live[:, f.NUMBER])].T
    columns = np.zeros((f.OUTCOME_FIELDS, live.shape[1]), np.int64)
    columns[: f.SHARED] = live[: f.SHARED]
    stamps = columns[f.ARRIVED_AT : f.VISIBLE_AT + 1]
    stamps[stamps >= until] = MISSING
    columns[f.VISIBLE_AT] = MISSING
    columns[f.REPLICA, columns[f.ARRIVED_AT] == MISSING] = -1
    columns[f.OUTCOME] = Outcome.IN_FLIGHT
    columns[f.ATTEMPTS] = columns[f.SENT_AT] != MISSING
    columns[f.OUT_OWN] = live[f.OWN]
    return plain_outcomes(columns, np.full(live.shape[1], np.nan))


def busy_ns(state: State, until: int) -> int:
    """Return how long replicas served before *until*, all together."""
    running = state.table[f.slots_in(state, f.RUNNING)]
    begun = np.maximum(running[:, f.STARTED_AT], until)
    beyond = np.maximum(running[:, f.COMPLETED_AT] - begun, 0).sum()
    return int(state.scalars[f.BUSY_NS] - beyond)
