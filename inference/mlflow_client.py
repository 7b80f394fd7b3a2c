"""MLflow's own client, imported late and kept quiet: writes models, and asks other stores."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.errors import ModelNotFoundError

if TYPE_CHECKING:
    from inference.registry import Found

_CHATTY = ("mlflow", "alembic")


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Import and use MLflow with its warnings, its log and its telemetry off."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would call home at import
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        import mlflow.tracking  # noqa: F401 - it configures its loggers anew

        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@contextmanager
def mlflow_client(address: str) -> Iterator[Any]:
    """Give an MLflow client of a store, quietly.

    The first one on a new SQLite store creates the store, which takes a second or two.
    """
    with quiet_mlflow():
        from mlflow.tracking import MlflowClient

        yield MlflowClient(tracking_uri=address, registry_uri=address)


def look_up(address: str, uri: str, hint: str = "") -> Found:
    """Return what the store at an address says of a model URI.

    Raises:
        ModelNotFoundError: If it says that there is none.
    """
    from inference.registry import Found

    with mlflow_client(address) as client:
        from mlflow.exceptions import MlflowException

        try:
            if uri.startswith("runs:/"):
                run, _, path = uri.removeprefix("runs:/").partition("/")
                return Found("", "", f"{client.get_run(run).info.artifact_uri}/{path}", {})
            found = _model_version(client, uri.removeprefix("models:/"))
            location = client.get_model_version_download_uri(found.name, found.version)
            if location.startswith("models:/m-"):
                model = location.removeprefix("models:/")
                location = client.get_logged_model(model).artifact_location
        except MlflowException as error:
            advice = f" {hint}" if hint else ""
            raise ModelNotFoundError(
                f"`model_uri` must name a registered model: got '{uri}', {address} says: "
                f"{error.message}.{advice}"
            ) from None
    return Found(found.name, str(found.version), location, dict(found.tags))


def find_tagged(address: str, name: str, key: str, value: str) -> str | None:
    """Return the newest version of a model with this tag, or None."""
    with mlflow_client(address) as client:
        versions = client.search_model_versions(f"name = '{name}'")
    tagged = [int(one.version) for one in versions if one.tags.get(key) == value]
    return str(max(tagged)) if tagged else None


def download(address: str, location: str) -> Path:
    """Fetch an artifact that lies elsewhere into a temporary folder, and return its path.

    The folder is removed when the process ends.

    Raises:
        ModelNotFoundError: If the store does not give it.
    """
    folder = tempfile.mkdtemp(prefix="lightcone-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with quiet_mlflow():
        from mlflow.artifacts import download_artifacts

        try:
            found = download_artifacts(artifact_uri=location, tracking_uri=address, dst_path=folder)
        except Exception as error:  # of MLflow, of its HTTP client, of a cloud's library
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelNotFoundError(
                f"`model_uri` must lead to an artifact that can be fetched: {location} of "
                f"{address} cannot be ({first[:200]}). Is the server up, and the artifact there?"
            ) from None
    return Path(found)


def _model_version(client: Any, name: str) -> Any:
    if "@" in name:
        return client.get_model_version_by_alias(*name.split("@", 1))
    model, _, version = name.partition("/")
    if version == "latest":
        newest = client.search_model_versions(f"name = '{model}'")
        version = str(max((int(one.version) for one in newest), default=0))
    return client.get_model_version(model, version)
