"""Predictor: what a loop needs of a model, and how a class of one is found by its name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from clock.nearest import did_you_mean
from inference.errors import FeatureMismatchError, PredictorError

BUILT_IN = {"XGBoostPredictor": "inference.predictors.xgboost.XGBoostPredictor"}
"""Short names of our own predictors; others are named by their dotted path."""


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
    alone and in any batch. A model without it is asked one row at a time.
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


def load_predictor(class_name: str, path: Path, *, version: str = "") -> Predictor:
    """Load the model in a folder or file with the predictor class of this name.

    Args:
        class_name: A built-in name such as `XGBoostPredictor`, or a dotted path to a class with a
            class method `load(path, version)`.
        path: The resolved artifact.
        version: What the registry calls it, for the record.

    Raises:
        PredictorError: If there is no such class, or it cannot read the artifact.
    """
    found = predictor_class(class_name)
    load = getattr(found, "load", None)
    if not callable(load):
        raise PredictorError(
            f"`predictor_class_name` must name a class with a class method `load(path, version)`: "
            f"got '{class_name}'."
        )
    loaded = load(path, version)
    if not isinstance(loaded, Predictor):
        raise PredictorError(f"'{class_name}' must load a Predictor: got {type(loaded).__name__}.")
    return loaded


def predictor_class(name: str) -> Any:
    """Return the class that `predictor_class_name` means.

    Raises:
        PredictorError: If nothing has this name; the message offers the nearest that exists.
    """
    module_name, _, attribute = BUILT_IN.get(name, name).rpartition(".")
    if not module_name:
        raise _unknown(name, BUILT_IN)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module exists, and something that it imports does not
        raise PredictorError(
            f"`predictor_class_name` must name an importable class: got '{name}', "
            f"there is no module '{error.name}'."
        ) from None
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
