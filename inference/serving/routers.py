"""Round robin and least loaded: from the deployment's door to a replica, without hops."""

from __future__ import annotations

from inference.serving import layout as f
from inference.serving.batching import accept, act
from inference.serving.memory import Ints, put_after, put_end, take_head
from inference.serving.queues import step


@step
def line_up(m: Ints, v: int, at: int, attempt: int) -> None:
    """Put an attempt into a queue by its discipline; whoever is first is served first."""
    before = m[at + 1]
    if m[v + f.DISCIPLINE] == f.NEWEST_FIRST:
        before = 0
    elif m[v + f.DISCIPLINE] == f.PRIORITY:
        while before != 0 and m[before + f.A_PRIORITY] > m[attempt + f.A_PRIORITY]:
            before = m[before + f.PREV]
    put_after(m, at, f.NEXT, before, attempt)


@step
def next_in_turn(m: Ints, v: int) -> int:
    """Return the next ready replica in index order after the one used last, or 0."""
    if m[v + f.READY_COUNT] == 0:
        return 0
    r = m[v + f.LAST_USED]
    while True:
        r = m[r + f.NEXT] if r != 0 else m[v + f.REPLICAS]
        if r != 0 and m[r + f.R_STATE] == f.READY:
            m[v + f.LAST_USED] = r
            return r


@step
def assign(m: Ints, v: int, r: int, attempt: int, now: int) -> None:
    """Put an attempt into the own queue of a replica."""
    m[attempt + f.A_STATE], m[attempt + f.A_ROUTED_AT] = f.LINED_UP, now
    m[attempt + f.A_REPLICA_ROW], m[attempt + f.A_REPLICA] = r, m[r + f.INDEX]
    line_up(m, v, r + f.QUEUE, attempt)


@step
def pull(m: Ints, v: int, r: int, now: int) -> None:
    """Let a replica accept from its own queue as many as fit."""
    while m[r + f.QUEUE] != 0 and m[r + f.ONGOING] < m[v + f.MAX_ONGOING]:
        m[v + f.QUEUED] -= 1
        accept(m, r, take_head(m, r + f.QUEUE), now)


@step
def least_busy(m: Ints, v: int) -> int:
    """Return the ready replica with the fewest ongoing requests and room for one more, or 0."""
    best, fewest = 0, m[v + f.MAX_ONGOING]
    r = m[v + f.REPLICAS]
    while r != 0:
        if m[r + f.R_STATE] == f.READY and m[r + f.ONGOING] < fewest:
            best, fewest = r, m[r + f.ONGOING]
        r = m[r + f.NEXT]
    return best


@step
def dispatch(m: Ints, v: int, now: int) -> int:
    """Hand the common queue to replicas with room; return the last one that took something."""
    last = 0
    while m[v + f.POOL] != 0:
        r = least_busy(m, v)
        if r == 0:
            break
        m[v + f.QUEUED] -= 1
        accept(m, r, take_head(m, v + f.POOL), now)
        last = r
    return last


@step
def enter_round_robin(m: Ints, w: Ints, v: int, attempt: int, now: int) -> None:
    """Take an attempt that arrives: to the next replica in turn, or wait for one to be ready."""
    r = next_in_turn(m, v)
    m[v + f.QUEUED] += 1
    if r == 0:
        m[attempt + f.A_STATE] = f.POOLED
        put_end(m, v + f.POOL, attempt)
        return
    assign(m, v, r, attempt, now)
    pull(m, v, r, now)
    act(m, w, r, now)


@step
def enter_least_loaded(m: Ints, w: Ints, v: int, attempt: int, now: int) -> None:
    """Take an attempt that arrives into the common queue."""
    m[v + f.QUEUED] += 1
    m[attempt + f.A_STATE] = f.POOLED
    line_up(m, v, v + f.POOL, attempt)
    r = dispatch(m, v, now)
    if r != 0:
        act(m, w, r, now)


@step
def take_more(m: Ints, w: Ints, v: int, r: int, now: int) -> None:
    """Let a replica that has room, or is ready now, take what waits, then act once."""
    if m[v + f.ROUTER] == f.ROUND_ROBIN:
        pull(m, v, r, now)
    elif m[v + f.ROUTER] == f.LEAST_LOADED:
        dispatch(m, v, now)
    act(m, w, r, now)


@step
def welcome(m: Ints, v: int, r: int, now: int) -> None:
    """Assign all that waited for a replica to be ready, in order of arrival."""
    while m[v + f.POOL] != 0:
        assign(m, v, next_in_turn(m, v), take_head(m, v + f.POOL), now)
