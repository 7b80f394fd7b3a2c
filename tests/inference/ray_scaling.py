"""Ray Serve's own autoscaling: its store of samples, its mean over them, its policy and bounds."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from inference.serving.policies.autoscaler import Autoscaling

SECOND = 1_000_000_000


def rays_targets(
    config: Autoscaling,
    ongoing_at: Callable[[int], int],
    ready_at: Callable[[int], int],
    until: int,
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[int, int]]:
    """Return when Ray changes its target of replicas, and to what.

    Args:
        config: Our configuration.
        ongoing_at: Requests that the deployment holds, as the router's gauge sees them at an
            instant.
        ready_at: Replicas ready at an instant.
        until: End, in nanoseconds.
        monkeypatch: Puts the simulated clock in place of Ray's.
    """
    from ray.serve import autoscaling_policy
    from ray.serve._private import autoscaling_state, metrics_utils
    from ray.serve.config import AutoscalingConfig

    theirs = AutoscalingConfig(
        min_replicas=config.min_replicas,
        max_replicas=config.max_replicas,
        initial_replicas=config.initial_replicas,
        target_ongoing_requests=config.target_ongoing_requests,
        look_back_period_s=config.look_back_period / SECOND,
        metrics_interval_s=config.metrics_interval / SECOND,
        upscale_delay_s=config.upscale_delay / SECOND,
        downscale_delay_s=config.downscale_delay / SECOND,
        downscale_to_zero_delay_s=_seconds(config.downscale_to_zero_delay),
        upscaling_factor=config.upscaling_factor,
        downscaling_factor=config.downscaling_factor,
    )
    present = SimpleNamespace(seconds=0.0)
    clock = SimpleNamespace(time=lambda: present.seconds)
    for module in (autoscaling_policy, autoscaling_state):
        monkeypatch.setattr(module, "time", clock)
    state = object.__new__(autoscaling_state.DeploymentAutoscalingState)
    state._config = theirs
    policy = autoscaling_policy._apply_autoscaling_config(
        autoscaling_policy._core_replica_queue_length_policy
    )
    store = metrics_utils.InMemoryMetricsStore()
    pushed: list[Any] = []
    memory: dict[str, Any] = {}
    target = config.start_replicas
    changes = []
    for now, what in _schedule(config, until):
        present.seconds = now / SECOND
        if what == "sample":
            store.add_metrics_point({"ongoing": ongoing_at(now)}, present.seconds)
        elif what == "push":
            store.prune_keys_and_compact_data(present.seconds - theirs.look_back_period_s)
            pushed = list(store.data.get("ongoing", []))
        else:
            total = state._merge_and_aggregate_timeseries([pushed]) if pushed else 0.0
            context = _context(theirs, total, ready_at(now), target, memory)
            wanted, memory = policy(context)
            wanted = max(config.min_replicas, min(config.max_replicas, wanted))
            if wanted != target:
                target = wanted
                changes.append((now, target))
    return changes


def _seconds(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else duration_ns / SECOND


def _schedule(config: Autoscaling, until: int) -> list[tuple[int, str]]:
    """Return samples, pushes and control ticks by instant, at one instant in this order."""
    every = {
        "sample": config.record_interval,
        "push": config.metrics_interval,
        "tick": config.control_interval,
    }
    order = list(every)
    due = [(instant, what) for what, period in every.items() for instant in range(0, until, period)]
    return sorted(due, key=lambda event: (event[0], order.index(event[1])))


def _context(
    config: Any, total: float, ready: int, target: int, memory: dict[str, Any]
) -> SimpleNamespace:
    return SimpleNamespace(
        config=config,
        total_num_requests=total,
        current_num_replicas=ready,
        target_num_replicas=target,
        policy_state=memory,
    )
