"""The whole serving stack, event by event (compiled).

Events lie on one heap, but for what is always sorted: rows, deadlines, the loop's turn. The order
of one instant is the published one, written into the events' `ORDER`. An event may cause another of
a lower order at the same instant: that one is next.
"""

from __future__ import annotations

from clock.bank import LatencyBank
from clock.base import NEVER
from clock.compiled import kernel
from inference.serving import autoscaler, client, power_of_two, replicas, routers
from inference.serving import layout as f
from inference.serving.batching import act
from inference.serving.faults import fault_begins
from inference.serving.legs import schedule
from inference.serving.memory import (
    Floats,
    Ints,
    Keys,
    end_attempt,
    is_attempt,
    plan,
    pop_event,
    variant_of,
)
from inference.serving.queues import step

DONE, NEEDS_ROWS, NEEDS_EVENTS, NEEDS_ROOM, NEEDS_VALUES = range(5)
_NEVER = int(NEVER)
_RANK = 6  # an order holds its rank above so many bits


@step
def is_dead(m: Ints, h: Ints) -> bool:
    """Tell whether what the first event is about has been given up in the meantime."""
    order, node, at = h[0, f.ORDER], h[0, f.NODE], h[0, f.AT]
    number, key_2 = h[0, f.KEY_1], h[0, f.KEY_2]
    if order == f.COMPLETION:
        return not (
            is_attempt(m, node, number, key_2 >> 20) and m[node + f.A_STATE] == f.RUNNING_IN
        )
    if order == f.CANCEL:
        return not is_attempt(m, node, number, key_2 >> 20)
    if order == f.BATCH_TIMER:
        return m[node + f.TIMER_AT] != at
    if order == f.REPLICA_READY:
        waits = m[node + f.R_STATE] == f.STARTING or m[node + f.R_STATE] == f.DOWN
        return not waits or m[node + f.STARTS] != h[0, f.X]
    if order == f.BACKOFF_ENDS or order == f.PROBE_DEADLINE:
        task = f.SLEEPS if order == f.BACKOFF_ENDS else f.PROBES
        mine = is_attempt(m, node, number, key_2 >> 20) and m[node + f.TASK] == task
        return not mine or m[node + f.WAKE_AT] != at
    if order == f.RETRY or (order == f.REPLY and h[0, f.X] == 1):
        mine = m[node + f.KIND] == f.IS_REQUEST and m[node + f.NUMBER] == number
        return not mine or (order == f.RETRY and m[node + f.RETRY_AT] != at)
    return False


@kernel
def next_event(m: Ints, h: Ints, row_at: int) -> tuple[int, int]:
    """Return the instant and the order of what is due first; *row_at* is the next row's instant."""
    instant, order = row_at, f.FEATURE_ROW
    turn_at = min(m[f.SERVE_AT], m[f.NEXT_POLL])
    if turn_at < instant:
        instant, order = turn_at, f.TURN
    first_at, first_order = (h[0, f.AT], h[0, f.ORDER]) if m[f.HEAP] > 0 else (_NEVER, f.TURN)
    if first_at < instant or (first_at == instant and first_order < order):
        instant, order = first_at, first_order
    if m[f.ATTEMPT_DEADLINES] != 0:
        at = m[m[f.ATTEMPT_DEADLINES] + f.A_SENT_AT] + m[f.ATTEMPT_TIMEOUT]
        if at < instant or (at == instant and order > f.ATTEMPT_DEADLINE):
            instant, order = at, f.ATTEMPT_DEADLINE
    if m[f.TIMEOUT] > 0 and m[f.DEADLINES] != 0:
        at = m[m[f.DEADLINES] + f.SUBMITTED_AT] + m[f.TIMEOUT]
        if at < instant or (at == instant and order > f.DEADLINE):
            instant, order = at, f.DEADLINE
    return instant, order


@step
def lacks_space(m: Ints, h: Ints, o: Ints) -> int:
    """Return what must be enlarged before any event can safely be run, or DONE."""
    live = m[f.LIVE] + m[f.SPARE]
    if (2 * live + m[f.LIVE]) * f.ROW_SIZE > len(m) - m[f.ROWS]:
        return NEEDS_ROWS
    if m[f.HEAP] + 4 * live > h.shape[0]:
        return NEEDS_EVENTS
    used = max(max(m[f.SUBMITTED], m[f.OUTCOMES]), max(m[f.ATTEMPTS_ENDED], m[f.CHANGES]))
    return NEEDS_ROOM if max(used, m[f.EXECUTED]) + live > o.shape[0] else DONE


@step
def held_up(m: Ints, w: Ints, v: int, e: tuple[int, int, int, int], now: int) -> bool:
    """Let a message that arrives during a pause of the network arrive at its end."""
    if now >= m[v + f.PAUSED_UNTIL]:
        return False
    plan(m, w, m[v + f.PAUSED_UNTIL], e[0], e[1], e[2], e[3])
    return True


