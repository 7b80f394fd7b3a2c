"""Predictor: what a loop needs of a model, and how a class of one is found by its name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from clock.nearest import did_you_mean
from clock.user_modules import import_user_module
from inference.errors import FeatureMismatchError, PredictorError

BUILT_IN = {
    "OnnxPredictor": "inference.predictors.onnx.OnnxPredictor",
    "PyfuncPredictor": "inference.predictors.pyfunc.PyfuncPredictor",
    "SklearnPredictor": "inference.predictors.sklearn.SklearnPredictor",
    "XGBoostPredictor": "inference.predictors.xgboost.XGBoostPredictor",
}
"""Short names of our own predictors; others are named by their dotted path."""

_GIVEN = ("path", "version", "features", "trusted")
"""What a class's `load` gets where it asks for it by name; the rest are `predictor_params`."""


class TrainingRecord(NamedTuple):
    """What a model was trained on; instants in nanoseconds since 1970 UTC."""

    start: int
    until: int
    last_label_visible_at: int
    data_digest: str


@runtime_checkable
class Predictor(Protocol):
    """A loaded model.

    `batch_invariant` is a promise, to be measured and not assumed: a row's value has the same bits
    alone and in any batch. A model without it is asked in the batches that were served.

    It may also have `probabilities`, as `HasProbabilities` says. `predict` may be called from
    several threads at once.
    """

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns that `predict` takes, in order."""

    @property
    def batch_invariant(self) -> bool:
        """Whether the same row has the same value in every batch."""

    @property
    def accepts_nan(self) -> bool:
        """Whether rows with NaN are asked at all."""

    @property
    def digest(self) -> str:
        """A digest of the model's content, the same wherever it lies."""

    @property
    def version(self) -> str:
        """The version that the registry resolved, or an empty text."""

    @property
    def training(self) -> TrainingRecord | None:
        """What it was trained on, where that is known."""

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""


@runtime_checkable
class HasProbabilities(Protocol):
    """What a predictor of classes may have beside `predict`; the labels are `classes`."""

    def probabilities(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the classes' probabilities, shape (n, n_classes), or None if it has none."""


def probabilities_of(
    predictor: Predictor, values: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return a model's probabilities of its classes, shape (n, n_classes); None if it has none."""
    if not isinstance(predictor, HasProbabilities):
        return None
    return predictor.probabilities(values)


def load_predictor(
    class_name: str,
    path: Path,
    *,
    version: str = "",
    params: Mapping[str, Any] | None = None,
    features: Sequence[str] | None = None,
    trusted: bool = False,
) -> Predictor:
    """Load the model in a folder or file with the predictor class of this name.

    Args:
        class_name: A built-in name such as `XGBoostPredictor`, or the dotted path of a class with
            a class method `load(path, version)`, of another class, or of a function.
        path: The resolved artifact.
        version: What the registry calls it, for the record.
        params: `predictor_params`: keyword arguments of `load`.
        features: Columns that it will be given, for models that do not name theirs.
        trusted: Whether files that are code, pickles above all, may be loaded.

    Raises:
        PredictorError: If there is no such class, it takes no such parameter, or it cannot read
            the artifact.
    """
    found = predictor_class(class_name)
    load = getattr(found, "load", None)
    if load is not None and not callable(load):
        raise PredictorError(
            f"`predictor_class_name` must name a class with a class method `load(path, version)`: "
            f"got '{class_name}'."
        )
    if load is None:
        from inference.predictors.function import FunctionPredictor

        loaded: Any = FunctionPredictor.load(
            path, version, target=found, name=class_name, features=features, params=params or {}
        )
    else:
        given = {"features": features, "trusted": trusted}
        loaded = load(path, version, **arguments_of(load, class_name, given, params or {}))
    if not isinstance(loaded, Predictor):
        raise PredictorError(f"'{class_name}' must load a Predictor: got {type(loaded).__name__}.")
    return loaded


def arguments_of(
    call: Any, name: str, given: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return keyword arguments: what a callable asks for of *given*, and all of *params*.

    Raises:
        PredictorError: If it does not take one of the parameters.
    """
    known = inspect.signature(call).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in known.values())
    own = [one for one in known if one not in _GIVEN]
    for one in params:
        if one in _GIVEN or (one not in known and not takes_all):
            raise PredictorError(
                f"`predictor_params.{one}` must be a parameter of {name}: it takes "
                f"{', '.join(own) or 'none'}.{did_you_mean(one, own)}"
            )
    return {key: value for key, value in given.items() if key in known} | dict(params)


def predictor_class(name: str) -> Any:
    """Return the class or function that `predictor_class_name` means.

    Modules are also found in the folder the command is run from.

    Raises:
        PredictorError: If nothing has this name; the message offers the nearest that exists.
    """
    module_name, _, attribute = BUILT_IN.get(name, name).rpartition(".")
    if not module_name:
        raise _unknown(name, BUILT_IN)
    if name in BUILT_IN:
        return getattr(importlib.import_module(module_name), attribute)
    module = import_user_module(module_name, "predictor_class_name", PredictorError)
    if module is None:
        raise PredictorError(
            f"`predictor_class_name` must name an importable class: got '{name}', "
            f"there is no module '{module_name}'."
        )
    if not hasattr(module, attribute):
        raise _unknown(name, [f"{module_name}.{known}" for known in vars(module)])
    return getattr(module, attribute)


class _ReadsColumns(Protocol):
    """A model, or a deployment of one."""

    @property
    def feature_names(self) -> Sequence[str]: ...


def check_features(predictor: _ReadsColumns, columns: Sequence[str], where: str) -> None:
    """Refuse a model that reads other columns than it would be given, or in another order.

    Raises:
        FeatureMismatchError: With both lists in its message.
    """
    wanted, given = list(predictor.feature_names), list(columns)
    if wanted == given:
        return
    if sorted(wanted) == sorted(given):
        rule, advice = "in the model's order", "Put the features in the model's order"
    else:
        rule, advice = "the ones the model was trained on", "Name these features"
    raise FeatureMismatchError(
        f"{where}: `features` must be {rule}: got {given}, the model reads {wanted}. "
        f"{advice}, or train a model on these."
    )


def check_columns(wanted: Sequence[str], columns: Sequence[str], where: str) -> None:
    """Refuse names that are no columns of the feature rows.

    Raises:
        FeatureMismatchError: With both lists in its message.
    """
    if not set(wanted) <= set(columns):
        raise FeatureMismatchError(
            f"{where}: `features` must be columns of the feature rows: got {list(wanted)}, "
            f"the rows hold {list(columns)}. Name the missing ones in `feature_configs`."
        )


def _unknown(name: str, known: Any) -> PredictorError:
    names = ", ".join(sorted(BUILT_IN))
    return PredictorError(
        f"`predictor_class_name` must be a built-in predictor or a dotted path: got '{name}'."
        f"{did_you_mean(name, known)} Built in: {names}."
    )
