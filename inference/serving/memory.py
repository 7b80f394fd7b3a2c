"""Rows, lists, the heap of events and the work that events leave behind, as kernels.

Here and in the files of the policies: `m` is the memory (see `layout`), `h` the heap, `w` the work,
`o` the records of a push.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.rows import MISSING
from inference.serving import layout as f
from inference.serving.queues import step

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

_MISSING = int(MISSING)

# --- rows -----------------------------------------------------------------------------------------


@step
def take_row(m: Ints, kind: int) -> int:
    """Return a free row, zero but for its slot; the caller has made sure that there is one."""
    row = m[f.FREE]
    m[f.FREE] = m[row + f.NEXT]
    m[f.LIVE] += 1
    for field in range(f.SLOT):
        m[row + field] = 0
    for field in range(f.SLOT + 1, f.ROW_SIZE):
        m[row + field] = 0
    m[row + f.KIND] = kind
    return row


@step
def give_row(m: Ints, row: int) -> None:
    """Take back a row that nothing uses any more."""
    m[row + f.KIND] = f.IS_FREE
    m[row + f.NEXT] = m[f.FREE]
    m[f.FREE] = row
    m[f.LIVE] -= 1


# --- lists: first, last and size at an address; `link` is NEXT or NEXT_DUE ------------------------


@step
def put_after(m: Ints, at: int, link: int, before: int, row: int) -> None:
    """Insert a row into a list behind another, or first of all where *before* is 0."""
    after = m[before + link] if before != 0 else m[at]
    m[row + link], m[row + link + 1] = after, before
    if before != 0:
        m[before + link] = row
    else:
        m[at] = row
    if after != 0:
        m[after + link + 1] = row
    else:
        m[at + 1] = row
    m[at + 2] += 1


@step
def take_out(m: Ints, at: int, link: int, row: int) -> None:
    """Remove a row from the list that holds it."""
    after, before = m[row + link], m[row + link + 1]
    if before != 0:
        m[before + link] = after
    else:
        m[at] = after
    if after != 0:
        m[after + link + 1] = before
    else:
        m[at + 1] = before
    m[row + link] = m[row + link + 1] = 0
    m[at + 2] -= 1


@step
def put_end(m: Ints, at: int, row: int) -> None:
    """Append a row to a list, by its first pair of links."""
    put_after(m, at, f.NEXT, m[at + 1], row)


@step
def take_head(m: Ints, at: int) -> int:
    """Remove and return the first row of a list that is not empty."""
    row = m[at]
    take_out(m, at, f.NEXT, row)
    return row


# --- the heap -------------------------------------------------------------------------------------


@step
def comes_before(one: Ints, i: int, other: Ints, j: int) -> bool:
    """Tell whether event *i* of one array is due before event *j* of another."""
    if one[i, f.AT] != other[j, f.AT]:
        return one[i, f.AT] < other[j, f.AT]
    if one[i, f.ORDER] != other[j, f.ORDER]:
        return one[i, f.ORDER] < other[j, f.ORDER]
    if one[i, f.KEY_1] != other[j, f.KEY_1]:
        return one[i, f.KEY_1] < other[j, f.KEY_1]
    return one[i, f.KEY_2] < other[j, f.KEY_2]


@step
def copy_event(to: Ints, i: int, source: Ints, j: int) -> None:
    """Copy an event."""
    for field in range(f.EVENT_FIELDS):
        to[i, field] = source[j, field]


@step
def push_event(m: Ints, h: Ints, w: Ints, i: int) -> None:
    """Put the event of work *i* onto the heap."""
    place = m[f.HEAP]
    m[f.HEAP] += 1
    while place > 0:
        parent = (place - 1) >> 1
        if not comes_before(w, i, h, parent):
            break
        copy_event(h, place, h, parent)
        place = parent
    copy_event(h, place, w, i)


@step
def pop_event(m: Ints, h: Ints) -> None:
    """Remove the event that is due first."""
    m[f.HEAP] -= 1
    count = m[f.HEAP]
    place = 0
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and comes_before(h, child + 1, h, child):
            child += 1
        if not comes_before(h, child, h, count):
            break
        copy_event(h, place, h, child)
        place = child
    if place != count:
        copy_event(h, place, h, count)


# --- work -----------------------------------------------------------------------------------------


@step
def plan(m: Ints, w: Ints, at: int, order: int, key_1: int, key_2: int, node: int) -> int:
    """Leave an event for a known instant; return its place, for what else it carries."""
    place = m[f.WORK]
    m[f.WORK] += 1
    w[place, f.AT], w[place, f.ORDER], w[place, f.NODE] = at, order, node
    w[place, f.KEY_1], w[place, f.KEY_2] = key_1, key_2
    w[place, f.X] = w[place, f.Y] = w[place, f.Z] = w[place, f.U] = 0
    w[place, f.LEG] = f.KNOWN
    return place


@step
def draw_for(w: Ints, place: int, leg: int, model: int, via: int) -> None:
    """Let the instant of planned work come about by a leg of a model, over a variant's network."""
    w[place, f.LEG], w[place, f.MODEL], w[place, f.VIA] = leg, model, via


