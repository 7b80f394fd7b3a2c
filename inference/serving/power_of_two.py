"""Ray Serve's router: power of two choices over cached queue lengths, with probes and backoff.

Facts: Ray 2.60, `serve/_private/request_router/request_router.py`. Each pending attempt is routed
by at most one task; a task that finds a replica places the oldest pending attempt, which need not
be its own. Nothing wakes a task in backoff.
"""

from __future__ import annotations

from clock.randomness import fold, uniform
from inference.serving import layout as f
from inference.serving.batching import accept, act
from inference.serving.memory import (
    Ints,
    Keys,
    give_row,
    is_attempt,
    leave_deployment,
    plan,
    put_after,
    send,
    take_out,
    take_row,
    variant_of,
)
from inference.serving.queues import step

_MILLISECOND = 1_000_000
VALID_NS = 10_000 * _MILLISECOND
"""How long a cached length holds."""
MOST_TASKS = 50

# which message of an iteration, or of a placement, a hop is; the two probes come first
(_PROBED, _PLACED, _NOTICED, _DONE) = (2, 4, 5, 6)


@step
def hop(
    m: Ints, w: Ints, order: int, attempt: int, r: int, which: tuple[int, int], now: int
) -> int:
    """Send a message about an attempt between router and replica; return its place in the work.

    *which* is the iteration, or the placement, and the message's ordinal in it.
    """
    v = m[r + f.R_VARIANT]
    place = send(m, w, order, attempt, f.DRAWN, m[v + f.HOP_MODEL], now)
    # the iteration too: two messages must never be equal, the heap would not keep their order
    w[place, f.KEY_2] += (m[r + f.INDEX] << 8) + (which[0] & 255)
    w[place, f.X] = r
    w[place, f.ID_D] += (8 * which[0] + which[1] + 1) << 40
    return place


@step
def is_up(m: Ints, r: int) -> bool:
    """Tell whether a message for a replica finds it ready; a stopped one keeps its row."""
    return m[r + f.R_STATE] == f.READY


@step
def known_length(m: Ints, r: int, now: int) -> int:
    """Return the cached length of a replica, or -1."""
    return m[r + f.LENGTH] if now - m[r + f.LENGTH_AT] <= VALID_NS else -1


@step
def note_length(m: Ints, r: int, length: int, now: int) -> None:
    """Cache the length of a replica."""
    m[r + f.LENGTH], m[r + f.LENGTH_AT] = length, now


@step
def most_tasks(m: Ints, v: int) -> int:
    """Return how many routing tasks there should be."""
    return min(m[v + f.POOL + 2], min(MOST_TASKS, 2 * m[v + f.READY_COUNT]))


@step
def oldest_unrouted(m: Ints, v: int) -> int:
    """Return the oldest pending attempt that no task routes, or 0."""
    attempt = m[v + f.POOL]
    while attempt != 0 and m[attempt + f.TASK] != f.NO_TASK:
        attempt = m[attempt + f.NEXT]
    return attempt


@step
def begin_task(m: Ints, attempt: int) -> None:
    """Let a task route an attempt."""
    m[attempt + f.TASK] = f.ROUTES
    m[attempt + f.FAILURES], m[attempt + f.NAPS] = 0, -1


@step
def ready_number(m: Ints, v: int, place: int) -> int:
    """Return the ready replica at a place in index order."""
    r = m[v + f.REPLICAS]
    while True:
        if m[r + f.R_STATE] == f.READY:
            if place == 0:
                return r
            place -= 1
        r = m[r + f.NEXT]


@step
def draw_candidates(m: Ints, keys: Keys, v: int, attempt: int) -> None:
    """Draw two distinct ready replicas, or take the only one."""
    n = m[v + f.READY_COUNT]
    key = fold(fold(keys[m[v + f.ROUTER_KEY]], m[attempt + f.A_KEY_A]), m[attempt + f.A_KEY_B])
    key = fold(fold(key, m[attempt + f.A_KEY_C]), m[attempt + f.A_KEY_D])
    i = int(uniform(fold(key, 2 * m[attempt + f.ITERATION])) * float(n))
    m[attempt + f.CANDIDATE] = ready_number(m, v, i)
    m[attempt + f.CANDIDATE + 1] = 0
    if n > 1:
        j = int(uniform(fold(key, 2 * m[attempt + f.ITERATION] + 1)) * float(n - 1))
        m[attempt + f.CANDIDATE + 1] = ready_number(m, v, j + 1 if j >= i else j)


