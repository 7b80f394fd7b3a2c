"""One deployment, event by event: rows, polls, network, replicas, answers (compiled).

The order of one instant is the published one: inside the deployment completions, then arrivals,
each by request number; then feature rows; then answers by request number; then the loop's turn. An
event may cause another of a lower rank at the same instant: that one is next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.base import NEVER
from clock.compiled import kernel
from clock.rank import Rank
from clock.sampler import draw_latency
from inference.rows import MISSING
from inference.serving import state as f
from inference.serving.queues import (
    give_free,
    put_last,
    put_running,
    put_sorted,
    step,
    take_first,
    take_free,
    take_running,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DONE, NEEDS_SLOTS, NEEDS_ROOM = range(3)
OUT, SERVICE, BACK, LATENCY = range(4)
"""Places of the four latency models in `specs`."""

COMPLETED, REPLACED = 0, 4
DEPLOYMENT, FEATURE_ROW = int(Rank.DEPLOYMENT), int(Rank.FEATURE_ROW)
PREDICTION, TIMER = int(Rank.PREDICTION), int(Rank.TIMER)
NOT_ASKED = -1
_NEVER, _MISSING = int(NEVER), int(MISSING)


@kernel
def next_event(c: Ints, t: Ints, row_at: int) -> tuple[int, int]:
    """Return the instant and rank of what is due first; *row_at* is the next row's instant."""
    inside = _NEVER
    if c[f.SIZE + f.RUNNING] > 0:
        inside = t[t[0, f.RUNNING], f.COMPLETED_AT]
    if c[f.SIZE + f.ARRIVALS] > 0:
        inside = min(inside, t[t[c[f.HEAD + f.ARRIVALS], f.ARRIVALS], f.ARRIVED_AT])
    visible = _NEVER
    if c[f.SIZE + f.ANSWERS] > 0:
        visible = t[t[c[f.HEAD + f.ANSWERS], f.ANSWERS], f.VISIBLE_AT]
    instant = min(min(inside, row_at), min(visible, min(c[f.SERVE_AT], c[f.NEXT_POLL])))
    if inside == instant:
        return instant, DEPLOYMENT
    if row_at == instant:
        return instant, FEATURE_ROW
    return instant, PREDICTION if visible == instant else TIMER


@step
def see_row(
    c: Ints, t: Ints, values: Floats, row: tuple[int, int, int, int], given: Floats, i: int
) -> int:
    """Let a row become the newest; return FEATURE_ROW if it asks for itself, else NOT_ASKED."""
    c[f.ROWS_SEEN] += 1
    columns = f.SCALARS + c[f.REPLICAS]
    if c[f.ACCEPTS_NAN] == 0:
        for place in range(values.shape[1]):
            value = given[i, c[columns + place]]
            if value != value:
                c[f.SKIPPED] += 1
                return NOT_ASKED
    for place in range(values.shape[1]):
        values[0, place] = given[i, c[columns + place]]
    t[0, f.ROW] = c[f.ROWS_SEEN] - 1
    t[0, f.INSTRUMENT], t[0, f.EMITTED_AT], t[0, f.TIE], t[0, f.EVENT_TIME] = row
    free = c[f.IN_FLIGHT] < c[f.MAX_IN_FLIGHT]
    asks = c[f.POLLING] == f.ON_FEATURE or (c[f.POLLING] == f.CONTINUOUS and free)
    return FEATURE_ROW if asks else NOT_ASKED


@step
def ask(c: Ints, t: Ints, values: Floats, records: Ints, now: int) -> int:
    """Make a request about the newest row, numbered in the order of asking; return its slot."""
    slot = take_free(c, t)
    c[f.ASKED_TIMES] = c[f.ASKED_TIMES] + 1 if c[f.ASKED_ROW] == t[0, f.ROW] else 0
    c[f.ASKED_ROW] = t[0, f.ROW]
    for field in range(f.WAITING):
        t[slot, field] = t[0, field] if field < f.SUBMITTED_AT else _MISSING
    t[slot, f.NUMBER], t[slot, f.LOOP] = c[f.NEXT_NUMBER], c[f.LOOP_INDEX]
    t[slot, f.SUBMITTED_AT], t[slot, f.REPLICA] = now, -1
    t[slot, f.ROW], t[slot, f.OWN] = t[0, f.ROW], 0
    t[slot, f.KEY_B], t[slot, f.KEY_C] = t[0, f.EMITTED_AT], t[0, f.TIE]
    t[slot, f.KEY_D] = c[f.ASKED_TIMES] << 16
    for place in range(values.shape[1]):
        values[slot, place] = values[0, place]
    place = c[f.SUBMITTED]
    records[f.OUTCOME_FIELDS, place], records[f.OUTCOME_FIELDS + 1, place] = c[f.NEXT_NUMBER], now
    for field in range(f.INSTRUMENT, f.EVENT_TIME):
        records[f.OUTCOME_FIELDS + field, place] = t[0, field]
    c[f.SUBMITTED] += 1
    c[f.NEXT_NUMBER] += 1
    return slot


