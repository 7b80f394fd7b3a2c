"""The numbers of a run's serving: legs, loads, and metrics under Ray Serve's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.config import InferenceConfig
from inference.rows import MISSING
from inference.schedule import Attempts, ChangeKind, Changes, Outcome, Outcomes, Reason
from inference.serving.explain import (
    Executions,
    chosen,
    completed,
    executions_of,
    legs_of,
    mean_number,
    most_at_once,
)

__all__ = ["LoopRecords", "describe_loop"]

Ints = NDArray[np.int64]
_OPEN = 1


class LoopRecords(NamedTuple):
    """Everything that a loop recorded in `[start, until)`, what was in flight at the end too."""

    outcomes: Outcomes
    attempts: Attempts
    changes: Changes
    start: int
    until: int


def describe_loop(
    config: InferenceConfig, records: LoopRecords, statistics: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Return the serving numbers of one loop, as plain values for JSON.

    Args:
        config: The loop's configuration.
        records: What it recorded.
        statistics: `InferenceLoop.statistics` at the end of the run.
    """
    outcomes = records.outcomes
    done = completed(outcomes.outcome)
    ended = chosen(outcomes, done)
    hits = int((ended.source >= 0).sum())
    return {
        "requests": {
            "asked": len(outcomes.number),
            "answered": int(done.sum()),
            "cache_hits": hits,
            "hit_rate": _share(hits, len(outcomes.number)) if config.cache else None,
            "fallbacks": int((ended.fallback == 1).sum()),
            "reasons": _counts(outcomes.reason, Reason, skip=(Reason.NONE,)),
        },
        "attempts": len(records.attempts.number),
        "legs_ms": {leg: _spread(ns) for leg, ns in legs_of(ended).items()},
        "deployments": {
            name or "default": _deployment(config, records, index, name, statistics)
            for index, name in enumerate(config.deployments)
        },
        "remarks": list(config.remarks),
    }


