"""Each predictor against the library that it wraps, and what it refuses."""

from __future__ import annotations

import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clock import compiled
from inference.errors import PredictorError
from inference.mlflow_client import quiet_mlflow
from inference.predictors import Predictor, invariance, load_predictor, probabilities_of
from inference.predictors.card import CARD, card_text
from tests.inference.models import NAMES, SAVERS, fitted, samples, save_onnx, save_skops

pytestmark = pytest.mark.slow

HERE = "tests.inference.models"
ROWS, _ = samples(64, seed=9)


def load(kind: str, path: Path, **given: Any) -> Predictor:
    return load_predictor(kind, path, **({"features": NAMES} | given))


# --- scikit-learn and ONNX --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ridge", "network"])
def test_a_regressor_says_what_scikit_learn_says(kind: str, tmp_path: Path) -> None:
    model = fitted(kind)
    predictor = load("SklearnPredictor", save_skops(model, tmp_path / "model.skops"), version="4")
    assert predictor.predict(ROWS).tobytes() == model.predict(ROWS).tobytes()
    assert predictor.feature_names == tuple(NAMES)
    assert (predictor.version, predictor.training, predictor.accepts_nan) == ("4", None, False)
    assert probabilities_of(predictor, ROWS) is None
    onnx = load("OnnxPredictor", save_onnx(model, tmp_path / "model.onnx"))
    assert onnx.predict(ROWS) == pytest.approx(model.predict(ROWS), rel=1e-4, abs=1e-5)
    assert onnx.predict(ROWS).dtype == np.float64


@pytest.mark.parametrize("zipmap", [True, False])
def test_of_two_classes_the_value_is_the_probability_of_the_second(
    zipmap: bool, tmp_path: Path
) -> None:
    model = fitted("two classes")
    said = model.predict_proba(ROWS)
    for kind, file in (
        ("SklearnPredictor", save_skops(model, tmp_path / "model.skops")),
        ("OnnxPredictor", save_onnx(model, tmp_path / "model.onnx", zipmap=zipmap)),
    ):
        predictor = load(kind, file)
        assert predictor.predict(ROWS) == pytest.approx(said[:, 1], abs=1e-6)
        assert probabilities_of(predictor, ROWS) == pytest.approx(said, abs=1e-6)


def test_of_more_classes_one_is_chosen_by_its_label_or_place(tmp_path: Path) -> None:
    model = fitted("three classes")
    said = model.predict_proba(ROWS)
    skops, onnx = (
        save_skops(model, tmp_path / "model.skops"),
        save_onnx(model, tmp_path / "model.onnx", zipmap=False),
    )
    for kind, file, output in (("SklearnPredictor", skops, "up"), ("OnnxPredictor", onnx, 2)):
        predictor = load(kind, file, params={"output": output})
        assert predictor.predict(ROWS) == pytest.approx(said[:, 2], abs=1e-6)
        with pytest.raises(PredictorError, match="must have one output: got 3"):
            load(kind, file)
        with pytest.raises(PredictorError, match=r"predictor_params\.output.*'sideways'"):
            load(kind, file, params={"output": "sideways"})
    (tmp_path / CARD).write_text(card_text(None, ROWS, NAMES, ["down", "flat", "up"]))
    named = load("OnnxPredictor", onnx, params={"output": "down"})
    assert named.predict(ROWS) == pytest.approx(said[:, 0], abs=1e-6)


def test_onnx_rounds_rows_to_single_precision_and_scikit_learn_does_not(tmp_path: Path) -> None:
    model = fitted("ridge")
    near = np.nextafter(ROWS[:1], np.inf)  # the same row in single precision
    onnx = load("OnnxPredictor", save_onnx(model, tmp_path / "model.onnx"))
    own = load("SklearnPredictor", save_skops(model, tmp_path / "model.skops"))
    assert onnx.predict(near) == onnx.predict(ROWS[:1])
    assert own.predict(near) != own.predict(ROWS[:1])


def test_an_estimator_fitted_to_named_columns_takes_plain_rows(tmp_path: Path) -> None:
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values, labels = samples()
    frame = pandas.DataFrame(values, columns=NAMES)
    by_name = make_column_transformer((StandardScaler(), ["flow", "mid"]))
    for model in (Ridge(), make_pipeline(by_name, Ridge())):
        model.fit(frame, labels)
        said = model.predict(pandas.DataFrame(ROWS, columns=NAMES))
        file = save_skops(model, tmp_path / "model.skops")
        predictor = load_predictor("SklearnPredictor", file)
        assert predictor.feature_names == tuple(NAMES)
        # a frame lies in memory column by column: BLAS may round its last bit otherwise
        np.testing.assert_allclose(predictor.predict(ROWS), said, rtol=1e-13)


