"""Real replicas for the loops that ask for them, for the length of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from backtester.errors import ScenarioError
from backtester.scenario import Scenario

if TYPE_CHECKING:
    from inference.config import InferenceConfig
    from inference.predictors.base import Predictor
    from inference.ray_serve.cluster import RayCluster

__all__ = ["on_replicas"]

Models = dict[str, "Predictor | dict[str, Predictor]"]

_AT_ONCE = 4
"""Messages of rows that one replica takes at a time: the next ones travel while it predicts."""


@contextmanager
def on_replicas(
    scenario: Scenario, models: Models, cluster: RayCluster | None = None
) -> Iterator[Models]:
    """Deploy the models of loops with `backend: ray_serve`, and ask the replicas in their place.

    Args:
        scenario: What is run.
        models: The loaded models of each loop; the replicas hold the same ones.
        cluster: Where to deploy; by default a Ray of our own on this machine, which ends with the
            block, as the deployments do in any case.

    Yields:
        The models by loop, with those on replicas replaced by their `RemotePredictor`.

    Raises:
        ServingError: If Ray, or a deployment, does not start.
        ScenarioError: If a replica loaded another model than the run.
    """
    wanted = [
        name for name, loop in scenario.inference_config.items() if loop.backend == "ray_serve"
    ]
    if not wanted:
        yield models
        return
    from backtester.train import stacked_columns
    from inference.ray_serve import deploy, of_models, ray_cluster

    with ExitStack() as stack:
        if cluster is None:
            kept = of_models(scenario.inference_config[name] for name in wanted)
            cluster = stack.enter_context(ray_cluster(keep_off=kept))
        asked = dict(models)
        for name in wanted:
            loop = stacked_columns(scenario.inference_config[name], scenario.featurizer)
            plain = _only_replicas(loop)
            deployed = deploy(cluster, plain, name=f"run-{os.getpid()}-{scenario.name}-{name}")
            stack.callback(deployed.delete)
            loaded = models[name]
            by_variant: Mapping[str, Predictor] = (
                loaded if isinstance(loaded, dict) else {"": loaded}
            )
            remote: dict[str, Predictor] = {
                variant: _remote(stack, deployed, plain, variant, model)
                for variant, model in by_variant.items()
            }
            asked[name] = remote if isinstance(loaded, dict) else remote[""]
        yield asked


def _remote(
    stack: ExitStack, deployed: Any, plain: InferenceConfig, variant: str, model: Predictor
) -> Predictor:
    from inference.remote import RemotePredictor

    backend = deployed.backend(variant)
    stack.callback(backend.close)
    backend.silent_for_ns = plain.deployments[variant].predict_timeout
    there = backend.description.digest
    if there != model.digest:
        raise ScenarioError(
            f"inference_config.model_uri: the replicas must hold the model that the run loaded "
            f"({model.digest}): they hold {there}. Run again."
        )
    remote = RemotePredictor(model, backend, replicas=plain.deployments[variant].num_replicas)
    stack.callback(remote.close)
    return remote


def _only_replicas(config: InferenceConfig) -> InferenceConfig:
    """Return a loop's models and numbers of replicas; when they answer is simulated, not lived."""
    from inference.config import InferenceConfig
    from inference.serving.policies.service import Measured

    lives = isinstance(config.service_time, Measured)
    ongoing = 1 if lives else _AT_ONCE

    def plain(variant: str) -> dict[str, Any]:
        one = config.deployments[variant]
        return {
            "model_uri": config.model_uris[variant],
            "predictor_class_name": one.predictor_class_name,
            "num_replicas": max(one.start_replicas, 1),
            "max_ongoing_requests": ongoing,
            "ray_actor_options": one.ray_actor_options,
            "processors": one.processors,
            "graceful_shutdown_timeout": "2s",
            "predict_timeout": f"{one.predict_timeout}ns",
        }

    if not config.variants:
        return InferenceConfig.model_validate(plain(""))
    shares = {name: plain(name) | {"share": 1 / len(config.variants)} for name in config.variants}
    return InferenceConfig.model_validate(
        {"variants": shares, "routing": {"kind": "split"}}
        if len(shares) > 1
        else {"variants": shares}
    )
