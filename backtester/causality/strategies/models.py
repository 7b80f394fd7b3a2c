"""A model of drawn scenarios: weights in a JSON file, exact in any batch, or not on purpose."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.predictors.base import TrainingRecord

__all__ = ["LinearPredictor", "linear_models"]


class LinearPredictor:
    """A weighted sum of the columns that its file names.

    With `batch_invariant: false` the size of the batch shows in the last bits, as it does with
    models that sum in another order: a run must then ask in exactly the batches that were served.
    """

    def __init__(self, content: dict[str, Any], digest: str, version: str) -> None:
        self.feature_names: tuple[str, ...] = tuple(content["features"])
        self.weights: tuple[float, ...] = tuple(content["weights"])
        self.batch_invariant: bool = content["batch_invariant"]
        self.accepts_nan: bool = content["accepts_nan"]
        self.digest, self.version = digest, version
        self.training: TrainingRecord | None = TrainingRecord(0, 1, 1, "")

    @classmethod
    def load(cls, path: Path, version: str) -> LinearPredictor:
        """Read the JSON file."""
        data = path.read_bytes()
        return cls(json.loads(data), hashlib.sha256(data).hexdigest(), version)

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row. Shape (n,)."""
        total = np.zeros(len(values))
        for weight, column in zip(self.weights, values.T, strict=True):
            total += weight * column  # element by element: the same bits in any batch
        if not self.batch_invariant:
            total += len(values) * 2.0**-40
        return total


@st.composite
def linear_models(draw: st.DrawFn, columns: tuple[str, ...]) -> dict[str, Any]:
    """Draw the content of a model's file for some columns."""
    weights = st.sampled_from([1.0, -0.5, 0.001, 2.0])
    return {
        "features": list(columns),
        "weights": [draw(weights) for _ in columns],
        "batch_invariant": draw(st.sampled_from([True, True, False])),
        "accepts_nan": draw(st.booleans()),
    }
