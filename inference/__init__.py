"""Feature rows in, predictions out, later: the loop, its deployment, models and their registry.

Names load when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "FeatureMismatchError": "inference.errors",
    "InferenceConfig": "inference.config",
    "InferenceLoop": "inference.loop",
    "ModelFailedError": "inference.errors",
    "ModelNotFoundError": "inference.errors",
    "ModelSpec": "inference.models",
    "Outcome": "inference.schedule",
    "Outcomes": "inference.schedule",
    "Predictor": "inference.predictors.base",
    "PredictorError": "inference.errors",
    "Registry": "inference.registry",
    "Rows": "inference.rows",
    "TrainingRecord": "inference.predictors.base",
    "load_model": "inference.models",
    "load_predictor": "inference.predictors.base",
    "model_specs": "inference.models",
    "probabilities_of": "inference.predictors.base",
    "train_xgboost": "inference.training",
}

__all__ = [
    "FeatureMismatchError",
    "InferenceConfig",
    "InferenceLoop",
    "ModelFailedError",
    "ModelNotFoundError",
    "ModelSpec",
    "Outcome",
    "Outcomes",
    "Predictor",
    "PredictorError",
    "Registry",
    "Rows",
    "TrainingRecord",
    "load_model",
    "load_predictor",
    "model_specs",
    "probabilities_of",
    "train_xgboost",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'inference' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
