"""How a replica executes what it has accepted: one by one, in Ray's batches, or in Triton's."""

from __future__ import annotations

from clock.base import NEVER
from inference.serving import layout as f
from inference.serving.memory import Ints, plan, put_end, send, take_head
from inference.serving.queues import step

_NEVER = int(NEVER)


@step
def start(m: Ints, w: Ints, r: int, first: int, size: int, now: int) -> None:
    """Start the execution of a chain of attempts on a replica."""
    m[r + f.RUNNING] += 1
    m[m[r + f.R_VARIANT] + f.EXECUTION_COUNT] += 1
    execution = (m[first + f.A_NUMBER] << 16) + m[first + f.A_ATTEMPT]
    member = first
    for _ in range(size):
        m[member + f.A_STATE] = f.RUNNING_IN
        m[member + f.A_STARTED_AT] = now
        m[member + f.A_EXECUTION], m[member + f.A_BATCH_SIZE] = execution, size
        if m[m[r + f.R_VARIANT] + f.BATCHING] != f.RAY_BATCHES:
            m[member + f.A_BATCHED_AT] = now
        member = m[member + f.NEXT]
    send(m, w, f.COMPLETION, first, f.SERVED, 0, now)


@step
def set_timer(m: Ints, w: Ints, r: int, at: int) -> None:
    """Let the batcher act at an instant; NEVER takes the timer back."""
    if m[r + f.TIMER_AT] != at:
        m[r + f.TIMER_AT] = at
        if at != _NEVER:
            v = m[r + f.R_VARIANT]
            plan(m, w, at, f.BATCH_TIMER, m[v + f.V_INDEX], m[r + f.INDEX], r)


@step
def collect(m: Ints, w: Ints, r: int, now: int) -> None:
    """Let Ray's collector take the next waiting request into the batch that forms."""
    attempt = take_head(m, r + f.BATCHER)
    m[attempt + f.A_STATE], m[attempt + f.A_BATCHED_AT] = f.FORMING_IN, now
    put_end(m, r + f.FORMING, attempt)
    if m[r + f.FORMING + 2] == 1:
        set_timer(m, w, r, now + m[m[r + f.R_VARIANT] + f.BATCH_WAIT])


@step
def seal(m: Ints, w: Ints, r: int) -> None:
    """Close the batch that forms; it waits for a slot."""
    first = m[r + f.FORMING]
    m[first + f.A_BATCH_SIZE] = m[r + f.FORMING + 2]
    m[first + f.NEXT_BATCH] = 0
    member = first
    while member != 0:
        m[member + f.A_STATE] = f.SEALED_IN
        member = m[member + f.NEXT]
    m[r + f.FORMING] = m[r + f.FORMING + 1] = m[r + f.FORMING + 2] = 0
    if m[r + f.SEALED] == 0:
        m[r + f.SEALED_FIRST] = first
    else:
        m[m[r + f.SEALED_LAST] + f.NEXT_BATCH] = first
    m[r + f.SEALED_LAST] = first
    m[r + f.SEALED] += 1
    set_timer(m, w, r, _NEVER)


@step
def notice(m: Ints, r: int) -> bool:
    """Let what was accepted come before Ray's collector; tell whether there was anything."""
    found = m[r + f.INBOX] != 0
    while m[r + f.INBOX] != 0:
        attempt = take_head(m, r + f.INBOX)
        m[attempt + f.A_STATE] = f.IN_BATCHER
        put_end(m, r + f.BATCHER, attempt)
    return found


@step
def start_sealed(m: Ints, w: Ints, r: int, now: int) -> None:
    """Start the oldest sealed batch; the collector takes at most one request in hand first.

    A function that blocks holds the event loop that the collector runs on. If the request in hand
    was there before, the loop wakes the collector after the execution before it notices anything
    new; otherwise it notices first.
    """
    m[r + f.WAKES_FIRST] = int(m[r + f.BATCHER] != 0)
    if m[r + f.BATCHER] == 0:
        notice(m, r)
    if m[r + f.BATCHER] != 0 and m[r + f.FORMING] == 0:
        collect(m, w, r, now)
    notice(m, r)
    first = m[r + f.SEALED_FIRST]
    m[r + f.SEALED_FIRST] = m[first + f.NEXT_BATCH]
    m[r + f.SEALED] -= 1
    start(m, w, r, first, m[first + f.A_BATCH_SIZE], now)