@step
def arrives(m: Ints, w: Ints, keys: Keys, attempt: int, now: int) -> None:
    """Take an attempt in at the deployment's door, or refuse it."""
    v = variant_of(m, attempt)
    m[attempt + f.A_ARRIVED_AT] = now
    if 0 <= m[v + f.MAX_QUEUED] <= m[v + f.QUEUED]:
        replicas.reply(m, w, attempt, f.REJECTED, f.QUEUE_FULL, now)
        return
    m[v + f.GAUGE] += 1
    if m[v + f.ROUTER] == f.ROUND_ROBIN:
        routers.enter_round_robin(m, w, v, attempt, now)
    elif m[v + f.ROUTER] == f.LEAST_LOADED:
        routers.enter_least_loaded(m, w, v, attempt, now)
    else:
        power_of_two.enter_power_of_two(m, w, keys, v, attempt, now)
    if m[v + f.S_ON] == 1 and m[v + f.READY_COUNT] == 0:
        autoscaler.sample(m, v, now)
        autoscaler.push(m, v, now)


@step
def inside(
    m: Ints, h: Ints, w: Ints, o: Ints, p: Floats, keys: Keys, values: Floats, y: Floats
) -> None:
    """Run the first event of the heap, one of a deployment's own."""
    now, order, node = h[0, f.AT], h[0, f.ORDER], h[0, f.NODE]
    key_1, key_2, x, by, z = h[0, f.KEY_1], h[0, f.KEY_2], h[0, f.X], h[0, f.Y], h[0, f.Z]
    pop_event(m, h)
    if order == f.ARRIVAL:
        if not held_up(m, w, variant_of(m, node), (order, key_1, key_2, node), now):
            arrives(m, w, keys, node, now)
    elif order == f.COMPLETION:
        replicas.completes(m, w, o, values, y, node, now)
    elif order == f.BATCH_TIMER:
        act(m, w, node, now)
    elif order == f.PROBE:
        power_of_two.probe_arrives(m, w, node, x, now)
    elif order == f.PROBE_REPLY:
        power_of_two.probe_answered(m, w, keys, node, x, z, now)
    elif order == f.PLACEMENT:
        power_of_two.placement_arrives(m, w, node, x, now)
    elif order == f.NOTICE:
        power_of_two.notice_arrives(m, w, o, keys, (node, key_1, key_2, x, by, z), now)
    elif order == f.DONE_NOTICE:
        power_of_two.done_arrives(m, x, now)
    elif order == f.BACKOFF_ENDS:
        power_of_two.backoff_ends(m, w, keys, node, now)
    elif order == f.PROBE_DEADLINE:
        power_of_two.finish_probing(m, w, keys, variant_of(m, node), node, now)
    elif order == f.CANCEL:
        if not held_up(m, w, variant_of(m, node), (order, key_1, key_2, node), now):
            replicas.take_back(m, w, o, keys, node, now)
    elif order == f.REPLICA_READY:
        replicas.gets_ready(m, w, o, keys, node, now)
    elif order == f.SAMPLE:
        autoscaler.sample(m, node, now)
        autoscaler.repeat(m, w, order, node, m[node + f.S_RECORD], now)
    elif order == f.PUSH:
        autoscaler.push(m, node, now)
        autoscaler.repeat(m, w, order, node, m[node + f.S_PUSH], now)
    elif order == f.TICK:
        autoscaler.tick(m, w, o, p, node, now)
        autoscaler.repeat(m, w, order, node, m[node + f.S_TICK], now)
    else:
        fault_begins(m, w, o, p, keys, (node, key_2), now)


@step
def seen(
    m: Ints, h: Ints, w: Ints, o: Ints, p: Floats, e: Ints, keys: Keys,
    values: Floats, bits: Ints, y: Floats,
) -> None:  # fmt: skip
    """Let the reply of the heap's first event become visible."""
    now, node = h[0, f.AT], h[0, f.NODE]
    key_1, key_2, of_request = h[0, f.KEY_1], h[0, f.KEY_2], h[0, f.X] == 1
    pop_event(m, h)
    q = node
    if of_request:
        outcome, reason = m[q + f.PLANNED], m[q + f.PLANNED_REASON]
    else:
        if held_up(m, w, variant_of(m, node), (f.REPLY, key_1, key_2, node), now):
            return
        if m[node + f.A_WAITS] == 0:
            m[node + f.A_REASON] = f.LATE
            end_attempt(m, o, node, now)
            return
        q, outcome, reason = m[node + f.A_REQUEST], m[node + f.A_REPLY], m[node + f.A_REASON]
        client.client_lets_go(m, o, node, outcome, now)
        end_attempt(m, o, node, now)
        if outcome != f.COMPLETED and client.may_retry(m, q, outcome):
            client.plan_retry(m, w, p, keys, q, now)
            return
    if outcome == f.COMPLETED:
        client.note_answer(m, e, p, values, bits, q, now)
    client.close(m, o, values, y, q, (outcome, reason, client.rank_now(m, now)), now)


