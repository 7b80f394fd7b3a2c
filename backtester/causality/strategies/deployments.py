"""Drawn deployments: replicas, routers, batching, autoscaling, breakers and what goes wrong.

Plain data, as a scenario's YAML has it. All durations are whole milliseconds: much falls on the
same instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = [
    "Block",
    "batchings",
    "breakers",
    "deployments",
    "faults",
    "latencies",
    "ms",
    "optional",
    "scalings",
]

Block = dict[str, Any]
"""Part of a scenario's YAML."""


def ms(low: int, high: int) -> st.SearchStrategy[str]:
    """Draw a duration of so many milliseconds."""
    return st.integers(low, high).map(lambda n: f"{n}ms")


def latencies(most: int = 8) -> st.SearchStrategy[Any]:
    """Draw a latency model; most are constants, so that instants coincide."""
    return st.one_of(
        ms(0, most),
        ms(0, most),
        st.builds(
            lambda low, more: {"kind": "uniform", "low": f"{low}ms", "high": f"{low + more}ms"},
            st.integers(0, 3),
            st.integers(0, most),
        ),
        st.just({"kind": "lognormal", "median": "3ms", "p99": "15ms"}),
    )


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Block]:
    """Draw a mapping in which each field may be absent."""
    return st.fixed_dictionaries({}, optional=fields)


def sizes(most: int) -> st.SearchStrategy[Block]:
    """Draw service times for some batch sizes from 1 to at least *most*."""
    between = st.dictionaries(st.integers(2, max(2, most)), latencies(12), max_size=2)
    return st.builds(
        lambda first, last, some: {
            "kind": "table",
            "sizes": {**some, 1: first, max(2, most): last},
        },
        latencies(),
        latencies(12),
        between,
    )


@st.composite
def batchings(draw: st.DrawFn) -> Block:
    """Draw Ray's or Triton's batching."""
    most = draw(st.integers(1, 4))
    if draw(st.booleans()):
        return {
            "kind": "ray",
            "max_batch_size": most,
            "batch_wait_timeout": draw(ms(0, 6)),
            "max_concurrent_batches": draw(st.integers(1, 2)),
            "function": draw(st.sampled_from(["yielding", "blocking"])),
        }
    return {
        "kind": "triton",
        "max_batch_size": most,
        "preferred_batch_sizes": sorted(draw(st.sets(st.integers(1, most), max_size=2))),
        "max_queue_delay": draw(ms(0, 6)),
        "instances": draw(st.integers(1, 2)),
    }


@st.composite
def scalings(draw: st.DrawFn) -> Block:
    """Draw an autoscaler that looks every few milliseconds."""
    low, more = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    most = max(1, low + more)
    return {
        "min_replicas": low,
        "max_replicas": most,
        "initial_replicas": draw(st.integers(low, most)),
        "target_ongoing_requests": draw(st.sampled_from([0.5, 1.0, 1.7, 3.0])),
        "look_back_period": draw(ms(20, 60)),
        "metrics_interval": draw(ms(3, 20)),
        "record_interval": draw(ms(2, 9)),
        "control_interval": draw(ms(2, 9)),
        "upscale_delay": draw(ms(0, 15)),
        "downscale_delay": draw(ms(0, 30)),
        **draw(
            optional(
                downscale_to_zero_delay=ms(0, 40),
                upscaling_factor=st.sampled_from([0.4, 1.0, 2.0]),
                downscaling_factor=st.sampled_from([0.4, 1.0]),
            )
        ),
    }


