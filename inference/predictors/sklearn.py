"""SklearnPredictor: an estimator or pipeline of scikit-learn, its threads pinned to one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.predictors.artifact import (
    existing,
    facts_of,
    flavor_of,
    one_file,
    refuse_code,
    unreadable,
)
from inference.predictors.card import Facts, made_up_rows
from inference.predictors.loaded import LoadedPredictor, choose_column, feature_names_of

__all__ = ["SklearnPredictor"]

Floats = NDArray[np.float64]

_A_MODEL = "a scikit-learn model"
_NAMES = ["model.skops", "model.joblib", "model.pkl", "*.skops", "*.joblib", "*.pkl"]
_HARMLESS = (
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
"""Types that skops does not know, though scikit-learn's own networks hold them: plain numbers."""


class SklearnPredictor(LoadedPredictor):
    """An estimator behind the Predictor interface.

    The value is `predict` of a regressor, and a class's probability (or its decision function where
    it has no probabilities) of a classifier. Rows stay in double precision as far as the estimator
    keeps them so; its trees round them to single.
    """

    packages = ("scikit-learn", "scipy")

    def __init__(
        self,
        estimator: Any,
        facts: Facts,
        *,
        features: Sequence[str] | None = None,
        output: int | str | None = None,
        accepts_nan: bool = False,
    ) -> None:
        """Take a fitted estimator.

        Args:
            estimator: With `predict`.
            facts: What is known of it.
            features: Names of its columns, where it was fitted to an array without names.
            output: Which class or output is the value.
            accepts_nan: Whether rows with missing values are asked.

        Raises:
            PredictorError: If it has no `predict`, was not fitted, or has several outputs.
        """
        if not hasattr(estimator, "predict"):
            raise PredictorError(
                f"{_A_MODEL} must have `predict`: got a {type(estimator).__name__}."
            )
        self.estimator = estimator
        _on_one_thread(estimator)
        held = getattr(estimator, "feature_names_in_", None)
        known = facts.features if held is None else tuple(map(str, held))
        width = getattr(estimator, "n_features_in_", None)
        what = f"a {type(estimator).__name__}"
        names = feature_names_of(known, features, width, what)
        super().__init__(names, facts, accepts_nan=accepts_nan)
        self._pool: Any = None
        self._classes = getattr(estimator, "classes_", None)
        self._method = _method_of(estimator, self._classes is not None)
        self._frames = held is not None
        if self._frames:
            rows = made_up_rows(len(names)) if facts.probe is None else facts.probe
            self._frames = not self._takes_arrays(rows)
        columns = self._ask(self._method, np.zeros((1, len(names)))).shape[1]
        two_in_one = columns == 1 and self._classes is not None  # a decision function of two
        self._column = choose_column(
            None if two_in_one else output, columns, None if two_in_one else self._classes, what
        )
        self.measure(facts, {"output": output, "nan": accepts_nan}, self._on_threads)

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
        trusted_types: Sequence[str] = (),
    ) -> SklearnPredictor:
        """Load a model that MLflow, skops or joblib saved.

        Args:
            path: The resolved artifact: a folder of MLflow's, or a `.skops`, `.joblib` or `.pkl`.
            version: What the registry calls it.
            features: Names of its columns, where it holds none.
            trusted: Whether a pickle may be loaded: it is code.
            output: Which class, by its label, or which output, by position.
            accepts_nan: Whether rows with missing values are asked.
            trusted_types: Types beyond scikit-learn's own that a skops file may hold.

        Raises:
            PredictorError: If there is no such model, a broken one, or a pickle of unknown origin.
        """
        flavor = flavor_of(path, "sklearn", _A_MODEL)
        if flavor is None:
            file = one_file(path, _NAMES, _A_MODEL)
        else:
            file = existing(path / str(flavor.get("pickled_model", "")), _A_MODEL)
        estimator = _read(file, trusted_types, trusted)
        facts = facts_of(path, version)
        return cls(estimator, facts, features=features, output=output, accepts_nan=accepts_nan)

    def predict(self, values: Floats) -> Floats:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        return np.ascontiguousarray(self._ask(self._method, values)[:, self._column])

    def probabilities(self, values: Floats) -> Floats | None:
        """Return the classes' probabilities, shape (n, n_classes), where it has them."""
        return self._ask("predict_proba", values) if self._method == "predict_proba" else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of its classes; none of a regressor."""
        return () if self._classes is None else tuple(map(str, self._classes))

    def _ask(self, method: str, values: Floats) -> Floats:
        rows: Any = np.ascontiguousarray(values, np.float64)
        if self._frames:  # fitted to named columns, it wants them named
            import pandas

            rows = pandas.DataFrame(rows, columns=self.feature_names, copy=False)
        with self._limit(1):
            found = getattr(self.estimator, method)(rows)
        return np.asarray(found, np.float64).reshape(len(rows), -1)

    def _takes_arrays(self, rows: Floats) -> bool:
        """Make an estimator forget the names it was fitted to, if it answers the same without.

        A frame costs a row alone more than most models do. One that picks columns by name needs it.
        """
        named = self._ask(self._method, rows)
        held = [part for part in _parts(self.estimator) if "feature_names_in_" in vars(part)]
        names = [vars(part).pop("feature_names_in_") for part in held]
        self._frames = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                if self._ask(self._method, rows).tobytes() == named.tobytes():
                    return True
        except Exception:  # whatever an estimator raises that misses its names
            pass
        for part, own in zip(held, names, strict=True):
            part.feature_names_in_ = own
        return False

    def _limit(self, count: int) -> AbstractContextManager[Any]:
        if self._pool is None:
            from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

            self._pool = ThreadpoolController()  # finds the libraries, once
        return self._pool.limit(limits=count)

    @contextmanager
    def _on_threads(self, count: int) -> Iterator[None]:
        pinned = self._limit
        vars(self)["_limit"] = lambda _: pinned(count)
        _on_one_thread(self.estimator, count)
        try:
            yield
        finally:
            del vars(self)["_limit"]
            _on_one_thread(self.estimator)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_pool": None}


def _read(file: Path, types: Sequence[str], trusted: bool) -> Any:
    if file.suffix != ".skops":
        refuse_code(file, "a pickle", trusted, "skops")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another version of scikit-learn
            if file.suffix == ".skops":
                return _read_skops(file, types, trusted)
            if file.suffix == ".joblib":
                import joblib  # type: ignore[import-untyped]

                return joblib.load(file)
            import cloudpickle  # type: ignore[import-untyped]

            with file.open("rb") as stream:
                return cloudpickle.load(stream)
    except PredictorError:
        raise
    except Exception as error:  # unpickling raises whatever the bytes lead to
        raise unreadable(file, _A_MODEL, error) from None


def _read_skops(file: Path, types: Sequence[str], trusted: bool) -> Any:
    try:
        import skops.io  # type: ignore[import-untyped]
        from skops.io.exceptions import UntrustedTypesFoundException  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise PredictorError(
            f"{file} is read by skops: it is not installed. Install it: pip install skops."
        ) from None
    # a file may not vouch for itself: the list in the `MLmodel` beside it is not asked
    known = skops.io.get_untrusted_types(file=file) if trusted else [*_HARMLESS, *types]
    try:
        return skops.io.load(file, trusted=known)
    except UntrustedTypesFoundException as error:
        raise PredictorError(
            f"{file} must hold types that are known to be harmless: it holds others "
            f"({str(error).splitlines()[0][:200]}). If you know them, list them in "
            "`predictor_params: {trusted_types: [...]}`."
        ) from None


def _on_one_thread(estimator: Any, count: int = 1) -> None:
    """Pin the jobs of an estimator and of all that it is made of."""
    for part in _parts(estimator):
        if hasattr(part, "n_jobs"):
            part.n_jobs = count


def _parts(thing: Any) -> Iterator[Any]:
    """Yield an estimator and the fitted ones inside it: steps, members, inner ones."""
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, np.ndarray) and one.dtype == object:
            waiting += one.ravel().tolist()
        elif hasattr(one, "get_params") and hasattr(one, "__dict__") and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += vars(one).values()


def _method_of(estimator: Any, has_classes: bool) -> str:
    if has_classes:
        for method in ("predict_proba", "decision_function"):
            if hasattr(estimator, method):
                return method
    return "predict"
