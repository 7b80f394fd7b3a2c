"""From a deployment of a scenario to the options of one on Ray Serve."""

from __future__ import annotations

from typing import Any

from inference.serving.policies.autoscaler import Autoscaling
from inference.serving.policies.batching import RayBatching
from inference.serving.policies.deployment import Deployment

__all__ = ["batch_options", "serve_options"]

_SECOND = 1e9


def serve_options(deployment: Deployment) -> dict[str, Any]:
    """Return the keyword arguments of `serve.deployment` for a deployment."""
    options: dict[str, Any] = {
        "max_ongoing_requests": deployment.ongoing_limit,
        "max_queued_requests": deployment.max_queued_requests,
        "ray_actor_options": {"num_cpus": 0.1},
        "max_constructor_retry_count": 1,
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
    }
    scaling = deployment.autoscaling_config
    if scaling is None:
        options["num_replicas"] = deployment.num_replicas
    else:
        options["autoscaling_config"] = _autoscaling(scaling)
    return options


def batch_options(deployment: Deployment) -> dict[str, Any] | None:
    """Return the keyword arguments of `serve.batch`, or None where requests are served alone."""
    batching = deployment.batching
    if batching is None:
        return None
    assert isinstance(batching, RayBatching)
    return {
        "max_batch_size": batching.max_batch_size,
        "batch_wait_timeout_s": batching.batch_wait_timeout / _SECOND,
        "max_concurrent_batches": batching.max_concurrent_batches,
    }


def _autoscaling(scaling: Autoscaling) -> dict[str, Any]:
    found = {
        "min_replicas": scaling.min_replicas,
        "max_replicas": scaling.max_replicas,
        "initial_replicas": scaling.initial_replicas,
        "target_ongoing_requests": scaling.target_ongoing_requests,
        "metrics_interval_s": scaling.metrics_interval / _SECOND,
        "look_back_period_s": scaling.look_back_period / _SECOND,
        "upscale_delay_s": scaling.upscale_delay / _SECOND,
        "downscale_delay_s": scaling.downscale_delay / _SECOND,
        "upscaling_factor": scaling.upscaling_factor,
        "downscaling_factor": scaling.downscaling_factor,
    }
    if scaling.downscale_to_zero_delay is not None:
        found["downscale_to_zero_delay_s"] = scaling.downscale_to_zero_delay / _SECOND
    return found
