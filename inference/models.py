"""From a configuration to loaded models: what to load, said so that another process can load it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inference.model_cache import ModelCache
from inference.predictors.base import BUILT_IN, Predictor, load_predictor

if TYPE_CHECKING:
    from inference.config import InferenceConfig
    from inference.registry import Registry, ResolvedModel

__all__ = ["MODELS", "ModelSpec", "load_model", "model_specs"]


class ModelSpec(NamedTuple):
    """A resolved model and how to load it; pickles, so that a replica elsewhere can.

    `digest` is of the artifact; `features` the columns it will be given, None where the scenario
    does not name them; `trusted`, whether files that are code may be loaded.
    """

    uri: str
    class_name: str
    path: Path
    digest: str
    version: str = ""
    params: dict[str, Any] = {}  # noqa: RUF012 - never changed
    features: tuple[str, ...] | None = None
    trusted: bool = False
    name: str = ""
    """What the registry calls the model, an empty text for a path or a run's artifact."""

    def load(self) -> Predictor:
        """Load the model anew.

        Raises:
            PredictorError: If it cannot be.
        """
        return load_predictor(
            self.class_name,
            self.path,
            version=self.version,
            params=self.params,
            features=self.features,
            trusted=self.trusted,
        )

    @classmethod
    def of(cls, found: ResolvedModel, class_name: str, **others: Any) -> ModelSpec:
        """Return how to load a resolved artifact, trusted if it is registered; others as fields."""
        plain = cls(found.uri, class_name, found.path, found.digest, found.version)
        return plain._replace(**{"name": found.name, "trusted": found.registered, **others})

    @property
    def pinned_uri(self) -> str:
        """A URI of this version: an alias, or `latest`, may move."""
        return f"models:/{self.name}/{self.version}" if self.name else self.uri

    @property
    def key(self) -> str:
        """What tells loaded models apart: same key, same answers."""
        params = sorted((name, repr(value)) for name, value in self.params.items())
        return repr(
            (self.digest, self.class_name, params, self.features, self.version, self.trusted)
        )

    @property
    def size(self) -> int:
        """Bytes of the artifact's files."""
        path = self.path
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files)


MODELS = ModelCache()
"""The loaded models of this process."""


def model_specs(
    config: InferenceConfig, registry: Registry, hint: str = ""
) -> dict[str, ModelSpec]:
    """Resolve the models of a loop, once: an alias may move afterwards.

    Args:
        config: The loop; `features` with the last rows of each where it reads several.
        registry: Where the URIs are looked up.
        hint: What to tell a user to do when there is no such model.

    Returns:
        One by the name of each variant, or the only one under the name ''.

    Raises:
        ModelNotFoundError: If there is no such model.
    """
    specs = {}
    for name, uri in config.model_uris.items():
        found, deployment = registry.resolve(uri, hint=hint), config.deployments[name]
        specs[name] = ModelSpec.of(
            found,
            deployment.predictor_class_name,
            params=deployment.predictor_params,
            features=config.features,
            trusted=found.registered or deployment.trust_model_files,
        )
    return specs


def load_model(spec: ModelSpec) -> Predictor:
    """Return a loaded model, the one that this process has already if it may be shared.

    Ours keep nothing between two calls, and are shared; a user's own class may, and is loaded anew.

    Raises:
        PredictorError: If it cannot be loaded.
    """
    if spec.class_name not in BUILT_IN:
        return spec.load()
    return MODELS.get(spec.key, spec.size, spec.load)
