"""The real deployments behind a paper run, for as long as it lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from backtester.errors import ScenarioError
from inference.local_backend import LocalBackend

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.backend import Backend
    from inference.predictors.base import Predictor
    from inference.ray_serve.cluster import RayCluster

__all__ = ["BackendKind", "Backends", "real_backends"]

BackendKind = Literal["local", "ray_serve"]
Backends = dict[str, "dict[str, Backend]"]
"""By loop, then by variant; the only one under the name ''."""
Models = Mapping[str, "Predictor | Mapping[str, Predictor]"]


@contextmanager
def real_backends(
    scenario: Scenario, models: Models, kind: BackendKind, cluster: RayCluster | None = None
) -> Iterator[Backends]:
    """Start the deployments that a scenario describes; they end with the block.

    Args:
        scenario: Its `inference_config` says how many replicas, how they batch, and so on. What it
            says of how long they take is for the simulation.
        models: The loaded models, by loop.
        kind: `local`: threads of this process. `ray_serve`: replicas on Ray Serve.
        cluster: Where to deploy on Ray; by default a Ray of our own, which ends with the block.

    Raises:
        ScenarioError: If the scenario has no inference.
        ServingError: If Ray, or a deployment, does not start.
    """
    if not scenario.inference_config:
        raise ScenarioError(
            "`inference_config` must name a model for a paper run, which asks it in real time: got "
            "none. Add a loop, or backtest with `lightcone run`."
        )
    with ExitStack() as stack:
        if kind == "local":
            yield _in_threads(scenario, models, stack)
        else:
            yield _on_ray(scenario, stack, cluster)


def _in_threads(scenario: Scenario, models: Models, stack: ExitStack) -> Backends:
    found: Backends = {}
    for loop, config in scenario.inference_config.items():
        model = models[loop]
        found[loop] = {}
        for variant, deployment in config.deployments.items():
            predictor = model[variant] if isinstance(model, Mapping) else model
            name = f"{loop}.{variant}" if variant else loop
            backend = LocalBackend.of(deployment, predictor, name=name)
            stack.callback(backend.close)
            found[loop][variant] = backend
    return found


def _on_ray(scenario: Scenario, stack: ExitStack, cluster: RayCluster | None) -> Backends:
    from backtester.train import stacked_columns
    from inference.ray_serve import deploy, of_models, ray_cluster

    if cluster is None:
        kept = of_models(scenario.inference_config.values())
        cluster = stack.enter_context(ray_cluster(keep_off=kept))
    found: Backends = {}
    for loop, config in scenario.inference_config.items():
        name = f"paper-{os.getpid()}-{scenario.name}-{loop}"
        columns = stacked_columns(config, scenario.featurizer)
        deployed = deploy(cluster, columns, name=name)
        stack.callback(deployed.delete)
        found[loop] = {}
        for variant in config.deployments:
            backend = deployed.backend(variant)
            stack.callback(backend.close)
            found[loop][variant] = backend
    return found