@step
def turn(c: Ints, t: Ints, now: int) -> int:
    """Run the loop's turn of an instant: who waits goes first; return TIMER if it asks anew."""
    c[f.TIMER_RAN_AT] = now
    c[f.SERVE_AT] = _NEVER
    while c[f.IN_FLIGHT] < c[f.MAX_IN_FLIGHT] and c[f.SIZE + f.WAITING] > 0:
        slot = take_first(c, t, f.WAITING)
        c[f.IN_FLIGHT] += 1
        t[slot, f.SENT_AT] = now
        put_last(c, t, f.SENDING, slot)
    if c[f.NEXT_POLL] == now:
        c[f.NEXT_POLL] += c[f.PERIOD]
        return TIMER if t[0, f.ROW] >= 0 else NOT_ASKED
    unasked = t[0, f.ROW] > c[f.ASKED_ROW] and c[f.IN_FLIGHT] < c[f.MAX_IN_FLIGHT]
    return TIMER if c[f.POLLING] == f.CONTINUOUS and unasked else NOT_ASKED


@step
def answer(c: Ints, t: Ints) -> int:
    """Let the next answer become visible, which frees the loop's place; return its slot."""
    slot = take_first(c, t, f.ANSWERS)
    if t[slot, f.OWN] == 0:
        c[f.IN_FLIGHT] -= 1
        c[f.SERVE_AT] = t[slot, f.VISIBLE_AT]
    return slot


@step
def place_or_wait(c: Ints, t: Ints, slot: int, now: int) -> int:
    """Send a new request if a place is free, else let it wait; return whom it replaces, or 0."""
    replaced = 0
    if c[f.IN_FLIGHT] < c[f.MAX_IN_FLIGHT]:
        c[f.IN_FLIGHT] += 1
        t[slot, f.SENT_AT] = now
        put_last(c, t, f.SENDING, slot)
    else:
        if c[f.REPLACE] == 1 and c[f.SIZE + f.WAITING] > 0:
            replaced = take_first(c, t, f.WAITING)
            t[replaced, f.VISIBLE_AT] = now
        put_last(c, t, f.WAITING, slot)
    return replaced


@step
def close(
    c: Ints, t: Ints, values: Floats, records: Ints, asked: Floats, slot: int, rank: int
) -> None:
    """Write a request's one outcome, and free its slot; one never sent has been replaced."""
    place = c[f.OUTCOMES]
    sent = t[slot, f.SENT_AT] != _MISSING
    outcome = COMPLETED if sent else REPLACED
    for field in range(f.SHARED):
        records[field, place] = t[slot, field]
    records[f.RANK, place] = rank
    records[f.OUTCOME, place] = outcome
    records[f.ATTEMPTS, place] = 1 if sent else 0
    records[f.SUPERSEDED, place] = 0
    records[f.OUT_OWN, place] = t[slot, f.OWN]
    if sent and t[slot, f.OWN] == 0:
        newest = min(c[f.ANSWERED_ROWS] + t[slot, f.INSTRUMENT], len(c) - 1)
        records[f.SUPERSEDED, place] = 1 if t[slot, f.ROW] < c[newest] else 0
        c[newest] = max(c[newest], t[slot, f.ROW])
    for column in range(values.shape[1]):
        asked[place, column] = values[slot, column]
    c[f.OUTCOMES] += 1
    c[f.COUNTS + outcome] += 1
    give_free(c, t, slot)


