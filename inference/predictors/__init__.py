"""Models behind one interface: rows of features in, one value a row out."""

from __future__ import annotations

from inference.predictors.base import Predictor, TrainingRecord, check_features, load_predictor

__all__ = ["Predictor", "TrainingRecord", "check_features", "load_predictor"]
