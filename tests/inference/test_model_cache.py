"""Loaded models: which are kept, which go, and one load at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest

from inference.config import InferenceConfig
from inference.errors import ModelNotFoundError, PredictorError
from inference.model_cache import ModelCache
from inference.models import MODELS, ModelSpec, load_model, model_specs
from inference.registry import Registry
from tests.inference.cases import Formula


def made(name: str, order: list[str]) -> Any:
    def load() -> Any:
        order.append(name)
        return Formula(["mid"])

    return load


def test_the_least_recently_used_model_goes_first() -> None:
    cache, loads = ModelCache(max_models=2), []
    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(name, 1, made(name, loads))
    assert loads == ["a", "b", "c", "b"]
    assert cache.keys == ("a", "b")
    assert (cache.hits, cache.misses, cache.evictions) == (2, 4, 2)


def test_models_go_until_their_bytes_fit_and_one_too_large_is_not_held() -> None:
    cache, loads = ModelCache(max_models=9, max_bytes=10), []
    for name, size in (("a", 4), ("b", 4), ("c", 5)):
        cache.get(name, size, made(name, loads))
    assert (cache.keys, cache.size) == (("b", "c"), 9)
    cache.get("huge", 11, made("huge", loads))
    assert cache.keys == ("b", "c")
    cache.get("huge", 11, made("huge", loads))
    assert loads[-2:] == ["huge", "huge"]
    cache.clear()
    assert cache.keys == ()


def test_one_key_is_loaded_once_however_many_ask_and_others_need_not_wait() -> None:
    cache, loads = ModelCache(), []
    begun, go, together = Event(), Event(), Barrier(5)

    def slow() -> Any:
        loads.append("slow")
        begun.set()
        assert go.wait(20)
        return Formula(["mid"])

    def ask() -> Any:
        together.wait(20)
        return cache.get("slow", 1, slow)

    with ThreadPoolExecutor(5) as pool:
        asking = [pool.submit(ask) for _ in range(5)]
        assert begun.wait(20)
        cache.get("quick", 1, made("quick", loads))  # while the slow one is under way
        go.set()
        found = [one.result(20) for one in asking]
    assert len({id(one) for one in found}) == 1
    assert sorted(loads) == ["quick", "slow"]


def test_a_load_that_fails_leaves_nothing_behind() -> None:
    cache, loads = ModelCache(), []

    def broken() -> Any:
        raise PredictorError("broken")

    with pytest.raises(PredictorError):
        cache.get("a", 1, broken)
    cache.get("a", 1, made("a", loads))
    assert loads == ["a"]
    assert cache._loading == {}
    with pytest.raises(ValueError, match="max_models"):
        ModelCache(max_models=0)


def config(**given: Any) -> InferenceConfig:
    return InferenceConfig.model_validate({"features": ["a", "b"], **given})


@pytest.mark.slow
def test_the_same_content_and_parameters_are_one_model_and_a_users_class_never_is(
    tmp_path: Path,
) -> None:
    from tests.inference.models import NAMES, fitted, save_onnx

    MODELS.clear()
    save_onnx(fitted("ridge"), tmp_path / "one.onnx")
    (tmp_path / "two.onnx").write_bytes((tmp_path / "one.onnx").read_bytes())
    registry = Registry(tmp_path)

    def spec(**given: Any) -> ModelSpec:
        asked = {"predictor_class_name": "OnnxPredictor", "features": NAMES} | given
        return model_specs(config(**asked), registry)[""]

    one = load_model(spec(model_uri="one.onnx"))
    assert load_model(spec(model_uri="two.onnx")) is one
    assert load_model(spec(model_uri="one.onnx", predictor_params={"intra_op_threads": 2})) != one
    assert len(MODELS.keys) == 2
    (tmp_path / "offset.txt").write_text("1")
    own = spec(model_uri="offset.txt", predictor_class_name="tests.inference.models.Offset")
    assert load_model(own) is not load_model(own)
    with pytest.raises(ModelNotFoundError, match="there is nothing at"):
        spec(model_uri="three.onnx")
    MODELS.clear()


@pytest.mark.slow
def test_a_variant_has_its_own_predictor_and_parameters(tmp_path: Path) -> None:
    from tests.inference.models import NAMES, fitted, save_joblib, save_onnx

    save_onnx(fitted("ridge"), tmp_path / "model.onnx")
    save_joblib(fitted("ridge"), tmp_path / "model.joblib")
    asked = config(
        features=NAMES,
        predictor_class_name="OnnxPredictor",
        predictor_params={"graph_optimization": "basic"},
        variants={
            "graph": {"model_uri": "model.onnx", "share": 0.5},
            "own": {
                "model_uri": "model.joblib",
                "share": 0.5,
                "predictor_class_name": "SklearnPredictor",
                "trust_model_files": True,
            },
        },
        routing="split",
    )
    specs = model_specs(asked, Registry(tmp_path))
    assert specs["graph"].params == {"graph_optimization": "basic"}
    assert (specs["graph"].trusted, specs["own"].trusted) == (False, True)
    rows = np.random.default_rng(1).normal(size=(4, 3))
    said = [load_model(spec).predict(rows) for spec in specs.values()]
    assert said[0] == pytest.approx(said[1], rel=1e-4)
    with pytest.raises(PredictorError, match="trust_model_files"):
        load_model(specs["own"]._replace(trusted=False))
