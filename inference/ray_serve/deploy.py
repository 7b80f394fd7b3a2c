"""Deploy a loop's models on Ray Serve, one application for each variant, and wait for them."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from clock.wall import steady_ns
from inference.errors import ServingError
from inference.ray_serve.backend import RayServeBackend
from inference.ray_serve.model_replica import ModelReplica
from inference.ray_serve.options import batch_options, check_servable, serve_options
from inference.ray_serve.replica import ReplicaModel
from inference.registry import Registry
from inference.serving.policies.batching import RayBatching
from inference.serving.policies.deployment import Deployment

if TYPE_CHECKING:
    from inference.config import InferenceConfig
    from inference.ray_serve.cluster import RayCluster

__all__ = ["Deployed", "application_name", "deploy"]

READY_WITHIN_NS = 120_000_000_000
"""A replica starts in a second or two; a machine under load, or a large model, takes longer."""


class Deployed:
    """The running deployments of one loop.

    Attributes:
        name: The name they go by.
        applications: The Serve application of each variant; of the only one under the name ''.
    """

    def __init__(self, cluster: RayCluster, name: str, applications: Mapping[str, str]) -> None:
        self.cluster = cluster
        self.name = name
        self.applications = dict(applications)

    def backend(self, variant: str = "") -> RayServeBackend:
        """Return a client of one variant's deployment; close it when done."""
        return RayServeBackend(self.cluster, self.applications[variant])

    def delete(self) -> None:
        """Take the deployments down, and wait until their replicas are gone."""
        from ray import serve

        for application in self.applications.values():
            serve.delete(application)


def application_name(name: str, variant: str) -> str:
    """Return the name of a variant's Serve application."""
    return f"{name}-{variant}" if variant else name


def deploy(
    cluster: RayCluster,
    config: InferenceConfig,
    *,
    name: str,
    registry: Registry | None = None,
    ready_within_ns: int = READY_WITHIN_NS,
) -> Deployed:
    """Deploy a loop's models, or change what is deployed under the name, and wait until ready.

    Args:
        cluster: Where to.
        config: The loop; its `deployments` say how.
        name: What to call it; each variant adds its own name.
        registry: Where model URIs lead; by default the store below the working folder.
        ready_within_ns: How long to wait for the replicas.

    Raises:
        InputError: If a model cannot be found or loaded, or the real stack cannot do what is asked.
        ServingError: If it is not ready in time. What nobody was served by before is taken down
            then. Of a version that replaces another Ray Serve renews a fifth of the replicas at a
            time, one at least: those it has not come to go on, and the failure stays in its status.
    """
    check_servable(config)
    registry = registry or Registry()
    applications = {variant: application_name(name, variant) for variant in config.deployments}
    from ray import serve

    models = replica_models(config, registry)
    targets = [
        serve.RunTarget(
            target=_application(deployment, models[variant]),
            name=applications[variant],
            route_prefix=None,
        )
        for variant, deployment in config.deployments.items()
    ]
    before = set(serve.status().applications)
    serve.run_many(
        targets,
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )
    try:
        for application in applications.values():
            _wait_until_ready(application, ready_within_ns)
    except ServingError:
        _take_back([one for one in applications.values() if one not in before])
        raise
    return Deployed(cluster, name, applications)


def replica_models(config: InferenceConfig, registry: Registry) -> dict[str, ReplicaModel]:
    """Resolve each variant's model once: every replica loads this one, wherever an alias moves."""
    from inference.models import model_specs

    return {
        variant: ReplicaModel(
            model=model._replace(uri=model.pinned_uri),
            registry_root=str(registry.root),
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", ""),
            python_path=(str(Path.cwd()),),
            processors=config.deployments[variant].processors,
        )
        for variant, model in model_specs(config, registry).items()
    }


def _application(deployment: Deployment, spec: ReplicaModel) -> Any:
    from ray import serve

    batching = deployment.batching
    blocking = isinstance(batching, RayBatching) and batching.function == "blocking"
    width = deployment.ongoing_limit if batching is None else batching.executions
    hangs_after = deployment.health_check_timeout
    arguments = (spec, width, blocking, batch_options(deployment), hangs_after)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that Ray means to rename
        made = serve.deployment(name="model", **serve_options(deployment))(ModelReplica)
    # what replicas are made of: only where that changes does Serve start them anew
    version = hashlib.sha256(repr(arguments).encode()).hexdigest()[:16]
    return made.options(version=version, _internal=True).bind(*arguments)


def _wait_until_ready(application: str, within_ns: int) -> None:
    from ray import serve

    deadline = steady_ns() + within_ns
    pause = Event()
    while True:
        found = serve.status().applications.get(application)
        state = "NOT_STARTED" if found is None else found.status.value
        if found is not None and state == "RUNNING" and _settled(found):
            return
        message = "" if found is None else _message(found)
        if state in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise ServingError(f"`{application}` cannot be deployed: {_in_short(message)}")
        if steady_ns() > deadline:
            raise ServingError(
                f"`{application}` must be ready within {within_ns // 1_000_000_000} s: it is "
                f"{state}. {message}"
            )
        pause.wait(0.05)


def _take_back(applications: list[str]) -> None:
    """Take down what failed and served nobody before: Serve would go on showing it, and trying."""
    from ray import serve

    for application in applications:
        with suppress(Exception):  # what is told is why it failed
            serve.delete(application)


def _settled(found: Any) -> bool:
    """Return whether every deployment has what it was told to have."""
    return all(one.status.value == "HEALTHY" for one in found.deployments.values())


def _message(found: Any) -> str:
    return "\n".join(
        text
        for text in (found.message, *(one.message for one in found.deployments.values()))
        if text
    )


def _in_short(message: str) -> str:
    """Return the error of our own at the end of a replica's traceback, or the first line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith(("inference.errors.", "clock.errors."))]
    if ours:
        return ours[-1].partition(": ")[2]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return raised[-1] if raised else (lines[0] if lines else "Ray Serve does not say why.")