@step
def probe(m: Ints, w: Ints, attempt: int, which: int, deadline: int, now: int) -> None:
    """Ask a candidate for its length; a *deadline* marks a probe that nobody waits for.

    The probe is a row of its own: it may outlive the attempt, and draws its hops for it.
    """
    row = take_row(m, f.IS_PROBE)
    for column in range(f.A_NUMBER, f.A_VARIANT + 1):
        m[row + column] = m[attempt + column]
    for column in range(f.A_KEY_A, f.A_KEY_D + 1):
        m[row + column] = m[attempt + column]
    m[row + f.A_REQUEST], m[row + f.ITERATION] = attempt, m[attempt + f.ITERATION]
    m[row + f.OUTSTANDING], m[row + f.WAKE_AT] = which, deadline
    hop(m, w, f.PROBE, row, m[attempt + f.CANDIDATE + which], (m[row + f.ITERATION], which), now)


@step
def look(m: Ints, w: Ints, v: int, attempt: int, now: int) -> int:
    """Choose by what is cached; return the replica, or 0 after having asked both candidates."""
    best, fewest, unknown = 0, m[v + f.MAX_ONGOING], 0
    for which in range(2):
        r = m[attempt + f.CANDIDATE + which]
        if r != 0:
            length = known_length(m, r, now)
            if length < 0 or length >= m[v + f.MAX_ONGOING]:
                unknown += 1
            elif length < fewest:
                best, fewest = r, length
    patience = min(100 * _MILLISECOND << min(m[attempt + f.FAILURES], 4), 1000 * _MILLISECOND)
    for which in range(2):
        r = m[attempt + f.CANDIDATE + which]
        m[attempt + f.COUNT + which] = -1
        if r != 0 and unknown > 0:
            length = known_length(m, r, now)
            if length < 0 or length >= m[v + f.MAX_ONGOING]:
                probe(m, w, attempt, which, now + patience if best != 0 else 0, now)
    m[attempt + f.ITERATION] += 1
    if best == 0:
        m[attempt + f.TASK], m[attempt + f.OUTSTANDING] = f.PROBES, unknown
        m[attempt + f.WAKE_AT] = now + patience
        number, key = m[attempt + f.A_NUMBER], m[attempt + f.A_ATTEMPT] << 20
        plan(m, w, now + patience, f.PROBE_DEADLINE, number, key, attempt)
    return best


@step
def place(m: Ints, w: Ints, v: int, own: int, r: int, now: int) -> bool:
    """Send the oldest pending attempt to a replica; tell whether it was the task's own."""
    attempt = m[v + f.POOL]
    take_out(m, v + f.POOL, f.NEXT, attempt)
    if attempt != own and m[attempt + f.TASK] != f.NO_TASK:
        m[v + f.TASKS] -= 1
    m[attempt + f.TASK], m[attempt + f.A_STATE] = f.NO_TASK, f.HOPPING
    note_length(m, r, max(known_length(m, r, now), 0) + 1, now)
    hop(m, w, f.PLACEMENT, attempt, r, (m[attempt + f.PLACEMENTS], _PLACED), now)
    m[attempt + f.PLACEMENTS] += 1
    return attempt == own


@step
def nap(m: Ints, w: Ints, attempt: int, now: int) -> None:
    """Sleep before the next iteration; nothing wakes the task earlier."""
    pause = min(25 * _MILLISECOND << min(m[attempt + f.NAPS], 5), 500 * _MILLISECOND)
    m[attempt + f.NAPS] += 1
    m[attempt + f.TASK], m[attempt + f.WAKE_AT] = f.SLEEPS, now + pause
    number, key = m[attempt + f.A_NUMBER], m[attempt + f.A_ATTEMPT] << 20
    plan(m, w, now + pause, f.BACKOFF_ENDS, number, key, attempt)