@step
def identify(w: Ints, place: int, a: int, b: int, c: int, d: int) -> None:
    """Say for whom planned work draws."""
    w[place, f.ID_A], w[place, f.ID_B], w[place, f.ID_C], w[place, f.ID_D] = a, b, c, d


@step
def send(m: Ints, w: Ints, order: int, attempt: int, leg: int, model: int, now: int) -> int:
    """Leave work about an attempt that is drawn for it; return its place."""
    place = plan(m, w, now, order, m[attempt + f.A_NUMBER], m[attempt + f.A_ATTEMPT] << 20, attempt)
    draw_for(w, place, leg, model, variant_of(m, attempt))
    identify(
        w,
        place,
        m[attempt + f.A_KEY_A],
        m[attempt + f.A_KEY_B],
        m[attempt + f.A_KEY_C],
        m[attempt + f.A_KEY_D],
    )
    return place


@step
def variant_of(m: Ints, attempt: int) -> int:
    """Return the address of an attempt's variant."""
    return m[f.VARIANTS] + m[attempt + f.A_VARIANT] * f.VARIANT_SIZE


@step
def is_attempt(m: Ints, row: int, number: int, attempt: int) -> bool:
    """Tell whether a row still is a certain attempt."""
    return (
        m[row + f.KIND] == f.IS_ATTEMPT
        and m[row + f.A_NUMBER] == number
        and m[row + f.A_ATTEMPT] == attempt
    )


# --- records --------------------------------------------------------------------------------------


@step
def note_change(m: Ints, o: Ints, v: int, what: tuple[int, int, int], now: int) -> None:
    """Record that something changed in a variant: kind, subject, value."""
    place = m[f.CHANGES]
    o[place, f.O_CHANGE], o[place, f.O_CHANGE + 1] = now, m[v + f.V_INDEX]
    o[place, f.O_CHANGE + 2], o[place, f.O_CHANGE + 3], o[place, f.O_CHANGE + 4] = what
    m[f.CHANGES] += 1


@step
def end_attempt(m: Ints, o: Ints, attempt: int, now: int) -> None:
    """Record an attempt of which nothing is left, and free its row."""
    m[attempt + f.A_ENDED_AT] = now
    if m[attempt + f.A_EXECUTION] < 0:
        m[attempt + f.A_BATCH_SIZE] = 0  # a sealed batch that never started
    place = m[f.ATTEMPTS_ENDED]
    for column in range(f.ATTEMPT_COLUMNS):
        o[place, f.O_ATTEMPT + column] = m[attempt + f.A_NUMBER + column]
    m[f.ATTEMPTS_ENDED] += 1
    give_row(m, attempt)


@step
def leave_deployment(m: Ints, o: Ints, attempt: int, reason: int, now: int) -> None:
    """Let the deployment be done with an attempt without a reply; it ends if nobody waits."""
    m[attempt + f.A_STATE] = f.GONE
    m[attempt + f.A_REASON] = reason
    if m[attempt + f.A_WAITS] == 0:
        end_attempt(m, o, attempt, now)
