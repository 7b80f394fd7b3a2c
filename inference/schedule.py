"""Requests, their attempts, and what became of them: every stamp, ordered, in columns."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Outcome(IntEnum):
    """How a request, or an attempt, ended; each ends in exactly one way."""

    COMPLETED = 0
    TIMED_OUT = 1
    REJECTED = 2
    FAILED = 3
    REPLACED = 4
    IN_FLIGHT = 5


class Reason(IntEnum):
    """Why: the part of the deployment that decided."""

    NONE = 0
    QUEUE_FULL = 1
    """`max_queued_requests` were waiting already."""
    BREAKER_OPEN = 2
    """The circuit breaker let nothing through."""
    NO_VARIANT = 3
    """No model fits the latency budget, and the scenario says to reject then."""
    ERROR = 4
    """The model failed (`error_rate`)."""
    CRASHED = 5
    """Its replica crashed."""
    CANCELLED = 6
    """An attempt that was given up and taken back before it was served to its end."""
    LOST = 7
    """An attempt whose reply was lost on the way."""
    LATE = 8
    """An attempt whose reply came when nobody waited for it any more."""


class Submissions(NamedTuple):
    """Requests in the order of asking; read-only int64 columns."""

    number: Ints
    submitted_at: Ints
    instrument: Ints
    emitted_at: Ints
    tie: Ints


class Outcomes(NamedTuple):
    """Ended requests in the order in which they ended; read-only columns.

    The stamps from `sent_at` to `completed_at`, and `replica`, are those of the last attempt. A
    stamp that was never reached is MISSING, and `replica` is then -1. `visible_at` of a replaced
    request is the instant at which the newer one took its place. `rank` says where in its instant
    the outcome happened: PREDICTION; TIMER for an answer that became visible when the loop's own
    turn of that instant had already passed. `value` is NaN unless the request completed.
    `superseded` is 1 where the answer for a newer row of the instrument was visible first, `own`
    where the strategy asked.

    `routed_at`: taken on by a replica. `batched_at`: taken into a batch; without batching it is
    `started_at`. `execution` is the same for all that ran together: the first one's
    `(number << 16) + attempt`, -1 where none ran. `variant` is -1 where none was asked. `source` is
    the number of the request whose answer the cache gave again, else -1. `fallback` is 1 where the
    circuit breaker's fallback answered.
    """

    number: Ints
    loop: Ints
    instrument: Ints
    emitted_at: Ints
    tie: Ints
    event_time: Ints
    submitted_at: Ints
    sent_at: Ints
    arrived_at: Ints
    started_at: Ints
    completed_at: Ints
    visible_at: Ints
    replica: Ints
    rank: Ints
    outcome: Ints
    attempts: Ints
    value: NDArray[np.float64]
    superseded: Ints
    own: Ints
    first_sent_at: Ints
    routed_at: Ints
    batched_at: Ints
    execution: Ints
    batch_size: Ints
    variant: Ints
    source: Ints
    fallback: Ints
    reason: Ints


class Attempts(NamedTuple):
    """Ended attempts in the order in which nothing was left of them; read-only int64 columns.

    `visible_at`: when the client stopped waiting, because a reply was visible or a deadline passed;
    `outcome` is what the client saw then. `ended_at`: when the deployment, too, had nothing left of
    it: its late reply was dropped, lost, or it was cancelled; the same instant where it was not
    late. The other columns are as in `Outcomes`.
    """

    number: Ints
    attempt: Ints
    variant: Ints
    replica: Ints
    sent_at: Ints
    arrived_at: Ints
    routed_at: Ints
    batched_at: Ints
    started_at: Ints
    completed_at: Ints
    visible_at: Ints
    ended_at: Ints
    execution: Ints
    batch_size: Ints
    outcome: Ints
    reason: Ints
    fallback: Ints


class ChangeKind(IntEnum):
    """What changed in a deployment."""

    REPLICA = 0
    """`subject` is its index, `value` its new `ReplicaState`."""
    TARGET = 1
    """The autoscaler's target; `value` is the number of replicas."""
    BREAKER = 2
    """`value` is 0 closed, 1 open, 2 half-open."""


class ReplicaState(IntEnum):
    """What a replica does."""

    STARTING = 0
    READY = 1
    DRAINING = 2
    STOPPED = 3
    DOWN = 4


class Changes(NamedTuple):
    """What changed in the deployments, in order; read-only int64 columns."""

    changed_at: Ints
    variant: Ints
    kind: Ints
    subject: Ints
    value: Ints


class LoopOutput(NamedTuple):
    """What one push brought to light."""

    submissions: Submissions
    outcomes: Outcomes
    attempts: Attempts
    changes: Changes


def as_submissions(columns: Ints) -> Submissions:
    """Return named read-only views of an array of shape (5, n)."""
    columns.flags.writeable = False
    return Submissions(*columns)


def as_outcomes(columns: list[Ints], value: NDArray[np.float64]) -> Outcomes:
    """Return named read-only columns: all but `value`, in order, and `value`."""
    for column in (*columns, value):
        column.flags.writeable = False
    place = Outcomes._fields.index("value")
    named: list[Any] = [*columns[:place], value, *columns[place:]]
    return Outcomes(*named)


def as_attempts(columns: Ints) -> Attempts:
    """Return named read-only views of an array of shape (len(Attempts._fields), n)."""
    columns.flags.writeable = False
    return Attempts(*columns)


def as_changes(columns: Ints) -> Changes:
    """Return named read-only views of an array of shape (5, n)."""
    columns.flags.writeable = False
    return Changes(*columns)


def _none(fields: int) -> Ints:
    return np.zeros((fields, 0), np.int64)


NO_CHANGES = as_changes(_none(len(Changes._fields)))
NO_ATTEMPTS = as_attempts(_none(len(Attempts._fields)))
NOTHING = LoopOutput(
    as_submissions(_none(len(Submissions._fields))),
    as_outcomes(list(_none(len(Outcomes._fields) - 1)), np.zeros(0)),
    NO_ATTEMPTS,
    NO_CHANGES,
)
"""The output of a push in which nothing was due."""
