"""FunctionPredictor: a user's own function or class, named by its dotted path."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.predictors.base import arguments_of
from inference.predictors.card import Facts, read_card
from inference.predictors.loaded import LoadedPredictor, feature_names_of
from inference.registry import artifact_digest

__all__ = ["FunctionPredictor"]

Floats = NDArray[np.float64]


class FunctionPredictor(LoadedPredictor):
    """A function of rows, shape (n, n_features) in double precision, giving shape (n,).

    It may name its columns in an attribute `feature_names`, and say with `accepts_nan` that it
    takes rows with missing values.
    """

    def __init__(
        self,
        target: Any,
        facts: Facts,
        *,
        name: str,
        params: Mapping[str, Any],
        features: Sequence[str] | None = None,
    ) -> None:
        """Take a function, or an object with `predict`; see `load`."""
        self._target = target
        self._call = target.predict if hasattr(target, "predict") else target
        self._params = dict(params) if inspect.isroutine(target) else {}
        known = getattr(target, "feature_names", None)
        super().__init__(
            feature_names_of(None if known is None else tuple(known), features, None, name),
            facts,
            accepts_nan=bool(getattr(target, "accepts_nan", False)),
        )
        self.measure(facts, {"name": name, **params})

    @classmethod
    def load(
        cls,
        path: Path,
        version: str = "",
        *,
        target: Any,
        name: str,
        features: Sequence[str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> FunctionPredictor:
        """Take a function, or make an object of a class.

        Args:
            path: The artifact that `model_uri` names: the function's own file, or one it reads. Its
                digest tells models apart.
            version: What the registry calls it.
            target: `f(values)`; or a class with `predict(values)`, or `__call__`, whose `__init__`
                may ask for `path`, `version` and `features`.
            name: Its dotted path.
            features: Names of its columns, where it does not declare `feature_names`.
            params: Further keyword arguments: of the class, or of each call of the function.

        Raises:
            PredictorError: If it is neither, takes no such parameter, or fails on made-up rows.
        """
        params = params or {}
        given = {"path": path, "version": version, "features": features}
        if isinstance(target, type):
            makes = callable(getattr(target, "predict", None)) or "__call__" in vars(target)
            if not makes:
                raise _no_predictor(name)
            try:
                made = target(**arguments_of(target, name, given, params))
            except (TypeError, ValueError, OSError) as error:
                raise PredictorError(
                    f"'{name}' must make a model of its parameters: it raised "
                    f"{type(error).__name__}, {error}."
                ) from error
        elif callable(target):
            made = target
            arguments_of(target, name, {}, params)
        else:
            raise _no_predictor(name)
        facts = read_card(path, artifact_digest(path), version)
        return cls(made, facts, name=name, params=params, features=features)

    def predict(self, values: Floats) -> Floats:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        return np.asarray(self._call(values, **self._params), np.float64)

    def probabilities(self, values: Floats) -> Floats | None:
        """Return what its own `probabilities(values)` says, where it has one."""
        own = getattr(self._target, "probabilities", None)
        return None if own is None else np.asarray(own(values), np.float64)


def _no_predictor(name: str) -> PredictorError:
    return PredictorError(
        "`predictor_class_name` must name a class with a class method `load(path, version)`, a "
        f"class with `predict(values)`, or a function of rows: got '{name}'."
    )
