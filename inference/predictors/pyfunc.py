"""PyfuncPredictor: a model of any MLflow flavor, through its Python function; always code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.mlflow_client import quiet_mlflow
from inference.predictors.artifact import facts_of, flavor_of, refuse_code, unreadable
from inference.predictors.card import Facts
from inference.predictors.loaded import LoadedPredictor, choose_column, feature_names_of

__all__ = ["PyfuncPredictor"]

Floats = NDArray[np.float64]

_A_MODEL = "a model with MLflow's `python_function` flavor"


class PyfuncPredictor(LoadedPredictor):
    """An MLflow Python function behind the Predictor interface.

    It gets a data frame with the columns, and in the types, that its signature names, so that a
    `float` column is rounded to single precision; or an array where the signature asks for a
    tensor. Without a signature it gets a frame of doubles.
    """

    packages = ("mlflow", "pandas")

    def __init__(
        self,
        model: Any,
        facts: Facts,
        *,
        features: Sequence[str] | None = None,
        output: int | str | None = None,
        accepts_nan: bool = False,
    ) -> None:
        """Take a loaded `mlflow.pyfunc.PyFuncModel`; see `load`."""
        self._model = model
        schema = None if model.metadata is None else model.metadata.get_input_schema()
        names, self._types, width = facts.features, None, None
        self._tensor: Any = None
        if schema is not None and schema.is_tensor_spec():
            first = schema.inputs[0]
            self._tensor, size = first.type, first.shape[-1]
            width = None if size == -1 else int(size)
        elif schema is not None:
            names = tuple(map(str, schema.input_names()))
            self._types = [kind.to_numpy() for kind in schema.input_types()]
        super().__init__(
            feature_names_of(names, features, width, "an MLflow model"),
            facts,
            accepts_nan=accepts_nan,
        )
        self._output_names: tuple[str, ...] = ()
        found = self._ask(np.zeros((1, len(self.feature_names))))
        named = self._output_names if len(self._output_names) == found.shape[1] > 1 else None
        chosen = output if output is not None or found.shape[1] == 1 else None
        if named and chosen is None:
            raise PredictorError(
                f"an MLflow model must have one output: got {', '.join(named)}. Choose one with "
                "`predictor_params: {output: ...}`."
            )
        self._column = choose_column(chosen, found.shape[1], named, "an MLflow model")
        self.measure(facts, {"output": output, "nan": accepts_nan})

    @classmethod
    def load(
        cls,
        path: Path,
        version: str = "",
        *,
        features: Sequence[str] | None = None,
        trusted: bool = False,
        output: int | str | None = None,
        accepts_nan: bool = False,
    ) -> PyfuncPredictor:
        """Load a folder that MLflow wrote.

        Args:
            path: The resolved artifact.
            version: What the registry calls it.
            features: Names of its columns, where it has no signature.
            trusted: Whether it may be loaded: it names modules to import, and may hold pickles.
            output: Which of its outputs, by name or position.
            accepts_nan: Whether rows with missing values are asked.

        Raises:
            PredictorError: If there is no such model, a broken one, or one of unknown origin.
        """
        flavor = flavor_of(path, "python_function", _A_MODEL)
        if flavor is None:
            raise PredictorError(
                f"{path} must be {_A_MODEL}: got no folder with an `MLmodel` file."
            )
        refuse_code(path, "an MLflow Python function", trusted, "ONNX")
        with quiet_mlflow():
            import mlflow.pyfunc

            try:
                model = mlflow.pyfunc.load_model(str(path))
            except Exception as error:  # whatever the flavor's loader raises
                raise unreadable(path, _A_MODEL, error) from None
        facts = facts_of(path, version)
        return cls(model, facts, features=features, output=output, accepts_nan=accepts_nan)

    def predict(self, values: Floats) -> Floats:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        return np.ascontiguousarray(self._ask(values)[:, self._column])

    def _ask(self, values: Floats) -> Floats:
        found = self._model.predict(self._given(values))
        columns = getattr(found, "columns", None)
        if columns is not None:
            self._output_names = tuple(map(str, columns))
        return np.asarray(found, np.float64).reshape(len(values), -1)

    def _given(self, values: Floats) -> Any:
        if self._tensor is not None:
            return np.ascontiguousarray(values, self._tensor)
        import pandas

        kinds = set(self._types or ())
        if len(kinds) < 2:
            rows = values.astype(kinds.pop()) if kinds else values
            return pandas.DataFrame(rows, columns=self.feature_names)
        columns = zip(self.feature_names, values.T, self._types or (), strict=True)
        return pandas.DataFrame({name: column.astype(kind) for name, column, kind in columns})