def _deployment(
    config: InferenceConfig,
    records: LoopRecords,
    index: int,
    name: str,
    statistics: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    deployment = config.deployments[name]
    mine = records.attempts.variant == index
    attempts = chosen(records.attempts, mine)
    ran = executions_of(attempts, records.until)
    counted = statistics[name]
    utilisation = _share(counted["busy_ns"], counted["slot_ns"])
    done = completed(attempts.outcome)
    latency = (attempts.visible_at - attempts.sent_at)[done]
    served = int((attempts.completed_at != MISSING)[attempts.started_at != MISSING].sum())
    turned_away = _never_served(records, attempts, alone=len(config.deployments) == 1)
    ended = int((attempts.outcome != Outcome.IN_FLIGHT).sum())
    return {
        "attempts": {
            **_counts(attempts.outcome, Outcome),
            "late": int((attempts.reason == Reason.LATE).sum()),
        },
        "error_rate": _share(ended - int(done.sum()), ended),
        "latency_ms": _spread(latency),
        "utilisation": utilisation,
        "offered_load": _offered(utilisation, served, turned_away),
        "replicas": _replicas(deployment, records, index, counted),
        "breaker": _breaker(records, index) if deployment.circuit_breaker else None,
        "metrics": _metrics(attempts, ran, records, index, counted),
    }


def _never_served(records: LoopRecords, attempts: Attempts, *, alone: bool) -> int:
    """Return how many wanted an execution and found none in the run.

    Requests that gave up their place to newer ones belong to a deployment only where it is alone.
    """
    unserved = int((attempts.started_at == MISSING).sum())
    if alone:
        unserved += int((records.outcomes.outcome == Outcome.REPLACED).sum())
    return unserved


def _offered(utilisation: float | None, served: int, turned_away: int) -> float | None:
    """Return the load had every request been served, as the served ones were; above 1: too much."""
    if utilisation is None or not served:
        return utilisation
    return _rounded(utilisation * (served + turned_away) / served)


def _replicas(
    deployment: Any, records: LoopRecords, index: int, counted: Mapping[str, int]
) -> dict[str, Any]:
    elapsed = records.until - records.start
    return {
        "start": deployment.start_replicas,
        "limit": deployment.most_replicas,
        "mean": _share(counted["replica_ns"], elapsed),
    }


def _breaker(records: LoopRecords, index: int) -> dict[str, Any]:
    changes = records.changes
    mine = (changes.variant == index) & (changes.kind == ChangeKind.BREAKER)
    at, state = changes.changed_at[mine], changes.value[mine]
    spans = np.diff(np.append(at, records.until))
    return {
        "opened": int((state == _OPEN).sum()),
        "open_share": _share(int(spans[state == _OPEN].sum()), records.until - records.start),
    }


def _metrics(
    attempts: Attempts,
    ran: Executions,
    records: LoopRecords,
    index: int,
    counted: Mapping[str, int],
) -> dict[str, Any]:
    """Return what Ray Serve would report, under its names.

    A batch's wait is until its start, waiting for a slot included.
    """
    routed = attempts.routed_at != MISSING
    finished = attempts.completed_at != MISSING
    first = _first_batched(attempts, ran)
    target = _last_target(records.changes, index)
    edges = np.array([records.start, records.until])
    arrived = attempts.arrived_at != MISSING
    queued = _stays(attempts, arrived, attempts.arrived_at, attempts.routed_at, records.until)
    ongoing = _stays(attempts, routed, attempts.routed_at, attempts.completed_at, records.until)
    mean_ongoing = float(mean_number(*ongoing, edges)[0]) * int(edges[1] - edges[0])
    replica_ns = counted["replica_ns"]
    return {
        "serve_deployment_processing_latency_ms": _spread(
            (attempts.completed_at - attempts.routed_at)[routed & finished]
        ),
        "serve_deployment_queued_queries": _level(queued, edges),
        "serve_replica_processing_queries": {
            "mean": _rounded(mean_ongoing / replica_ns) if replica_ns else None,
            "max": _most_on_a_replica(attempts.replica[routed], ongoing),
        },
        "serve_request_router_fulfillment_time_ms": _spread(
            (attempts.routed_at - attempts.arrived_at)[routed]
        ),
        "serve_batch_wait_time_ms": _spread(ran.started_at - first),
        "serve_batch_execution_time_ms": _spread(ran.completed_at - ran.started_at),
        "serve_actual_batch_size": {
            "mean": _rounded(float(ran.size.mean())) if len(ran.size) else None,
            "max": int(ran.size.max(initial=0)),
        },
        "serve_autoscaling_target_replicas": target,
    }


def _first_batched(attempts: Attempts, ran: Executions) -> Ints:
    """Return when the first member of each execution was taken into its batch."""
    first = np.full(len(ran.execution), np.iinfo(np.int64).max)
    place = {execution: i for i, execution in enumerate(ran.execution.tolist())}
    members = np.flatnonzero(attempts.started_at != MISSING)
    at = np.array([place[e] for e in attempts.execution[members].tolist()], np.int64)
    np.minimum.at(first, at, attempts.batched_at[members])
    return first


def _stays(
    attempts: Attempts, which: NDArray[np.bool_], begins: Ints, ends: Ints, until: int
) -> tuple[Ints, Ints]:
    """Return when each of some attempts entered a place and when it left it."""
    for later in (attempts.completed_at, attempts.ended_at):
        ends = np.where(ends == MISSING, later, ends)
    ends = np.minimum(np.where(ends == MISSING, until, ends), until)
    return begins[which], np.maximum(ends, begins)[which]


def _level(stays: tuple[Ints, Ints], edges: Ints) -> dict[str, Any]:
    return {"mean": _rounded(float(mean_number(*stays, edges)[0])), "max": most_at_once(*stays)}


def _most_on_a_replica(replica: Ints, stays: tuple[Ints, Ints]) -> int:
    begins, ends = stays
    return max(
        (most_at_once(begins[replica == r], ends[replica == r]) for r in np.unique(replica)),
        default=0,
    )


def _last_target(changes: Changes, index: int) -> int | None:
    targets = changes.value[(changes.variant == index) & (changes.kind == ChangeKind.TARGET)]
    return int(targets[-1]) if len(targets) else None


def _counts(codes: Ints, names: Any, skip: tuple[int, ...] = ()) -> dict[str, int]:
    counts = np.bincount(codes, minlength=len(names))
    return {
        kind.name.lower(): int(counts[kind]) for kind in names if kind not in skip and counts[kind]
    }


def _spread(durations_ns: Ints) -> dict[str, float | None]:
    """Return the mean and quantiles of durations in ms; None where there are none."""
    if not len(durations_ns):
        return {"mean": None, "p50": None, "p95": None, "p99": None}
    points = np.quantile(durations_ns, [0.5, 0.95, 0.99])
    named = zip(("mean", "p50", "p95", "p99"), (durations_ns.mean(), *points), strict=True)
    return {name: _rounded(float(value) / 1e6) for name, value in named}


def _share(part: int | float, whole: int | float) -> float | None:
    return _rounded(part / whole) if whole > 0 else None


def _rounded(value: float) -> float:
    return round(value, 6)
