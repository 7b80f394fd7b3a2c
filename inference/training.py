"""Training: fit an XGBoost model, and register it with all that made it."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.errors import InputError
from inference.errors import ModelNotFoundError
from inference.mlflow_client import mlflow_client
from inference.predictors.base import TrainingRecord
from inference.predictors.xgboost import CARD, card_text
from inference.registry import CONTENT, Registry, ResolvedModel, artifact_digest

RECIPE = "lightcone.recipe"
"""Tag of a version: the digest of all that its model depends on."""

Floats = NDArray[np.float64]


class TrainedModel(NamedTuple):
    """A registered model; `reused` when the same training had registered it before."""

    model: ResolvedModel
    metrics: dict[str, float]
    reused: bool


def train_xgboost(
    values: Floats,
    labels: Floats,
    feature_names: Sequence[str],
    *,
    params: Mapping[str, Any],
    rounds: int,
    provenance: TrainingRecord,
    model_name: str,
    registry: Registry,
    validation: tuple[Floats, Floats] | None = None,
    extra_params: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Fit a model, log how it was made, and register it as a new version.

    The same data, parameters and XGBoost give the same bits: one thread and a fixed seed. A
    training that was registered before is not repeated: its newest version is returned.

    Args:
        values: Features, shape (n, n_features), finite.
        labels: Labels, shape (n,), finite.
        feature_names: The columns, in order.
        params: XGBoost's parameters; `nthread` is always 1, `seed` 0 unless given.
        rounds: Number of trees.
        provenance: The range, the last label's `visible_at`, and the digest of the data.
        model_name: Name in the registry.
        registry: Where to register.
        validation: Features and labels held out, for the metrics; never trained on.
        extra_params: More to log, for the record.

    Raises:
        InputError: If there is nothing to train on, or XGBoost refuses a parameter.
    """
    _check(values, labels, feature_names, rounds)
    settings = _settings(params)
    parts = (values, labels) if validation is None else (values, labels, *validation)
    recipe = _recipe(parts, feature_names, settings, rounds, provenance)
    model = registered_before(registry, model_name, recipe)
    if model is not None:
        return TrainedModel(model, json.loads(model.tags["lightcone.metrics"]), reused=True)
    booster = fit_booster(values, labels, feature_names, settings, rounds)
    metrics = metrics_of(booster.inplace_predict, "train", values, labels)
    if validation is not None and len(validation[1]):
        metrics |= metrics_of(booster.inplace_predict, "validation", *validation)
    record = {
        **settings,
        "rounds": rounds,
        "features": json.dumps(list(feature_names)),
        **provenance._asdict(),
        **(extra_params or {}),
    }
    tags = {RECIPE: recipe, "lightcone.metrics": json.dumps(metrics)}
    tags |= {f"lightcone.{key}": str(value) for key, value in provenance._asdict().items()}
    with tempfile.TemporaryDirectory() as folder, mlflow_client(registry.address) as client:
        _write(Path(folder), booster, card_text(provenance, values))
        made = register_model(client, registry, model_name, Path(folder), record, metrics, tags)
    return TrainedModel(registry.resolve(f"models:/{model_name}/{made}"), metrics, reused=False)


def _check(values: Floats, labels: Floats, names: Sequence[str], rounds: int) -> None:
    if values.ndim != 2 or values.shape != (len(labels), len(names)):
        raise ValueError(
            f"`values` must have shape ({len(labels)}, {len(names)}): got {values.shape}."
        )
    if not len(labels):
        raise InputError(
            "training: rows with every feature and a label must exist: got none. "
            "Widen the training range, or shorten the windows."
        )
    if not (np.isfinite(values).all() and np.isfinite(labels).all()):
        raise InputError("training: features and labels must be finite: got NaN or infinity.")
    if rounds < 1:
        raise InputError(f"training: `rounds` must be at least 1: got {rounds}.")


def registered_before(registry: Registry, name: str, recipe: str) -> ResolvedModel | None:
    """Return the version that this very recipe made, unless its artifact is gone."""
    known = registry.find_tagged(name, RECIPE, recipe)
    try:
        return None if known is None else registry.resolve(f"models:/{name}/{known}")
    except ModelNotFoundError:
        return None