def test_jobs_of_a_forest_are_pinned_and_its_threads_found_to_matter(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(12, n_jobs=2, random_state=0).fit(*samples())
    file = SAVERS["model.joblib"](forest, tmp_path / "model.joblib")
    predictor: Any = load("SklearnPredictor", file, trusted=True)
    assert predictor.estimator.n_jobs == 1
    assert len({predictor.predict(ROWS).tobytes() for _ in range(5)}) == 1
    forest.n_jobs = 1
    assert predictor.predict(ROWS).tobytes() == forest.predict(ROWS).tobytes()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"intra_op_threads": 0}, "from 1 to 1024: got 0"),
        ({"graph_optimization": "most"}, "must be one of disable, basic, extended, all"),
        ({"providers": ["TpuExecutionProvider"]}, "CPUExecutionProvider.*got 'TpuExecution"),
        ({"intra_op_thread": 2}, "Did you mean 'intra_op_threads'"),
        ({"path": "x"}, "must be a parameter of"),
        ({"tensor": "other"}, "called 'other'"),
    ],
)
def test_settings_that_onnx_runtime_has_not_are_refused(
    params: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(PredictorError, match=message):
        load("OnnxPredictor", save_onnx(fitted("ridge"), tmp_path / "model.onnx"), params=params)


def test_onnx_settings_reach_the_session(tmp_path: Path) -> None:
    file = save_onnx(fitted("network"), tmp_path / "model.onnx")
    plain: Any = load("OnnxPredictor", file)
    params = {"intra_op_threads": 2, "inter_op_threads": 2, "graph_optimization": "disable"}
    other: Any = load("OnnxPredictor", file, params=params)
    options, pinned = other._session.get_session_options(), plain._session.get_session_options()
    assert (pinned.intra_op_num_threads, pinned.inter_op_num_threads) == (1, 1)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2)
    assert options.graph_optimization_level.name == "ORT_DISABLE_ALL"
    assert other.predict(ROWS) == pytest.approx(plain.predict(ROWS), rel=1e-5)
    again = pickle.loads(pickle.dumps(plain))
    assert again.predict(ROWS).tobytes() == plain.predict(ROWS).tobytes()


def test_the_last_rows_of_each_feature_reach_a_graph_as_rows(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    node = helper.make_node("ReduceSum", ["x"], ["row_sums"], keepdims=0)
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    node.input.append("axes")
    graph = helper.make_graph(
        [node],
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 2, 3])],
        [helper.make_tensor_value_info("row_sums", TensorProto.DOUBLE, ["n"])],
        [axes],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    names = ["a@-1", "b@-1", "c@-1", "a", "b", "c"]
    predictor = load("OnnxPredictor", tmp_path, features=names)
    rows = np.arange(12.0).reshape(2, 6)
    assert predictor.predict(rows).tolist() == [15.0, 51.0]
    with pytest.raises(PredictorError, match="it reads 6, got 3 names"):
        load("OnnxPredictor", tmp_path)


# --- MLflow's Python function, and functions --------------------------------------------------


def save_pyfunc(folder: Path, *, signed: bool) -> Path:
    with quiet_mlflow(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.sklearn
        import pandas
        from mlflow.models import infer_signature

        values, _ = samples()
        frame = pandas.DataFrame(values[:5].astype(np.float32), columns=NAMES)
        model = fitted("ridge")
        signature = infer_signature(frame, model.predict(values[:5])) if signed else None
        mlflow.sklearn.save_model(
            model,
            folder,
            signature=signature,
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],  # told, it does not load the model to find out
        )
    return folder


@pytest.mark.filterwarnings("ignore:X has feature names")  # of a frame, where it knew an array
def test_any_mlflow_flavor_is_asked_through_its_python_function(tmp_path: Path) -> None:
    signed, bare = (
        save_pyfunc(tmp_path / "signed", signed=True),
        save_pyfunc(tmp_path / "bare", signed=False),
    )
    said = fitted("ridge").predict(ROWS)
    predictor = load_predictor("PyfuncPredictor", signed, trusted=True)
    assert predictor.feature_names == tuple(NAMES)
    rounded = fitted("ridge").predict(ROWS.astype(np.float32))
    assert predictor.predict(ROWS) == pytest.approx(rounded, rel=1e-6)
    assert load("PyfuncPredictor", bare, trusted=True).predict(ROWS) == pytest.approx(said)
    with pytest.raises(PredictorError, match="must know the features it reads"):
        load_predictor("PyfuncPredictor", bare, trusted=True)
    # the same folder is a scikit-learn model, whose columns its signature names
    sklearn = load_predictor("SklearnPredictor", signed, trusted=True)
    assert sklearn.feature_names == tuple(NAMES)
    assert sklearn.predict(ROWS) == pytest.approx(said)
    for kind, what in (("PyfuncPredictor", "Python function"), ("SklearnPredictor", "a pickle")):
        with pytest.raises(PredictorError, match=rf"(?s){what}.*trust_model_files: true"):
            load_predictor(kind, signed)


