"""Plants in the serving stack: a rule that is slightly another, or a state that a push loses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from inference.config import InferenceConfig
from inference.serving import full_stack
from inference.serving import layout as f
from tests.inference.serving_cases import Block
from tests.mutants.planting import Patch, after_push

Plant = Callable[[Patch], None]


class Rule(NamedTuple):
    """A deployment in which a rule matters, and what the stack is made to follow instead."""

    block: Block
    plant: Plant


def instead(**other: Any) -> Plant:
    """Build the stack by other settings than the scenario's; functions change what they get."""

    def plant(patch: Patch) -> None:
        real = full_stack.build

        def build(config: InferenceConfig, given: Any) -> Any:
            changed = {
                name: value(getattr(config, name)) if callable(value) else value
                for name, value in other.items()
            }
            return real(config.model_copy(update=changed), given)

        patch.setattr(full_stack, "build", build)

    return plant


def with_(**fields: Any) -> Callable[[Any], Any]:
    """Change some fields of a policy; a function is given what the field was."""

    def change(policy: Any) -> Any:
        changed = {
            name: value(getattr(policy, name)) if callable(value) else value
            for name, value in fields.items()
        }
        return policy.model_copy(update=changed)

    return change


def one_more(number: int) -> int:
    """Be off by one."""
    return number + 1


def forgets(place: int, value: int) -> Plant:
    """Set a number of the first variant back after each push."""

    def plant(patch: Patch) -> None:
        def forget(loop: Any) -> None:
            m = loop._stack._memory.m
            m[m[f.VARIANTS] + place] = value

        after_push(patch, forget)

    return plant


ERRORS = {"kind": "error_rate", "at": 0, "for": "1s", "probability": 0.5}
BATCHES = {"kind": "ray", "max_batch_size": 3, "batch_wait_timeout": "2ms"}
SCALING = {
    "max_replicas": 3,
    "target_ongoing_requests": 1,
    "look_back_period": "30ms",
    "metrics_interval": "3ms",
    "record_interval": "3ms",
    "control_interval": "3ms",
    "upscale_delay": "6ms",
}
BREAKER = {"failure_threshold": 2, "open_for": "10ms"}
RETRY = {"backoff": "2ms", "budget": {"ratio": 0.1, "burst": 1}}

RULES = {
    "the_queue_is_one_longer": Rule(
        {"max_queued_requests": 1}, instead(max_queued_requests=one_more)
    ),
    "a_batch_waits_a_nanosecond_more": Rule(
        {"batching": BATCHES}, instead(batching=with_(batch_wait_timeout=one_more))
    ),
    "a_blocking_batch_yields": Rule(
        {"batching": {**BATCHES, "function": "blocking"}, "max_ongoing_requests": 9},
        instead(batching=with_(function="yielding")),
    ),
    "an_answer_is_fresh_at_its_ttl": Rule(
        {"cache": {"ttl": "3ms", "step": 10.0}, "service_time": "1ms"},
        instead(cache=with_(ttl=one_more)),
    ),
    "the_breaker_opens_one_failure_late": Rule(
        {"circuit_breaker": BREAKER, "faults": [ERRORS]},
        instead(circuit_breaker=with_(failure_threshold=one_more)),
    ),
    "retries_cost_nothing": Rule(
        {"retry": RETRY, "faults": [ERRORS]}, instead(retry=with_(budget=None))
    ),
    "a_deadline_passes_a_nanosecond_late": Rule(
        {"timeout": "12ms"}, instead(timeout=with_(after=one_more))
    ),
    "nobody_is_cancelled": Rule(
        {"timeout": {"after": "12ms", "cancel": True}}, instead(timeout=with_(cancel=False))
    ),
    "power_of_two_is_least_loaded": Rule(
        {"router": "power_of_two"}, instead(router=with_(kind="least_loaded"))
    ),
    "the_oldest_goes_first": Rule(
        {"queue": "newest_first"}, instead(queue=with_(discipline="fifo"))
    ),
    "all_replicas_are_as_fast": Rule(
        {"replica_speeds": [0.5]}, instead(replica_speeds=(1.0,))
    ),
    "nothing_goes_wrong": Rule(
        {"faults": [{"kind": "crash", "at": "4ms", "restart": "3ms"}]}, instead(faults=())
    ),
    "the_autoscaler_hurries": Rule(
        {"autoscaling_config": SCALING}, instead(autoscaling_config=with_(upscale_delay=0))
    ),
}  # fmt: skip

LOST_STATES = {
    "round_robin_restarts": Rule(
        {"num_replicas": 3, "max_queued_requests": 9}, forgets(f.LAST_USED, -1)
    ),
    "answers_overtake_between_pushes": Rule(
        {
            "max_queued_requests": 9,
            "latency": {"kind": "uniform", "low": 0, "high": "20ms"},
            "num_replicas": 3,
        },
        forgets(f.LAST_VISIBLE, 0),
    ),
    "the_breaker_forgets_failures": Rule(
        {"circuit_breaker": {**BREAKER, "failure_threshold": 3}, "faults": [ERRORS]},
        forgets(f.B_FAILED, 0),
    ),
}
