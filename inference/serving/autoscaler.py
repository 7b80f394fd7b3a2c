"""Ray Serve's autoscaler: samples of a gauge, their mean, a decision, and its delay.

Facts: Ray 2.60, `serve/autoscaling_policy.py` and `serve/_private/autoscaling_state.py`.
"""

from __future__ import annotations

import math

from inference.serving import layout as f
from inference.serving.memory import (
    Floats,
    Ints,
    give_row,
    note_change,
    plan,
    put_end,
    take_head,
    take_row,
)
from inference.serving.queues import step
from inference.serving.replicas import (
    add_replica,
    enter_state,
    start_replica,
    stop,
    stop_if_drained,
)

_MILLISECOND = 1_000_000
_TOLERANCE_NS = 1000
"""Ray lets a delay be over a microsecond early, for the rounding of its clock."""


@step
def sample(m: Ints, v: int, now: int) -> None:
    """Read the gauge: attempts that have arrived and that the deployment is not done with."""
    row = take_row(m, f.IS_SAMPLE)
    m[row + f.SAMPLED_AT], m[row + f.SAMPLED] = now, m[v + f.GAUGE]
    put_end(m, v + f.SAMPLES, row)


@step
def push(m: Ints, v: int, now: int) -> None:
    """Report the samples of the look-back to the controller: their extent and their area."""
    while (
        m[v + f.SAMPLES] != 0 and m[m[v + f.SAMPLES] + f.SAMPLED_AT] <= now - m[v + f.S_LOOK_BACK]
    ):
        give_row(m, take_head(m, v + f.SAMPLES))
    row = m[v + f.SAMPLES]
    m[v + f.PUSHED] = int(row != 0)
    if row == 0:
        return
    m[v + f.PUSHED_FIRST], m[v + f.PUSHED_SUM] = m[row + f.SAMPLED_AT], 0
    while m[row + f.NEXT] != 0:
        after = m[row + f.NEXT]
        m[v + f.PUSHED_SUM] += m[row + f.SAMPLED] * (
            m[after + f.SAMPLED_AT] - m[row + f.SAMPLED_AT]
        )
        row = after
    m[v + f.PUSHED_LAST], m[v + f.PUSHED_VALUE] = m[row + f.SAMPLED_AT], m[row + f.SAMPLED]


@step
def mean_ongoing(m: Ints, v: int, now: int) -> float:
    """Return the mean over time of what was reported; the last sample holds until now."""
    if m[v + f.PUSHED] == 0:
        return 0.0
    last = now - m[v + f.PUSHED_LAST] if now > m[v + f.PUSHED_LAST] else _MILLISECOND
    area = m[v + f.PUSHED_SUM] + m[v + f.PUSHED_VALUE] * last
    return float(area) / float(m[v + f.PUSHED_LAST] - m[v + f.PUSHED_FIRST] + last)


@step
def after_delay(m: Ints, v: int, desired: int, now: int) -> int:
    """Return the target once the same direction has been wanted for long enough."""
    target = m[v + f.S_TARGET]
    direction = int(desired > target) - int(desired < target)
    if direction != m[v + f.S_DIRECTION]:
        m[v + f.S_DIRECTION], m[v + f.S_SINCE] = direction, now
    if direction == 0:
        return target
    delay = m[v + f.S_UP]
    if direction < 0:
        delay = m[v + f.S_ZERO] if target == 1 else m[v + f.S_DOWN]
        desired = desired if target == 1 else max(1, desired)
    if now - m[v + f.S_SINCE] + _TOLERANCE_NS < delay:
        return target
    m[v + f.S_DIRECTION] = 0
    return desired


@step
def decide(m: Ints, p: Floats, v: int, now: int) -> int:
    """Return the number of replicas wanted now, before the bounds."""
    total, current, target = mean_ongoing(m, v, now), m[v + f.READY_COUNT], m[v + f.S_TARGET]
    wanted_each, up, down = p[m[v + f.S_P]], p[m[v + f.S_P] + 1], p[m[v + f.S_P] + 2]
    if current == 0:
        if total > 0.0:
            return max(math.ceil(up), target)
        return target if target > 0 else after_delay(m, v, 0, now)
    # in the steps of Ray's floats, as a last bit decides about a replica
    desired = current * (total / (wanted_each * current))
    delta = desired - current
    scaled = math.ceil(current + (up if delta > 0.0 else down) * delta)
    if math.ceil(desired) < current and scaled == current:
        scaled -= 1
    return after_delay(m, v, max(0, scaled), now)


@step
def last_of(m: Ints, v: int, ready: bool) -> int:
    """Return the replica with the highest index that is ready, or that is about to be, or 0."""
    r = m[v + f.REPLICAS + 1]
    while r != 0:
        state = m[r + f.R_STATE]
        if (ready and state == f.READY) or (not ready and (state == f.STARTING or state == f.DOWN)):
            break
        r = m[r + f.PREV]
    return r


@step
def adjust(m: Ints, w: Ints, o: Ints, v: int, now: int) -> None:
    """Start or remove replicas until there are as many as the target says."""
    here = 0
    r = m[v + f.REPLICAS]
    while r != 0:
        here += int(m[r + f.R_STATE] != f.DRAINING)
        r = m[r + f.NEXT]
    while here < m[v + f.S_TARGET]:
        r = add_replica(m, o, v, f.STARTING, now)
        start_replica(m, w, r, f.DRAWN, m[v + f.COLD_MODEL], now)
        here += 1
    while here > m[v + f.S_TARGET]:
        r = last_of(m, v, False)
        if r != 0:
            stop(m, o, r, now)
        else:
            r = last_of(m, v, True)
            enter_state(m, o, r, f.DRAINING, now)
            stop_if_drained(m, o, r, now)
        here -= 1


@step
def tick(m: Ints, w: Ints, o: Ints, p: Floats, v: int, now: int) -> None:
    """Take one decision of the control loop, and act on it."""
    target = max(m[v + f.S_MIN], min(m[v + f.S_MAX], decide(m, p, v, now)))
    if target != m[v + f.S_TARGET]:
        m[v + f.S_TARGET] = target
        note_change(m, o, v, (f.TARGET_CHANGED, 0, target), now)
    adjust(m, w, o, v, now)


@step
def repeat(m: Ints, w: Ints, order: int, v: int, interval: int, now: int) -> None:
    """Plan the next sample, push or tick."""
    plan(m, w, now + interval, order, m[v + f.V_INDEX], 0, v)
