"""What a scenario may say about serving: short forms, defaults, and what is refused and why."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from inference.config import InferenceConfig
from inference.serving.policies.service import Affine

VARIANTS = {
    "big": {"model_uri": "b", "expected_latency": "30ms", "share": 0.75, "num_replicas": 2},
    "small": {"model_uri": "s", "expected_latency": "10ms", "share": 0.25},
}


def config(**given: Any) -> InferenceConfig:
    return InferenceConfig.model_validate({"model_uri": "m", **given})


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"router": "least_loaded"}, {"router": {"kind": "least_loaded"}}),
        ({"batching": "ray"}, {"batching": {"kind": "ray"}}),
        ({"batching": "none"}, {}),
        ({"queue": "newest_first"}, {"queue": {"discipline": "newest_first"}}),
        ({"timeout": "50ms"}, {"timeout": {"after": "50ms"}}),
        (
            {"circuit_breaker": {"fallback": "last_value"}},
            {"circuit_breaker": {"failure_threshold": 5, "fallback": {"kind": "last_value"}}},
        ),
        (
            {"circuit_breaker": {"fallback": {"constant": 0.5}}},
            {"circuit_breaker": {"fallback": {"kind": "constant", "constant": 0.5}}},
        ),
        # YAML 1.1 reads a bare `on` as true
        ({"retry": {True: ["failed"]}}, {"retry": {"on": ["failed"]}}),
        (
            {"faults": [{"kind": "crash", "at": "5s"}]},
            {"faults": [{"kind": "crash", "at": ["5s"], "replica": "any", "restart": "0s"}]},
        ),
    ],
)
def test_short_forms_say_the_same_as_long_ones(short: dict[str, Any], long: dict[str, Any]) -> None:
    assert config(**short) == config(**long)


EVERYTHING: dict[str, Any] = {
    "service_time": {"kind": "affine", "base": "2ms", "per_item": "100us"},
    "router": {"kind": "power_of_two", "hop_latency": "200us"},
    "batching": {"kind": "triton", "preferred_batch_sizes": [4]},
    "timeout": {"after": "50ms", "cancel": True},
    "retry": {"attempt_timeout": "20ms", "budget": {}},
    "cache": {"step": {"a": 0.5}, "ttl": "1s"},
    "circuit_breaker": {"failure_rate": 0.5, "counts": ["nan"], "fallback": {"constant": 0.0}},
    "autoscaling_config": {"max_replicas": 4, "initial_replicas": 2},
    "faults": [{"kind": "slow", "every": "60s", "for": "1s", "factor": 5}],
    "warm_up": {},
    "replica_speeds": [1.0, 0.5],
}


@pytest.mark.parametrize(
    "given", [EVERYTHING, {"variants": VARIANTS, "routing": "split", "network": {"out": "1ms"}}]
)
def test_a_configuration_survives_being_written_and_read(given: dict[str, Any]) -> None:
    made = config(**given)
    assert InferenceConfig.model_validate_json(made.model_dump_json()) == made
    assert InferenceConfig.model_validate(made.model_dump(mode="json", by_alias=True)) == made


def test_a_replica_accepts_what_it_can_execute_unless_told_otherwise() -> None:
    batches = {"kind": "ray", "max_batch_size": 4, "max_concurrent_batches": 3}
    assert config().ongoing_limit == 1
    assert config(batching=batches).ongoing_limit == 12
    assert config(batching=batches, max_ongoing_requests=5).ongoing_limit == 5


def test_by_default_the_loop_asks_for_all_that_the_replicas_may_hold() -> None:
    assert config(num_replicas=3).in_flight_limit == 3
    assert (
        config(num_replicas=3, batching={"kind": "ray", "max_batch_size": 4}).in_flight_limit == 12
    )
    assert config(autoscaling_config={"max_replicas": 5}).in_flight_limit == 5
    assert config(variants=VARIANTS, routing="split").in_flight_limit == 3


def test_a_variant_takes_from_its_loop_what_it_does_not_say() -> None:
    made = config(variants=VARIANTS, routing="split", service_time="3ms", router="least_loaded")
    big, small = made.deployments.values()
    assert (big.num_replicas, small.num_replicas) == (2, 1)
    assert big.service_time == small.service_time == made.service_time
    assert big.router.kind == "least_loaded"
    own = config(
        variants={**VARIANTS, "small": {**VARIANTS["small"], "service_time": "1ms"}},
        routing="split",
        service_time={"kind": "affine", "base": "2ms", "per_item": "1ms"},
    )
    assert isinstance(own.deployments["big"].service_time, Affine)
    assert own.deployments["small"].service_time.kind == "constant"


def test_the_number_of_replicas_passes_down_only_where_it_says_something() -> None:
    scaled = {**VARIANTS, "small": {**VARIANTS["small"], "autoscaling_config": {}}}
    made = config(variants=scaled, routing="split", num_replicas=3)
    assert made.deployments["small"].most_replicas == 1
    fixed = config(variants=VARIANTS, routing="split", autoscaling_config={"max_replicas": 7})
    assert fixed.deployments["big"].most_replicas == 2
    assert fixed.deployments["small"].most_replicas == 7


def test_the_model_of_the_first_variant_is_the_loops_where_it_names_none() -> None:
    made = InferenceConfig.model_validate({"variants": VARIANTS, "routing": "split"})
    assert (made.model_uri, made.model_uris) == ("b", {"big": "b", "small": "s"})


def test_a_fallback_has_no_breaker_of_its_own_from_the_loop() -> None:
    made = config(
        variants=VARIANTS, routing="split", circuit_breaker={"fallback": {"variant": "small"}}
    )
    assert made.deployments["big"].circuit_breaker is not None
    assert made.deployments["small"].circuit_breaker is None


COUNTS_NAN = {**VARIANTS, "big": {**VARIANTS["big"], "circuit_breaker": {"counts": ["nan"]}}}


@pytest.mark.parametrize(
    ("given", "reads"),
    [
        ({}, False),
        (EVERYTHING, True),
        ({"circuit_breaker": {}}, False),
        ({"variants": COUNTS_NAN, "routing": "split"}, True),
    ],
)
def test_only_a_breaker_that_counts_nan_reads_values(given: dict[str, Any], reads: bool) -> None:
    assert config(**given).reads_values is reads


AFFINE = {"kind": "affine", "base": "2ms", "per_item": "1ms"}
BUDGET = {"kind": "latency_budget", "budget": "5ms"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"timeout": "5ms", "network": {"out": "3ms", "back": "2ms"}, "service_time": "1ms"},
            r"got 5ms, and the fastest takes 6ms \(network 5ms \+ service 1ms \+ latency 0s\)",
        ),
        (
            {"retry": {"attempt_timeout": "1ms"}, "service_time": AFFINE},
            r"`retry.attempt_timeout` must leave time .* got 1ms, .* takes 3ms",
        ),
        (
            {"timeout": "9ms", "retry": {"attempt_timeout": "9ms"}},
            "got 9ms >= 9ms, which leaves no time for a second attempt",
        ),
        ({"cache": {"ttl": "0s"}}, "`ttl` must be longer than 0: got 0s"),
        (
            {"autoscaling_config": {"min_replicas": 3, "max_replicas": 2}},
            "got 3 > 2, which leaves no number between them",
        ),
        (
            {"autoscaling_config": {"max_replicas": 2, "initial_replicas": 3}},
            r"got 3, which is not in 1\.\.2",
        ),
        (
            {"autoscaling_config": {"metrics_interval": "40s"}},
            "got 40s > 30s, so that between two reports",
        ),
        ({"num_replicas": 2, "autoscaling_config": {"max_replicas": 3}}, "got 2, and from 1 to 3"),
        (
            {"variants": VARIANTS, "routing": {**BUDGET, "otherwise": "reject"}},
            "got 5ms, and small is expected to take 10ms.*every request is rejected",
        ),
        (
            {"variants": {**VARIANTS, "small": {"share": 0.5}}, "routing": "split"},
            r"must add up to 1: got 0.75 \+ 0.5 = 1.25",
        ),
        ({"variants": {**VARIANTS, "small": {}}, "routing": "split"}, "missing from small"),
        ({"variants": VARIANTS}, r"which of the variants \(big, small\)"),
        ({"routing": "split"}, "needs two `variants` to choose from: got 0"),
        (
            {"circuit_breaker": {"fallback": {"variant": "tiny"}}},
            "must name a variant: got 'tiny'",
        ),
        ({"circuit_breaker": {"failure_rate": 0.5, "min_requests": 30}}, "got 30 > 20"),
        ({"circuit_breaker": {"failure_rate": 0.5, "failure_threshold": 2}}, "got both"),
        (
            {
                "service_time": {"kind": "table", "sizes": {1: "2ms", 4: "3ms"}},
                "batching": {"kind": "ray", "max_batch_size": 8},
            },
            "got sizes up to 4, batches up to 8",
        ),
        ({"service_time": {"kind": "table", "sizes": {2: "2ms"}}}, r"must start at 1.*got \[2\]"),
        ({"service_time": {"kind": "afine"}}, "Did you mean 'affine'?"),
        ({"batching": {"kind": "triton", "preferred_batch_sizes": [9]}}, r"\(8\): got \[9\]"),
        ({"router": {"kind": "round_robin", "hop_latency": "1ms"}}, "belongs to `kind: power_of_"),
        ({"router": "power_of_two", "queue": "newest_first"}, "places the oldest request first"),
        ({"queue": "priority"}, "`priorities` must rank something"),
        ({"faults": [{"kind": "crash"}]}, "got neither"),
        ({"faults": [{"kind": "crash", "at": ["2s", "1s"]}]}, "rising order: got 2s, 1s"),
        ({"faults": [{"kind": "crash", "at": "2s", "replica": 1}]}, "one of 0 to 0: got 1"),
        ({"max_queued_requests": 0}, "even a request for an idle replica"),
        ({"replica_speeds": [0.0]}, "must be above 0"),
        ({"retry": {"backoff": "2s", "max_backoff": "1s"}}, "got 1s, `backoff` is 2s"),
    ],
)
def test_what_cannot_happen_is_refused_with_its_arithmetic(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**given)


@pytest.mark.parametrize(
    ("given", "remark"),
    [
        (
            {"batching": "ray", "max_ongoing_requests": 5, "max_in_flight": 50},
            "`max_ongoing_requests` 5 < `max_batch_size` 10",
        ),
        (
            {
                "batching": {"kind": "ray", "max_concurrent_batches": 2},
                "max_ongoing_requests": 15,
            },
            r"15 < 10 * 2 = 20",
        ),
        ({"batching": "triton", "max_in_flight": 3}, "`max_in_flight` 3 < `max_batch_size` 8"),
        ({"variants": VARIANTS, "routing": BUDGET}, "5ms < 10ms, which small, the fastest"),
        (
            {"autoscaling_config": {"max_replicas": 9}, "max_in_flight": 2},
            "at most 2 requests out / target 2 wants 1",
        ),
        (
            {"faults": [{"kind": "lost_reply", "at": "1s"}], "num_replicas": 4},
            "holds one of 4 places",
        ),
    ],
)
def test_what_is_probably_not_meant_is_remarked_upon(given: dict[str, Any], remark: str) -> None:
    assert any(remark in text for text in config(**given).remarks), config(**given).remarks


@pytest.mark.parametrize("given", [{}, EVERYTHING, {"batching": "ray"}, {"num_replicas": 3}])
def test_what_is_sensible_is_not_remarked_upon(given: dict[str, Any]) -> None:
    assert config(**given).remarks == ()
