"""OnnxPredictor: a model in ONNX, run by ONNX Runtime; a file of numbers, not of code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.predictors.artifact import (
    existing,
    facts_of,
    flavor_of,
    one_file,
    unreadable,
)
from inference.predictors.card import Facts
from inference.predictors.loaded import (
    LoadedPredictor,
    check_count,
    choose_column,
    feature_names_of,
)

__all__ = ["CLASSES", "FEATURES", "OnnxPredictor"]

FEATURES, CLASSES = "feature_names", "classes"
"""Keys of a model's metadata under which its columns and classes are listed, as JSON."""

Floats = NDArray[np.float64]

_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}

_A_MODEL = "an ONNX model"
_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}


class _Settings(NamedTuple):
    intra_op_threads: int
    inter_op_threads: int
    graph_optimization: str
    providers: tuple[str, ...]


class OnnxPredictor(LoadedPredictor):
    """An ONNX graph behind the Predictor interface.

    Rows are rounded to the type of the graph's input, single precision as a rule, and its outputs
    are returned as float64. The graph takes one input of shape (n, n_features), one of shape (n,
    rows, features) for the last rows of each feature, or one of shape (n, 1) for each feature.
    """

    packages = ("onnxruntime",)

    def __init__(
        self,
        file: Path,
        facts: Facts,
        settings: _Settings,
        *,
        features: Sequence[str] | None,
        tensor: str | None,
        output: int | str | None,
        accepts_nan: bool,
    ) -> None:
        """Open a session on a file; see `load`."""
        self._file, self._settings = file, settings
        self._session = self._open(settings)
        told = self._session.get_modelmeta().custom_metadata_map
        inputs = self._session.get_inputs()
        self._dtype = _dtype_of(file, inputs)
        self._inputs = [(one.name, _known_sizes(one.shape)) for one in inputs]
        names = _listed(told, FEATURES) or facts.features
        if names is None and len(inputs) > 1:
            names = tuple(one.name for one in inputs)
        super().__init__(
            feature_names_of(names, features, self._width(), f"{file}"),
            facts,
            accepts_nan=accepts_nan,
        )
        classes = _listed(told, CLASSES) or facts.classes
        self._tensor, is_classes = _value_tensor(self._session.get_outputs(), tensor, file)
        probe = self._run(np.zeros((1, len(self.feature_names))))
        if classes is None and is_classes:
            classes = tuple(map(str, range(probe.shape[1])))
        self._is_classes = is_classes
        self._classes = tuple(classes or ())
        self._column = choose_column(output, probe.shape[1], classes, _A_MODEL)
        params = {**settings._asdict(), "tensor": tensor, "output": output, "nan": accepts_nan}
        self.measure(facts, params, self._on_threads)

    @classmethod
    def load(
        cls,
        path: Path,
        version: str = "",
        *,
        features: Sequence[str] | None = None,
        intra_op_threads: int = 1,
        inter_op_threads: int = 1,
        graph_optimization: str = "all",
        providers: Sequence[str] = ("CPUExecutionProvider",),
        tensor: str | None = None,
        output: int | str | None = None,
        accepts_nan: bool = False,
    ) -> OnnxPredictor:
        """Load a `.onnx` file, or a folder that MLflow or `lightcone export` wrote.

        Args:
            path: The resolved artifact.
            version: What the registry calls it.
            features: Names of the columns, for a model that holds none.
            intra_op_threads: Threads within an operator.
            inter_op_threads: Operators at once; more than one may change the order of sums.
            graph_optimization: How far the graph is rewritten before it runs.
            providers: Where it runs, by ONNX Runtime's names, the preferred one first.
            tensor: Which output of the graph, where it has several.
            output: Which of its columns: a class by its label, or a position.
            accepts_nan: Whether rows with missing values are asked.

        Raises:
            PredictorError: If there is no ONNX model in it, a broken one, or one that does not take
                the features.
        """
        flavor = flavor_of(path, "onnx", _A_MODEL)
        if flavor is None:
            file = one_file(path, ["model.onnx", "*.onnx"], _A_MODEL)
        else:
            file = existing(path / str(flavor.get("data", "")), _A_MODEL)
        facts = facts_of(path, version)
        settings = _Settings(
            check_count("intra_op_threads", intra_op_threads),
            check_count("inter_op_threads", inter_op_threads),
            _one_of("graph_optimization", graph_optimization, tuple(_LEVELS)),
            tuple(providers),
        )
        return cls(
            file,
            facts,
            settings,
            features=features,
            tensor=tensor,
            output=output,
            accepts_nan=accepts_nan,
        )

    def predict(self, values: Floats) -> Floats:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        return np.ascontiguousarray(self._run(values)[:, self._column])

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of its classes, positions where the graph does not name them."""
        return self._classes

    def probabilities(self, values: Floats) -> Floats | None:
        """Return the classes' probabilities, shape (n, n_classes), where the graph gives them."""
        return self._run(values) if self._is_classes else None

    def _run(self, values: Floats) -> Floats:
        rows = np.ascontiguousarray(values, self._dtype)
        if len(self._inputs) == 1:
            name, sizes = self._inputs[0]
            fed = {name: rows.reshape(len(rows), *sizes[1:-1], -1) if len(sizes) > 2 else rows}
        else:
            fed = {name: rows[:, [k]] for k, (name, _) in enumerate(self._inputs)}
        (found,) = self._session.run([self._tensor], fed)
        if isinstance(found, list):  # a mapping of class to probability for each row
            found = [list(one.values()) for one in found]
        return np.asarray(found, np.float64).reshape(len(rows), -1)

    def _width(self) -> int | None:
        if len(self._inputs) > 1:
            return len(self._inputs)
        sizes = self._inputs[0][1][1:]
        return None if -1 in sizes else int(np.prod(sizes))

    def _open(self, settings: _Settings) -> Any:
        import onnxruntime

        known = onnxruntime.get_available_providers()
        for provider in settings.providers:
            _one_of("providers", provider, known)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.intra_op_threads
        options.inter_op_num_threads = settings.inter_op_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what is wrong is raised as well
        options.use_deterministic_compute = True
        options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, _LEVELS[settings.graph_optimization]
        )
        if settings.inter_op_threads > 1:
            options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        try:
            return onnxruntime.InferenceSession(
                str(self._file), options, providers=list(settings.providers)
            )
        except Exception as error:  # its exceptions have no common base of their own
            raise unreadable(self._file, _A_MODEL, error) from None

    @contextmanager
    def _on_threads(self, count: int) -> Iterator[None]:
        pinned, self._session = (
            self._session,
            self._open(self._settings._replace(intra_op_threads=count)),
        )
        try:
            yield
        finally:
            self._session = pinned

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._session = self._open(self._settings)


