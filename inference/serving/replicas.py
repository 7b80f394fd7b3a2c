"""A deployment's replicas: how they start, drain, crash and stop, and what they answer."""

from __future__ import annotations

import numpy as np

from clock.base import NEVER
from inference.serving import layout as f
from inference.serving.memory import (
    Floats,
    Ints,
    Keys,
    draw_for,
    identify,
    leave_deployment,
    note_change,
    plan,
    put_end,
    send,
    take_out,
    take_row,
    variant_of,
)
from inference.serving.power_of_two import drop_task, start_tasks, tell_done, wake_waiting
from inference.serving.queues import step
from inference.serving.routers import take_more, welcome

_NEVER = int(NEVER)


@step
def enter_state(m: Ints, o: Ints, r: int, state: int, now: int) -> None:
    """Change what a replica does, and account for the time that replicas are there."""
    v, before = m[r + f.R_VARIANT], m[r + f.R_STATE]
    m[v + f.ALIVE_NS] += m[v + f.ALIVE] * (now - m[v + f.ALIVE_SINCE])
    m[v + f.ALIVE_SINCE] = now
    was_there = before == f.READY or before == f.DRAINING
    is_there = state == f.READY or state == f.DRAINING
    m[v + f.ALIVE] += int(is_there) - int(was_there)
    m[v + f.READY_COUNT] += int(state == f.READY) - int(before == f.READY)
    m[r + f.R_STATE], m[r + f.LENGTH] = state, -1
    note_change(m, o, v, (f.REPLICA_CHANGED, m[r + f.INDEX], state), now)


@step
def start_replica(m: Ints, w: Ints, r: int, leg: int, model: int, now: int) -> None:
    """Let a replica be ready after the draws of its start."""
    v, index = m[r + f.R_VARIANT], m[r + f.INDEX]
    place = plan(m, w, now, f.REPLICA_READY, m[v + f.V_INDEX], index, r)
    draw_for(w, place, leg, model, v)
    identify(w, place, index, m[r + f.STARTS], 0, 0)
    m[r + f.STARTS] += 1
    w[place, f.X] = m[r + f.STARTS]


@step
def add_replica(m: Ints, o: Ints, v: int, state: int, now: int) -> int:
    """Make a replica; its index is one that was never used."""
    r = take_row(m, f.IS_REPLICA)
    m[r + f.INDEX], m[r + f.R_VARIANT] = m[v + f.NEXT_INDEX], v
    m[v + f.NEXT_INDEX] += 1
    m[r + f.R_STATE], m[r + f.TIMER_AT] = f.STOPPED, _NEVER
    put_end(m, v + f.REPLICAS, r)
    enter_state(m, o, r, state, now)
    return r


@step
def stop(m: Ints, o: Ints, r: int, now: int) -> None:
    """Stop a replica for good. Its row stays: messages may be on their way to it."""
    v = m[r + f.R_VARIANT]
    if m[v + f.LAST_USED] == r:
        m[v + f.LAST_USED] = m[r + f.PREV]
    take_out(m, v + f.REPLICAS, f.NEXT, r)
    enter_state(m, o, r, f.STOPPED, now)


@step
def stop_if_drained(m: Ints, o: Ints, r: int, now: int) -> None:
    """Stop a draining replica that has nothing left to finish."""
    if m[r + f.R_STATE] == f.DRAINING and m[r + f.ONGOING] == 0 and m[r + f.QUEUE] == 0:
        stop(m, o, r, now)


@step
def gets_ready(m: Ints, w: Ints, o: Ints, keys: Keys, r: int, now: int) -> None:
    """Let a replica take work."""
    v = m[r + f.R_VARIANT]
    m[r + f.EXECUTIONS] = 0
    enter_state(m, o, r, f.READY, now)
    if m[v + f.ROUTER] == f.POWER_OF_TWO:
        wake_waiting(m, w, keys, v, now)
        return
    if m[v + f.ROUTER] == f.ROUND_ROBIN:
        welcome(m, v, r, now)
    take_more(m, w, v, r, now)


@step
def reply(m: Ints, w: Ints, attempt: int, outcome: int, reason: int, now: int) -> None:
    """Send a reply back to the client, whatever it says."""
    m[attempt + f.A_STATE], m[attempt + f.A_COMPLETED_AT] = f.REPLYING, now
    m[attempt + f.A_REPLY], m[attempt + f.A_REASON] = outcome, reason
    send(m, w, f.REPLY, attempt, f.BACKWARD, m[variant_of(m, attempt) + f.BACK_MODEL], now)


@step
def note_served(m: Ints, o: Ints, values: Floats, y: Floats, attempt: int) -> None:
    """Record what a model was asked in an execution, for those whose bits depend on the batch."""
    place, columns = m[f.EXECUTED], values.shape[1]
    o[place, f.O_SERVED], o[place, f.O_SERVED + 1] = (
        m[attempt + f.A_EXECUTION],
        m[attempt + f.A_NUMBER],
    )
    o[place, f.O_SERVED + 2] = m[attempt + f.A_ATTEMPT]
    o[place, f.O_SERVED + 3], o[place, f.O_SERVED + 4] = m[attempt + f.A_VARIANT], attempt
    for column in range(columns):
        y[place, columns + column] = values[m[attempt + f.SLOT], column]
    m[f.EXECUTED] += 1


