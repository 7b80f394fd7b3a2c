"""Where everything of the simulated stack lies in its memory, and the codes that policies have.

The memory `m` is one array of int64: scalars of the loop, a block for each variant and each fault,
lists of numbers (`k`-addresses), then rows of equal width. A request, an attempt, a replica, a
sample of a gauge or the window of a fault is a row; its *address* is the index of its first
element, so `m[request + NUMBER]` is a field, and 0 is no row. A list lies at an address, too: first
row, last row, size. One array, because few arrays compile fast and are easily enlarged: a longer
memory has the same addresses.
"""

from __future__ import annotations

# --- events: instant, order, two keys, then what they carry ---------------------------------------

(AT, ORDER, KEY_1, KEY_2, NODE, X, Y, Z, U) = range(9)
EVENT_FIELDS = 9
# work that an event leaves behind: an event to be, how its instant comes about, and for whom
(LEG, MODEL, ID_A, ID_B, ID_C, ID_D, VIA) = range(9, 16)
WORK_FIELDS = 16
# how it comes about: known; after a draw; over a connection, where none overtakes; back over it;
# by serving; by a restart and a cold start
(KNOWN, DRAWN, OUTWARD, BACKWARD, SERVED, RESTARTED) = range(6)

_DEPLOYMENT, _PREDICTION, _TIMER = 4 << 6, 6 << 6, 8 << 6
(FAULT_BEGINS, REPLICA_READY, SAMPLE, PUSH, TICK, COMPLETION) = range(_DEPLOYMENT, _DEPLOYMENT + 6)
(BATCH_TIMER, PROBE_REPLY, NOTICE, DONE_NOTICE) = range(_DEPLOYMENT + 6, _DEPLOYMENT + 10)
(PROBE, PLACEMENT, ARRIVAL, CANCEL) = range(_DEPLOYMENT + 10, _DEPLOYMENT + 14)
(BACKOFF_ENDS, PROBE_DEADLINE) = range(_DEPLOYMENT + 14, _DEPLOYMENT + 16)
(REPLY, ATTEMPT_DEADLINE, DEADLINE) = range(_PREDICTION, _PREDICTION + 3)
(RETRY, TURN) = range(_TIMER, _TIMER + 2)
FEATURE_ROW = 5 << 6

# --- scalars of the loop --------------------------------------------------------------------------

(NEXT_NUMBER, IN_FLIGHT, MAX_IN_FLIGHT, POLLING, PERIOD, NEXT_POLL, REPLACE) = range(1, 8)
(SERVE_AT, TIMER_RAN_AT, ASKED_ROW, ASKED_TIMES, ROWS_SEEN, SKIPPED, ACCEPTS_NAN) = range(8, 15)
(LOOP_INDEX, OWN_AT, OWN_COUNT, HEAP, WORK, ROWS, LIVE) = range(15, 22)
(FREE, VARIANTS, VARIANT_COUNT, STARTED) = range(22, 26)
(SUBMITTED, OUTCOMES, ATTEMPTS_ENDED, CHANGES, EXECUTED) = range(26, 31)  # this push's records
WAITING = 31  # lists take three places
DEADLINES = 34
ATTEMPT_DEADLINES = 37
NEWEST = 40  # the newest feature row: ordinal, instrument, emitted_at, tie, event_time
(TIMEOUT, CANCELS, ATTEMPT_TIMEOUT, MAX_ATTEMPTS, RETRY_ON, BACKOFF_P) = range(45, 51)
(RETRY_RATIO, RETRY_BURST, TOKENS, JITTER_KEY) = range(51, 55)
(ROUTING, BUDGET, OTHERWISE_REJECT, EXPLORE, BY_ACCURACY, SPLIT_KEY, SHARES_P) = range(55, 62)
(CACHE_SIZE, CACHE_TTL, CACHE_USED, HIT_MODEL, CACHE_NEWEST, CACHE_OLDEST) = range(62, 68)
(CACHE_FREE, CACHE_MASK, STEPS_P) = range(68, 71)
(LAST_ANSWERS, ANSWERED_ROWS, INSTRUMENTS, COLUMNS, READS_VALUES, KEEPS_SERVED) = range(71, 77)
COUNTS = 77  # one for each outcome
SPARE = 83  # rows that one event may need beyond those in use
SCALARS = 84

