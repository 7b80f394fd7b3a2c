"""The simulated deployment under the arrivals that the real one had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.config import InferenceConfig
from inference.loop import InferenceLoop
from inference.measure.log import Log
from inference.predictors.base import TrainingRecord
from inference.rows import Rows

__all__ = ["simulate"]

REST_NS = 3_600_000_000_000
"""What is under way after the last arrival gets an hour: it is a load that ends."""

_CLIENT = {"features", "timeout", "retry", "cache", "variants", "routing", "circuit_breaker"}
"""What a loop does on its own side of the deployment: the load generators do none of it."""


class _NoAnswer:
    """A model that is not asked for its opinion: its answers are zeros."""

    accepts_nan = True
    batch_invariant = True
    digest = "none"
    version = ""
    training: TrainingRecord | None = None
    feature_names = ("request",)

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return zeros, shape (n,)."""
        return np.zeros(len(values))


def simulate(
    config: InferenceConfig,
    at: NDArray[np.int64],
    *,
    seed: int,
    base: Path | None = None,
    start: int = 0,
) -> Log:
    """Return what the simulated deployment makes of requests at given instants, by number.

    Each is sent at its instant, whatever the answers do.

    Args:
        config: The loop; of it, the deployment.
        at: When each request is due, ns from the start, never falling.
        seed: Of all draws.
        base: Folder at which relative paths of recorded latencies start.
        start: Instant of the load's start.
    """
    count = len(at)
    loop = InferenceLoop(
        _open_loop(config, count),
        _NoAnswer(),
        start=start,
        column_names=_NoAnswer.feature_names,
        seed=seed,
        name="measure",
        base=base,
    )
    until = start + int(at[-1]) + REST_NS
    found = loop.push(_rows(start + at), until).outcomes
    log = Log(
        number=found.number,
        query=np.zeros(len(found.number), np.int64),
        scheduled_at=found.submitted_at,
        submitted_at=found.submitted_at,
        sent_at=found.sent_at,
        started_at=found.started_at,
        completed_at=found.completed_at,
        received_at=found.visible_at,
        outcome=found.outcome,
        reason=found.reason,
        batch_size=found.batch_size,
        replica=np.array([str(replica) for replica in found.replica], object),
        value=found.value,
    )
    return log.take(np.argsort(log.number, kind="stable"))


def _open_loop(config: InferenceConfig, requests: int) -> InferenceConfig:
    given = config.model_dump(mode="json", exclude=_CLIENT)
    given |= {"polling": "on_feature", "max_in_flight": requests, "on_new": "queue"}
    return InferenceConfig.model_validate(given)


def _rows(at: NDArray[np.int64]) -> Rows:
    zeros = np.zeros(len(at), np.int64)
    tie = np.arange(len(at), dtype=np.int64)  # names a request where several share an instant
    values = tie.astype(np.float64).reshape(-1, 1)
    rows = Rows(at, at, at, tie, zeros, values)
    for column in rows:
        column.flags.writeable = False
    return rows
