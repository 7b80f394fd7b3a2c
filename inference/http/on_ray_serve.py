"""Deployments on Ray Serve behind the service: deployed, and asked by their handles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from inference.http.over_backend import OverBackend
from inference.http.served import About, Served

if TYPE_CHECKING:
    from inference.config import InferenceConfig
    from inference.ray_serve.cluster import RayCluster

__all__ = ["on_ray_serve"]


def on_ray_serve(cluster: RayCluster, loops: Mapping[str, InferenceConfig]) -> list[Served]:
    """Deploy the models of some loops, and return them as the service asks them.

    Closing them lets go of the deployments, which go on as long as the cluster.

    Args:
        cluster: Where to.
        loops: By name; a deployment is called by its `deployment_name`, or like its loop.

    Raises:
        InputError: If a model cannot be found or loaded.
        ServingError: If a deployment is not ready in time.
    """
    from inference.ray_serve import deploy

    found: list[Served] = []
    for loop, config in loops.items():
        name = config.deployment_name or loop
        deployed = deploy(cluster, config, name=name)
        for variant, application in deployed.applications.items():
            client = deployed.backend(variant)
            told, one = client.description, config.deployments[variant]
            about = About(
                f"{name}.{variant}" if variant else name,
                config.model_uris[variant],
                told.version,
                client.feature_names,
                told.accepts_nan,
                one.predictor_class_name,
                told.digest,
                "ray_serve",
                one.start_replicas,
            )
            ready = partial(_state, application)
            found.append(
                OverBackend(client, about, batch_invariant=told.batch_invariant, ready=ready)
            )
    return found


def _state(application: str) -> str:
    """Return why an application on Ray Serve cannot answer, an empty text where it can."""
    from ray import serve

    found = serve.status().applications.get(application)
    if found is None:
        return "there is no such application on Ray Serve"
    return "" if found.status.value == "RUNNING" else f"Ray Serve says {found.status.value}"
