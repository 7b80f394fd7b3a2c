"""SleepingPredictor: a model that does nothing, for a time that is known.

What it is for: a deployment whose service time is not an estimate. What it is not: a model. Each
measurement made with it says so.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from clock.latency import LatencyModel
from clock.sampler import Sampler
from clock.units import Duration
from clock.wall import WallClock
from inference.errors import PredictorError
from inference.predictors.base import TrainingRecord

__all__ = ["SLEEPING", "SleepSpec", "SleepingPredictor", "sleeping_rows", "write_sleeping"]

SLEEPING = "inference.measure.sleeping.SleepingPredictor"
"""Its `predictor_class_name`."""

FILE = "sleeping.json"


class SleepSpec(BaseModel):
    """How long it sleeps: a draw for the batch, and a fixed time for each further row of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: LatencyModel
    per_item: Duration = 0
    seed: int = 0


class SleepingPredictor:
    """Sleeps, then answers how long it meant to sleep, in nanoseconds.

    A row is told apart by its only feature, a whole number: the same row sleeps the same time,
    whoever asks and in whatever order.
    """

    accepts_nan = False
    batch_invariant = True
    feature_names = ("request",)
    training: TrainingRecord | None = None

    def __init__(self, spec: SleepSpec, *, digest: str = "", version: str = "") -> None:
        self.spec, self.digest, self.version = spec, digest, version
        self._sampler = Sampler(spec.time, spec.seed, "sleeping")

    @classmethod
    def load(cls, path: Path, version: str = "") -> SleepingPredictor:
        """Load what `write_sleeping` wrote, a folder or its file.

        Raises:
            PredictorError: If it is something else.
        """
        file = path / FILE if path.is_dir() else path
        try:
            content = file.read_bytes()
            spec = SleepSpec.model_validate(json.loads(content))
        except (OSError, ValueError, ValidationError) as error:
            first = str(error).strip().splitlines()[0]
            raise PredictorError(f"{file} must describe a sleeping model: {first}.") from None
        return cls(spec, digest=hashlib.sha256(content).hexdigest(), version=version)

    def planned(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how long each row alone sleeps, ns, for values of shape (n, 1)."""
        return self._sampler.draw_many(0, values[:, 0].astype(np.int64))

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sleep for the first row, and `per_item` for each further one; return the plans."""
        planned = self.planned(values)
        if len(planned):
            clock = WallClock()
            extra = self.spec.per_item * (len(planned) - 1)
            clock.run_until(clock.now + int(planned[0]) + extra)
        return planned.astype(np.float64)


def write_sleeping(spec: SleepSpec, folder: Path) -> Path:
    """Write the artifact of a sleeping model, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = spec.model_dump(mode="json")
    (folder / FILE).write_text(json.dumps(content, indent=1) + "\n")
    return folder


def sleeping_rows(count: int) -> NDArray[np.float64]:
    """Return so many rows, each with a time of its own, shape (count, 1)."""
    return np.arange(count, dtype=np.float64).reshape(-1, 1)
