"""A request and its attempts as a live client holds them, and the columns they end as."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.backend import Reply
from inference.live.agenda import Entry
from inference.rows import MISSING
from inference.schedule import (
    Attempts,
    Changes,
    Outcome,
    Outcomes,
    Reason,
    Submissions,
    as_attempts,
    as_changes,
    as_outcomes,
    as_submissions,
)

__all__ = ["Attempt", "Reached", "Records", "Request", "attempts_of", "outcomes_of"]


class Reached(NamedTuple):
    """How far an attempt has come, as far as the client knows.

    A deployment tells when it began and when it was done, not when the request arrived or found its
    replica: what lies between sending and starting counts as routing, and the batch, too, is known
    by its start alone.
    """

    replica: int = -1
    sent_at: int = MISSING
    started_at: int = MISSING
    completed_at: int = MISSING
    execution: int = -1
    batch_size: int = 0

    @property
    def arrived_at(self) -> int:
        """When it was sent, once it is known to have been served."""
        return MISSING if self.started_at == MISSING else self.sent_at

    @property
    def routed_at(self) -> int:
        """When it began to be served."""
        return self.started_at


@dataclass(slots=True, eq=False)
class Attempt:
    """One sending of a request."""

    request: Request
    index: int
    variant: int
    sent_at: int
    epoch: int
    """The breaker's when it left, -1 without one."""
    fallback: bool
    future: Future[Reply] | None = None
    replica: int = -1
    started_at: int = MISSING
    completed_at: int = MISSING
    batch_size: int = 0
    visible_at: int = MISSING
    ended_at: int = MISSING
    outcome: Outcome = Outcome.IN_FLIGHT
    reason: Reason = Reason.NONE
    waits: bool = True
    """Whether the client waits for it."""
    cancelled: bool = False
    """Whether it was to be taken back."""
    deadline: Entry | None = None

    @property
    def reached(self) -> Reached:
        """How far it has come."""
        ran = self.started_at != MISSING
        return Reached(
            self.replica,
            self.sent_at,
            self.started_at,
            self.completed_at,
            (self.request.number << 16) + self.index if ran else -1,
            self.batch_size if ran else 0,
        )

    def columns(self) -> tuple[int, ...]:
        """Return it as a row of `Attempts`."""
        at = self.reached
        return (
            self.request.number,
            self.index,
            self.variant,
            self.replica,
            self.sent_at,
            at.arrived_at,
            at.routed_at,
            at.started_at,
            at.started_at,
            at.completed_at,
            self.visible_at,
            self.ended_at,
            at.execution,
            at.batch_size,
            self.outcome,
            self.reason,
            self.fallback,
        )


@dataclass(slots=True, eq=False)
class Request:
    """What was asked about one row."""

    number: int
    instrument: int
    emitted_at: int
    tie: int
    event_time: int
    submitted_at: int
    ordinal: int
    """Of its row among all rows, -1 for a strategy's own request."""
    values: NDArray[np.float64]
    identity: tuple[int, int, int, int]
    """What its draws are keyed by."""
    own: bool = False
    attempts: int = 0
    present: Attempt | None = None
    """The attempt that the client waits for."""
    reached: Reached = field(default=Reached())
    first_sent_at: int = MISSING
    variant: int = -1
    fallback: bool = False
    source: int = -1
    value: float = float("nan")
    visible_at: int = MISSING
    outcome: Outcome = Outcome.IN_FLIGHT
    reason: Reason = Reason.NONE
    rank: int = 0
    superseded: bool = False
    holds: bool = False
    """Whether it holds one of the places in flight."""
    deadline: Entry | None = None
    next_step: Entry | None = None
    """A retry, or an answer that is given at once."""

    def columns(self, loop: int) -> tuple[int, ...]:
        """Return it as a row of `Outcomes`, without its value."""
        at = self.reached if self.present is None else self.present.reached
        return (
            self.number,
            loop,
            self.instrument,
            self.emitted_at,
            self.tie,
            self.event_time,
            self.submitted_at,
            at.sent_at,
            at.arrived_at,
            at.started_at,
            at.completed_at,
            self.visible_at,
            at.replica,
            self.rank,
            self.outcome,
            self.attempts,
            self.superseded,
            self.own,
            self.first_sent_at,
            at.routed_at,
            at.started_at,
            at.execution,
            at.batch_size,
            self.variant,
            self.source,
            self.fallback,
            self.reason,
        )


class Records:
    """What happened since it was last collected."""

    def __init__(self, loop: int) -> None:
        self._loop = loop
        self.submissions: list[tuple[int, ...]] = []
        self.outcomes: list[tuple[int, ...]] = []
        self.values: list[float] = []
        self.features: list[NDArray[np.float64]] = []
        self.attempts: list[tuple[int, ...]] = []
        self.changes: list[tuple[int, ...]] = []

    def __bool__(self) -> bool:
        return bool(self.submissions or self.outcomes or self.attempts or self.changes)

    def asked(self, request: Request) -> None:
        """Note a new request."""
        about = (request.instrument, request.emitted_at, request.tie)
        self.submissions.append((request.number, request.submitted_at, *about))

    def ended(self, request: Request) -> None:
        """Note a request's one outcome."""
        self.outcomes.append(request.columns(self._loop))
        self.values.append(request.value if request.outcome == Outcome.COMPLETED else np.nan)
        self.features.append(request.values)

    def collected(self) -> tuple[Submissions, Outcomes, Attempts, Changes]:
        """Return everything noted as columns."""
        return (
            as_submissions(_columns(self.submissions, len(Submissions._fields))),
            _outcomes(self.outcomes, self.values),
            as_attempts(_columns(self.attempts, len(Attempts._fields))),
            as_changes(_columns(self.changes, len(Changes._fields))),
        )


def outcomes_of(requests: Sequence[Request], loop: int) -> Outcomes:
    """Return requests under way as columns."""
    return _outcomes([one.columns(loop) for one in requests], [np.nan] * len(requests))


def attempts_of(attempts: Sequence[Attempt]) -> Attempts:
    """Return attempts as columns."""
    return as_attempts(_columns([one.columns() for one in attempts], len(Attempts._fields)))


def _outcomes(rows: Sequence[tuple[int, ...]], values: Sequence[float]) -> Outcomes:
    return as_outcomes(list(_columns(rows, len(Outcomes._fields) - 1)), np.array(values, float))


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> NDArray[np.int64]:
    return np.ascontiguousarray(np.array(rows, np.int64).reshape(len(rows), width).T)
