"""What our predictors have in common: names, facts, a choice among outputs, the measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.predictors.card import Facts, made_up_rows
from inference.predictors.invariance import Threads, invariance_of

__all__ = ["LoadedPredictor", "check_count", "choose_column"]

Floats = NDArray[np.float64]


class LoadedPredictor:
    """A model that was read, with everything but the reading and the asking."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions may change a value's bits."""

    def __init__(self, feature_names: Sequence[str], facts: Facts, *, accepts_nan: bool) -> None:
        """Take the columns that `predict` takes, in order, and what is known of the model."""
        self.feature_names = tuple(feature_names)
        self.digest, self.version, self.training = facts.digest, facts.version, facts.training
        self.accepts_nan = accepts_nan
        self.batch_invariant, self.batch_difference = False, ""

    def predict(self, values: Floats) -> Floats:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        raise NotImplementedError

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of the classes, in the order of `probabilities`; empty where it gives none."""
        return ()

    def probabilities(self, values: Floats) -> Floats | None:
        """Return the classes' probabilities, shape (n, n_classes), or None if it has none."""
        return None

    def measure(
        self, facts: Facts, params: Mapping[str, Any], threads: Threads | None = None
    ) -> None:
        """Ask the model for the first time, and find out whether it is batch invariant.

        Raises:
            PredictorError: If it does not answer one value a row.
        """
        width = len(self.feature_names)
        probe = made_up_rows(width) if facts.probe is None else facts.probe
        if probe.shape[1] != width:
            raise PredictorError(
                f"the rows of a model's card must hold its {width} features: got {probe.shape[1]}."
            )
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        key = [self.digest, kind, sorted((k, repr(v)) for k, v in params.items())]
        found = invariance_of(
            self.predict,
            np.ascontiguousarray(probe),
            key=key if self.digest else None,
            packages=("numpy", *self.packages),
            threads=threads,
        )
        self.batch_invariant, self.batch_difference = found.holds, found.why


def choose_column(
    output: int | str | None, columns: int, classes: Sequence[Any] | None, what: str
) -> int:
    """Return which of a model's columns is its value.

    The only one, or the second of two classes; else `output` must say: a class by its label, or a
    position.

    Raises:
        PredictorError: If nothing says which, or `output` names none of them.
    """
    labels = [] if classes is None else [str(label) for label in classes]
    if output is None:
        if columns == 1 or (columns == 2 and labels):
            return columns - 1
        known = f"classes {', '.join(labels)}" if labels else f"positions 0 to {columns - 1}"
        raise PredictorError(
            f"{what} must have one output: got {columns} for each row. Choose one with "
            f"`predictor_params: {{output: ...}}`: {known}."
        )
    if str(output) in labels:
        return labels.index(str(output))
    if isinstance(output, int) and not labels and 0 <= output < columns:
        return output
    known = ", ".join(labels) or f"0 to {columns - 1}"
    raise PredictorError(
        f"`predictor_params.output` must be an output of {what}: got {output!r}. Known: {known}."
    )


def check_count(name: str, value: Any) -> int:
    """Return a number of threads.

    Raises:
        PredictorError: If it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1024:
        raise PredictorError(
            f"`predictor_params.{name}` must be a whole number from 1 to 1024: got {value!r}."
        )
    return value


def feature_names_of(
    known: Sequence[str] | None,
    asked: Sequence[str] | None,
    width: int | None,
    what: str,
) -> tuple[str, ...]:
    """Return a model's columns: as it names them itself, else as the scenario's loop does.

    Args:
        known: From the model, its card or its signature.
        asked: `features` of the loop, the last rows of each where it asks for several.
        width: How many the model reads, where it says so.
        what: The model, for the message.

    Raises:
        PredictorError: If nothing names them, or their number is not the model's.
    """
    names = known if known is not None else asked
    if names is None:
        raise PredictorError(
            f"{what} must know the features it reads: it names none. Name them in `features` of "
            "the scenario's `inference_config`."
        )
    if width is not None and width != len(names):
        raise PredictorError(
            f"{what} must read one column a feature: it reads {width}, got {len(names)} names: "
            f"{', '.join(names)}."
        )
    return tuple(names)
