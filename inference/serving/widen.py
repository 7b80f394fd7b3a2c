"""What the plain deployment's records say in the columns of the whole stack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.rows import MISSING
from inference.schedule import Attempts, Outcome, Outcomes, as_attempts, as_outcomes
from inference.serving import state as f

Ints = NDArray[np.int64]


def plain_outcomes(columns: Ints, value: NDArray[np.float64]) -> Outcomes:
    """Return outcomes from the plain kernel's records, shape (OUTCOME_FIELDS, n).

    A plain deployment makes one attempt and serves it alone, in the queue of its replica from its
    arrival on; what it did not reach is MISSING.
    """
    sent, started = columns[f.SENT_AT], columns[f.STARTED_AT] != MISSING
    one = started.astype(np.int64)
    # a replaced request was never sent, so that no model was chosen for it
    asked = sent != MISSING
    added = [
        sent,
        columns[f.ARRIVED_AT],
        columns[f.STARTED_AT],
        np.where(started, columns[f.NUMBER] << 16, -1),
        one,
        np.where(asked, 0, -1),
        np.full(len(sent), -1, np.int64),
        np.zeros(len(sent), np.int64),
        np.zeros(len(sent), np.int64),
    ]
    return as_outcomes([*columns, *added], value)


def attempts_of(outcomes: Outcomes) -> Attempts:
    """Return the one attempt behind each outcome whose request was sent."""
    sent = outcomes.sent_at != MISSING
    zero = np.zeros(len(sent), np.int64)
    ended = np.where(outcomes.outcome == Outcome.IN_FLIGHT, MISSING, outcomes.visible_at)
    columns = (
        outcomes.number,
        zero,
        outcomes.variant,
        outcomes.replica,
        outcomes.sent_at,
        outcomes.arrived_at,
        outcomes.routed_at,
        outcomes.batched_at,
        outcomes.started_at,
        outcomes.completed_at,
        outcomes.visible_at,
        ended,
        outcomes.execution,
        outcomes.batch_size,
        outcomes.outcome,
        zero,
        zero,
    )
    return as_attempts(np.stack([column[sent] for column in columns]))