def test_a_function_by_its_dotted_path_is_a_predictor() -> None:
    artifact = Path(__file__)
    predictor = load(f"{HERE}.weighted", artifact, params={"weight": 3.0})
    assert isinstance(predictor, Predictor)
    assert predictor.predict(ROWS).tobytes() == (ROWS[:, 0] * 3.0).tobytes()
    assert predictor.batch_invariant
    assert len(predictor.digest) == 64
    with pytest.raises(PredictorError, match="must know the features"):
        load_predictor(f"{HERE}.weighted", artifact)
    with pytest.raises(PredictorError, match="Did you mean 'weight'"):
        load(f"{HERE}.weighted", artifact, params={"wieght": 1})


def test_a_class_by_its_dotted_path_gets_what_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "offset.txt").write_text("0.5")
    predictor = load(f"{HERE}.Offset", tmp_path / "offset.txt", params={"scale": 2})
    assert predictor.feature_names == ("a", "b")
    assert predictor.predict(np.array([[1.0, 2.0]])).tolist() == [6.5]
    (tmp_path / "offset.txt").write_text("none")
    with pytest.raises(PredictorError, match=r"must make a model.*ValueError"):
        load(f"{HERE}.Offset", tmp_path / "offset.txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two_columns", "one value a row: got shape"),
        ("failing", "ZeroDivisionError .no model."),
        ("NAMES", "class method `load"),
        ("SAVERS", "class method `load"),
    ],
)
def test_what_is_no_model_is_refused_when_it_is_loaded(name: str, message: str) -> None:
    with pytest.raises(PredictorError, match=message):
        load(f"{HERE}.{name}", Path(__file__))


# --- batch invariance -------------------------------------------------------------------------


def test_a_function_that_sees_its_batch_is_not_batch_invariant() -> None:
    predictor: Any = load(f"{HERE}.by_shape", Path(__file__))
    assert not predictor.batch_invariant
    assert "alone differs" in predictor.batch_difference


def test_what_was_measured_once_is_remembered_for_the_same_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "CACHE_FOLDER", tmp_path / "cache")
    measured = []

    def counted(*given: Any) -> Any:
        measured.append(given)
        return measure(*given)

    measure = invariance.measure_invariance
    monkeypatch.setattr(invariance, "measure_invariance", counted)
    file = save_onnx(fitted("ridge"), tmp_path / "model.onnx")
    first: Any = load("OnnxPredictor", file)
    again: Any = load("OnnxPredictor", file)
    assert len(measured) == 1
    assert (again.batch_invariant, again.batch_difference) == (
        first.batch_invariant,
        first.batch_difference,
    )
    load("OnnxPredictor", file, params={"graph_optimization": "disable"})
    assert len(measured) == 2
    load("OnnxPredictor", save_onnx(fitted("network"), tmp_path / "model.onnx"))
    assert len(measured) == 3
    for record in (tmp_path / "cache").rglob("*.json"):
        record.write_text("{")
    load("OnnxPredictor", file)
    assert len(measured) == 4
    assert sorted(path.name for path in tmp_path.glob("model*")) == ["model.onnx"]


# --- broken files -----------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", list(SAVERS))
def test_a_model_file_that_is_cut_short_is_one_message(
    name: str, kept: float, tmp_path: Path
) -> None:
    file = SAVERS[name](fitted("network"), tmp_path / name)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    kind = "OnnxPredictor" if name.endswith("onnx") else "SklearnPredictor"
    with pytest.raises(PredictorError, match=rf"{name} must be an? .*cut short") as caught:
        load(kind, file, trusted=True)
    assert "\n" not in str(caught.value)


def test_an_mlflow_folder_that_lost_a_file_is_one_message(tmp_path: Path) -> None:
    whole = save_pyfunc(tmp_path / "whole", signed=True)
    for name in ("model.pkl", "MLmodel"):
        folder = tmp_path / f"without-{name}"
        shutil.copytree(whole, folder)
        (folder / name).unlink()
        for kind in ("PyfuncPredictor", "SklearnPredictor", "OnnxPredictor"):
            if name == "MLmodel" and kind == "SklearnPredictor":
                continue  # the pickle alone is enough for it
            with pytest.raises(PredictorError, match=r"without-\S* must (be|hold|describe)"):
                load(kind, folder, trusted=True)
    (whole / "MLmodel").write_text("flavors: [")
    for kind in ("PyfuncPredictor", "SklearnPredictor", "OnnxPredictor", "XGBoostPredictor"):
        with pytest.raises(PredictorError, match="MLmodel must be a description"):
            load(kind, whole, trusted=True)


def test_an_untrusted_skops_file_may_hold_known_types_alone(tmp_path: Path) -> None:
    from sklearn.tree import DecisionTreeRegressor

    file = save_skops(DecisionTreeRegressor(max_depth=2).fit(*samples()), tmp_path / "model.skops")
    with pytest.raises(PredictorError, match=r"holds others.*Tree.*trusted_types"):
        load("SklearnPredictor", file)
    named = load("SklearnPredictor", file, params={"trusted_types": ["sklearn.tree._tree.Tree"]})
    trusted = load("SklearnPredictor", file, trusted=True)
    assert named.predict(ROWS).tobytes() == trusted.predict(ROWS).tobytes()
