"""What a sweep of queries tells of a deployment: how its replicas go on, and what holds them up."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.errors import ModelFailedError
from inference.measure.log import Log

__all__ = ["answers_apart", "executions", "rest_of", "swept_capacity", "turnarounds"]

Ints = NDArray[np.int64]
_SECOND: Final = 1e9

ARRIVED_NS: Final = 20_000_000
"""A request that was sent so long before an execution ended had arrived by then."""

FEWEST: Final = 20
"""Rows asked in both loads from which on their times are compared."""


def executions(logs: list[Log]) -> tuple[Ints, Ints]:
    """Return size and duration, ns, of each execution: once each, however many requests it held."""
    sizes, durations = [], []
    for log in logs:
        known = log.take(log.answered & (log.started_at > 0) & (log.completed_at > 0))
        names, replica = np.unique(known.replica.astype(str), return_inverse=True)
        del names
        keys = np.stack([replica, known.started_at, known.completed_at], axis=1)
        _, first = np.unique(keys, axis=0, return_index=True)
        sizes.append(known.batch_size[first])
        durations.append((known.completed_at - known.started_at)[first])
    return np.concatenate(sizes), np.concatenate(durations)


def turnarounds(logs: list[Log]) -> Ints:
    """Return how long replicas took from one execution to the next while one was waiting, ns.

    Meanwhile a replica's event loop sends an answer and takes the next request: the model is done,
    the replica is not.
    """
    found = [gap for _, gap in map(_kept_at_it, logs)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def rest_of(single: Log, sweep: list[Log]) -> int:
    """Return by how much longer an execution takes on a replica that has rested, ns; 0 if not.

    The median over rows that were asked in both loads, told by their answers; at least FEWEST.
    """
    busy: dict[float, list[int]] = {}
    for log, _ in map(_kept_at_it, sweep):
        alone = log.take(log.batch_size == 1)
        for value, took in zip(alone.value, alone.completed_at - alone.started_at, strict=True):
            busy.setdefault(float(value), []).append(int(took))
    took = single.completed_at - single.started_at
    longer = [
        int(one) - float(np.median(busy[float(value)]))
        for value, one, size in zip(single.value, took, single.batch_size, strict=True)
        if size == 1 and float(value) in busy
    ]
    return max(round(float(np.median(longer))), 0) if len(longer) >= FEWEST else 0


def _kept_at_it(log: Log) -> tuple[Log, Ints]:
    """Return executions that followed another one for which they had waited, and the time between.

    Of each execution one request.
    """
    known = log.take(log.answered & (log.started_at > 0) & (log.completed_at > 0))
    places, gaps = [], []
    names = known.replica.astype(str)
    for replica in np.unique(names):
        mine = np.flatnonzero(names == replica)
        _, first = np.unique(known.started_at[mine], return_index=True)
        mine = mine[first]
        gap = known.started_at[mine][1:] - known.completed_at[mine][:-1]
        waited = known.sent_at[mine][1:] + ARRIVED_NS < known.completed_at[mine][:-1]
        kept = waited & (gap >= 0)
        places.append(mine[1:][kept])
        gaps.append(gap[kept])
    none = np.zeros(0, np.int64)
    return known.take(np.concatenate([none, *places])), np.concatenate([none, *gaps])


def swept_capacity(single: Log, sweep: dict[int, Log], slots: int) -> tuple[float, Log]:
    """Return the requests a second that queries of one size were answered at, and those queries.

    What each further request of a query adds to the time until the last one is answered; not the
    time from first to last answer: those that leave together hold up the first one too. Of the
    sizes that fill all slots several times the slowest counts: what a burst saves, as requests
    that arrive together share the turns of event loops, a stream does not.

    Raises:
        ModelFailedError: If too few requests were answered.
    """
    alone = float(np.median(single.latency))
    sizes = [size for size in sweep if size >= 4 * slots] or [max(sweep)]
    found = [(_rate(sweep[size], alone), size) for size in sizes]
    known = [(rate, sweep[size]) for rate, size in found if rate > 0]
    if not known:
        raise ModelFailedError(
            "a fit needs a sweep with queries of at least two answered requests: got "
            f"{sum(int(sweep[size].answered.sum()) for size in sizes)} answers in the largest "
            "queries."
        )
    return min(known, key=lambda one: one[0])


def _rate(log: Log, alone: float) -> float:
    rates = []
    for query in np.unique(log.query):
        late = log.latency[(log.query == query) & log.answered]
        if len(late) > 1 and late.max() > alone:
            rates.append((len(late) - 1) * _SECOND / float(late.max() - alone))
    return float(np.median(rates)) if rates else 0.0


def answers_apart(log: Log, mean_ns: float) -> Ints:
    """Return the times between the answers of a query, ns, stretched to a mean; at least 1."""
    log = log.take(log.answered)
    apart = [
        np.diff(np.sort(log.received_at[log.query == query])) for query in np.unique(log.query)
    ]
    gaps = np.concatenate(apart).astype(np.float64)
    if gaps.mean() <= 0:
        return np.full(max(len(gaps), 1), round(mean_ns), np.int64)
    return np.maximum(np.rint(gaps * (mean_ns / gaps.mean())), 1).astype(np.int64)
