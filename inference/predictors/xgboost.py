"""XGBoostPredictor: a gradient-boosted model, one thread, one row or thousands."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.predictors.base import TrainingRecord

CARD = "lightcone.json"
"""Beside the model: what it was trained on, and rows to probe it with."""

_SUFFIXES = (".ubj", ".json", ".deprecated", ".xgb", ".bst")


class XGBoostPredictor:
    """A Booster behind the Predictor interface.

    Values are single precision inside XGBoost and returned as float64. One thread: the answer does
    not depend on the count, and a row alone would only wait for the others.
    """

    accepts_nan = False

    def __init__(
        self,
        booster: Any,
        *,
        digest: str = "",
        version: str = "",
        training: TrainingRecord | None = None,
        probe: NDArray[np.float64] | None = None,
    ) -> None:
        """Take a trained Booster.

        Args:
            booster: An `xgboost.Booster` with feature names and one output.
            digest: Digest of its content.
            version: What the registry calls it.
            training: What it was trained on.
            probe: Rows like those it will see, shape (n, n_features), to measure whether batches
                change bits; made up where there are none.

        Raises:
            PredictorError: If it has no feature names, or another number of outputs than one.
        """
        if not booster.feature_names:
            raise PredictorError(
                "an XGBoost model must hold its feature names: got none. Train it on a DMatrix "
                "with `feature_names`, or with `lightcone train`."
            )
        booster.set_param({"nthread": 1})
        self.booster = booster
        self.feature_names = tuple(booster.feature_names)
        self.digest, self.version, self.training = digest, version, training
        rows = _made_up(len(self.feature_names)) if probe is None else probe
        self.batch_invariant = self._measure(rows)

    @classmethod
    def load(cls, path: Path, version: str = "") -> XGBoostPredictor:
        """Load a model file, or a folder that MLflow or `lightcone train` wrote.

        Raises:
            PredictorError: If there is no XGBoost model in it, or a broken one.
        """
        import xgboost

        file = _model_file(path)
        content = file.read_bytes()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # models of older versions load, with a remark
                booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(content))
        except xgboost.core.XGBoostError as error:
            first = str(error).strip().splitlines()[0]
            raise PredictorError(
                f"{file} must be an XGBoost model: got a file it cannot read ({first})."
            ) from None
        training, probe = _read_card(file.parent / CARD, booster.num_features())
        digest = hashlib.sha256(content).hexdigest()
        return cls(booster, digest=digest, version=version, training=training, probe=probe)

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        # a quarter faster alone than through a DMatrix, and no slower in thousands
        found = self.booster.inplace_predict(values, validate_features=False)
        return np.asarray(found, np.float64)

    def _measure(self, rows: NDArray[np.float64]) -> bool:
        whole = self.predict(rows)
        if whole.shape != (len(rows),):
            raise PredictorError(
                f"an XGBoost model must have one output: got {whole.shape[1:]} for each row."
            )
        for size in (1, 7):
            parts = [self.predict(rows[i : i + size]) for i in range(0, len(rows), size)]
            if np.concatenate(parts).tobytes() != whole.tobytes():
                return False
        return True


def card_text(training: TrainingRecord, values: NDArray[np.float64]) -> str:
    """Return what lies beside a model: its training record, and some rows it was trained on."""
    places = np.linspace(0, len(values) - 1, min(len(values), 48)).astype(np.int64)
    card = {"training": training._asdict(), "probe": values[places].tolist()}
    return json.dumps(card, indent=1) + "\n"


def _read_card(path: Path, features: int) -> tuple[TrainingRecord | None, Any]:
    if not path.exists():
        return None, None
    try:
        card = json.loads(path.read_text())
        training = TrainingRecord(**card["training"])
        probe = np.array(card["probe"], np.float64).reshape(-1, features)
    except (ValueError, KeyError, TypeError) as error:
        raise PredictorError(
            f"{path} must be what `lightcone train` wrote: got {error!r}."
        ) from None
    return training, probe if len(probe) else None


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    description = path / "MLmodel"
    if description.exists():
        import yaml

        flavors = (yaml.safe_load(description.read_text()) or {}).get("flavors", {})
        if "xgboost" not in flavors:
            raise PredictorError(
                f"{description} must describe an XGBoost model: got flavors {sorted(flavors)}."
            )
        return path / str(flavors["xgboost"]["data"])
    files = [file for file in sorted(path.glob("model.*")) if file.suffix in _SUFFIXES]
    if not files:
        raise PredictorError(f"{path} must hold an XGBoost model: got no model file in it.")
    return files[0]


def _made_up(features: int) -> NDArray[np.float64]:
    """Return rows of many magnitudes, always the same ones."""
    steps = np.arange(48.0 * features).reshape(-1, features)
    spread = (steps * 0.6180339887498949) % 1.0 - 0.5
    return spread * 10.0 ** (steps % 11 - 4)