@step
def too_late(
    m: Ints, w: Ints, o: Ints, p: Floats, keys: Keys, values: Floats, y: Floats, order: int,
    now: int,
) -> None:  # fmt: skip
    """Let the first deadline pass, of an attempt or of a request."""
    if order == f.ATTEMPT_DEADLINE:
        a = m[f.ATTEMPT_DEADLINES]
        q = m[a + f.A_REQUEST]
    else:
        q = m[f.DEADLINES]
        a = m[q + f.ATTEMPT_ROW]
    if a != 0:
        client.give_up(m, w, o, a, now)
    if order == f.ATTEMPT_DEADLINE and client.may_retry(m, q, f.TIMED_OUT):
        client.plan_retry(m, w, p, keys, q, now)
        return
    how = (f.TIMED_OUT, f.NO_REASON, client.rank_now(m, now))
    client.close(m, o, values, y, q, how, now)


@kernel
def run(
    m: Ints, h: Ints, w: Ints, o: Ints, e: Ints, p: Floats, values: Floats, bits: Ints, y: Floats,
    bank: LatencyBank, emitted_at: Ints, visible_at: Ints, event_time: Ints, tie: Ints,
    instrument: Ints, given: Floats, i: int, until: int, until_rank: int,
) -> tuple[int, int]:  # fmt: skip
    """Run everything strictly before (until, until_rank); return (status, rows taken).

    Any status but DONE means that it stopped between two events: the caller enlarges what lacks
    space, or predicts what was served, and calls again with the rows not yet taken.
    """
    keys = bank.spec.key
    while True:
        while m[f.HEAP] > 0 and is_dead(m, h):
            pop_event(m, h)
        now, order = next_event(m, h, visible_at[i] if i < len(visible_at) else _NEVER)
        rank = order >> _RANK
        if now > until or (now == until and rank >= until_rank) or now == _NEVER:
            return DONE, i
        status = lacks_space(m, h, o)
        if status != DONE:
            return status, i
        asks, leaving = False, 0
        if order < f.FEATURE_ROW:
            inside(m, h, w, o, p, keys, values, y)
            if m[f.READS_VALUES] == 1 and m[f.EXECUTED] > 0:
                status = NEEDS_VALUES
        elif order == f.FEATURE_ROW:
            row = (instrument[i], emitted_at[i], tie[i], event_time[i])
            asks = client.see_row(m, values, row, given, i)
            i += 1
        elif order == f.REPLY:
            seen(m, h, w, o, p, e, keys, values, bits, y)
        elif order < f.RETRY:
            too_late(m, w, o, p, keys, values, y, order, now)
        elif order == f.RETRY:
            leaving = h[0, f.NODE]
            pop_event(m, h)
            m[f.TIMER_RAN_AT] = now
            m[leaving + f.RETRY_AT] = _NEVER
        else:
            client.begin_turn(m, now)
            leaving = client.next_waiting(m)
            asks = leaving == 0 and client.polls(m, now)
        while asks or leaving != 0:
            if asks:
                q = client.ask(m, o, values, now)
                if not client.hits(m, w, e, p, values, bits, q, now):
                    if m[f.IN_FLIGHT] < m[f.MAX_IN_FLIGHT]:
                        m[f.IN_FLIGHT] += 1
                        m[q + f.HOLDS] = 1
                        leaving = q
                    else:
                        replaced = client.waits(m, q)
                        if replaced != 0:
                            how = (f.REPLACED, f.NO_REASON, rank)
                            client.close(m, o, values, y, replaced, how, now)
            asked, asks = asks, False
            if leaving != 0:
                client.leave(m, w, o, p, keys, values, leaving, now)
                leaving = 0
            if order == f.TURN and not asked:
                leaving = client.next_waiting(m)
                asks = leaving == 0 and client.polls(m, now)
        schedule(m, h, w, o, p, bank)
        if status != DONE:
            return status, i


@kernel
def submit(
    m: Ints, h: Ints, w: Ints, o: Ints, e: Ints, p: Floats, values: Floats, bits: Ints,
    bank: LatencyBank, given: Floats, about: Ints, now: int,
) -> int:  # fmt: skip
    """Ask a strategy's own request, which occupies no place; return its row.

    *about* is (instrument, emitted_at, tie, event_time). Like an event, it needs space.
    """
    m[f.OWN_COUNT] = m[f.OWN_COUNT] + 1 if m[f.OWN_AT] == now else 0
    m[f.OWN_AT] = now
    q = client.new_request(m, o, (about[0], about[1], about[2], about[3]), now)
    m[q + f.OWN], m[q + f.KEY_B], m[q + f.KEY_C] = 1, now, m[f.OWN_COUNT]
    m[q + f.KEY_D] = 1 << 32
    for column in range(values.shape[1]):
        values[m[q + f.SLOT], column] = given[column]
    if not client.hits(m, w, e, p, values, bits, q, now):
        client.leave(m, w, o, p, bank.spec.key, values, q, now)
    schedule(m, h, w, o, p, bank)
    return q


@kernel
def space_for_one(m: Ints, h: Ints, o: Ints) -> int:
    """Return what must be enlarged before `submit`, or DONE."""
    return lacks_space(m, h, o)
