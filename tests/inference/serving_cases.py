"""Drawn deployments with every policy in every combination, and the rows that ask of them.

A case is the block of a scenario, so that the stack and the reference each read it for themselves.
All durations are whole milliseconds: much falls on the same instant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from pydantic import ValidationError

from inference.config import InferenceConfig
from inference.rows import Rows

MS = 1_000_000
COLUMNS = ("mid", "spread", "flow")
READ = ("mid", "flow")
INSTRUMENTS = ("COIN", "TOKEN")
END = 260 * MS

Block = dict[str, Any]


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
QUEUES = st.sampled_from(
    [
        "newest_first",
        {"discipline": "priority", "priorities": {"TOKEN": -1, "own": -2}},
        {"discipline": "priority", "priorities": {"COIN": 3, "own": 1}},
    ]
)


@st.composite
def deployments(draw: st.DrawFn, fallbacks: tuple[Any, ...], nan: bool = False) -> Block:
    """Draw the fields of one deployment."""
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
        block |= draw(optional(queue=QUEUES))
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


RETRIES = st.fixed_dictionaries(
    {"max_attempts": st.integers(1, 4), "backoff": ms(0, 8)},
    optional={
        "multiplier": st.sampled_from([1.0, 1.5, 2.0]),
        "max_backoff": ms(8, 20),
        "jitter": st.sampled_from([0.3, 1.0]),
        "attempt_timeout": ms(8, 20),
        "on": st.sampled_from([["failed"], ["rejected", "timed_out"], ["timed_out"]]),
        "budget": st.sampled_from([{"ratio": 0.3, "burst": 1}, {"ratio": 0.5, "burst": 2.5}]),
    },
)
CACHES = st.fixed_dictionaries(
    {"ttl": ms(5, 120)},
    optional={
        "step": st.sampled_from([1.0, {"mid": 2.0}]),
        "max_entries": st.integers(1, 3),
        "hit_latency": latencies(2),
    },
)
TIMEOUTS = ms(20, 40) | st.builds(
    lambda after, cancel: {"after": after, "cancel": cancel}, ms(10, 30), st.booleans()
)
POLLINGS = st.sampled_from(["on_feature", "on_feature", "continuous", {"every": "4ms"}])
ANSWERS = ("none", "last_value", {"constant": 7.5})


@st.composite
def several(draw: st.DrawFn, nan: bool) -> Block:
    """Draw two or three variants, and how one of them is chosen."""
    names = ["big", "small", "spare"][: draw(st.integers(2, 3))]
    variants = {}
    for name in names:
        others = tuple({"variant": other} for other in names if other != name)
        variants[name] = draw(deployments((*ANSWERS, *others), nan))
        variants[name]["accuracy"] = draw(st.sampled_from([0.5, 0.6, 0.7]))
        variants[name]["expected_latency"] = draw(ms(0, 15))
    if draw(st.booleans()):
        shares = {2: [0.25, 0.75], 3: [0.5, 0.25, 0.25]}[len(names)]
        for name, share in zip(names, shares, strict=True):
            variants[name]["share"] = share
        return {"variants": variants, "routing": "split"}
    routing = {"kind": "latency_budget", "budget": draw(ms(5, 20))}
    routing |= draw(
        optional(otherwise=st.sampled_from(["fastest", "reject"]), explore_every=st.integers(1, 4))
    )
    return {"variants": variants, "routing": routing}


@st.composite
def blocks(draw: st.DrawFn, *, nan: bool = False) -> Block:
    """Draw a loop's block of a scenario, without its model."""
    many = draw(st.integers(0, 2)) == 0
    block = draw(several(nan) if many else deployments(ANSWERS, nan))
    block["polling"] = draw(POLLINGS)
    block["max_in_flight"] = draw(st.sampled_from([1, 2, 5, 12, 12]))
    block["on_new"] = draw(st.sampled_from(["replace", "queue"]))
    block |= draw(optional(timeout=TIMEOUTS, retry=RETRIES, cache=CACHES))
    try:
        as_config(block)
    except ValidationError:
        reject()
    return block


HARD_TIMES: dict[str, Block] = {
    "crash": {
        "faults": [
            {"kind": "crash", "at": ["6ms", "15ms", "30ms"], "restart": "4ms"},
            {"kind": "error_rate", "at": 0, "for": "90ms", "probability": 0.5},
        ],
        "service_time": {"kind": "uniform", "low": "8ms", "high": "20ms"},
    },
    "lost": {"faults": [{"kind": "lost_reply", "at": 0, "for": "60ms", "probability": 0.5}]},
    "budget": {"expected_latency": "6ms"},
}


@st.composite
def pressed(draw: st.DrawFn) -> Block:
    """Draw a block in which what is rare elsewhere happens often."""
    block, what = draw(blocks()), draw(st.sampled_from(sorted(HARD_TIMES)))
    if what == "budget":
        block = {**draw(several(nan=False)), "polling": "on_feature", "max_in_flight": 12}
    for deployment in block.get("variants", {"": block}).values():
        deployment.update(HARD_TIMES[what])
    if what == "lost":
        block["timeout"] = {"after": "45ms", "cancel": draw(st.booleans())}
    elif what == "budget":
        routing = {"kind": "latency_budget", "budget": "5ms", "otherwise": "reject"}
        block["routing"] = {**routing, "explore_every": 3}
    try:
        as_config(block)
    except ValidationError:
        reject()
    return block


def as_config(block: Mapping[str, Any]) -> InferenceConfig:
    """Return the configuration that a block describes."""
    return InferenceConfig.model_validate({"model_uri": "m", "features": READ, **block})


@st.composite
def row_streams(draw: st.DrawFn, most: int = 24) -> Rows:
    """Draw rows that come singly and in crowds, with few different values, some missing."""
    least = draw(st.sampled_from([0, 6, 12]))
    gap = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 7, 20])
    gaps = draw(st.lists(gap, min_size=least, max_size=most))
    emitted = (np.cumsum([0, *gaps])[1:] * MS).tolist()
    number = len(emitted)
    cells = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=number, max_size=number)
    values = np.stack([draw(cells), np.full(number, math.nan), draw(cells)], axis=1)
    if number:
        bad = draw(st.sets(st.integers(0, number - 1), max_size=1))
        values[list(bad), 2] = math.nan
    stamps = np.array(emitted, np.int64)
    tie = [emitted[:i].count(instant) for i, instant in enumerate(emitted)]
    of = draw(st.lists(st.integers(0, 1), min_size=number, max_size=number))
    rows = Rows(
        stamps,
        stamps + draw(st.integers(0, 2)) * MS,
        stamps - 1,
        np.array(tie, np.int64).reshape(-1),
        np.array(of, np.int64).reshape(-1),
        np.ascontiguousarray(values.reshape(-1, 3)),
    )
    for column in rows:
        column.flags.writeable = False
    return rows
