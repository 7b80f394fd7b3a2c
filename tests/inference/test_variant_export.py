"""Variants of a registered model: what they say, what they weigh, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference import mlflow_client
from inference.errors import PredictorError
from inference.models import ModelSpec
from inference.onnx_export import quantise, to_onnx
from inference.predictors import load_predictor, probabilities_of
from inference.registry import MEASURED, Registry, artifact_digest
from inference.training import metrics_of, register_model
from inference.variant_export import Export, convert, export_variant
from tests.inference.models import NAMES, fitted, samples, save_skops
from tests.inference.test_registry_and_training import train

pytestmark = pytest.mark.slow

HELD_OUT = samples(200, seed=8)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A store with a boosted model and a network in it."""
    registry = Registry(tmp_path_factory.mktemp("store"))
    train(registry)
    folder = tmp_path_factory.mktemp("network")
    save_skops(fitted("wide network"), folder / "model.skops")
    with mlflow_client.mlflow_client(registry.address) as client:
        register_model(client, registry, "network", folder, {}, {}, {})
    return registry


def export_of(registry: Registry, name: str, kind: str, **params: Any) -> Export:
    parent = registry.resolve(f"models:/{name}/1")
    spec = ModelSpec(parent.uri, kind, parent.path, parent.digest, "1", params, tuple(NAMES), True)
    return Export(parent, spec, spec.load(), HELD_OUT)


def test_an_onnx_variant_says_what_its_model_says_and_is_registered_beside_it(
    registry: Registry,
) -> None:
    asked = export_of(registry, "btc-mid", "XGBoostPredictor")
    graphs = convert(asked, ["onnx"])
    made = export_variant(asked, "onnx", graphs["onnx"], registry)
    assert (made.model.name, made.model.version, made.reused) == ("btc-mid-onnx", "1", False)
    assert registry.resolve("models:/btc-mid/latest").version == "1"  # the parent's stay its own
    tags = made.model.tags
    assert tags["lightcone.parent"] == "models:/btc-mid/1"
    assert tags["lightcone.parent_digest"] == asked.parent.digest
    variant = load_predictor("OnnxPredictor", made.model.path, version="1")
    assert variant.feature_names == ("mid", "imbalance", "flow")
    assert variant.training == asked.predictor.training
    rows = HELD_OUT[0]
    assert np.abs(variant.predict(rows) - asked.predictor.predict(rows)).max() <= 1e-6
    assert made.metrics == metrics_of(variant.predict, "validation", *HELD_OUT)
    assert made.size == (made.model.path / "model.onnx").stat().st_size
    measured = json.loads((made.model.path / MEASURED).read_text())
    assert 0 < measured["latency"]["p50_ns"] <= measured["latency"]["p99_ns"]
    assert measured["latency"]["machine"] == made.latency.machine
    again = export_variant(asked, "onnx", graphs["onnx"], registry)
    assert (again.reused, again.model, again.latency) == (True, made.model, made.latency)


def test_the_same_model_exports_to_the_same_content_whatever_it_took(registry: Registry) -> None:
    asked = export_of(registry, "btc-mid", "XGBoostPredictor")
    once, twice = (to_onnx(asked.predictor).SerializeToString(deterministic=True) for _ in "ab")
    assert once == twice
    made = export_variant(asked, "onnx", to_onnx(asked.predictor), registry)
    digest = artifact_digest(made.model.path)
    file = made.model.path / MEASURED
    text = file.read_text()
    file.write_text("{}")
    assert artifact_digest(made.model.path) == digest
    file.write_text(text)


def test_a_network_in_eight_bits_is_smaller_and_nearly_as_accurate(registry: Registry) -> None:
    asked = export_of(registry, "network", "SklearnPredictor")
    graphs = convert(asked, ["onnx", "int8"])
    assert {node.op_type for node in graphs["int8"].graph.node} >= {"MatMulInteger"}
    made = {kind: export_variant(asked, kind, graph, registry) for kind, graph in graphs.items()}
    assert made["int8"].model.name == "network-int8"
    assert made["int8"].size < made["onnx"].size / 2
    assert made["int8"].largest_difference > made["onnx"].largest_difference
    errors = {kind: one.metrics["validation_rmse"] for kind, one in made.items()}
    assert errors["int8"] != errors["onnx"]
    assert errors["int8"] == pytest.approx(errors["onnx"], rel=0.1)
    loaded = load_predictor("OnnxPredictor", made["int8"].model.path)
    assert metrics_of(loaded.predict, "validation", *HELD_OUT) == made["int8"].metrics


def test_eight_bits_are_refused_where_nothing_is_multiplied(registry: Registry) -> None:
    asked = export_of(registry, "btc-mid", "XGBoostPredictor")
    with pytest.raises(PredictorError, match=r"TreeEnsembleRegressor; trees compare.*to `onnx`"):
        convert(asked, ["onnx", "int8"])
    with pytest.raises(PredictorError, match="LinearRegressor; no matrix of weights"):
        quantise(to_onnx(linear()))


def linear() -> Any:
    from inference.predictors.card import Facts
    from inference.predictors.sklearn import SklearnPredictor

    return SklearnPredictor(fitted("ridge"), Facts(), features=NAMES)


def test_an_exported_classifier_keeps_the_names_of_its_classes(tmp_path: Path) -> None:
    from inference.predictors.card import Facts
    from inference.predictors.sklearn import SklearnPredictor

    own = SklearnPredictor(fitted("three classes"), Facts(), features=NAMES, output="up")
    (tmp_path / "model.onnx").write_bytes(to_onnx(own).SerializeToString())
    graph: Any = load_predictor("OnnxPredictor", tmp_path, params={"output": "up"})
    assert graph.classes == own.classes == ("down", "flat", "up")
    rows = HELD_OUT[0]
    assert graph.predict(rows) == pytest.approx(own.predict(rows), abs=1e-6)
    assert probabilities_of(graph, rows) == pytest.approx(own.probabilities(rows), abs=1e-6)


def test_a_graph_that_says_something_else_is_not_registered(registry: Registry) -> None:
    asked = export_of(registry, "btc-mid", "XGBoostPredictor")
    other = to_onnx(linear())
    rows = (HELD_OUT[0] + 1.0, HELD_OUT[1])  # another recipe than the one made above
    with pytest.raises(PredictorError, match="must say what the model says"):
        export_variant(asked._replace(held_out=rows), "onnx", other, registry)
    with pytest.raises(PredictorError, match="must be registered"):
        convert(asked._replace(parent=asked.parent._replace(name="")), ["onnx"])
    own = load_predictor("tests.inference.models.weighted", Path(__file__), features=NAMES)
    with pytest.raises(PredictorError, match="must be one of XGBoostPredictor or SklearnPredictor"):
        to_onnx(own)
