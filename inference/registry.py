"""Model URIs, resolved once to a local artifact and its digest.

The default store is MLflow's own, embedded: SQLite in `mlruns/mlflow.db` below the working folder,
artifacts in `mlruns/artifacts`; `MLFLOW_TRACKING_URI` wins over it. An SQLite store is read with
plain SQL, because importing MLflow costs a run two seconds; `inference.mlflow_client` asks any
other address, and writes.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlparse

from clock.nearest import closest
from inference.errors import ModelNotFoundError

_SQLITE = "sqlite:///"
_MODEL = re.compile(r"models:/([^/@]+)(?:/([^/@]+)|@([^/@]+))")
_RUN = re.compile(r"runs:/([0-9a-f]+)/(.+)")
_LOGGED = re.compile(r"models:/(m-[0-9a-f]+)")
CONTENT = "lightcone.content"
"""Tag of a version: the digest of its artifact when it was registered."""

MEASURED = "lightcone-measured.json"
"""Beside a model: how long it took on some machine. It tells of the model and is not part of it."""

_DESCRIPTIONS = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", MEASURED}
"""Files about a model that hold random ids and host times, and not the model."""


class ResolvedModel(NamedTuple):
    """Where a URI led, at the time it was resolved: an alias may move afterwards."""

    uri: str
    name: str
    version: str
    path: Path
    digest: str
    tags: dict[str, str]
    registered: bool = False
    """Whether the configured registry gave it, and not a path that someone wrote down."""


class Found(NamedTuple):
    """What a store says of a model version: where its artifact lies, and its tags."""

    name: str
    version: str
    location: str
    tags: dict[str, str]


class Registry:
    """The models of one store.

    Example:
        >>> Registry(Path("/nowhere")).resolve("models:/mid/1", hint="Run `lightcone train`.")
        Traceback (most recent call last):
        ...
        inference.errors.ModelNotFoundError: `model_uri` must name a registered model: got \
'models:/mid/1', there is no registry at /nowhere/mlruns/mlflow.db. Run `lightcone train`.
    """

    def __init__(self, root: Path | None = None) -> None:
        """Point at the store below a folder, the working folder by default; nothing is opened."""
        self.root = (Path.cwd() if root is None else root).absolute()

    @property
    def address(self) -> str:
        """The store's address as MLflow takes it."""
        own = f"{_SQLITE}{self.root / 'mlruns' / 'mlflow.db'}"
        return os.environ.get("MLFLOW_TRACKING_URI") or own

    @property
    def database(self) -> Path | None:
        """The SQLite file, or None where the store is something else."""
        if not self.address.startswith(_SQLITE):
            return None
        return self.root / self.address.removeprefix(_SQLITE)  # `sqlite:////x` is absolute

    def resolve(self, uri: str, hint: str = "") -> ResolvedModel:
        """Return the artifact that a URI names now.

        Args:
            uri: `models:/name/version`, `models:/name@alias`, `models:/name/latest`,
                `runs:/id/path`, `file:` or a path (relative to the registry's folder).
            hint: What to tell a user to do when there is no such model.

        Raises:
            ModelNotFoundError: If it names nothing, an artifact that is gone, or one whose content
                is no longer what was registered.
        """
        registered = uri.startswith(("models:", "runs:"))
        if registered:
            found = self._look_up(uri, hint)
        else:
            found = Found("", "", uri, {})
        path = self._local(found.location)
        if not path.exists():
            raise _missing(uri, f"there is nothing at {path}", hint)
        digest = artifact_digest(path)
        registered_as = found.tags.get(CONTENT, digest)
        if digest != registered_as:
            raise _missing(
                uri,
                f"{path} is not what was registered (SHA-256 {digest[:12]}, {registered_as[:12]})",
                hint,
            )
        return ResolvedModel(uri, found.name, found.version, path, digest, found.tags, registered)

    def find_tagged(self, name: str, key: str, value: str) -> str | None:
        """Return the newest version of a model whose tag *key* is *value*, or None."""
        if self.database is None:
            from inference import mlflow_client

            return mlflow_client.find_tagged(self.address, name, key, value)
        if not self.database.exists():
            return None
        with closing(_connect(self.database)) as store:
            rows = _rows(
                store,
                "SELECT MAX(version) FROM model_version_tags "
                "WHERE name = ? AND key = ? AND value = ?",
                (name, key, value),
            )
        return None if not rows or rows[0][0] is None else str(rows[0][0])

    def _look_up(self, uri: str, hint: str) -> Found:
        if not (_MODEL.fullmatch(uri) or _RUN.fullmatch(uri) or _LOGGED.fullmatch(uri)):
            raise ModelNotFoundError(
                "`model_uri` is written 'models:/name/version', 'models:/name@alias', "
                f"'models:/name/latest', 'runs:/id/path' or as a path: got '{uri}'."
            )
        if self.database is None:
            from inference import mlflow_client

            return mlflow_client.look_up(self.address, uri, hint)
        if not self.database.exists():
            raise _missing(uri, f"there is no registry at {self.database}", hint)
        try:
            with closing(_connect(self.database)) as store:
                return _in_store(store, uri, hint)
        except sqlite3.Error as error:
            raise _missing(uri, f"{self.database} cannot be read ({error})", hint) from None

    def _local(self, location: str) -> Path:
        parsed = urlparse(location)
        if parsed.scheme == "file":
            return Path(unquote(parsed.path))
        if len(parsed.scheme) > 1:  # a single letter is a drive
            from inference import mlflow_client

            return mlflow_client.download(self.address, location)
        return self.root / location