@step
def begin_leg(c: Ints, t: Ints) -> tuple[int, int, int, int]:
    """Take the request whose next leg begins; return its slot, first and last leg, and when."""
    if c[f.SIZE + f.SENDING] > 0:
        slot = take_first(c, t, f.SENDING)
        return slot, OUT, OUT, t[slot, f.SENT_AT]
    if c[f.SIZE + f.RUNNING] > 0:
        slot = t[0, f.RUNNING]
        first = t[c[f.HEAD + f.ARRIVALS], f.ARRIVALS]
        if c[f.SIZE + f.ARRIVALS] == 0 or t[slot, f.COMPLETED_AT] <= t[first, f.ARRIVED_AT]:
            slot = take_running(c, t)
            return slot, BACK, LATENCY, t[slot, f.COMPLETED_AT]
    slot = take_first(c, t, f.ARRIVALS)
    replica = c[f.ROUND_ROBIN]
    c[f.ROUND_ROBIN] = replica + 1 if replica + 1 < c[f.REPLICAS] else 0
    t[slot, f.REPLICA] = replica
    t[slot, f.STARTED_AT] = max(t[slot, f.ARRIVED_AT], c[f.SCALARS + replica])
    return slot, SERVICE, SERVICE, t[slot, f.STARTED_AT]


@step
def end_leg(c: Ints, t: Ints, slot: int, leg: int, ends: int) -> None:
    """Queue a request for the end of its leg; on the network none overtakes another."""
    if leg == SERVICE:
        t[slot, f.COMPLETED_AT] = ends
        c[f.SCALARS + t[slot, f.REPLICA]] = ends
        c[f.BUSY_NS] += ends - t[slot, f.STARTED_AT]
        put_running(c, t, slot)
        return
    queue, field, last = f.ANSWERS, f.VISIBLE_AT, f.LAST_VISIBLE
    if leg == OUT:
        queue, field, last = f.ARRIVALS, f.ARRIVED_AT, f.LAST_ARRIVAL
    c[last] = max(ends, c[last])
    t[slot, field] = c[last]
    put_sorted(c, t, queue, slot, field)


@kernel
def run(
    c: Ints, t: Ints, values: Floats, records: Ints, asked: Floats, specs: Any,
    emitted_at: Ints, visible_at: Ints, event_time: Ints, tie: Ints, instrument: Ints,
    given: Floats, i: int, until: int, until_rank: int,
) -> tuple[int, int]:  # fmt: skip
    """Run everything strictly before (until, until_rank); return (status, rows taken).

    `NEEDS_SLOTS` and `NEEDS_ROOM` mean that it stopped between two events for want of space: the
    caller enlarges the state and calls again with the rows not yet taken. Each step is called from
    one place only, as each call is compiled into the loop.
    """
    while True:
        rank = DEPLOYMENT
        if c[f.SIZE + f.SENDING] == 0:
            row_at = visible_at[i] if i < len(visible_at) else _NEVER
            now, rank = next_event(c, t, row_at)
            if now > until or (now == until and rank >= until_rank) or now == _NEVER:
                return DONE, i
        if rank == DEPLOYMENT:
            slot, leg, last_leg, at = begin_leg(c, t)
            while True:
                at += draw_latency(
                    specs[leg], at, t[slot, f.INSTRUMENT], t[slot, f.KEY_B], t[slot, f.KEY_C],
                    t[slot, f.KEY_D],
                )  # fmt: skip
                if leg == last_leg:
                    break
                leg += 1
            end_leg(c, t, slot, leg, at)
            continue
        if c[f.SIZE + f.FREE] == 0:
            return NEEDS_SLOTS, i
        if max(c[f.SUBMITTED], c[f.OUTCOMES]) >= records.shape[1]:
            return NEEDS_ROOM, i
        asks, ended = NOT_ASKED, 0
        if rank == FEATURE_ROW:
            row = (instrument[i], emitted_at[i], tie[i], event_time[i])
            asks = see_row(c, t, values, row, given, i)
            i += 1
        elif rank == PREDICTION:
            ended = answer(c, t)
            rank = TIMER if c[f.TIMER_RAN_AT] == now else PREDICTION
        else:
            asks = turn(c, t, now)
        if asks != NOT_ASKED:
            ended = place_or_wait(c, t, ask(c, t, values, records, now), now)
        if ended != 0:
            close(c, t, values, records, asked, ended, rank)
