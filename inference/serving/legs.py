"""When the work that an event left behind is due: every draw of the stack happens here."""

from __future__ import annotations

import math

from clock.bank import LatencyBank, draw_from_bank
from clock.randomness import fold, uniform
from inference.rows import MISSING
from inference.serving import layout as f
from inference.serving.faults import next_window
from inference.serving.memory import Floats, Ints, Keys, leave_deployment, push_event
from inference.serving.queues import step

_MISSING = int(MISSING)


@step
def drawn_for(keys: Keys, model: int, m: Ints, attempt: int, j: int) -> float:
    """Return number *j* of a stream for an attempt."""
    key = fold(fold(keys[model], m[attempt + f.A_KEY_A]), m[attempt + f.A_KEY_B])
    key = fold(fold(key, m[attempt + f.A_KEY_C]), m[attempt + f.A_KEY_D])
    return uniform(fold(key, j))


@step
def model_for(m: Ints, v: int, size: int) -> tuple[int, int]:
    """Return the places of the recorded sizes at or below, and at or above, a batch's."""
    first, count = m[v + f.SERVICE_MODEL], m[v + f.SERVICE_COUNT]
    place = 0
    while place + 1 < count and m[first + 2 * (place + 1)] <= size:
        place += 1
    low = first + 2 * place
    high = low + 2 if m[low] < size and place + 1 < count else low
    return low, high


@step
def draw_one(bank: LatencyBank, w: Ints, i: int, model: int, at: int) -> int:
    """Return one draw of a model for the one whom work *i* is for."""
    return draw_from_bank(bank, model, at, w[i, f.ID_A], w[i, f.ID_B], w[i, f.ID_C], w[i, f.ID_D])


@step
def draw_service(m: Ints, w: Ints, bank: LatencyBank, v: int, size: int, i: int) -> int:
    """Return how long an execution of a size would take on a replica of speed one."""
    if m[v + f.SERVICE] == f.ANY_SIZE:
        drawn = draw_one(bank, w, i, m[v + f.SERVICE_MODEL], w[i, f.AT])
        return drawn + m[v + f.PER_ITEM] * size
    low, high = model_for(m, v, size)
    shorter = draw_one(bank, w, i, m[low + 1], w[i, f.AT])
    if low == high:
        return shorter
    longer = draw_one(bank, w, i, m[high + 1], w[i, f.AT])
    part = float(size - m[low]) / float(m[high] - m[low])
    return math.floor(shorter + (longer - shorter) * part + 0.5)


@step
def rounded(value: float) -> int:
    """Return the nearest whole nanosecond."""
    return math.floor(value + 0.5)


@step
def serve(m: Ints, w: Ints, p: Floats, keys: Keys, bank: LatencyBank, i: int) -> int:
    """Return when the execution of work *i* ends, and mark the members that will have failed."""
    first, now = w[i, f.NODE], w[i, f.AT]
    v, r = w[i, f.VIA], m[first + f.A_REPLICA_ROW]
    index, took = m[r + f.INDEX], draw_service(m, w, bank, v, m[first + f.A_BATCH_SIZE], i)
    if m[r + f.EXECUTIONS] < m[v + f.WARM_UP]:
        took = rounded(took * p[m[v + f.WARM_P]])
    m[r + f.EXECUTIONS] += 1
    stuck = 0
    window = next_window(m, v, 0, now)
    while window != 0:
        if m[window + f.W_REPLICA] == index:
            if m[window + f.W_KIND] == f.SLOW:
                took = rounded(took * p[m[window + f.W_P]])
            elif m[window + f.W_KIND] == f.STUCK_BATCH:
                stuck += m[window + f.W_LASTS]
                m[window + f.W_UNTIL] = now  # used up
            elif m[window + f.W_KIND] == f.ERROR_RATE:
                fail(m, keys, first, m[v + f.ERROR_KEY], window, p[m[window + f.W_P]])
        window = next_window(m, v, window, now)
    took = rounded(took / p[m[v + f.SPEEDS_P] + index % m[v + f.SPEED_COUNT]])
    return now + took + stuck


@step
def fail(m: Ints, keys: Keys, first: int, model: int, window: int, probability: float) -> None:
    """Mark the members of an execution that an error strikes."""
    member = first
    while member != 0:
        if drawn_for(keys, model, m, member, m[window + f.W_PLACE]) < probability:
            m[member + f.A_FAILS] = 1
        member = m[member + f.NEXT]


@step
def is_lost(m: Ints, p: Floats, keys: Keys, v: int, attempt: int, now: int) -> bool:
    """Tell whether a reply that leaves now gets lost."""
    window = next_window(m, v, 0, now)
    while window != 0:
        if m[window + f.W_KIND] == f.LOST_REPLY:
            u = drawn_for(keys, m[v + f.LOST_KEY], m, attempt, m[window + f.W_PLACE])
            if u < p[m[window + f.W_P]]:
                return True
        window = next_window(m, v, window, now)
    return False


@step
def over_network(m: Ints, v: int, last: int, at: int) -> int:
    """Return when a message arrives that would at *at*: none overtakes on its connection."""
    m[v + last] = max(m[v + last], at)
    return m[v + last]


@step
def schedule(m: Ints, h: Ints, w: Ints, o: Ints, p: Floats, bank: LatencyBank) -> None:
    """Make events of all work, in the order in which it was left."""
    keys = bank.spec.key
    for i in range(m[f.WORK]):
        leg, now, v = w[i, f.LEG], w[i, f.AT], w[i, f.VIA]
        if leg == f.SERVED:
            w[i, f.AT] = serve(m, w, p, keys, bank, i)
        elif leg != f.KNOWN:
            if leg == f.BACKWARD and is_lost(m, p, keys, v, w[i, f.NODE], now):
                leave_deployment(m, o, w[i, f.NODE], f.LOST, now)
                continue
            at = now + draw_one(bank, w, i, w[i, f.MODEL], now)
            if leg == f.OUTWARD:
                at = over_network(m, v, f.LAST_ARRIVAL, at)
            elif leg == f.BACKWARD:
                at += draw_one(bank, w, i, m[v + f.LATENCY_MODEL], at)
                at = over_network(m, v, f.LAST_VISIBLE, at)
            elif leg == f.RESTARTED:
                at += draw_one(bank, w, i, m[v + f.COLD_MODEL], now)
            w[i, f.AT] = at
        push_event(m, h, w, i)
    m[f.WORK] = 0
