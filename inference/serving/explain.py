"""Why an answer took as long as it did: the legs of each request, and who was busy when.

Everything here is read off the records of a run; nothing is measured again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from inference.rows import MISSING
from inference.schedule import Attempts, ChangeKind, Changes, Outcome, ReplicaState

__all__ = [
    "LEGS",
    "Executions",
    "chosen",
    "completed",
    "executions_of",
    "joined",
    "legs_of",
    "mean_number",
    "most_at_once",
    "number_at",
    "replica_spans",
]

Ints = NDArray[np.int64]

LEGS: Final = (
    "wait",
    "retries",
    "network",
    "routing",
    "queue",
    "batch_wait",
    "service",
    "reply",
)
"""Parts of a request's latency, in order: from asked to sent, from the first attempt to the last,
to the deployment, to a replica, to a batch, to its start, to its end, and back."""

_STAMPS: Final = (
    "submitted_at",
    "first_sent_at",
    "sent_at",
    "arrived_at",
    "routed_at",
    "batched_at",
    "started_at",
    "completed_at",
    "visible_at",
)

Columns = TypeVar("Columns", bound=Any)


def joined(parts: Sequence[Columns]) -> Columns:
    """Return records of several pushes as one, of the same named tuple; there is at least one."""
    if len(parts) == 1:
        return parts[0]
    made: Columns = type(parts[0])(*map(np.concatenate, zip(*parts, strict=True)))
    return made


def chosen(records: Columns, which: NDArray[np.bool_]) -> Columns:
    """Return some of the rows of a named tuple of columns, as the same named tuple."""
    made: Columns = type(records)(*(column[which] for column in records))
    return made


def legs_of(requests: Any) -> dict[str, Ints]:
    """Return the legs of each ended request, in nanoseconds; they add up to its whole latency.

    A stamp that was not reached takes the place of the next one that was, so that its leg is 0. An
    answer from the cache is all reply.

    Args:
        requests: Columns as in `Outcomes`, of requests that ended.

    >>> from types import SimpleNamespace
    >>> stamps = dict(zip(_STAMPS, (0, 2, 2, 3, 3, 5, 5, 9, 10)))
    >>> columns = {name: np.array([at]) for name, at in stamps.items()}
    >>> one = SimpleNamespace(source=np.array([-1]), **columns)
    >>> {leg: int(ns[0]) for leg, ns in legs_of(one).items() if ns[0]}
    {'wait': 2, 'network': 1, 'queue': 2, 'service': 4, 'reply': 1}
    """
    submitted, visible = requests.submitted_at, requests.visible_at
    hit = requests.source >= 0
    reached = visible
    instants = [visible]
    for name in reversed(_STAMPS[1:-1]):
        stamp = getattr(requests, name)
        reached = np.where(stamp == MISSING, reached, stamp)
        instants.append(np.where(hit, submitted, reached))
    instants.append(submitted)
    return {
        leg: later - earlier
        for leg, (earlier, later) in zip(LEGS, pairwise(reversed(instants)), strict=True)
    }


class Executions(NamedTuple):
    """What ran on replicas, in the order of starting; int64 columns.

    `completed_at` is the end of the run where it was still running then, and the instant of the
    crash, or of taking it back, where that ended it.
    """

    execution: Ints
    variant: Ints
    replica: Ints
    started_at: Ints
    completed_at: Ints
    size: Ints


def executions_of(attempts: Attempts, until: int) -> Executions:
    """Return the executions behind some attempts, each once."""
    ran = attempts.started_at != MISSING
    order = np.lexsort((attempts.execution[ran], attempts.started_at[ran]))
    picked = [
        column[ran][order]
        for column in (
            attempts.execution,
            attempts.variant,
            attempts.replica,
            attempts.started_at,
            _left_at(attempts, until),
            attempts.batch_size,
        )
    ]
    key = np.stack(picked[:2])
    _, first = np.unique(key, axis=1, return_index=True)
    return Executions(*(column[np.sort(first)] for column in picked))


def _left_at(attempts: Attempts, until: int) -> Ints:
    """Return when each attempt left its replica."""
    left = attempts.completed_at
    left = np.where(left == MISSING, attempts.ended_at, left)
    return np.minimum(np.where(left == MISSING, until, left), until)


def mean_number(begins: Ints, ends: Ints, edges: Ints) -> NDArray[np.float64]:
    """Return how many of some stays were under way, in the mean over each of some intervals.

    Args:
        begins: When each stay begins.
        ends: When it ends; at or after its begin.
        edges: Rising instants, shape (n + 1,); interval i is `[edges[i], edges[i + 1])`.

    >>> mean_number(np.array([0, 5]), np.array([10, 10]), np.array([0, 5, 10, 20]))
    array([1., 2., 0.])
    """
    areas = _area_until(begins, edges) - _area_until(ends, edges)
    return np.diff(areas) / np.diff(edges)


def _area_until(instants: Ints, edges: Ints) -> Ints:
    """Return the sum of `max(0, edge - instant)` at each edge, modulo 2**64.

    Sums of long runs wrap; the differences taken from them come out right.
    """
    if not len(instants):
        return np.zeros(len(edges), np.int64)
    base = edges[0]
    ordered = np.sort(instants) - base
    sums = np.concatenate([[0], np.cumsum(ordered)])
    before = np.searchsorted(ordered, edges - base, side="right")
    return before * (edges - base) - sums[before]


def number_at(begins: Ints, ends: Ints, instants: Ints) -> Ints:
    """Return how many stays are under way at each instant; one that ends at it is not."""
    begun = np.searchsorted(np.sort(begins), instants, side="right")
    ended = np.searchsorted(np.sort(ends), instants, side="right")
    return begun - ended


def most_at_once(begins: Ints, ends: Ints) -> int:
    """Return the largest number of stays under way at one instant."""
    return int(number_at(begins, ends, np.unique(begins)).max(initial=0))


def replica_spans(changes: Changes, variant: int, state: ReplicaState, until: int) -> list[Any]:
    """Return (replica, begin, end) of every span that a replica was in a state, in order."""
    since: dict[int, int] = {}
    spans = []
    mine = (changes.variant == variant) & (changes.kind == ChangeKind.REPLICA)
    for at, replica, became in zip(
        changes.changed_at[mine].tolist(),
        changes.subject[mine].tolist(),
        changes.value[mine].tolist(),
        strict=True,
    ):
        if replica in since:
            spans.append((replica, since.pop(replica), at))
        if became == state:
            since[replica] = at
    spans += [(replica, at, until) for replica, at in since.items()]
    return sorted(spans, key=lambda span: (span[1], span[0]))


def completed(outcome: Ints) -> NDArray[np.bool_]:
    """Return which of some outcomes are answers."""
    found: NDArray[np.bool_] = outcome == Outcome.COMPLETED
    return found
