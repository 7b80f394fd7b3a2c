"""CrossSectionPredictor: an XGBoost model that is asked about many rows in one request.

As one is that ranks a universe of instruments at each step: the model's work is milliseconds, not
microseconds, and all of it is XGBoost's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.predictors.base import TrainingRecord
from inference.predictors.xgboost import XGBoostPredictor

__all__ = ["CROSS_SECTION", "CrossSectionPredictor", "cross_sections", "write_cross_section"]

CROSS_SECTION = "inference.measure.cross_section.CrossSectionPredictor"
"""Its `predictor_class_name`."""

FILE = "cross_section.json"
MODEL = "model.ubj"

Floats = NDArray[np.float64]


class CrossSectionPredictor:
    """Asks its model about all rows of a request, and answers with the mean of what it says.

    The features of a request are those of its rows, one row after the other: `a@0, b@0, a@1, b@1`.
    """

    training: TrainingRecord | None = None

    def __init__(self, model: XGBoostPredictor, rows: int, *, version: str = "") -> None:
        self.model, self.rows, self.version = model, rows, version
        self.feature_names = tuple(
            f"{name}@{row}" for row in range(rows) for name in model.feature_names
        )
        self.batch_invariant = model.batch_invariant
        self.accepts_nan = model.accepts_nan
        self.digest = hashlib.sha256(f"{model.digest} {rows}".encode()).hexdigest()

    @classmethod
    def load(cls, path: Path, version: str = "") -> CrossSectionPredictor:
        """Load what `write_cross_section` wrote.

        Raises:
            PredictorError: If it is something else.
        """
        try:
            rows = int(json.loads((path / FILE).read_text())["rows"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PredictorError(f"{path / FILE} must hold the number of `rows`: {error}") from None
        return cls(XGBoostPredictor.load(path / MODEL), rows, version=version)

    def predict(self, values: Floats) -> Floats:
        """Return one value a request, shape (n,), for features of shape (n, rows * width)."""
        each = self.model.predict(values.reshape(len(values) * self.rows, -1))
        means: Floats = each.reshape(len(values), self.rows).mean(axis=1)
        return means


def write_cross_section(booster: Any, rows: int, folder: Path) -> Path:
    """Write the artifact of a booster that is asked about so many rows at once; return its folder.

    Args:
        booster: An `xgboost.Booster` with feature names.
        rows: Rows of a request.
        folder: Made, if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    booster.save_model(folder / MODEL)
    (folder / FILE).write_text(json.dumps({"rows": rows}) + "\n")
    return folder


def cross_sections(values: Floats, rows: int, requests: Sequence[int]) -> Floats:
    """Return requests, shape (n, rows * width): each the rows from one of *requests* on.

    Rows go on from the top where they end.
    """
    places = (np.asarray(requests)[:, None] + np.arange(rows)) % len(values)
    return values[places].reshape(len(places), -1)
