"""Models as ONNX graphs, and their weights in eight bits."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError

if TYPE_CHECKING:
    from inference.predictors.base import Predictor

__all__ = ["quantise", "to_onnx"]

OPSET = 15
"""Version of ONNX's operators that both converters write."""

INPUT = "features"


def to_onnx(predictor: Predictor) -> Any:
    """Return a predictor's model as an ONNX graph of single precision, an `onnx.ModelProto`.

    The same model gives the same bytes. The columns and classes are in its metadata.

    Raises:
        PredictorError: If there is no converter for it, or it refuses the model.
    """
    from inference.predictors.sklearn import SklearnPredictor
    from inference.predictors.xgboost import XGBoostPredictor

    if not isinstance(predictor, XGBoostPredictor | SklearnPredictor):
        raise PredictorError(
            "a model to export must be one of XGBoostPredictor or SklearnPredictor: got "
            f"{type(predictor).__name__}."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions newer than those a converter was tried on
            if isinstance(predictor, XGBoostPredictor):
                made, classes = _of_xgboost(predictor.booster), predictor.classes
            else:
                made = _of_sklearn(predictor.estimator, len(predictor.feature_names))
                classes = predictor.classes
    except Exception as error:  # converters raise exceptions of many kinds
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PredictorError(
            f"a model to export must be one that its converter to ONNX takes: it says: {first}"
        ) from error
    return _described(made, predictor.feature_names, classes)


def quantise(model: Any) -> Any:
    """Return a graph whose matrices are of eight bits; activations are scaled as they come.

    Raises:
        PredictorError: If the graph multiplies no matrices: trees compare and do not multiply.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kinds = sorted({node.op_type for node in model.graph.node})
    if not _MULTIPLY & set(kinds):
        trees = any(kind.startswith("TreeEnsemble") for kind in kinds)
        why = (
            "trees compare features with thresholds, and eight bits would neither shrink nor "
            "speed them up; fewer or shallower trees would"
            if trees
            else "no matrix of weights is multiplied in it"
        )
        raise PredictorError(
            f"a model to quantise to int8 must multiply matrices: got a graph of "
            f"{', '.join(kinds)}; {why}. Export it to `onnx` alone."
        )
    with tempfile.TemporaryDirectory() as folder, _quiet():
        before, after = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(model.SerializeToString(deterministic=True))
        # seven bits of a weight: where a processor lacks instructions for eight (VNNI), sums of
        # products of all eight overflow, and the model answers otherwise than where it has them
        quantize_dynamic(before, after, weight_type=QuantType.QInt8, reduce_range=True)
        return onnx.load(after)


_MULTIPLY = {"MatMul", "Gemm", "Conv", "LSTM", "Attention"}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which it logs on the root, to itself."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _of_xgboost(booster: Any) -> Any:
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    copy = xgboost.Booster({"nthread": 1}, model_file=bytearray(booster.save_raw("ubj")))
    copy.feature_names = None  # the converter takes only its own
    kind = FloatTensorType([None, booster.num_features()])
    return convert_xgboost(copy, initial_types=[(INPUT, kind)], target_opset=OPSET)


def _of_sklearn(estimator: Any, features: int) -> Any:
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType

    options: dict[Any, Any] | None = None
    if hasattr(estimator, "classes_") and hasattr(estimator, "predict_proba"):
        options = {id(estimator): {"zipmap": False}}
    kind = FloatTensorType([None, features])
    return convert(estimator, initial_types=[(INPUT, kind)], target_opset=OPSET, options=options)


def _described(model: Any, names: Sequence[str], classes: Sequence[str]) -> Any:
    from onnx import helper

    from inference.predictors.onnx import CLASSES, FEATURES

    model.graph.name = "model"  # converters draw one at random
    told = {FEATURES: json.dumps(list(names))}
    if classes:
        told[CLASSES] = json.dumps(list(classes))
    helper.set_model_props(model, told)
    return model


def largest_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the largest difference of two models' values for the same rows."""
    return float(np.abs(one - other).max()) if len(one) else 0.0
