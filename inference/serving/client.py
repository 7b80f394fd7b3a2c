"""The client: asks about rows, sends attempts, waits, asks again, and knows what became of it."""

from __future__ import annotations

import math

from clock.base import NEVER
from clock.randomness import fold, uniform
from clock.rank import Rank
from inference.rows import MISSING
from inference.serving import layout as f
from inference.serving.breaker import learn, lets_through
from inference.serving.cache import look_up, remember
from inference.serving.memory import (
    Floats,
    Ints,
    Keys,
    draw_for,
    end_attempt,
    give_row,
    identify,
    plan,
    put_after,
    put_end,
    send,
    take_head,
    take_out,
    take_row,
    variant_of,
)
from inference.serving.queues import step
from inference.serving.variants import choose_variant, learn_latency

_NEVER, _MISSING = int(NEVER), int(MISSING)
_PREDICTION, _TIMER = int(Rank.PREDICTION), int(Rank.TIMER)
_MILLION = 1_000_000

# --- rows and requests ----------------------------------------------------------------------------


@step
def see_row(m: Ints, values: Floats, row: tuple[int, int, int, int], given: Floats, i: int) -> bool:
    """Let a row become the newest; tell whether it asks for itself."""
    m[f.ROWS_SEEN] += 1
    columns = m[f.COLUMNS]
    if m[f.ACCEPTS_NAN] == 0:
        for place in range(values.shape[1]):
            value = given[i, m[columns + place]]
            if value != value:
                m[f.SKIPPED] += 1
                return False
    for place in range(values.shape[1]):
        values[0, place] = given[i, m[columns + place]]
    m[f.NEWEST] = m[f.ROWS_SEEN] - 1
    m[f.NEWEST + 1], m[f.NEWEST + 2], m[f.NEWEST + 3], m[f.NEWEST + 4] = row
    free = m[f.IN_FLIGHT] < m[f.MAX_IN_FLIGHT]
    return m[f.POLLING] == f.ON_FEATURE or (m[f.POLLING] == f.CONTINUOUS and free)


@step
def new_request(m: Ints, o: Ints, row: tuple[int, int, int, int], now: int) -> int:
    """Make a request about (instrument, emitted_at, tie, event_time), numbered by asking."""
    q = take_row(m, f.IS_REQUEST)
    for field in range(f.SENT_AT, f.VISIBLE_AT + 1):
        m[q + field] = _MISSING
    for field in range(f.FIRST_SENT_AT, f.BATCHED_AT + 1):
        m[q + field] = _MISSING
    m[q + f.NUMBER], m[q + f.LOOP], m[q + f.SUBMITTED_AT] = m[f.NEXT_NUMBER], m[f.LOOP_INDEX], now
    m[q + f.INSTRUMENT], m[q + f.EMITTED_AT], m[q + f.TIE], m[q + f.EVENT_TIME] = row
    m[q + f.REPLICA] = m[q + f.EXECUTION] = m[q + f.VARIANT] = m[q + f.SOURCE] = -1
    m[q + f.RETRY_AT] = m[q + f.PLANNED_AT] = _NEVER
    place = m[f.SUBMITTED]
    o[place, f.O_SUBMISSION], o[place, f.O_SUBMISSION + 1] = m[f.NEXT_NUMBER], now
    for column in range(3):
        o[place, f.O_SUBMISSION + 2 + column] = m[q + f.INSTRUMENT + column]
    m[f.SUBMITTED] += 1
    m[f.NEXT_NUMBER] += 1
    m[f.TOKENS] = min(m[f.TOKENS] + m[f.RETRY_RATIO], m[f.RETRY_BURST])
    put_after(m, f.DEADLINES, f.NEXT_DUE, m[f.DEADLINES + 1], q)
    return q


@step
def about(m: Ints, q: int) -> int:
    """Return the place of a request's instrument in lists by instrument."""
    return min(m[q + f.INSTRUMENT], m[f.INSTRUMENTS] - 1)


@step
def ask(m: Ints, o: Ints, values: Floats, now: int) -> int:
    """Make a request about the newest row."""
    m[f.ASKED_TIMES] = m[f.ASKED_TIMES] + 1 if m[f.ASKED_ROW] == m[f.NEWEST] else 0
    m[f.ASKED_ROW] = m[f.NEWEST]
    row = (m[f.NEWEST + 1], m[f.NEWEST + 2], m[f.NEWEST + 3], m[f.NEWEST + 4])
    q = new_request(m, o, row, now)
    m[q + f.ORDINAL] = m[f.NEWEST]
    m[q + f.KEY_B], m[q + f.KEY_C] = row[1], row[2]
    m[q + f.KEY_D] = m[f.ASKED_TIMES] << 16
    for column in range(values.shape[1]):
        values[m[q + f.SLOT], column] = values[0, column]
    return q