def artifact_digest(path: Path) -> str:
    """Return the SHA-256 of a model's content: its files' names and bytes, wherever they lie."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name not in _DESCRIPTIONS:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(path).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)


def _rows(store: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> list[Any]:
    return store.execute(query, values).fetchall()


def _in_store(store: sqlite3.Connection, uri: str, hint: str) -> Found:
    run = _RUN.fullmatch(uri)
    if run:
        rows = _rows(store, "SELECT artifact_uri FROM runs WHERE run_uuid = ?", (run[1],))
        if not rows:
            raise _missing(uri, f"the registry has no run '{run[1]}'", hint)
        return Found("", "", f"{rows[0][0]}/{run[2]}", {})
    logged = _LOGGED.fullmatch(uri)
    if logged:
        return Found("", "", _logged_location(store, logged[1], uri, hint), {})
    match = _MODEL.fullmatch(uri)
    assert match is not None  # _look_up has matched all three forms
    name = match[1]
    version = _version(store, uri, name, match[2], match[3], hint)
    rows = _rows(
        store,
        "SELECT COALESCE(storage_location, source) FROM model_versions "
        "WHERE name = ? AND version = ?",
        (name, version),
    )
    tags = _rows(
        store,
        "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ? ORDER BY key",
        (name, version),
    )
    location = str(rows[0][0])
    inner = _LOGGED.fullmatch(location)
    if inner:
        location = _logged_location(store, inner[1], uri, hint)
    return Found(name, str(version), location, dict(tags))


def _version(
    store: sqlite3.Connection,
    uri: str,
    name: str,
    version: str | None,
    alias: str | None,
    hint: str,
) -> int:
    known = [row[0] for row in _rows(store, "SELECT name FROM registered_models", ())]
    if name not in known:
        near = closest(name, known)
        meant = f" (did you mean '{near}'?)" if near else ""
        raise _missing(uri, f"the registry has no model '{name}'{meant}", hint)
    query = (
        "SELECT version FROM model_versions WHERE name = ? "
        "AND current_stage != 'Deleted_Internal' ORDER BY version"
    )
    versions = [int(row[0]) for row in _rows(store, query, (name,))]
    if alias is not None:
        query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
        rows = _rows(store, query, (name, alias))
        if not rows:
            raise _missing(uri, f"model '{name}' has no alias '{alias}'", hint)
        return int(rows[0][0])
    if version == "latest" and versions:
        return versions[-1]
    if version is None or not version.isdigit() or int(version) not in versions:
        had = ", ".join(map(str, versions)) or "none"
        raise _missing(uri, f"the versions of model '{name}' are: {had}", hint)
    return int(version)


def _logged_location(store: sqlite3.Connection, model: str, uri: str, hint: str) -> str:
    query = "SELECT artifact_location FROM logged_models WHERE model_id = ?"
    rows = _rows(store, query, (model,))
    if not rows:
        raise _missing(uri, f"the registry has no logged model '{model}'", hint)
    return str(rows[0][0])


def _missing(uri: str, why: str, hint: str) -> ModelNotFoundError:
    advice = f" {hint}" if hint else ""
    return ModelNotFoundError(
        f"`model_uri` must name a registered model: got '{uri}', {why}.{advice}"
    )