# --- a variant ------------------------------------------------------------------------------------

(V_INDEX, ROUTER, BATCHING, MAX_BATCH, BATCH_WAIT, SLOTS, BLOCKING, MAX_ONGOING) = range(8)
(MAX_QUEUED, DISCIPLINE, OWN_PRIORITY, PRIORITIES, PREFERRED, PREFERRED_COUNT) = range(8, 14)
(SPEEDS_P, SPEED_COUNT, WARM_UP, WARM_P) = range(14, 18)
(SERVICE, SERVICE_MODEL, SERVICE_COUNT, PER_ITEM) = range(18, 22)
(OUT_MODEL, BACK_MODEL, LATENCY_MODEL, CANCEL_MODEL, HOP_MODEL, COLD_MODEL) = range(22, 28)
(ROUTER_KEY, ERROR_KEY, LOST_KEY) = range(28, 31)
(LAST_ARRIVAL, LAST_VISIBLE, READY_COUNT, NEXT_INDEX, LAST_USED, QUEUED, GAUGE) = range(31, 38)
(TASKS, PAUSED_UNTIL, BUSY_NS, ALIVE, ALIVE_SINCE, ALIVE_NS, ESTIMATE, EXECUTION_COUNT) = range(
    38, 46
)
REPLICAS = 46  # lists
POOL = 49
WINDOWS = 52
SAMPLES = 55
(B_KIND, B_FAILURES, B_RATE, B_WINDOW, B_LEAST, B_OPEN_FOR, B_PROBES, B_COUNTS) = range(58, 66)
(B_FALLBACK, B_FALLBACK_TO, B_RING) = range(66, 69)
(B_STATE, B_OPENED_AT, B_EPOCH, B_FAILED, B_SEEN, B_PLACE, B_OUT, B_GOOD) = range(69, 77)
(S_ON, S_MIN, S_MAX, S_LOOK_BACK, S_UP, S_DOWN, S_ZERO, S_RECORD, S_PUSH, S_TICK, S_P) = range(
    77, 88
)
(S_TARGET, S_DIRECTION, S_SINCE, PUSHED, PUSHED_FIRST, PUSHED_LAST, PUSHED_SUM) = range(88, 95)
PUSHED_VALUE = 95
VARIANT_SIZE = 96

# --- a fault --------------------------------------------------------------------------------------

(F_KIND, F_VARIANT, F_PLACE, F_REPLICA, F_LASTS, F_P, F_EVERY, F_KEY, F_RESTART) = range(9)
FAULT_SIZE = 9

# --- rows -----------------------------------------------------------------------------------------

(KIND, NEXT, PREV, NEXT_DUE, PREV_DUE, SLOT) = range(6)
(IS_FREE, IS_REQUEST, IS_ATTEMPT, IS_REPLICA, IS_SAMPLE, IS_WINDOW, IS_PROBE) = range(7)

# a request: the columns of its outcome, in their order, then its own
(NUMBER, LOOP, INSTRUMENT, EMITTED_AT, TIE, EVENT_TIME, SUBMITTED_AT, SENT_AT) = range(6, 14)
(ARRIVED_AT, STARTED_AT, COMPLETED_AT, VISIBLE_AT, REPLICA, RANK, OUTCOME, ATTEMPTS) = range(14, 22)
(SUPERSEDED, OWN, FIRST_SENT_AT, ROUTED_AT, BATCHED_AT, EXECUTION, BATCH_SIZE) = range(22, 29)
(VARIANT, SOURCE, FALLBACK, REASON) = range(29, 33)
OUTCOME_COLUMNS = 27
(ORDINAL, KEY_B, KEY_C, KEY_D, HOLDS, ATTEMPT_ROW, RETRY_AT, PLANNED_AT) = range(33, 41)
(PLANNED, PLANNED_REASON, SAID, IS_WAITING) = range(41, 45)
# who says the value: the model, another request's answer, the breaker's constant
(BY_MODEL, BY_SOURCE, BY_CONSTANT) = range(3)