@step
def collect_and_start(m: Ints, w: Ints, v: int, r: int, now: int) -> None:
    """Let Ray's batcher do all that it can; a function that blocks stops it while it runs."""
    if m[v + f.BLOCKING] == 1 and m[r + f.RUNNING] > 0:
        return
    if m[r + f.WAKES_FIRST] == 0:
        notice(m, r)
    m[r + f.WAKES_FIRST] = 0
    while m[v + f.BLOCKING] == 0 or m[r + f.RUNNING] == 0:
        due = m[r + f.FORMING] != 0 and now >= m[r + f.TIMER_AT]
        if m[r + f.SEALED] > 0 and m[r + f.RUNNING] < m[v + f.SLOTS]:
            start_sealed(m, w, r, now)
        elif m[r + f.FORMING + 2] == m[v + f.MAX_BATCH] or (due and m[r + f.BATCHER] == 0):
            seal(m, w, r)
        elif m[r + f.BATCHER] != 0:
            collect(m, w, r, now)
        elif not notice(m, r):
            return


@step
def fill(m: Ints, k: int, v: int, r: int, now: int) -> int:
    """Return how many Triton's batcher would start now, 0 for none; *k* is how many wait."""
    if k >= m[v + f.MAX_BATCH]:
        return m[v + f.MAX_BATCH]
    for place in range(m[v + f.PREFERRED_COUNT] - 1, -1, -1):
        size = m[m[v + f.PREFERRED] + place]
        if size <= k:
            return size
    oldest = m[r + f.BATCHER]
    return k if k > 0 and now - m[oldest + f.A_ACCEPTED_AT] >= m[v + f.BATCH_WAIT] else 0


@step
def fill_instances(m: Ints, w: Ints, v: int, r: int, now: int) -> None:
    """Let Triton's free instances take what waits; else wait for the oldest's delay to pass."""
    while m[r + f.RUNNING] < m[v + f.SLOTS]:
        size = fill(m, m[r + f.BATCHER + 2], v, r, now)
        if size == 0:
            break
        first = take_head(m, r + f.BATCHER)
        last = first
        for _ in range(size - 1):
            member = take_head(m, r + f.BATCHER)
            m[last + f.NEXT], m[member + f.PREV] = member, last
            last = member
        start(m, w, r, first, size, now)
    due = _NEVER
    if m[r + f.BATCHER] != 0 and m[r + f.RUNNING] < m[v + f.SLOTS]:
        due = m[m[r + f.BATCHER] + f.A_ACCEPTED_AT] + m[v + f.BATCH_WAIT]
    set_timer(m, w, r, due)


@step
def act(m: Ints, w: Ints, r: int, now: int) -> None:
    """Let a replica do all that it can with what it has accepted."""
    v = m[r + f.R_VARIANT]
    batching = m[v + f.BATCHING]
    if batching == f.NO_BATCHES:
        while m[r + f.BATCHER] != 0:
            start(m, w, r, take_head(m, r + f.BATCHER), 1, now)
    elif batching == f.TRITON_BATCHES:
        fill_instances(m, w, v, r, now)
    else:
        collect_and_start(m, w, v, r, now)


@step
def accept(m: Ints, r: int, attempt: int, now: int) -> None:
    """Count an attempt as ongoing and put it before the batcher, which acts later."""
    v = m[r + f.R_VARIANT]
    m[r + f.ONGOING] += 1
    m[attempt + f.A_ACCEPTED_AT] = now
    m[attempt + f.A_REPLICA_ROW], m[attempt + f.A_REPLICA] = r, m[r + f.INDEX]
    if m[v + f.ROUTER] != f.ROUND_ROBIN:
        m[attempt + f.A_ROUTED_AT] = now
    if m[v + f.BATCHING] == f.RAY_BATCHES:
        m[attempt + f.A_STATE] = f.OUTSIDE
        put_end(m, r + f.INBOX, attempt)
    else:
        m[attempt + f.A_STATE] = f.IN_BATCHER
        put_end(m, r + f.BATCHER, attempt)
