from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from inference.errors import PredictorError
from inference.predictors import Predictor, load_predictor
from inference.predictors.ubjson import fault_in_ubjson
from inference.predictors.xgboost import CARD, XGBoostPredictor

pytestmark = pytest.mark.slow


class Doubling:
    """A predictor of a user's own, found by its dotted path."""

    feature_names = ("mid",)
    batch_invariant = True
    accepts_nan = False
    digest = "doubling"
    training = None

    def __init__(self, version: str) -> None:
        self.version = version

    @classmethod
    def load(cls, path: Path, version: str) -> Doubling:
        return cls(version)

    def predict(self, values: Any) -> Any:
        return values[:, 0] * 2


def booster(names: list[str] | None = None, classes: int = 0) -> xgboost.Booster:
    values = np.random.default_rng(1).normal(size=(200, 2))
    labels = (values[:, 0] > 0).astype(float)
    data = xgboost.DMatrix(values, labels, feature_names=names)
    params: dict[str, Any] = {"max_depth": 3, "nthread": 1}
    if classes:
        params |= {"objective": "multi:softprob", "num_class": classes}
    return xgboost.train(params, data, 5)


def test_a_users_class_is_found_by_its_dotted_path() -> None:
    predictor = load_predictor(f"{__name__}.Doubling", Path("x"), version="3")
    assert isinstance(predictor, Predictor)
    assert predictor.version == "3"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("XGBostPredictor", "Did you mean 'XGBoostPredictor'"),
        ("inference.predictors.xgboost.XGBoostPredicter", "Did you mean .*XGBoostPredictor"),
        ("no.such.module.Class", "no module 'no.such.module'"),
        ("inference.predictors.base.TrainingRecord", "class method"),
    ],
)
def test_an_unknown_predictor_class_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(PredictorError, match=message):
        load_predictor(name, Path("x"))


def test_a_model_file_without_anything_beside_it_is_enough(tmp_path: Path) -> None:
    booster(["a", "b"]).save_model(tmp_path / "model.json")
    for path in (tmp_path, tmp_path / "model.json"):
        predictor = XGBoostPredictor.load(path)
        assert predictor.feature_names == ("a", "b")
        assert predictor.training is None
        assert predictor.batch_invariant


def test_a_binary_model_that_was_cut_short_anywhere_is_noticed_and_a_whole_one_is_not() -> None:
    content = bytes(booster(["a", "b"]).save_raw("ubj"))
    assert fault_in_ubjson(content) == ""
    assert [fault_in_ubjson(content[:end]) for end in range(len(content))].count("") == 0
    assert "follows its end" in fault_in_ubjson(content + b"}")
    assert "no value begins with" in fault_in_ubjson(b"{i\x01a?}")
    assert "where a length must be" in fault_in_ubjson(b"{?")
    assert "no value begins with" in fault_in_ubjson(b"[" * 100 + b"]" * 100)


def test_a_predictor_survives_pickling() -> None:
    predictor = XGBoostPredictor(booster(["a", "b"]))
    values = np.random.default_rng(2).normal(size=(9, 2))
    again = pickle.loads(pickle.dumps(predictor))
    assert again.predict(values).tobytes() == predictor.predict(values).tobytes()


def test_batches_that_change_bits_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    predict = XGBoostPredictor.predict
    monkeypatch.setattr(
        XGBoostPredictor, "predict", lambda self, rows: predict(self, rows) + 1e-9 * (len(rows) > 1)
    )
    assert not XGBoostPredictor(booster(["a", "b"])).batch_invariant


def test_models_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictorError, match="feature names"):
        XGBoostPredictor(booster())
    with pytest.raises(PredictorError, match="one output"):
        XGBoostPredictor(booster(["a", "b"], classes=3))
    with pytest.raises(PredictorError, match="no model file"):
        XGBoostPredictor.load(tmp_path)
    (tmp_path / "model.ubj").write_bytes(b"broken")
    with pytest.raises(PredictorError, match="cannot read"):
        XGBoostPredictor.load(tmp_path)
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    with pytest.raises(PredictorError, match="sklearn"):
        XGBoostPredictor.load(tmp_path)
    (tmp_path / "MLmodel").unlink()
    booster(["a", "b"]).save_model(tmp_path / "model.ubj")
    (tmp_path / CARD).write_text(json.dumps({"probe": []}))
    with pytest.raises(PredictorError, match="lightcone train"):
        XGBoostPredictor.load(tmp_path)
