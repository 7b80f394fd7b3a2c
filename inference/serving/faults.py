"""What goes wrong: crashes at once, everything else as windows in which it acts."""

from __future__ import annotations

import math

from clock.elementary import log
from clock.randomness import fold, uniform
from inference.serving import layout as f
from inference.serving.memory import (
    Floats,
    Ints,
    Keys,
    give_row,
    plan,
    put_after,
    take_out,
    take_row,
)
from inference.serving.power_of_two import ready_number
from inference.serving.queues import step
from inference.serving.replicas import crash


@step
def drawn(keys: Keys, model: int, ordinal: int, j: int) -> float:
    """Return number *j* of an occurrence of a fault."""
    key = fold(fold(fold(fold(keys[model], ordinal), 0), 0), 0)
    return uniform(fold(key, j))


@step
def plan_next(m: Ints, w: Ints, p: Floats, keys: Keys, fault: int, ordinal: int, now: int) -> None:
    """Plan the next occurrence of a fault that happens every so often."""
    mean = p[m[fault + f.F_P] + 1]
    gap = max(1, math.floor(-mean * log(drawn(keys, m[fault + f.F_KEY], ordinal, 1)) + 0.5))
    v = m[fault + f.F_VARIANT]
    key = (m[v + f.V_INDEX] << 20) + m[fault + f.F_PLACE]
    plan(m, w, now + gap, f.FAULT_BEGINS, key, ordinal, fault)


@step
def struck(m: Ints, keys: Keys, fault: int, ordinal: int) -> int:
    """Return the index of the replica that an occurrence strikes, or -1."""
    if m[fault + f.F_REPLICA] >= 0:
        return m[fault + f.F_REPLICA]
    v = m[fault + f.F_VARIANT]
    n = m[v + f.READY_COUNT]
    if n == 0:
        return -1
    place = int(drawn(keys, m[fault + f.F_KEY], ordinal, 0) * float(n))
    return m[ready_number(m, v, place) + f.INDEX]


@step
def crash_index(m: Ints, w: Ints, o: Ints, fault: int, index: int, now: int) -> None:
    """Crash the replica of an index, if it is there."""
    r = m[m[fault + f.F_VARIANT] + f.REPLICAS]
    while r != 0 and m[r + f.INDEX] != index:
        r = m[r + f.NEXT]
    if r != 0 and (m[r + f.R_STATE] == f.READY or m[r + f.R_STATE] == f.DRAINING):
        crash(m, w, o, r, m[fault + f.F_RESTART], now)


@step
def open_window(m: Ints, fault: int, index: int, now: int) -> None:
    """Let a fault act for a while; windows of one fault on one replica unite."""
    at = m[fault + f.F_VARIANT] + f.WINDOWS
    before, until = m[at + 1], now + m[fault + f.F_LASTS]
    while before != 0 and m[before + f.W_PLACE] > m[fault + f.F_PLACE]:
        before = m[before + f.PREV]
    other = before
    while other != 0 and m[other + f.W_PLACE] == m[fault + f.F_PLACE]:
        if m[other + f.W_REPLICA] == index:
            m[other + f.W_UNTIL] = max(m[other + f.W_UNTIL], until)
            return
        other = m[other + f.PREV]
    row = take_row(m, f.IS_WINDOW)
    m[row + f.W_PLACE], m[row + f.W_KIND] = m[fault + f.F_PLACE], m[fault + f.F_KIND]
    m[row + f.W_REPLICA], m[row + f.W_UNTIL] = index, until
    m[row + f.W_P], m[row + f.W_LASTS] = m[fault + f.F_P], m[fault + f.F_LASTS]
    put_after(m, at, f.NEXT, before, row)


@step
def fault_begins(
    m: Ints, w: Ints, o: Ints, p: Floats, keys: Keys, e: tuple[int, int], now: int
) -> None:
    """Let a fault happen; *e* is the fault and its ordinal, -1 only to plan the first one."""
    fault, ordinal = e
    if m[fault + f.F_EVERY] == 1:
        plan_next(m, w, p, keys, fault, ordinal + 1, now)
    if ordinal < 0:
        return
    kind = m[fault + f.F_KIND]
    v = m[fault + f.F_VARIANT]
    if kind == f.NETWORK_PAUSE:
        m[v + f.PAUSED_UNTIL] = max(m[v + f.PAUSED_UNTIL], now + m[fault + f.F_LASTS])
    elif kind == f.LOST_REPLY:
        open_window(m, fault, -1, now)
    else:
        index = struck(m, keys, fault, ordinal)
        if index >= 0 and kind == f.CRASH:
            crash_index(m, w, o, fault, index, now)
        elif index >= 0:
            open_window(m, fault, index, now)


@step
def next_window(m: Ints, v: int, window: int, now: int) -> int:
    """Return the first open window after another (0: of all), or 0; closed ones are forgotten."""
    window = m[window + f.NEXT] if window != 0 else m[v + f.WINDOWS]
    while window != 0 and m[window + f.W_UNTIL] <= now:
        closed, window = window, m[window + f.NEXT]
        take_out(m, v + f.WINDOWS, f.NEXT, closed)
        give_row(m, closed)
    return window