# an attempt: the columns of its record, in their order, then its own
(A_NUMBER, A_ATTEMPT, A_VARIANT, A_REPLICA, A_SENT_AT, A_ARRIVED_AT, A_ROUTED_AT) = range(6, 13)
(A_BATCHED_AT, A_STARTED_AT, A_COMPLETED_AT, A_VISIBLE_AT, A_ENDED_AT, A_EXECUTION) = range(13, 19)
(A_BATCH_SIZE, A_OUTCOME, A_REASON, A_FALLBACK) = range(19, 23)
ATTEMPT_COLUMNS = 17
(A_REQUEST, A_STATE, A_WAITS, A_KEY_A, A_KEY_B, A_KEY_C, A_KEY_D, A_PRIORITY) = range(23, 31)
(A_REPLY, A_EPOCH, A_CANCELLED, A_IS_NAN, A_REPLICA_ROW, A_ACCEPTED_AT, A_FAILS) = range(31, 38)
(TASK, ITERATION, FAILURES, NAPS, PLACEMENTS) = range(38, 43)
CANDIDATE = 43  # two of them, and what each reported
COUNT = 45
(OUTSTANDING, WAKE_AT, NEXT_BATCH) = range(47, 50)
# where it is
(UNDER_WAY, POOLED, HOPPING, BOUNCED, LINED_UP, OUTSIDE, IN_BATCHER) = range(7)
(FORMING_IN, SEALED_IN, RUNNING_IN, REPLYING, GONE) = range(7, 12)
# what its routing task does
(NO_TASK, ROUTES, AWAITS_REPLICA, PROBES, SLEEPS) = range(5)

# a replica
(INDEX, R_VARIANT, R_STATE, ONGOING, RUNNING, TIMER_AT, STARTS, EXECUTIONS) = range(6, 14)
(LENGTH, LENGTH_AT) = range(14, 16)
QUEUE = 16  # lists
BATCHER = 19
INBOX = 22
FORMING = 25
(SEALED_FIRST, SEALED_LAST, SEALED, WAKES_FIRST) = range(28, 32)

# a sample of the gauge; the window of a fault
(SAMPLED_AT, SAMPLED) = range(6, 8)
(W_PLACE, W_KIND, W_REPLICA, W_UNTIL, W_P, W_LASTS) = range(6, 12)

ROW_SIZE = 50

# --- records of a push: a row each, the kinds side by side ----------------------------------------

O_OUTCOME = 0
O_SAID = OUTCOME_COLUMNS
O_SUBMISSION = O_SAID + 1
O_ATTEMPT = O_SUBMISSION + 5
O_CHANGE = O_ATTEMPT + ATTEMPT_COLUMNS
O_SERVED = O_CHANGE + 5  # execution, number, attempt, variant, address
RECORD_FIELDS = O_SERVED + 5

# --- codes ----------------------------------------------------------------------------------------

(CONTINUOUS, EVERY, ON_FEATURE) = range(3)
(ROUND_ROBIN, LEAST_LOADED, POWER_OF_TWO) = range(3)
(NO_BATCHES, RAY_BATCHES, TRITON_BATCHES) = range(3)
(FIFO, NEWEST_FIRST, PRIORITY) = range(3)
(ANY_SIZE, BY_SIZE) = range(2)
(ONE_VARIANT, SPLIT, LATENCY_BUDGET) = range(3)
(NO_BREAKER, IN_A_ROW, BY_RATE) = range(3)
(CLOSED, OPEN, HALF_OPEN) = range(3)
(REFUSE, LAST_VALUE, SAY_CONSTANT, OTHER_VARIANT) = range(4)
NAN_ANSWER = 5  # beside the outcomes, as a bit of what a breaker counts
(CRASH, SLOW, ERROR_RATE, STUCK_BATCH, LOST_REPLY, NETWORK_PAUSE) = range(6)
(STARTING, READY, DRAINING, STOPPED, DOWN) = range(5)
(REPLICA_CHANGED, TARGET_CHANGED, BREAKER_CHANGED) = range(3)
(COMPLETED, TIMED_OUT, REJECTED, FAILED, REPLACED) = range(5)
(NO_REASON, QUEUE_FULL, BREAKER_OPEN, NO_VARIANT, ERROR, CRASHED, CANCELLED, LOST, LATE) = range(9)
