"""Models behind one interface: rows of features in, one value a row out."""

from __future__ import annotations

from inference.predictors.base import (
    HasProbabilities,
    Predictor,
    TrainingRecord,
    check_features,
    load_predictor,
    probabilities_of,
)

__all__ = [
    "HasProbabilities",
    "Predictor",
    "TrainingRecord",
    "check_features",
    "load_predictor",
    "probabilities_of",
]