def _recipe(
    parts: Sequence[Floats],
    names: Sequence[str],
    settings: Mapping[str, Any],
    rounds: int,
    provenance: TrainingRecord,
) -> str:
    release = version("xgboost")  # importing it to ask would cost a repeated training two seconds
    described = [list(names), dict(settings), rounds, list(provenance), release]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for part in parts:
        digest.update(repr(part.shape).encode())
        digest.update(np.ascontiguousarray(part, np.float64).tobytes())
    return digest.hexdigest()


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    given = {"objective": "reg:squarederror", "tree_method": "hist", "seed": 0, **params}
    return given | {"nthread": 1}


def fit_booster(
    values: Floats, labels: Floats, names: Sequence[str], params: Mapping[str, Any], rounds: int
) -> Any:
    """Return a fitted `xgboost.Booster`: the same bits for the same rows and parameters.

    Raises:
        InputError: If XGBoost refuses a parameter.
    """
    import xgboost

    settings = _settings(params)
    data = xgboost.DMatrix(values, labels, feature_names=list(names), nthread=1)
    try:
        # its verbosity is the process's: at 0, a parameter it does not know passes unseen
        with xgboost.config_context(verbosity=1), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            booster = xgboost.train({**settings, "validate_parameters": True}, data, rounds)
        unused = [str(one.message) for one in told if "not used" in str(one.message)]
        if unused:  # XGBoost only warns of a parameter it does not know
            raise ValueError(unused[0])
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = next((line for line in lines if "arameter" in line or "Invalid" in line), lines[0])
        raise InputError(
            f"training: `params` must be ones that XGBoost takes: got {settings}. It says: {why}"
        ) from None
    return booster


def metrics_of(
    predict: Callable[[Floats], Any], of: str, values: Floats, labels: Floats
) -> dict[str, float]:
    """Return the root of the mean squared error, and the information coefficient if it exists."""
    predicted = np.asarray(predict(values), np.float64)
    found = {f"{of}_rmse": math.sqrt(float(np.mean((predicted - labels) ** 2)))}
    if predicted.std() > 0 and labels.std() > 0:
        found[f"{of}_information_coefficient"] = float(np.corrcoef(predicted, labels)[0, 1])
    return found


def _write(folder: Path, booster: Any, card: str) -> None:
    """Write what `mlflow.xgboost.load_model` reads, without the second its import would cost."""
    import xgboost
    from mlflow.models import Model

    booster.save_model(folder / "model.ubj")
    (folder / CARD).write_text(card)
    (folder / "requirements.txt").write_text(f"xgboost=={xgboost.__version__}\n")
    native = {
        "data": "model.ubj",
        "model_class": "xgboost.core.Booster",
        "model_format": "ubj",
        "xgb_version": xgboost.__version__,
        "code": None,
    }
    generic = {"loader_module": "mlflow.xgboost", "data": "model.ubj"}
    Model(flavors={"xgboost": native, "python_function": generic}).save(str(folder / "MLmodel"))


def register_model(
    client: Any,
    registry: Registry,
    name: str,
    folder: Path,
    record: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> str:
    """Log a folder as a run's artifact and register it; return its version."""
    tags = {**tags, CONTENT: artifact_digest(folder)}
    from mlflow.entities import Metric, Param

    experiment = client.get_experiment_by_name("lightcone")
    if experiment is None:
        place = (registry.root / "mlruns" / "artifacts").as_uri() if registry.database else None
        identity = client.create_experiment("lightcone", artifact_location=place)
    else:
        identity = experiment.experiment_id
    run = client.create_run(identity, run_name=name)
    client.log_batch(
        run.info.run_id,
        params=[Param(key, str(value)[:6000]) for key, value in record.items()],
        metrics=[Metric(key, value, 0, 0) for key, value in metrics.items()],
    )
    client.log_artifacts(run.info.run_id, str(folder), "model")
    client.set_terminated(run.info.run_id)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"{run.info.artifact_uri}/model"
    made = client.create_model_version(name, source, run.info.run_id, tags=dict(tags))
    return str(made.version)