@step
def drive(m: Ints, w: Ints, keys: Keys, v: int, attempt: int, chosen: int, now: int) -> None:
    """Run a task until it waits or ends.

    *chosen* is the replica that its probes found, 0 if they found none, -1 to begin an iteration.
    """
    while True:
        if chosen < 0:
            if m[v + f.READY_COUNT] == 0:
                m[attempt + f.TASK] = f.AWAITS_REPLICA
                return
            m[attempt + f.TASK] = f.ROUTES
            draw_candidates(m, keys, v, attempt)
            chosen = look(m, w, v, attempt, now)
            if chosen == 0:
                return
        if chosen > 0 and place(m, w, v, attempt, chosen, now):
            attempt = oldest_unrouted(m, v) if m[v + f.TASKS] <= most_tasks(m, v) else 0
            if attempt == 0:
                m[v + f.TASKS] -= 1
                return
            begin_task(m, attempt)
        elif m[attempt + f.NAPS] < 0:
            m[attempt + f.NAPS] = 0  # the first further iteration follows at once
        else:
            nap(m, w, attempt, now)
            return
        chosen = -1


@step
def start_tasks(m: Ints, w: Ints, keys: Keys, v: int, now: int) -> None:
    """Start a task for each pending attempt that has none, as many as there may be."""
    while m[v + f.TASKS] < most_tasks(m, v):
        attempt = oldest_unrouted(m, v)
        if attempt == 0:
            return
        m[v + f.TASKS] += 1
        begin_task(m, attempt)
        drive(m, w, keys, v, attempt, -1, now)


@step
def pend(m: Ints, v: int, attempt: int) -> None:
    """Put an attempt among the pending ones, in order of arrival, number and attempt."""
    m[attempt + f.A_STATE], m[attempt + f.TASK] = f.POOLED, f.NO_TASK
    before = m[v + f.POOL + 1]
    while before != 0:
        if m[before + f.A_ARRIVED_AT] != m[attempt + f.A_ARRIVED_AT]:
            if m[before + f.A_ARRIVED_AT] < m[attempt + f.A_ARRIVED_AT]:
                break
        elif m[before + f.A_NUMBER] != m[attempt + f.A_NUMBER]:
            if m[before + f.A_NUMBER] < m[attempt + f.A_NUMBER]:
                break
        elif m[before + f.A_ATTEMPT] < m[attempt + f.A_ATTEMPT]:
            break
        before = m[before + f.PREV]
    put_after(m, v + f.POOL, f.NEXT, before, attempt)


@step
def enter_power_of_two(m: Ints, w: Ints, keys: Keys, v: int, attempt: int, now: int) -> None:
    """Take an attempt that arrives."""
    m[v + f.QUEUED] += 1
    pend(m, v, attempt)
    start_tasks(m, w, keys, v, now)


@step
def wake_waiting(m: Ints, w: Ints, keys: Keys, v: int, now: int) -> None:
    """Let the tasks that found no replica at all go on, in order of their attempts."""
    attempt = m[v + f.POOL]
    while attempt != 0:
        if m[attempt + f.TASK] == f.AWAITS_REPLICA:
            drive(m, w, keys, v, attempt, -1, now)
            attempt = m[v + f.POOL]
        else:
            attempt = m[attempt + f.NEXT]
    start_tasks(m, w, keys, v, now)


@step
def drop_task(m: Ints, v: int, attempt: int) -> None:
    """End the task, if any, of an attempt that leaves the pending ones."""
    if m[attempt + f.TASK] != f.NO_TASK:
        m[attempt + f.TASK] = f.NO_TASK
        m[v + f.TASKS] -= 1


# --- mail -----------------------------------------------------------------------------------------


@step
def probe_arrives(m: Ints, w: Ints, row: int, r: int, now: int) -> None:
    """Let a replica report its length; one that is not ready does not answer."""
    if not is_up(m, r):
        give_row(m, row)
        return
    which = (m[row + f.ITERATION], _PROBED + m[row + f.OUTSTANDING])
    place = hop(m, w, f.PROBE_REPLY, row, r, which, now)
    w[place, f.Z] = m[r + f.ONGOING]


@step
def finish_probing(m: Ints, w: Ints, keys: Keys, v: int, attempt: int, now: int) -> None:
    """End the wait for probes: cache what came, and choose the shortest with room."""
    best, fewest = 0, m[v + f.MAX_ONGOING]
    for which in range(2):
        r, count = m[attempt + f.CANDIDATE + which], m[attempt + f.COUNT + which]
        if r != 0 and count >= 0 and is_up(m, r):
            note_length(m, r, count, now)
        if r != 0 and 0 <= count < fewest:
            best, fewest = which + 1, count
    chosen = 0
    if best > 0:
        r = m[attempt + f.CANDIDATE + best - 1]
        if is_up(m, r):
            chosen = r
    if chosen == 0:
        m[attempt + f.FAILURES] += 1
    m[attempt + f.TASK] = f.ROUTES
    drive(m, w, keys, v, attempt, chosen, now)
    start_tasks(m, w, keys, v, now)