@step
def hits(
    m: Ints, w: Ints, e: Ints, p: Floats, values: Floats, bits: Ints, q: int, now: int
) -> bool:
    """Let the cache answer a new request if it can."""
    if m[f.CACHE_SIZE] == 0:
        return False
    source = look_up(m, e, p, values, bits, q, now)
    if source < 0:
        return False
    m[q + f.SOURCE], m[q + f.SAID] = source, f.BY_SOURCE
    m[q + f.PLANNED] = f.COMPLETED
    place = plan(m, w, now, f.REPLY, m[q + f.NUMBER], 0, q)
    draw_for(w, place, f.DRAWN, m[f.HIT_MODEL], 0)
    identify(w, place, m[q + f.INSTRUMENT], m[q + f.KEY_B], m[q + f.KEY_C], m[q + f.KEY_D])
    w[place, f.X] = 1
    return True


# --- sending --------------------------------------------------------------------------------------


@step
def answer_at_once(m: Ints, w: Ints, q: int, outcome: int, reason: int, now: int) -> None:
    """Let a request be answered at this instant, without an attempt."""
    m[q + f.PLANNED], m[q + f.PLANNED_REASON] = outcome, reason
    place = plan(m, w, now, f.REPLY, m[q + f.NUMBER], m[q + f.ATTEMPTS] << 20, q)
    w[place, f.X] = 1


@step
def send_attempt(m: Ints, w: Ints, values: Floats, q: int, v: int, epoch: int, now: int) -> int:
    """Send a request's next attempt to a variant."""
    a = take_row(m, f.IS_ATTEMPT)
    for field in range(f.A_SENT_AT, f.A_ENDED_AT + 1):
        m[a + field] = _MISSING
    m[a + f.A_NUMBER], m[a + f.A_ATTEMPT] = m[q + f.NUMBER], m[q + f.ATTEMPTS]
    m[a + f.A_VARIANT], m[a + f.A_REPLICA], m[a + f.A_EXECUTION] = m[v + f.V_INDEX], -1, -1
    m[a + f.A_SENT_AT], m[a + f.A_REQUEST], m[a + f.A_WAITS] = now, q, 1
    m[a + f.A_KEY_A], m[a + f.A_KEY_B] = m[q + f.INSTRUMENT], m[q + f.KEY_B]
    m[a + f.A_KEY_C], m[a + f.A_KEY_D] = m[q + f.KEY_C], m[q + f.KEY_D] + m[q + f.ATTEMPTS]
    m[a + f.A_EPOCH] = epoch
    if m[v + f.DISCIPLINE] == f.PRIORITY:
        own = m[q + f.OWN] == 1
        rank = m[v + f.OWN_PRIORITY] if own else m[m[v + f.PRIORITIES] + about(m, q)]
        m[a + f.A_PRIORITY] = rank
    if m[f.KEEPS_SERVED] == 1:
        for column in range(values.shape[1]):
            values[m[a + f.SLOT], column] = values[m[q + f.SLOT], column]
    m[q + f.ATTEMPTS] += 1
    m[q + f.ATTEMPT_ROW] = a
    if m[q + f.FIRST_SENT_AT] == _MISSING:
        m[q + f.FIRST_SENT_AT] = now
    if m[f.ATTEMPT_TIMEOUT] > 0:
        before = m[f.ATTEMPT_DEADLINES + 1]
        while before != 0 and m[before + f.A_SENT_AT] == now:
            if m[before + f.A_NUMBER] < m[a + f.A_NUMBER]:
                break
            before = m[before + f.PREV_DUE]
        put_after(m, f.ATTEMPT_DEADLINES, f.NEXT_DUE, before, a)
    send(m, w, f.ARRIVAL, a, f.OUTWARD, m[v + f.OUT_MODEL], now)
    return a


@step
def fall_back(m: Ints, w: Ints, values: Floats, q: int, v: int, now: int) -> None:
    """Answer in place of a variant whose breaker is open."""
    kind = m[v + f.B_FALLBACK]
    if kind == f.OTHER_VARIANT:
        other = m[f.VARIANTS] + m[v + f.B_FALLBACK_TO] * f.VARIANT_SIZE
        a = send_attempt(m, w, values, q, other, -1, now)
        m[a + f.A_FALLBACK] = 1
        return
    source = m[m[f.LAST_ANSWERS] + about(m, q)]
    if kind == f.REFUSE or (kind == f.LAST_VALUE and source < 0):
        answer_at_once(m, w, q, f.REJECTED, f.BREAKER_OPEN, now)
        return
    m[q + f.FALLBACK] = 1
    if kind == f.LAST_VALUE:
        m[q + f.SOURCE], m[q + f.SAID] = source, f.BY_SOURCE
    else:
        m[q + f.SAID] = f.BY_CONSTANT
    answer_at_once(m, w, q, f.COMPLETED, f.BREAKER_OPEN, now)


