"""What a run recorded of its serving: requests, attempts and changes, as frames and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from inference.schedule import (
    NO_ATTEMPTS,
    NO_CHANGES,
    NOTHING,
    Attempts,
    ChangeKind,
    Changes,
    Outcome,
    Reason,
    ReplicaState,
)
from inference.serving.explain import joined, legs_of
from inference.serving.numbers import LoopRecords, describe_loop

if TYPE_CHECKING:
    from backtester.run import Run

__all__ = [
    "ATTEMPT_STAMPS",
    "attempts_frame",
    "changes_frame",
    "leg_columns",
    "loop_records",
    "named",
    "serving_numbers",
    "variant_names",
]

ATTEMPT_STAMPS = (
    "sent_at",
    "arrived_at",
    "routed_at",
    "batched_at",
    "started_at",
    "completed_at",
    "visible_at",
    "ended_at",
)
_BREAKER = ("closed", "open", "half_open")


def loop_records(run: Run, index: int) -> LoopRecords:
    """Return what a loop recorded in a run that has come to its end."""
    return LoopRecords(
        joined([NOTHING.outcomes, *run.outcomes[index]]),
        joined([NO_ATTEMPTS, *run.planes.attempts[index]]),
        joined([NO_CHANGES, *run.planes.changes[index]]),
        run.start,
        run.until,
    )


def serving_numbers(run: Run, records: Sequence[LoopRecords]) -> dict[str, Any]:
    """Return `summary["serving"]`: the numbers of each loop, by its name."""
    return {
        loop.name: describe_loop(loop.config, kept, loop.statistics(run.until))
        for loop, kept in zip(run.planes.loops, records, strict=True)
    }


def variant_names(config: Any) -> np.ndarray:
    """Return the names of a loop's variants by index, and '' last, which index -1 picks."""
    return np.array([*config.deployments, ""])


def named(kinds: Any, codes: np.ndarray) -> pl.Series:
    """Return the members of an enumeration as words."""
    words = np.array([kind.name.lower() for kind in kinds])
    return pl.Series(words[codes].tolist(), dtype=pl.String)


def leg_columns(requests: Any) -> dict[str, pl.Series]:
    """Return the legs of each request, `wait_ns` to `reply_ns`; null while it is in flight."""
    flying = requests.outcome == Outcome.IN_FLIGHT
    columns = {}
    for leg, durations in legs_of(requests).items():
        kept = pl.Series(np.where(flying, 0, durations))
        columns[f"{leg}_ns"] = kept.set(pl.Series(flying), None)
    return columns


def attempts_frame(run: Run, records: Sequence[LoopRecords]) -> pl.DataFrame:
    """Return one row an attempt, by loop, request and attempt, with its stamps in ns."""
    frames = [_attempts("", NO_ATTEMPTS, np.array([""]))]
    for loop, kept in zip(run.planes.loops, records, strict=True):
        frames.append(_attempts(loop.name, kept.attempts, variant_names(loop.config)))
    return pl.concat(frames)


def _attempts(loop: str, attempts: Attempts, variants: np.ndarray) -> pl.DataFrame:
    size = len(attempts.number)
    return pl.DataFrame(
        {
            "loop": pl.Series([loop] * size, dtype=pl.String),
            "number": attempts.number,
            "attempt": attempts.attempt,
            "variant": pl.Series(variants[attempts.variant].tolist(), dtype=pl.String),
            "replica": attempts.replica,
            **{name: getattr(attempts, name) for name in ATTEMPT_STAMPS},
            "execution": attempts.execution,
            "batch_size": attempts.batch_size,
            "outcome": named(Outcome, attempts.outcome),
            "reason": named(Reason, attempts.reason),
            "fallback": attempts.fallback.astype(bool),
        }
    ).sort("number", "attempt")


def changes_frame(run: Run, records: Sequence[LoopRecords]) -> pl.DataFrame:
    """Return one row a change of a replica, of an autoscaler's target or of a breaker."""
    frames = [_changes("", NO_CHANGES, np.array([""]))]
    for loop, kept in zip(run.planes.loops, records, strict=True):
        frames.append(_changes(loop.name, kept.changes, variant_names(loop.config)))
    return pl.concat(frames)


def _changes(loop: str, changes: Changes, variants: np.ndarray) -> pl.DataFrame:
    size = len(changes.changed_at)
    replica = changes.kind == ChangeKind.REPLICA
    breaker = changes.kind == ChangeKind.BREAKER
    states = [state.name.lower() for state in ReplicaState]
    words = [
        states[value] if is_replica else _BREAKER[value] if is_breaker else str(value)
        for value, is_replica, is_breaker in zip(
            changes.value.tolist(), replica.tolist(), breaker.tolist(), strict=True
        )
    ]
    return pl.DataFrame(
        {
            "loop": pl.Series([loop] * size, dtype=pl.String),
            "changed_at": changes.changed_at,
            "variant": pl.Series(variants[changes.variant].tolist(), dtype=pl.String),
            "kind": named(ChangeKind, changes.kind),
            "replica": np.where(replica, changes.subject, -1),
            "value": pl.Series(words, dtype=pl.String),
        }
    )