@st.composite
def faults(draw: st.DrawFn, replicas: int) -> Block:
    """Draw something that goes wrong."""
    kind = draw(
        st.sampled_from(
            ["crash", "crash", "slow", "error_rate", "stuck_batch", "lost_reply", "network_pause"]
        )
    )
    fault: Block = {"kind": kind}
    if draw(st.integers(0, 3)):
        instants = draw(st.sets(st.integers(0, 40), min_size=1, max_size=4))
        fault["at"] = [f"{instant}ms" for instant in sorted(instants)]
    else:
        fault["every"] = draw(ms(10, 60))
    if kind not in ("lost_reply", "network_pause"):
        fault["replica"] = draw(st.just("any") | st.integers(0, replicas - 1))
    if kind == "crash":
        fault["restart"] = draw(latencies(20))
    else:
        fault["for"] = draw(ms(1, 25))
    if kind in ("error_rate", "lost_reply"):
        fault["probability"] = draw(st.sampled_from([0.5, 1.0]))
    if kind == "slow":
        fault["factor"] = draw(st.sampled_from([1.5, 3.0]))
    return fault


@st.composite
def breakers(draw: st.DrawFn, fallbacks: tuple[Any, ...], nan: bool) -> Block:
    """Draw a breaker that opens soon."""
    causes = ["failed", "timed_out", "rejected", *["nan"] * nan]
    by = draw(
        st.builds(lambda n: {"failure_threshold": n}, st.integers(1, 3))
        | st.just({"failure_rate": 0.5, "window": 4, "min_requests": 2})
    )
    counts = draw(st.sets(st.sampled_from(causes), min_size=1))
    return {
        **by,
        "open_for": draw(ms(1, 30)),
        "half_open_probes": draw(st.integers(1, 2)),
        "counts": sorted(counts),
        "fallback": draw(st.sampled_from(fallbacks)),
    }


ROUTERS = st.one_of(
    st.sampled_from(["round_robin", "least_loaded", "power_of_two"]),
    st.builds(lambda hop: {"kind": "power_of_two", "hop_latency": hop}, latencies(2)),
)


def queues(instruments: Sequence[str]) -> st.SearchStrategy[Any]:
    """Draw an order of a queue; priorities name instruments of the run."""
    first, last = instruments[0], instruments[-1]
    return st.sampled_from(
        [
            "newest_first",
            {"discipline": "priority", "priorities": {last: -1, "own": -2}},
            {"discipline": "priority", "priorities": {first: 3, "own": 1}},
        ]
    )


@st.composite
def deployments(
    draw: st.DrawFn,
    fallbacks: tuple[Any, ...],
    nan: bool = False,
    instruments: Sequence[str] = ("SIM.ALPHA",),
) -> Block:
    """Draw the fields of one deployment.

    Args:
        draw: Hypothesis.
        fallbacks: What its circuit breaker may answer with.
        nan: Whether its breaker may count NaN answers, which takes the run into lockstep.
        instruments: Those of the run, for priorities.
    """
    batching = draw(st.none() | st.none() | batchings())
    most = 1 if batching is None else batching["max_batch_size"]
    affine = st.builds(
        lambda base, each: {"kind": "affine", "base": base, "per_item": each}, latencies(), ms(0, 3)
    )
    block: Block = {
        "service_time": draw(latencies(20) | affine | sizes(most)),
        "router": draw(ROUTERS),
    }
    scaling = draw(st.none() | st.none() | scalings())
    if scaling is None:
        replicas = block["num_replicas"] = draw(st.integers(1, 3))
    else:
        block["autoscaling_config"], replicas = scaling, scaling["max_replicas"]
    if batching is not None:
        block["batching"] = batching
    if not str(block["router"]).count("power"):
        block |= draw(optional(queue=queues(instruments)))
    return block | draw(
        optional(
            max_ongoing_requests=st.integers(1, 4),
            max_queued_requests=st.integers(1, 3),
            replica_speeds=st.sampled_from([[1.0, 0.5], [2.0, 0.7, 1.0]]),
            cold_start=latencies(),
            warm_up=st.builds(
                lambda n, x: {"requests": n, "factor": x}, st.integers(1, 3), st.just(1.7)
            ),
            network=st.builds(lambda out, back: {"out": out, "back": back}, *[latencies(4)] * 2),
            latency=latencies(4),
            circuit_breaker=breakers(fallbacks, nan),
            faults=st.lists(faults(replicas), min_size=1, max_size=2),
        )
    )
