"""XGBoostPredictor: a gradient-boosted model, one thread, one row or thousands."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.predictors import tree_walk
from inference.predictors.artifact import existing, flavor_of, one_file, unreadable
from inference.predictors.base import TrainingRecord
from inference.predictors.card import CARD, Facts, card_text, made_up_rows, read_card
from inference.predictors.invariance import asked
from inference.predictors.loaded import LoadedPredictor, choose_column
from inference.predictors.tree_walk import Forest
from inference.predictors.ubjson import fault_in_ubjson

__all__ = ["CARD", "XGBoostPredictor", "card_text"]

_NAMES = ["model.ubj", "model.json", "model.deprecated", "model.xgb", "model.bst"]
_A_MODEL = "an XGBoost model"

WALK_STEPS = 80_000
"""Splits that rows may pass before a call of XGBoost is as fast; see `benchmarks/predictors.py`."""


class XGBoostPredictor(LoadedPredictor):
    """A Booster behind the Predictor interface.

    Values are single precision inside XGBoost and returned as float64. One thread: the answer does
    not depend on the count, and a row alone would only wait for the others. A few rows take the
    compiled walk of `tree_walk`, where it has shown the same bits; more rows take XGBoost.
    """

    packages = ("xgboost",)

    def __init__(
        self,
        booster: Any,
        *,
        digest: str = "",
        version: str = "",
        training: TrainingRecord | None = None,
        probe: NDArray[np.float64] | None = None,
        output: int | str | None = None,
        accepts_nan: bool = False,
        fast_rows: bool = True,
    ) -> None:
        """Take a trained Booster.

        Args:
            booster: An `xgboost.Booster` with feature names.
            digest: Digest of its content.
            version: What the registry calls it.
            training: What it was trained on.
            probe: Rows like those it will see, shape (n, n_features), to measure whether batches
                change bits; made up where there are none.
            output: Which of several outputs is the value, by position.
            accepts_nan: Whether rows with missing values are asked, as XGBoost can.
            fast_rows: Whether few rows may take the compiled walk.

        Raises:
            PredictorError: If it has no feature names, or several outputs and none is chosen.
        """
        if not booster.feature_names:
            raise PredictorError(
                "an XGBoost model must hold its feature names: got none. Train it on a DMatrix "
                "with `feature_names`, or with `lightcone train`."
            )
        booster.set_param({"nthread": 1})
        facts = Facts(digest, version, training, probe)
        super().__init__(booster.feature_names, facts, accepts_nan=accepts_nan)
        self.booster = booster
        self._in_place = _predicts_in_place(booster)
        told = json.loads(booster.save_config())
        self._objective = str(told["learner"]["objective"]["name"])
        rows = made_up_rows(len(self.feature_names)) if probe is None else probe
        columns = self._library(rows[:1]).size
        self._column: int | None = None
        if columns > 1 or output is not None:
            self._column = choose_column(output, columns, None, _A_MODEL)
        self._forest = _walk_of(booster, rows) if fast_rows and columns == 1 else None
        self.fast_rows = 0 if self._forest is None else fast_rows_of(self._forest)
        params = {"output": output, "accepts_nan": accepts_nan, "fast": self.fast_rows}
        self.measure(facts, params, self._on_threads)

    @classmethod
    def load(
        cls,
        path: Path,
        version: str = "",
        *,
        output: int | str | None = None,
        accepts_nan: bool = False,
        fast_rows: bool = True,
    ) -> XGBoostPredictor:
        """Load a model file, or a folder that MLflow or `lightcone train` wrote.

        Raises:
            PredictorError: If there is no XGBoost model in it, or a broken one.
        """
        import xgboost

        flavor = flavor_of(path, "xgboost", _A_MODEL)
        if flavor is None:
            file = one_file(path, _NAMES, _A_MODEL)
        else:
            file = existing(path / str(flavor.get("data", "")), _A_MODEL)
        content = file.read_bytes()
        _refuse_cut_short(file, content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # models of older versions load, with a remark
                booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(content))
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise unreadable(file, _A_MODEL, error) from None
        facts = read_card(file, hashlib.sha256(content).hexdigest(), version)
        return cls(
            booster,
            digest=facts.digest,
            version=version,
            training=facts.training,
            probe=facts.probe,
            output=output,
            accepts_nan=accepts_nan,
            fast_rows=fast_rows,
        )

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        if len(values) <= self.fast_rows and self._forest is not None:
            return self._forest.predict(values)
        found = self._library(values)
        return found if self._column is None else found.reshape(len(values), -1)[:, self._column]

    def probabilities(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the classes' probabilities, shape (n, n_classes), for objectives that give them.

        Of `binary:logistic` the second column is the predicted value.
        """
        found = self._library(values)
        if self._objective == "binary:logistic":
            return np.column_stack((1.0 - found, found))
        return found if self._objective == "multi:softprob" else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of the classes that it gives probabilities of; none where it gives none."""
        if self._objective == "binary:logistic":
            return ("0", "1")
        if self._objective == "multi:softprob":
            columns = self._library(np.zeros((1, len(self.feature_names)))).size
            return tuple(map(str, range(columns)))
        return ()

    def _library(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._in_place:
            # a quarter faster alone than through a DMatrix, and no slower in thousands
            found = self.booster.inplace_predict(values, validate_features=False)
        else:
            import xgboost

            names = list(self.feature_names)
            found = self.booster.predict(xgboost.DMatrix(values, feature_names=names, nthread=1))
        return np.asarray(found, np.float64)

    @contextmanager
    def _on_threads(self, count: int) -> Iterator[None]:
        self.booster.set_param({"nthread": count})
        try:
            yield
        finally:
            self.booster.set_param({"nthread": 1})


def _refuse_cut_short(file: Path, content: bytes) -> None:
    """Refuse a file that XGBoost would read past the end of, and take the process with it."""
    if content[:1] == b"{" and content[1:2] not in (b'"', b"\n", b" ", b"\r", b"\t", b"}"):
        fault = fault_in_ubjson(content)
        if fault:
            raise unreadable(file, _A_MODEL, ValueError(fault))
    elif len(content) < 2:
        raise unreadable(file, _A_MODEL, ValueError("it is empty"))


def fast_rows_of(forest: Forest) -> int:
    """Return how many rows the compiled walk takes before XGBoost does."""
    return max(1, int(WALK_STEPS / max(forest.splits_a_row, 1.0)))


def _predicts_in_place(booster: Any) -> bool:
    """Return whether a booster takes rows as they are; a linear one does not."""
    import xgboost

    try:
        booster.inplace_predict(np.zeros((1, booster.num_features())), validate_features=False)
    except xgboost.core.XGBoostError:
        return False
    return True


def _walk_of(booster: Any, rows: NDArray[np.float64]) -> Forest | None:
    """Return the compiled walk, or None where one bit of it differs from XGBoost's."""
    forest = tree_walk.read_forest(booster)
    if forest is None:
        return None
    asked(forest.predict, rows[:1])
    probes = (rows, made_up_rows(rows.shape[1]), tree_walk.threshold_rows(forest, rows.shape[1]))
    return forest if all(tree_walk.same_bits(forest, booster, probe) for probe in probes) else None
