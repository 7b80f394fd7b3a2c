"""The circuit breaker of a variant: what it lets through, and what it learns from outcomes."""

from __future__ import annotations

from inference.serving import layout as f
from inference.serving.memory import Ints, note_change
from inference.serving.queues import step

_MILLION = 1_000_000


@step
def is_open(m: Ints, v: int, now: int) -> bool:
    """Tell whether a breaker would refuse whatever came."""
    return m[v + f.B_STATE] == f.OPEN and now < m[v + f.B_OPENED_AT] + m[v + f.B_OPEN_FOR]


@step
def enter(m: Ints, o: Ints, v: int, state: int, now: int) -> None:
    """Change state: a new epoch, in which nothing has been counted."""
    m[v + f.B_STATE] = state
    m[v + f.B_EPOCH] += 1
    m[v + f.B_FAILED] = m[v + f.B_SEEN] = m[v + f.B_PLACE] = 0
    m[v + f.B_OUT] = m[v + f.B_GOOD] = 0
    if state == f.OPEN:
        m[v + f.B_OPENED_AT] = now
    note_change(m, o, v, (f.BREAKER_CHANGED, 0, state), now)


@step
def lets_through(m: Ints, o: Ints, v: int, now: int) -> bool:
    """Ask the breaker of a variant for an attempt that is about to leave."""
    if m[v + f.B_KIND] == f.NO_BREAKER:
        return True
    if m[v + f.B_STATE] == f.OPEN:
        if is_open(m, v, now):
            return False
        enter(m, o, v, f.HALF_OPEN, now)
    if m[v + f.B_STATE] == f.HALF_OPEN:
        if m[v + f.B_OUT] >= m[v + f.B_PROBES]:
            return False
        m[v + f.B_OUT] += 1
    return True


@step
def fails_too_often(m: Ints, v: int, failed: int) -> bool:
    """Count an outcome while closed; tell whether that opens the breaker."""
    if m[v + f.B_KIND] == f.IN_A_ROW:
        m[v + f.B_FAILED] = m[v + f.B_FAILED] + 1 if failed == 1 else 0
        return m[v + f.B_FAILED] >= m[v + f.B_FAILURES]
    ring, size = m[v + f.B_RING], m[v + f.B_WINDOW]
    place = ring + m[v + f.B_PLACE]
    if m[v + f.B_SEEN] == size:
        m[v + f.B_FAILED] -= m[place]
    else:
        m[v + f.B_SEEN] += 1
    m[place] = failed
    m[v + f.B_FAILED] += failed
    m[v + f.B_PLACE] = (m[v + f.B_PLACE] + 1) % size
    if m[v + f.B_SEEN] < m[v + f.B_LEAST]:
        return False
    return m[v + f.B_FAILED] * _MILLION >= m[v + f.B_RATE] * m[v + f.B_SEEN]


@step
def learn(m: Ints, o: Ints, v: int, epoch: int, outcome: int, now: int) -> None:
    """Tell a breaker how an attempt ended; one of an earlier epoch (-1: of none) is not counted."""
    if m[v + f.B_KIND] == f.NO_BREAKER or epoch != m[v + f.B_EPOCH]:
        return
    failed = (m[v + f.B_COUNTS] >> outcome) & 1
    good = outcome == f.COMPLETED or outcome == f.NAN_ANSWER
    if m[v + f.B_STATE] == f.HALF_OPEN:
        m[v + f.B_OUT] -= 1
        if failed == 1:
            enter(m, o, v, f.OPEN, now)
        elif good:
            m[v + f.B_GOOD] += 1
            if m[v + f.B_GOOD] >= m[v + f.B_PROBES]:
                enter(m, o, v, f.CLOSED, now)
    elif (failed == 1 or good) and fails_too_often(m, v, failed):
        enter(m, o, v, f.OPEN, now)
