"""A model that does on request what models do by accident; it is real to Ray in every respect."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError

SUM, RAISE, NAN, SHAPE, SLEEP, PID, EXIT, WHERE = range(8)
"""What the first value of a row asks for; the second is its argument."""


def write_model(path: Path, weight: float = 1.0) -> str:
    """Write a model that multiplies by a weight, and return its URI."""
    path.write_text(json.dumps({"weight": weight}))
    return str(path)


class Moody:
    """Answers `weight * argument`, or misbehaves."""

    feature_names = ("mood", "argument")
    batch_invariant = True
    accepts_nan = False
    training = None

    def __init__(self, weight: float, digest: str, version: str) -> None:
        self.weight, self.digest, self.version = weight, digest, version

    @classmethod
    def load(cls, path: Path, version: str = "") -> Moody:
        content = path.read_bytes()
        try:
            weight = float(json.loads(content)["weight"])
        except (ValueError, KeyError) as error:
            raise PredictorError(f"{path} must hold a weight: got {error!r}.") from None
        return cls(weight, hashlib.sha256(content).hexdigest(), version)

    def predict(self, values: NDArray[np.float64]) -> Any:
        found = self.weight * values[:, 1]
        for place, (mood, argument) in enumerate(values.tolist()):
            if mood == RAISE:
                raise RuntimeError("not today")
            if mood == NAN:
                found[place] = np.nan
            if mood == SHAPE:
                return np.zeros((len(values), 2))
            if mood == SLEEP:
                time.sleep(argument)
            if mood == PID:
                found[place] = os.getpid()
            if mood == WHERE:  # the only processor that it may run on, or minus their number
                found[place] = _where()
            if mood == EXIT:
                os._exit(1)
        return found


def _where() -> int:
    allowed = os.sched_getaffinity(0)
    return allowed.pop() if len(allowed) == 1 else -len(allowed)
