"""A model that needs no training: the sum of its features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from inference.predictors.base import TrainingRecord


class Total:
    """Adds up its features; the file names them."""

    batch_invariant = True
    accepts_nan = False
    digest = "total"
    training = TrainingRecord(start=0, until=1, last_label_visible_at=1, data_digest="")

    def __init__(self, feature_names: tuple[str, ...], version: str) -> None:
        self.feature_names = feature_names
        self.version = version

    @classmethod
    def load(cls, path: Path, version: str) -> Total:
        return cls(tuple(json.loads(path.read_text())), version)

    def predict(self, values: Any) -> Any:
        return np.asarray(values, np.float64).sum(axis=1)
