"""Models of several kinds, and their export, at the command line."""

# ruff: noqa: F811 - fixtures are imported by the names under which tests ask for them

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.models import MODELS
from tests.backtester.test_cli_models import (  # noqa: F401
    LOOP,
    code,
    here,
    refused,
    trained,
    workshop,
    write,
)

pytestmark = pytest.mark.slow

OWN = """
def tilted(values, weight=1.0):
    return weight * values[:, 0]

def by_shape(values):
    return values[:, 0] + 1e-9 * len(values)
"""


def loop(**given: Any) -> dict[str, Any]:
    return LOOP | given


def summary(capsys: pytest.CaptureFixture[str], *arguments: str, **settings: Any) -> Any:
    capsys.readouterr()
    assert code("run", write(**settings), "--json", "--no-report", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_an_exported_model_runs_in_its_parents_place(trained, here, capsys, refused):
    assert code("export", write(), "--to", "onnx", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"]["uri"] == "models:/small/1"
    (variant,) = told["variants"]
    assert variant["uri"] == "models:/small-onnx/1"
    assert variant["metrics"]["validation_rmse"] == pytest.approx(
        told["model"]["metrics"]["validation_rmse"], rel=1e-5
    )
    assert told["model"]["metrics"]["validation_rmse"] == pytest.approx(trained["validation_rmse"])
    own = summary(capsys)
    asked = {"model_uri": variant["uri"], "predictor_class_name": "OnnxPredictor"}
    other = summary(capsys, inference=loop(**asked))
    assert other["fills"] == own["fills"] > 0
    assert code("export", write(), "--to", "onnx") == 0
    assert "models:/small-onnx/1 (made before)" in capsys.readouterr().out
    text = refused("export", write(), "--to", "int8")
    assert "trees compare features with thresholds" in text
    assert "`--to`" in refused("export", write(), "--to", "int4")
    text = refused("run", write(inference=loop(model_uri=variant["uri"])))
    assert "must describe an XGBoost model: got flavors ['onnx', 'python_function']" in text


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_registered_model_that_was_cut_short_is_one_message(trained, here, refused, kept):
    copy = here / f"cut-{kept}"
    shutil.copytree(Path(trained["path"]), copy)
    content = (copy / "model.ubj").read_bytes()
    (copy / "model.ubj").write_bytes(content[: int(len(content) * kept)])
    text = refused("run", write(inference=loop(model_uri=str(copy))))
    assert "model.ubj must be an XGBoost model" in text
    (copy / "model.ubj").unlink()
    assert "there is no such file" in refused("run", write(inference=loop(model_uri=str(copy))))


def test_a_pickle_from_a_path_is_loaded_only_if_the_scenario_trusts_it(here, refused, capsys):
    import joblib
    from sklearn.linear_model import Ridge

    values = np.random.default_rng(1).normal(size=(50, 2))
    joblib.dump(Ridge().fit(values, values[:, 0] * 0.4), here / "ridge.joblib")
    asked = {"model_uri": "ridge.joblib", "predictor_class_name": "SklearnPredictor"}
    text = refused("run", write(inference=loop(**asked)))
    assert "it is a pickle, and loading it runs whatever code it holds" in text
    found = summary(capsys, inference=loop(**asked, trust_model_files=True))
    assert found["predictions"]["completed"] > 0


def test_a_model_that_is_not_batch_invariant_gives_one_result_in_both_modes(here, capsys):
    (here / "own_models.py").write_text(OWN)
    digests = {}
    for function in ("tilted", "by_shape"):
        asked = {
            "model_uri": "own_models.py",
            "predictor_class_name": f"own_models.{function}",
            "batching": {"kind": "ray", "max_batch_size": 4},
        }
        digests[function] = {
            summary(capsys, "--mode", mode, inference=loop(**asked))["trace_digest"]
            for mode in ("ahead", "lockstep")
        }
        assert len(digests[function]) == 1
    assert digests["tilted"] != digests["by_shape"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"predictor_params": {"ouput": 1}}, "Did you mean 'output'"),
        ({"predictor_params": {"output": 3}}, "`predictor_params.output` must be an output"),
        ({"predictor_params": 3}, "predictor_params"),
        ({"predictor_class_name": "OnnxPredictor"}, "must describe an ONNX model"),
        ({"predictor_class_name": "SklearnPredictor"}, "must describe a scikit-learn model"),
    ],
)
def test_a_predictor_that_does_not_fit_is_one_message(trained, refused, given, message):
    assert message in refused("run", write(inference=loop(**given)))


def test_one_process_loads_a_model_once(trained, capsys):
    MODELS.clear()
    first = summary(capsys)
    before = MODELS.misses
    assert summary(capsys)["trace_digest"] == first["trace_digest"]
    assert MODELS.misses == before