@step
def probe_answered(m: Ints, w: Ints, keys: Keys, row: int, r: int, count: int, now: int) -> None:
    """Take a report in, if somebody still waits for it."""
    attempt, which, deadline = m[row + f.A_REQUEST], m[row + f.OUTSTANDING], m[row + f.WAKE_AT]
    waited_for = (
        is_attempt(m, attempt, m[row + f.A_NUMBER], m[row + f.A_ATTEMPT])
        and m[attempt + f.TASK] == f.PROBES
        and m[attempt + f.ITERATION] == m[row + f.ITERATION] + 1
    )
    give_row(m, row)
    if deadline != 0:
        if now <= deadline and is_up(m, r):
            note_length(m, r, count, now)
    elif waited_for:
        m[attempt + f.COUNT + which] = count
        m[attempt + f.OUTSTANDING] -= 1
        if m[attempt + f.OUTSTANDING] == 0:
            finish_probing(m, w, keys, variant_of(m, attempt), attempt, now)


@step
def placement_arrives(m: Ints, w: Ints, attempt: int, r: int, now: int) -> None:
    """Let a replica accept an attempt, or not; the router hears of it a hop later."""
    v = variant_of(m, attempt)
    up, gone = is_up(m, r), m[attempt + f.A_CANCELLED] == 1
    accepted = up and not gone and m[r + f.ONGOING] < m[v + f.MAX_ONGOING]
    if accepted:
        m[v + f.QUEUED] -= 1
        accept(m, r, attempt, now)
    place = hop(m, w, f.NOTICE, attempt, r, (m[attempt + f.PLACEMENTS] - 1, _NOTICED), now)
    w[place, f.Y], w[place, f.Z] = int(accepted), m[r + f.ONGOING] if up else 0
    if accepted:
        act(m, w, r, now)
    else:
        m[attempt + f.A_STATE] = f.BOUNCED


@step
def notice_arrives(
    m: Ints, w: Ints, o: Ints, keys: Keys, e: tuple[int, int, int, int, int, int], now: int
) -> None:
    """Hear whether a replica accepted; what it did not is pending again, in its old place.

    *e* is: attempt, its number, its ordinal, replica, index, and 1 if accepted; then the count.
    """
    attempt, number, key_2, r, accepted, count = e
    if is_up(m, r):
        note_length(m, r, count, now)
    if accepted == 1 or not is_attempt(m, attempt, number, key_2 >> 20):
        return
    if m[attempt + f.A_STATE] != f.BOUNCED:
        return
    v = variant_of(m, attempt)
    if m[attempt + f.A_CANCELLED] == 1:
        m[v + f.QUEUED] -= 1
        m[v + f.GAUGE] -= 1
        leave_deployment(m, o, attempt, f.CANCELLED, now)
        return
    pend(m, v, attempt)
    start_tasks(m, w, keys, v, now)


@step
def tell_done(m: Ints, w: Ints, attempt: int, now: int) -> None:
    """Let a replica tell the router that it holds an attempt no longer."""
    v = variant_of(m, attempt)
    if m[v + f.ROUTER] == f.POWER_OF_TWO:
        r = m[attempt + f.A_REPLICA_ROW]
        hop(m, w, f.DONE_NOTICE, attempt, r, (m[attempt + f.PLACEMENTS] - 1, _DONE), now)


@step
def done_arrives(m: Ints, r: int, now: int) -> None:
    """Hear that a replica holds one attempt less."""
    if is_up(m, r):
        length = known_length(m, r, now)
        if length >= 0:
            note_length(m, r, max(0, length - 1), now)


@step
def backoff_ends(m: Ints, w: Ints, keys: Keys, attempt: int, now: int) -> None:
    """Let a task that slept begin its next iteration."""
    v = variant_of(m, attempt)
    drive(m, w, keys, v, attempt, -1, now)
    start_tasks(m, w, keys, v, now)
