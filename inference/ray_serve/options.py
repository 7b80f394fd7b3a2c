"""From a deployment of a scenario to the options of one on Ray Serve.

What Ray Serve does not do is refused; what only a simulation can have is told, and ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from inference.errors import NotOnRayError
from inference.serving.policies.autoscaler import Autoscaling
from inference.serving.policies.batching import RayBatching
from inference.serving.policies.deployment import Deployment

if TYPE_CHECKING:
    from inference.config import InferenceConfig

__all__ = ["batch_options", "check_servable", "serve_options", "simulated_only"]

_SECOND = 1e9
_ROUTERS = {
    "power_of_two": "inference.ray_serve.routers.PowerOfTwoRouter",
    "round_robin": "inference.ray_serve.routers.RoundRobinRouter",
    "least_loaded": "inference.ray_serve.routers.LeastLoadedRouter",
}

_SIMULATED = (
    "service_time",
    "latency",
    "network",
    "replica_speeds",
    "cold_start",
    "warm_up",
    "faults",
)
"""What a real deployment has by itself: it takes the time that it takes."""


def serve_options(deployment: Deployment) -> dict[str, Any]:
    """Return the keyword arguments of `serve.deployment` for a deployment."""
    options: dict[str, Any] = {
        "max_ongoing_requests": deployment.ongoing_limit,
        "max_queued_requests": deployment.max_queued_requests,
        "ray_actor_options": deployment.ray_actor_options.options,
        "health_check_period_s": deployment.health_check_period / _SECOND,
        "health_check_timeout_s": deployment.health_check_timeout / _SECOND,
        "graceful_shutdown_timeout_s": deployment.graceful_shutdown_timeout / _SECOND,
        "graceful_shutdown_wait_loop_s": 0.1,
        "max_constructor_retry_count": 1,
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        "request_router_config": {"request_router_class": _ROUTERS[deployment.router.kind]},
    }
    scaling = deployment.autoscaling_config
    if scaling is None:
        options["num_replicas"] = deployment.num_replicas
    else:
        options["autoscaling_config"] = _autoscaling(scaling)
    return options


def batch_options(deployment: Deployment) -> dict[str, Any] | None:
    """Return the keyword arguments of `serve.batch`, or None where requests are served alone.

    Batches of one need no `serve.batch`: they wait for the threads of the model, first come first.
    """
    batching = deployment.batching
    if not isinstance(batching, RayBatching) or batching.max_batch_size == 1:
        return None
    return {
        "max_batch_size": batching.max_batch_size,
        "batch_wait_timeout_s": batching.batch_wait_timeout / _SECOND,
        "max_concurrent_batches": batching.max_concurrent_batches,
    }


def check_servable(config: InferenceConfig) -> None:
    """Refuse what Ray Serve does not do.

    Raises:
        NotOnRayError: With the reason, and what to do.
    """
    for name, deployment in config.deployments.items():
        batching, discipline = deployment.batching, deployment.queue.discipline
        if batching is not None and not isinstance(batching, RayBatching):
            raise NotOnRayError(
                f"{_of(name)}`batching.kind` must be ray on Ray Serve, whose replicas seal a batch "
                f"before a slot is free: got {batching.kind}. Take `kind: ray`, or simulate."
            )
        if discipline != "fifo":
            raise NotOnRayError(
                f"{_of(name)}`queue.discipline` must be fifo on Ray Serve, whose handle places the "
                f"oldest request first: got {discipline}. Take fifo, or simulate."
            )


def simulated_only(config: InferenceConfig) -> Iterator[str]:
    """Yield a sentence for each thing said that a real deployment does not look at."""
    for name, deployment in config.deployments.items():
        said = [
            field
            for field in _SIMULATED
            if getattr(deployment, field) != Deployment.model_fields[field].default
        ]
        if deployment.router.hop_latency != type(deployment.router)().hop_latency:
            said.append("router.hop_latency")
        if said:
            yield (
                f"{_of(name)}{_listed(said)} {'belongs' if len(said) == 1 else 'belong'} to the "
                "simulation: real replicas take the time that they take, and fail by themselves."
            )
        scaling = deployment.autoscaling_config
        if scaling is not None and {"record_interval", "control_interval"} & (
            scaling.model_fields_set
        ):
            yield (
                f"{_of(name)}`record_interval` and `control_interval` of the autoscaler are set "
                "for a whole cluster of Ray, not for a deployment."
            )


def _listed(fields: list[str]) -> str:
    named = [f"`{field}`" for field in fields]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _of(name: str) -> str:
    return f"variant '{name}': " if name else ""


def _autoscaling(scaling: Autoscaling) -> dict[str, Any]:
    found = {
        "min_replicas": scaling.min_replicas,
        "max_replicas": scaling.max_replicas,
        "initial_replicas": scaling.initial_replicas,
        "target_ongoing_requests": scaling.target_ongoing_requests,
        "look_back_period_s": scaling.look_back_period / _SECOND,
        "upscale_delay_s": scaling.upscale_delay / _SECOND,
        "downscale_delay_s": scaling.downscale_delay / _SECOND,
        "upscaling_factor": scaling.upscaling_factor,
        "downscaling_factor": scaling.downscaling_factor,
    }
    if "metrics_interval" in scaling.model_fields_set:  # Ray would rather not be told
        found["metrics_interval_s"] = scaling.metrics_interval / _SECOND
    if scaling.downscale_to_zero_delay is not None:
        found["downscale_to_zero_delay_s"] = scaling.downscale_to_zero_delay / _SECOND
    return found