@step
def completes(m: Ints, w: Ints, o: Ints, values: Floats, y: Floats, first: int, now: int) -> None:
    """End an execution: its members answer in order, then the replica goes on."""
    v, r = variant_of(m, first), m[first + f.A_REPLICA_ROW]
    m[r + f.RUNNING] -= 1
    m[v + f.BUSY_NS] += now - m[first + f.A_STARTED_AT]
    member = first
    while member != 0:
        following = m[member + f.NEXT]
        m[member + f.NEXT] = m[member + f.PREV] = 0
        m[r + f.ONGOING] -= 1
        m[v + f.GAUGE] -= 1
        if m[f.KEEPS_SERVED] == 1:
            note_served(m, o, values, y, member)
        if m[member + f.A_FAILS] == 1:
            reply(m, w, member, f.FAILED, f.ERROR, now)
        else:
            reply(m, w, member, f.COMPLETED, f.NO_REASON, now)
        tell_done(m, w, member, now)
        member = following
    take_more(m, w, v, r, now)
    stop_if_drained(m, o, r, now)


@step
def is_at(m: Ints, attempt: int, r: int) -> bool:
    """Tell whether an attempt is held by a replica."""
    state = m[attempt + f.A_STATE]
    return (
        m[attempt + f.KIND] == f.IS_ATTEMPT
        and m[attempt + f.A_REPLICA_ROW] == r
        and f.LINED_UP <= state <= f.RUNNING_IN
    )


@step
def held_by(m: Ints, r: int) -> Ints:
    """Return the attempts that a replica holds, by (number, attempt)."""
    count = 0
    for row in range(m[f.ROWS], len(m), f.ROW_SIZE):
        count += int(is_at(m, row, r))
    held = np.empty(count, np.int64)
    count = 0
    for row in range(m[f.ROWS], len(m), f.ROW_SIZE):
        if is_at(m, row, r):
            held[count] = row
            count += 1
    gap = 1
    while gap < count:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            row, j = held[i], i
            while j >= gap and comes_after(m, held[j - gap], row):
                held[j] = held[j - gap]
                j -= gap
            held[j] = row
        gap //= 3
    return held


@step
def comes_after(m: Ints, one: int, other: int) -> bool:
    """Tell whether an attempt is numbered after another."""
    if m[one + f.A_NUMBER] != m[other + f.A_NUMBER]:
        return m[one + f.A_NUMBER] > m[other + f.A_NUMBER]
    return m[one + f.A_ATTEMPT] > m[other + f.A_ATTEMPT]


@step
def crash(m: Ints, w: Ints, o: Ints, r: int, restart: int, now: int) -> None:
    """Let a replica lose all it holds; a draining one stops, another one starts anew."""
    v = m[r + f.R_VARIANT]
    for attempt in held_by(m, r):
        if m[attempt + f.A_STATE] == f.LINED_UP:
            m[v + f.QUEUED] -= 1
        name = (m[attempt + f.A_NUMBER] << 16) + m[attempt + f.A_ATTEMPT]
        if m[attempt + f.A_STATE] == f.RUNNING_IN and m[attempt + f.A_EXECUTION] == name:
            m[v + f.BUSY_NS] += now - m[attempt + f.A_STARTED_AT]
        m[attempt + f.NEXT] = m[attempt + f.PREV] = 0
        m[v + f.GAUGE] -= 1
        reply(m, w, attempt, f.FAILED, f.CRASHED, now)
    for field in range(f.QUEUE, f.WAKES_FIRST + 1):
        m[r + field] = 0
    m[r + f.ONGOING] = m[r + f.RUNNING] = 0
    m[r + f.TIMER_AT] = _NEVER
    if m[r + f.R_STATE] == f.DRAINING:
        stop(m, o, r, now)
        return
    enter_state(m, o, r, f.DOWN, now)
    start_replica(m, w, r, f.RESTARTED, restart, now)


@step
def take_back(m: Ints, w: Ints, o: Ints, keys: Keys, attempt: int, now: int) -> None:
    """Let a cancel reach the deployment: what can still be taken back is, without a reply."""
    v, r, state = variant_of(m, attempt), m[attempt + f.A_REPLICA_ROW], m[attempt + f.A_STATE]
    alone = state == f.RUNNING_IN and m[v + f.BATCHING] == f.NO_BATCHES
    if state == f.HOPPING or state == f.BOUNCED:
        m[attempt + f.A_CANCELLED] = 1
        return
    if not (alone or state == f.POOLED or f.LINED_UP <= state <= f.FORMING_IN):
        return
    if state == f.POOLED:
        take_out(m, v + f.POOL, f.NEXT, attempt)
        drop_task(m, v, attempt)
        m[v + f.QUEUED] -= 1
    elif state == f.LINED_UP:
        take_out(m, r + f.QUEUE, f.NEXT, attempt)
        m[v + f.QUEUED] -= 1
    else:
        m[r + f.ONGOING] -= 1
        if alone:
            m[r + f.RUNNING] -= 1
            m[v + f.BUSY_NS] += now - m[attempt + f.A_STARTED_AT]
        elif state == f.OUTSIDE:
            take_out(m, r + f.INBOX, f.NEXT, attempt)
        elif state == f.IN_BATCHER:
            take_out(m, r + f.BATCHER, f.NEXT, attempt)
        else:
            take_out(m, r + f.FORMING, f.NEXT, attempt)
            if m[r + f.FORMING] == 0:
                m[r + f.TIMER_AT] = _NEVER
        tell_done(m, w, attempt, now)
    m[v + f.GAUGE] -= 1
    leave_deployment(m, o, attempt, f.CANCELLED, now)
    if state == f.POOLED:
        if m[v + f.ROUTER] == f.POWER_OF_TWO:
            start_tasks(m, w, keys, v, now)
        return
    take_more(m, w, v, r, now)
    stop_if_drained(m, o, r, now)
