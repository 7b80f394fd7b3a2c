"""One small model trained into a store of its own; everything else reads it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clock.errors import InputError
from inference import mlflow_client
from inference.errors import ModelNotFoundError
from inference.predictors import TrainingRecord, load_predictor
from inference.predictors.xgboost import XGBoostPredictor
from inference.registry import Registry, artifact_digest
from inference.training import TrainedModel, train_xgboost

pytestmark = pytest.mark.slow

NAMES = ["mid", "imbalance", "flow"]
MADE = TrainingRecord(10, 20, 25, "data")
PARAMS = {"max_depth": 3, "eta": 0.2}


def samples(rows: int = 400) -> tuple[Any, Any]:
    generator = np.random.default_rng(5)
    values = generator.normal(size=(rows, 3)) * [100.0, 1.0, 0.01]
    return values, values[:, 1] * 0.5 + 0.1 * generator.normal(size=rows)


def train(registry: Registry, **given: Any) -> TrainedModel:
    values, labels = samples()
    given = {"params": PARAMS, "rounds": 12, "provenance": MADE, "model_name": "btc-mid", **given}
    validation = given.pop("validation", (values[300:], labels[300:]))
    return train_xgboost(
        values[:300], labels[:300], NAMES, registry=registry, validation=validation, **given
    )


TRAIN_IN_A_NEW_PROCESS = """
import sys
sys.path.insert(0, ".")
from pathlib import Path
from tests.inference.test_registry_and_training import Registry, load_predictor, train
made = train(Registry(Path(sys.argv[1])))
assert not made.reused
load_predictor("XGBoostPredictor", made.model.path)
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store that another process made with the first training, and what that process printed."""
    folder = tmp_path_factory.mktemp("store")
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", TRAIN_IN_A_NEW_PROCESS, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return folder, done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(printed: tuple[Path, str]) -> tuple[Registry, TrainedModel]:
    registry = Registry(printed[0])
    return registry, train(registry)


@pytest.fixture
def registry(trained: tuple[Registry, TrainedModel]) -> Registry:
    return trained[0]


def test_training_registers_a_model_with_all_that_made_it(
    trained: tuple[Registry, TrainedModel],
) -> None:
    registry, made = trained
    assert (made.model.uri, made.model.version, made.reused) == ("models:/btc-mid/1", "1", True)
    assert made.metrics["validation_information_coefficient"] > 0.8
    assert made.model.tags["lightcone.last_label_visible_at"] == "25"
    with mlflow_client.mlflow_client(registry.address) as client:
        version = client.get_model_version("btc-mid", "1")
        run = client.get_run(version.run_id)
    assert run.data.params["max_depth"] == "3"
    assert run.data.params["features"] == '["mid", "imbalance", "flow"]'
    assert run.data.metrics == pytest.approx(made.metrics)


def test_the_loaded_predictor_is_the_trained_model(
    trained: tuple[Registry, TrainedModel],
) -> None:
    made = trained[1].model
    predictor = load_predictor("XGBoostPredictor", made.path, version=made.version)
    assert predictor.feature_names == tuple(NAMES)
    assert predictor.training == MADE
    assert predictor.batch_invariant
    assert predictor.version == "1"
    values, labels = samples()
    predicted = predictor.predict(values)
    assert predicted.dtype == np.float64
    assert predicted.shape == (400,)
    assert np.corrcoef(predicted, labels)[0, 1] > 0.8
    alone = np.concatenate([predictor.predict(values[i : i + 1]) for i in range(60)])
    assert alone.tobytes() == predicted[:60].tobytes()
    assert isinstance(predictor, XGBoostPredictor)
    again = XGBoostPredictor.load(made.path / "model.ubj")
    assert again.digest == predictor.digest
    assert again.predict(values).tobytes() == predicted.tobytes()


def test_the_same_training_is_not_repeated_and_other_trainings_are(
    trained: tuple[Registry, TrainedModel], tmp_path: Path
) -> None:
    shutil.copytree(trained[0].root, tmp_path, dirs_exist_ok=True)
    registry = Registry(tmp_path)
    same = train(registry)
    assert (same.reused, same.model.version) == (True, "1")
    assert same.metrics == trained[1].metrics
    other = train(registry, rounds=13)
    assert (other.reused, other.model.version) == (False, "2")
    assert other.model.digest != same.model.digest
    assert registry.resolve("models:/btc-mid/latest").version == "2"
    with mlflow_client.mlflow_client(registry.address) as client:
        client.set_registered_model_alias("btc-mid", "champion", "1")
    assert registry.resolve("models:/btc-mid@champion").version == "1"
    for uri in ("models:/btc-mid/latest", "models:/btc-mid@champion", "models:/btc-mid/2"):
        found = registry.resolve(uri)
        asked = mlflow_client.look_up(registry.address, uri)
        assert (asked.name, asked.version, asked.tags) == (found.name, found.version, found.tags)
        assert Registry(tmp_path)._local(asked.location) == found.path
    recipe = other.model.tags["lightcone.recipe"]
    args = ("btc-mid", "lightcone.recipe", recipe)
    assert registry.find_tagged(*args) == "2"
    assert mlflow_client.find_tagged(registry.address, *args) == "2"


def test_training_twice_from_nothing_gives_the_same_digest(
    trained: tuple[Registry, TrainedModel], tmp_path: Path
) -> None:
    made = trained[1].model
    shutil.copytree(trained[0].root, tmp_path, dirs_exist_ok=True)
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as store:
        store.execute("DELETE FROM model_version_tags WHERE key = 'lightcone.recipe'")
    store.close()
    again = train(Registry(tmp_path))
    assert not again.reused
    assert (again.model.digest, again.model.version) == (made.digest, "2")
    assert again.model.path != made.path


def test_a_training_whose_artifact_is_gone_is_repeated(
    trained: tuple[Registry, TrainedModel], tmp_path: Path
) -> None:
    shutil.copytree(trained[0].root, tmp_path, dirs_exist_ok=True)
    registry = Registry(tmp_path)
    second = train(registry, rounds=11)
    shutil.rmtree(second.model.path)
    with pytest.raises(ModelNotFoundError, match="there is nothing at"):
        registry.resolve("models:/btc-mid/2")
    again = train(registry, rounds=11)
    assert (again.reused, again.model.version) == (False, "3")
    assert again.model.digest == second.model.digest


def test_an_artifact_that_is_not_what_was_registered_is_refused_and_trained_again(
    trained: tuple[Registry, TrainedModel], tmp_path: Path
) -> None:
    shutil.copytree(trained[0].root, tmp_path, dirs_exist_ok=True)
    registry = Registry(tmp_path)
    made = train(registry, rounds=9)
    file = made.model.path / "model.ubj"
    file.write_bytes(file.read_bytes()[:-1] + b"]")
    with pytest.raises(ModelNotFoundError, match="is not what was registered"):
        registry.resolve(made.model.uri)
    again = train(registry, rounds=9)
    assert (again.reused, again.model.digest) == (False, made.model.digest)


def test_run_uris_and_paths_lead_to_the_same_artifact(
    trained: tuple[Registry, TrainedModel],
) -> None:
    registry, made = trained
    with sqlite3.connect(registry.root / "mlruns" / "mlflow.db") as store:
        (run,) = store.execute("SELECT run_id FROM model_versions").fetchone()
    store.close()
    path = made.model.path
    for uri in (
        f"runs:/{run}/model",
        str(path),
        path.as_uri(),
        str(path.relative_to(registry.root)),
    ):
        found = registry.resolve(uri)
        assert (found.path, found.digest) == (path, made.model.digest)


def test_mlflow_itself_loads_the_model(trained: tuple[Registry, TrainedModel]) -> None:
    registry, made = trained
    with mlflow_client.mlflow_client(registry.address):
        import mlflow.xgboost

        path = mlflow_client.download(registry.address, made.model.path.as_uri())
        booster = mlflow.xgboost.load_model(str(path))
    assert type(booster).__name__ == "Booster"
    assert booster.feature_names == NAMES


def test_training_and_loading_print_nothing(printed: tuple[Path, str]) -> None:
    assert printed[1] == ""


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/btc-mid/7", "versions of model 'btc-mid' are: 1"),
        ("models:/btc-mid/first", "versions of model 'btc-mid' are: 1"),
        ("models:/btc-mld/1", "did you mean 'btc-mid'"),
        ("models:/btc-mid@best", "no alias 'best'"),
        ("models:/m-0123", "no logged model 'm-0123'"),
        ("runs:/0123/model", "no run '0123'"),
        ("models:/", "is written"),
        ("nowhere/model.ubj", "there is nothing at"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_what_to_do(
    registry: Registry, uri: str, message: str
) -> None:
    with pytest.raises(ModelNotFoundError, match=message) as caught:
        registry.resolve(uri, hint="Run `lightcone train scenarios/x.yaml`.")
    assert uri in str(caught.value)
    if uri != "models:/":
        assert str(caught.value).endswith("Run `lightcone train scenarios/x.yaml`.")


def test_mlflows_client_says_the_same_of_a_missing_model(registry: Registry) -> None:
    with pytest.raises(ModelNotFoundError, match="Train it"):
        mlflow_client.look_up(registry.address, "models:/btc-mid/7", "Train it.")


def test_a_store_that_is_none_or_broken_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no registry at"):
        Registry(tmp_path).resolve("models:/a/1")
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_text("no database " * 99)
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        Registry(tmp_path).resolve("models:/a/1")


def test_the_address_of_another_store_wins(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.address)
    assert Registry(tmp_path).resolve("models:/btc-mid/1").version == "1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert Registry(tmp_path).database is None


def test_the_digest_is_of_the_content_wherever_it_lies(
    trained: tuple[Registry, TrainedModel], tmp_path: Path
) -> None:
    path = trained[1].model.path
    copy = tmp_path / "elsewhere"
    shutil.copytree(path, copy)
    (copy / "MLmodel").write_text((copy / "MLmodel").read_text() + "# another host, another time\n")
    assert artifact_digest(copy) == artifact_digest(path)
    (copy / "model.ubj").write_bytes(b"x")
    assert artifact_digest(copy) != artifact_digest(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"params": {"max_dept": 3}}, "max_dept"),
        ({"params": {"max_depth": "deep"}}, "max_depth"),
        ({"params": {"objective": "reg:nothing"}}, "reg:nothing"),
        ({"rounds": 0}, "rounds"),
    ],
)
def test_training_refuses_what_xgboost_does_not_take(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(Registry(tmp_path), **given)


def test_training_refuses_an_unknown_parameter_where_xgboost_is_silent(tmp_path: Path) -> None:
    import xgboost

    with xgboost.config_context(verbosity=0), pytest.raises(InputError, match="max_dept"):
        train(Registry(tmp_path), params={"max_dept": 3})


def test_training_refuses_rows_it_cannot_learn_from(tmp_path: Path) -> None:
    fit = {"params": {}, "rounds": 1, "provenance": MADE, "model_name": "m"}
    registry = Registry(tmp_path)
    with pytest.raises(InputError, match="got none"):
        train_xgboost(np.empty((0, 3)), np.empty(0), NAMES, registry=registry, **fit)
    with pytest.raises(InputError, match="finite"):
        train_xgboost(np.full((2, 3), np.nan), np.zeros(2), NAMES, registry=registry, **fit)
    with pytest.raises(ValueError, match="shape"):
        train_xgboost(np.zeros((2, 2)), np.zeros(2), NAMES, registry=registry, **fit)
