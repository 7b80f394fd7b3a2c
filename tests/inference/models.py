"""Small fitted models of several libraries, and the files they are saved in."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skops.io
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NAMES = ["mid", "imbalance", "flow"]


def samples(rows: int = 300, seed: int = 3) -> tuple[Any, Any]:
    values = np.random.default_rng(seed).normal(size=(rows, 3))
    return values, values[:, 0] * 2 + np.tanh(values[:, 1])


def fitted(kind: str) -> Any:
    values, labels = samples()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations that end early
        if kind == "ridge":
            return Ridge().fit(values, labels)
        if kind == "network":
            network = MLPRegressor(hidden_layer_sizes=(16, 8), max_iter=40, random_state=0)
            return make_pipeline(StandardScaler(), network).fit(values, labels)
        if kind == "wide network":
            wide = MLPRegressor(hidden_layer_sizes=(128, 64), max_iter=60, random_state=0)
            return wide.fit(values, labels)
        if kind == "two classes":
            return LogisticRegression().fit(values, labels > 0)
        if kind == "three classes":
            names = np.array(["down", "flat", "up"])
            return LogisticRegression().fit(values, names[np.digitize(labels, [-1, 1])])
    raise ValueError(kind)


def save_onnx(model: Any, file: Path, **options: Any) -> Path:
    from skl2onnx import to_onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = to_onnx(model, samples()[0][:1].astype(np.float32), options=options or None)
    file.write_bytes(made.SerializeToString())
    return file


def save_skops(model: Any, file: Path) -> Path:
    skops.io.dump(model, file)
    return file


def save_joblib(model: Any, file: Path) -> Path:
    joblib.dump(model, file)
    return file


SAVERS: dict[str, Callable[[Any, Path], Path]] = {
    "model.onnx": save_onnx,
    "model.skops": save_skops,
    "model.joblib": save_joblib,
}


feature_names = NAMES


def weighted(values: Any, weight: float = 2.0) -> Any:
    """Say the first column times a weight: a predictor of a user's own."""
    return values[:, 0] * weight


class Offset:
    """A class of a user's own that reads its artifact."""

    feature_names = ("a", "b")

    def __init__(self, path: Path, scale: float = 1.0) -> None:
        self.offset, self.scale = float(path.read_text()), scale

    def predict(self, values: Any) -> Any:
        return values.sum(axis=1) * self.scale + self.offset


def by_shape(values: Any) -> Any:
    """Say something else to a row alone."""
    return values[:, 0] + len(values) * 1e-9


def two_columns(values: Any) -> Any:
    return values[:, :2]


def failing(values: Any) -> Any:
    raise ZeroDivisionError("no model")