@step
def leave(
    m: Ints, w: Ints, o: Ints, p: Floats, keys: Keys, values: Floats, q: int, now: int
) -> None:
    """Send a request's next attempt: choose a variant, ask its breaker."""
    place = choose_variant(m, p, keys, q, now)
    if place < 0:
        answer_at_once(m, w, q, f.REJECTED, f.NO_VARIANT, now)
        return
    m[q + f.VARIANT], m[q + f.FALLBACK] = place, 0
    v = m[f.VARIANTS] + place * f.VARIANT_SIZE
    if lets_through(m, o, v, now):
        epoch = m[v + f.B_EPOCH] if m[v + f.B_KIND] != f.NO_BREAKER else -1
        send_attempt(m, w, values, q, v, epoch, now)
    else:
        fall_back(m, w, values, q, v, now)


# --- ending ---------------------------------------------------------------------------------------


@step
def rank_now(m: Ints, now: int) -> int:
    """Return the rank of an outcome of this instant: the turn's, once the loop had its turn."""
    return _TIMER if m[f.TIMER_RAN_AT] == now else _PREDICTION


@step
def take_over(m: Ints, q: int, a: int) -> None:
    """Let a request say what its attempt has reached."""
    m[q + f.VARIANT], m[q + f.REPLICA] = m[a + f.A_VARIANT], m[a + f.A_REPLICA]
    m[q + f.SENT_AT], m[q + f.ARRIVED_AT] = m[a + f.A_SENT_AT], m[a + f.A_ARRIVED_AT]
    m[q + f.ROUTED_AT], m[q + f.BATCHED_AT] = m[a + f.A_ROUTED_AT], m[a + f.A_BATCHED_AT]
    m[q + f.STARTED_AT], m[q + f.COMPLETED_AT] = m[a + f.A_STARTED_AT], m[a + f.A_COMPLETED_AT]
    m[q + f.EXECUTION], m[q + f.BATCH_SIZE] = m[a + f.A_EXECUTION], 0
    if m[a + f.A_EXECUTION] >= 0:
        m[q + f.BATCH_SIZE] = m[a + f.A_BATCH_SIZE]
    m[q + f.FALLBACK] = m[a + f.A_FALLBACK]


@step
def close(
    m: Ints, o: Ints, values: Floats, y: Floats, q: int, how: tuple[int, int, int], now: int
) -> None:
    """Record a request's one outcome, and free its row; *how* is outcome, reason and rank."""
    m[q + f.VISIBLE_AT] = now
    m[q + f.OUTCOME], m[q + f.REASON], m[q + f.RANK] = how
    if m[q + f.OUTCOME] == f.COMPLETED and m[q + f.OWN] == 0:
        newest = m[f.ANSWERED_ROWS] + about(m, q)
        m[q + f.SUPERSEDED] = int(m[q + f.ORDINAL] < m[newest])
        m[newest] = max(m[newest], m[q + f.ORDINAL])
    if m[q + f.OUTCOME] != f.COMPLETED:
        m[q + f.SOURCE] = -1  # a hit that came too late repeats nothing
    place = m[f.OUTCOMES]
    for column in range(f.OUTCOME_COLUMNS):
        o[place, f.O_OUTCOME + column] = m[q + f.NUMBER + column]
    o[place, f.O_SAID] = m[q + f.SAID]
    for column in range(values.shape[1]):
        y[place, column] = values[m[q + f.SLOT], column]
    m[f.OUTCOMES] += 1
    m[f.COUNTS + m[q + f.OUTCOME]] += 1
    if m[q + f.HOLDS] == 1:
        m[f.IN_FLIGHT] -= 1
        m[f.SERVE_AT] = now
    if m[q + f.IS_WAITING] == 1:
        take_out(m, f.WAITING, f.NEXT, q)
    take_out(m, f.DEADLINES, f.NEXT_DUE, q)
    give_row(m, q)


@step
def note_answer(m: Ints, e: Ints, p: Floats, values: Floats, bits: Ints, q: int, now: int) -> None:
    """Keep a completed answer that is no fallback: for the cache, and as the last value."""
    if m[q + f.FALLBACK] == 1:
        return
    hit = m[q + f.SAID] == f.BY_SOURCE
    last = m[f.LAST_ANSWERS] + about(m, q)
    m[last] = m[q + f.SOURCE] if hit else m[q + f.NUMBER]
    if m[f.CACHE_SIZE] > 0 and not hit:
        remember(m, e, p, values, bits, q, now)