def _one_of(name: str, value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise PredictorError(
            f"`predictor_params.{name}` must be one of {', '.join(known)}: got {value!r}."
        )
    return str(value)


def _dtype_of(file: Path, inputs: Sequence[Any]) -> Any:
    kinds = {one.type for one in inputs}
    if len(kinds) != 1 or not kinds <= set(_DTYPES):
        raise PredictorError(
            f"{file} must take floating-point features of one type: got inputs "
            f"{', '.join(f'{one.name} {one.type}' for one in inputs)}."
        )
    return _DTYPES[kinds.pop()]


def _known_sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def _listed(told: Mapping[str, str], key: str) -> tuple[str, ...] | None:
    if key not in told:
        return None
    try:
        return tuple(map(str, json.loads(told[key])))
    except (ValueError, TypeError):
        raise PredictorError(
            f"an ONNX model's metadata `{key}` must be a list in JSON: got {told[key][:80]!r}."
        ) from None


def _value_tensor(outputs: Sequence[Any], asked: str | None, file: Path) -> tuple[str, bool]:
    """Return the output that holds the values, and whether it is of probabilities of classes."""
    floats = [one for one in outputs if one.type in _DTYPES or one.type.startswith("seq(map(")]
    has_labels = len(floats) < len(outputs)  # a classifier gives its label, a number or text, too
    if asked is not None:
        floats = [one for one in floats if one.name == asked]
    if len(floats) != 1:
        known = ", ".join(f"{one.name} {one.type}" for one in outputs)
        raise PredictorError(
            f"{file} must have one output of floating-point numbers"
            f"{'' if asked is None else f' called {asked!r}'}: got {known}. Name one with "
            "`predictor_params: {tensor: ...}`."
        )
    return str(floats[0].name), has_labels
