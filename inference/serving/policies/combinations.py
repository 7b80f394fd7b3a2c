"""What a scenario asks for that cannot happen, and what it probably does not mean.

Impossible combinations are refused, unlikely ones remarked upon; both show the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from clock.units import format_duration
from inference.serving.policies.base import least_ns
from inference.serving.policies.batching import RayBatching
from inference.serving.policies.deployment import Deployment, Variant
from inference.serving.policies.routing import LatencyBudget, Split
from inference.serving.policies.service import Measured, Table, least_service_ns

if TYPE_CHECKING:
    from inference.config import InferenceConfig

__all__ = ["check", "remarks"]


def check(config: InferenceConfig) -> None:
    """Refuse a loop whose policies contradict each other.

    Raises:
        ValueError: With what was got, the arithmetic, and what to do.
    """
    for name, deployment in config.deployments.items():
        _check_sizes(name, deployment)
        _check_measured(config, name, deployment)
        _check_queue(name, deployment)
        _check_fallback(config, name, deployment)
        _check_fault_replicas(name, deployment)
    _check_deadlines(config)
    _check_cache(config)
    _check_routing(config)


def remarks(config: InferenceConfig) -> Iterator[str]:
    """Yield what is possible but probably not meant."""
    for name, deployment in config.deployments.items():
        yield from _batch_remarks(config, name, deployment)
        yield from _scaling_remarks(config, name, deployment)
    yield from _budget_remarks(config)
    yield from _waiting_remarks(config)


# --- impossible ------------------------------------------------------------------------------


def _check_sizes(name: str, deployment: Deployment) -> None:
    batching, service = deployment.batching, deployment.service_time
    most = 1 if batching is None else batching.max_batch_size
    if isinstance(service, Table) and service.largest < most:
        raise ValueError(
            f"{_of(name)}`service_time.sizes` must reach `max_batch_size`: got sizes up to "
            f"{service.largest}, batches up to {most}. Measure larger ones, or lower "
            "`max_batch_size`."
        )


def _check_measured(config: InferenceConfig, name: str, deployment: Deployment) -> None:
    service = deployment.service_time
    if not isinstance(service, Measured):
        return
    changes = {
        "variants": bool(config.variants),
        "batching": deployment.batching is not None,
        "replica_speeds": set(deployment.replica_speeds) != {1.0},
        "warm_up": deployment.warm_up is not None,
    }
    for field, is_given in changes.items():
        if is_given:
            raise ValueError(
                f"{_of(name)}`{field}` cannot go with `service_time: measured`, which is the time "
                "that one replica took for one row. Remove it, or take another kind of time."
            )
    if service.recorded is None and config.backend != "ray_serve":
        raise ValueError(
            f"{_of(name)}`service_time: measured` must have real replicas to measure: got "
            f"`backend: {config.backend}`. Write backend: ray_serve, or name a recording: "
            "service_time: {kind: measured, from: runs/NAME/service_times.parquet}."
        )


def _check_queue(name: str, deployment: Deployment) -> None:
    discipline = deployment.queue.discipline
    if deployment.router.kind == "power_of_two" and discipline != "fifo":
        raise ValueError(
            f"{_of(name)}`queue.discipline` must be fifo with `router: power_of_two`, which places "
            f"the oldest request first as Ray does: got {discipline}. Take another router."
        )


def _check_fallback(config: InferenceConfig, name: str, deployment: Deployment) -> None:
    breaker = deployment.circuit_breaker
    target = None if breaker is None else breaker.fallback.variant
    if target is None:
        return
    if target not in config.variants:
        known = ", ".join(config.variants) or "none, as there are no `variants`"
        raise ValueError(
            f"{_of(name)}`circuit_breaker.fallback.variant` must name a variant: got '{target}'. "
            f"Known: {known}."
        )
    if target == name:
        others = ", ".join(other for other in config.variants if other != name)
        raise ValueError(
            f"{_of(name)}`circuit_breaker.fallback.variant` must be another variant: got '{name}' "
            f"itself. Others: {others or 'none'}."
        )


def _check_fault_replicas(name: str, deployment: Deployment) -> None:
    if deployment.autoscaling_config is not None:
        return  # an index is never used again, so that there may be any
    for place, fault in enumerate(deployment.faults):
        replica = getattr(fault, "replica", "any")
        if isinstance(replica, int) and replica >= deployment.most_replicas:
            raise ValueError(
                f"{_of(name)}`faults.{place}.replica` must be one of 0 to "
                f"{deployment.most_replicas - 1}: got {replica}, and there are at most "
                f"{deployment.most_replicas} replicas."
            )


def _check_deadlines(config: InferenceConfig) -> None:
    limits = {}
    if config.timeout is not None:
        limits["timeout"] = config.timeout.after
    if config.retry is not None and config.retry.attempt_timeout is not None:
        limits["retry.attempt_timeout"] = config.retry.attempt_timeout
    for what, limit in limits.items():
        fastest = min(_least_answer(one) for one in config.deployments.values())
        if limit < sum(fastest):
            network, service, latency = fastest
            raise ValueError(
                f"`{what}` must leave time for an answer: got {format_duration(limit)}, and the "
                f"fastest takes {format_duration(sum(fastest))} (network "
                f"{format_duration(network)} + service {format_duration(service)} + latency "
                f"{format_duration(latency)}). Every request would time out."
            )
    if len(limits) == 2 and limits["retry.attempt_timeout"] >= limits["timeout"]:
        raise ValueError(
            f"`retry.attempt_timeout` must be shorter than `timeout`: got "
            f"{format_duration(limits['retry.attempt_timeout'])} >= "
            f"{format_duration(limits['timeout'])}, which leaves no time for a second attempt."
        )


def _least_answer(deployment: Deployment) -> tuple[int, int, int]:
    """Return lower bounds of network, service and latency of an answer, in nanoseconds."""
    network = least_ns(deployment.network.out) + least_ns(deployment.network.back)
    fastest = max(deployment.replica_speeds)
    service = math.floor(least_service_ns(deployment.service_time) / fastest)
    return network, service, least_ns(deployment.latency)


def _check_cache(config: InferenceConfig) -> None:
    cache = config.cache
    if cache is not None and config.features is not None:
        cache.steps(config.features)


def _check_routing(config: InferenceConfig) -> None:
    routing, variants = config.routing, config.variants
    if routing is None:
        if len(variants) > 1:
            raise ValueError(
                f"`routing` must say which of the variants ({', '.join(variants)}) answers. Write "
                "for example routing: {kind: latency_budget, budget: 20ms}."
            )
        return
    if len(variants) < 2:
        raise ValueError(
            f"`routing` needs two `variants` to choose from: got {len(variants)}. Add them, or "
            "remove `routing`."
        )
    if isinstance(routing, Split):
        _check_shares(variants)
    else:
        _check_budget(routing, variants)


def _check_shares(variants: dict[str, Variant]) -> None:
    missing = [name for name, variant in variants.items() if variant.share is None]
    if missing:
        raise ValueError(
            f"`share` must be given for every variant of a split: it is missing from "
            f"{', '.join(missing)}."
        )
    shares = [variant.share or 0.0 for variant in variants.values()]
    if not math.isclose(math.fsum(shares), 1.0, abs_tol=1e-9):
        added = " + ".join(f"{share:g}" for share in shares)
        raise ValueError(
            f"the shares of a split must add up to 1: got {added} = {math.fsum(shares):g}."
        )


def _check_budget(routing: LatencyBudget, variants: dict[str, Variant]) -> None:
    expected = {name: variant.expected_latency for name, variant in variants.items()}
    missing = [name for name, latency in expected.items() if latency is None]
    if missing:
        raise ValueError(
            f"`expected_latency` must be given for every variant of a latency budget: it is "
            f"missing from {', '.join(missing)}."
        )
    if routing.otherwise == "reject" and routing.explore_every is None:
        fastest = min(expected, key=lambda name: expected[name] or 0)
        least = expected[fastest] or 0
        if least > routing.budget:
            raise ValueError(
                f"`routing.budget` must reach the fastest variant: got "
                f"{format_duration(routing.budget)}, and {fastest} is expected to take "
                f"{format_duration(least)}. With `otherwise: reject` every request is rejected. "
                "Raise the budget, or take `otherwise: fastest`."
            )


# --- unlikely --------------------------------------------------------------------------------


def _batch_remarks(config: InferenceConfig, name: str, deployment: Deployment) -> Iterator[str]:
    batching = deployment.batching
    if batching is None:
        return
    size, slots = batching.max_batch_size, batching.executions
    held = deployment.ongoing_limit
    if held < size:
        yield (
            f"{_of(name)}a batch never fills: `max_ongoing_requests` {held} < `max_batch_size` "
            f"{size}, so that a replica never holds more than {held}. Raise it to {size * slots}."
        )
    elif held < size * slots:
        yield (
            f"{_of(name)}not every slot fills: `max_ongoing_requests` {held} < {size} * {slots} = "
            f"{size * slots} (`max_batch_size` * concurrent batches)."
        )
    if config.in_flight_limit < size and size > 1:
        yield (
            f"{_of(name)}a batch never fills: `max_in_flight` {config.in_flight_limit} < "
            f"`max_batch_size` {size}, so that the loop never has more requests out than that."
        )
    asks_alone = config.polling.kind == "continuous" and not config.variants
    if asks_alone and isinstance(batching, RayBatching) and batching.batch_wait_timeout > 0:
        return
    if size == 1:
        yield f"{_of(name)}a batch of one is no batch: `max_batch_size` is 1."


def _scaling_remarks(config: InferenceConfig, name: str, deployment: Deployment) -> Iterator[str]:
    scaling = deployment.autoscaling_config
    if scaling is None:
        return
    most = math.ceil(config.in_flight_limit / scaling.target_ongoing_requests)
    if most <= scaling.min_replicas < scaling.max_replicas:
        yield (
            f"{_of(name)}the autoscaler never starts a replica: at most "
            f"{config.in_flight_limit} requests out / target {scaling.target_ongoing_requests:g} "
            f"wants {most}, and `min_replicas` is {scaling.min_replicas}. Raise `max_in_flight`."
        )


def _budget_remarks(config: InferenceConfig) -> Iterator[str]:
    routing = config.routing
    if not isinstance(routing, LatencyBudget):
        return
    expected = {name: variant.expected_latency or 0 for name, variant in config.variants.items()}
    fastest = min(expected, key=lambda name: expected[name])
    if expected[fastest] > routing.budget:
        yield (
            f"the budget is below every variant: {format_duration(routing.budget)} < "
            f"{format_duration(expected[fastest])}, which {fastest}, the fastest, is expected to "
            "take."
        )


def _waiting_remarks(config: InferenceConfig) -> Iterator[str]:
    loses = any(
        fault.kind == "lost_reply" for one in config.deployments.values() for fault in one.faults
    )
    waits = config.timeout is None and (
        config.retry is None or config.retry.attempt_timeout is None
    )
    if loses and waits:
        yield (
            "a lost reply is waited for until the end of the run, and holds one of "
            f"{config.in_flight_limit} places in flight: there is neither `timeout` nor "
            "`retry.attempt_timeout`."
        )


def _of(name: str) -> str:
    return f"variant {name}: " if name else ""