@step
def client_lets_go(m: Ints, o: Ints, a: int, outcome: int, now: int) -> None:
    """Let the client wait for an attempt no longer: breaker, estimate and deadline hear of it."""
    v = variant_of(m, a)
    m[a + f.A_WAITS], m[a + f.A_VISIBLE_AT], m[a + f.A_OUTCOME] = 0, now, outcome
    is_nan = outcome == f.COMPLETED and m[a + f.A_IS_NAN] == 1
    learn(m, o, v, m[a + f.A_EPOCH], f.NAN_ANSWER if is_nan else outcome, now)
    if outcome == f.COMPLETED or outcome == f.TIMED_OUT:
        learn_latency(m, v, now - m[a + f.A_SENT_AT])
    if m[f.ATTEMPT_TIMEOUT] > 0:
        take_out(m, f.ATTEMPT_DEADLINES, f.NEXT_DUE, a)
    q = m[a + f.A_REQUEST]
    take_over(m, q, a)
    m[q + f.ATTEMPT_ROW] = m[a + f.A_REQUEST] = 0


@step
def give_up(m: Ints, w: Ints, o: Ints, a: int, now: int) -> None:
    """Wait for an attempt no longer; it goes on in the deployment, unless it is cancelled."""
    client_lets_go(m, o, a, f.TIMED_OUT, now)
    if m[a + f.A_STATE] == f.GONE:
        end_attempt(m, o, a, now)
    elif m[f.CANCELS] == 1:
        v = variant_of(m, a)
        send(m, w, f.CANCEL, a, f.OUTWARD, m[v + f.CANCEL_MODEL], now)


@step
def may_retry(m: Ints, q: int, outcome: int) -> bool:
    """Tell whether a request may try again, and pay for it."""
    if (m[f.RETRY_ON] >> outcome) & 1 == 0 or m[q + f.ATTEMPTS] >= m[f.MAX_ATTEMPTS]:
        return False
    if m[f.TOKENS] < _MILLION:
        return False
    m[f.TOKENS] -= _MILLION
    return True


@step
def plan_retry(m: Ints, w: Ints, p: Floats, keys: Keys, q: int, now: int) -> None:
    """Let the next attempt leave after a backoff."""
    backoff = p[m[f.BACKOFF_P]]
    for _ in range(m[q + f.ATTEMPTS] - 1):
        backoff *= p[m[f.BACKOFF_P] + 1]
        if backoff >= p[m[f.BACKOFF_P] + 2]:
            break
    backoff = min(backoff, p[m[f.BACKOFF_P] + 2])
    key = fold(fold(keys[m[f.JITTER_KEY]], m[q + f.INSTRUMENT]), m[q + f.KEY_B])
    key = fold(fold(key, m[q + f.KEY_C]), m[q + f.KEY_D] + m[q + f.ATTEMPTS])
    jitter = p[m[f.BACKOFF_P] + 3] * (2.0 * uniform(fold(key, 0)) - 1.0)
    at = now + math.floor(backoff * (1.0 + jitter))
    m[q + f.RETRY_AT] = at
    plan(m, w, at, f.RETRY, m[q + f.NUMBER], 0, q)


# --- the loop's turn ------------------------------------------------------------------------------


@step
def begin_turn(m: Ints, now: int) -> None:
    """Let the loop have its turn of this instant."""
    m[f.TIMER_RAN_AT] = now
    m[f.SERVE_AT] = _NEVER


@step
def next_waiting(m: Ints) -> int:
    """Return the waiting request that may leave now, or 0."""
    if m[f.WAITING] == 0 or m[f.IN_FLIGHT] >= m[f.MAX_IN_FLIGHT]:
        return 0
    q = take_head(m, f.WAITING)
    m[q + f.IS_WAITING], m[q + f.HOLDS] = 0, 1
    m[f.IN_FLIGHT] += 1
    return q


@step
def polls(m: Ints, now: int) -> bool:
    """Tell whether the loop asks in its turn."""
    if m[f.NEXT_POLL] == now:
        m[f.NEXT_POLL] += m[f.PERIOD]
        return m[f.NEWEST] >= 0
    unasked = m[f.NEWEST] > m[f.ASKED_ROW] and m[f.IN_FLIGHT] < m[f.MAX_IN_FLIGHT]
    return m[f.POLLING] == f.CONTINUOUS and unasked


@step
def waits(m: Ints, q: int) -> int:
    """Let a request wait for a place; return whom it replaces, or 0."""
    replaced = 0
    if m[f.REPLACE] == 1 and m[f.WAITING] != 0:
        replaced = take_head(m, f.WAITING)
        m[replaced + f.IS_WAITING] = 0
    m[q + f.IS_WAITING] = 1
    put_end(m, f.WAITING, q)
    return replaced
