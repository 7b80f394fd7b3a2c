"""Requests and what became of them: every stamp, ordered, in columns."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.serving import state as f


class Outcome(IntEnum):
    """How a request ended; each ends in exactly one way."""

    COMPLETED = 0
    TIMED_OUT = 1
    REJECTED = 2
    FAILED = 3
    REPLACED = 4
    IN_FLIGHT = 5


class Submissions(NamedTuple):
    """Requests in the order of asking; read-only int64 columns."""

    number: NDArray[np.int64]
    submitted_at: NDArray[np.int64]
    instrument: NDArray[np.int64]
    emitted_at: NDArray[np.int64]
    tie: NDArray[np.int64]


class Outcomes(NamedTuple):
    """Ended requests, ordered by (`visible_at`, `rank`, `number`); read-only columns.

    A stamp that was never reached is MISSING, and `replica` is then -1. `visible_at` of a replaced
    request is the instant at which the newer one took its place. `rank` says where in its instant
    the outcome happened: PREDICTION; TIMER for an answer that became visible when the loop's own
    turn of that instant had already passed. `value` is NaN unless the request completed.
    `superseded` is 1 where the answer for a newer row of the instrument was visible first, `own`
    where the strategy asked.
    """

    number: NDArray[np.int64]
    loop: NDArray[np.int64]
    instrument: NDArray[np.int64]
    emitted_at: NDArray[np.int64]
    tie: NDArray[np.int64]
    event_time: NDArray[np.int64]
    submitted_at: NDArray[np.int64]
    sent_at: NDArray[np.int64]
    arrived_at: NDArray[np.int64]
    started_at: NDArray[np.int64]
    completed_at: NDArray[np.int64]
    visible_at: NDArray[np.int64]
    replica: NDArray[np.int64]
    rank: NDArray[np.int64]
    outcome: NDArray[np.int64]
    attempts: NDArray[np.int64]
    value: NDArray[np.float64]
    superseded: NDArray[np.int64]
    own: NDArray[np.int64]


class LoopOutput(NamedTuple):
    """What one push brought to light."""

    submissions: Submissions
    outcomes: Outcomes


def as_submissions(columns: NDArray[np.int64]) -> Submissions:
    """Return named read-only views of an array of shape (SUBMISSION_FIELDS, n)."""
    columns.flags.writeable = False
    return Submissions(*columns)


def as_outcomes(columns: NDArray[np.int64], value: NDArray[np.float64]) -> Outcomes:
    """Return named read-only views of an array of shape (OUTCOME_FIELDS, n) and the values."""
    columns.flags.writeable = False
    value.flags.writeable = False
    rows: list[Any] = list(columns)
    named = [*rows[: f.ATTEMPTS + 1], value, rows[f.SUPERSEDED], rows[f.OUT_OWN]]
    return Outcomes(*named)


NOTHING = LoopOutput(
    as_submissions(np.zeros((f.SUBMISSION_FIELDS, 0), np.int64)),
    as_outcomes(np.zeros((f.OUTCOME_FIELDS, 0), np.int64), np.zeros(0)),
)
"""The output of a push in which nothing was due."""
