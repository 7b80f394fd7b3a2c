"""Fit: the simulated deployment that says the same as a real one, one request at a time.

Only two loads are looked at: single-stream, and a sweep of queries of more and more requests at
once. What other loads do is for the simulation to foretell.

Two things can hold requests up. Where the *replicas* do, their service time is the simulated one,
and Ray's way there and back are delays. A replica is not free at once when its model is done: what
it takes from one execution to the next, seen in the sweep, holds it as well. A model that has
rested may be slower than one that is kept at it: what it takes longer is put before the execution,
where whoever finds it idle waits for it, and those behind wait no second time. Half of the way
there is taken for the message from router to replica, and what the router knows is as old as that.

Where the model is faster than the system around it, what serves one request after the other is that
system: client, router and event loops (*overhead*). For servers in a row, each with a constant
time, waiting is that of the slowest alone (Friedman 1965): it is simulated as one replica, all
other time as delay. Its times are as uneven as those between the answers of a query.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.config import InferenceConfig
from inference.errors import ModelFailedError
from inference.measure.log import Log
from inference.measure.sweeps import (
    answers_apart,
    executions,
    rest_of,
    swept_capacity,
    turnarounds,
)
from inference.serving.policies.deployment import Deployment

__all__ = ["Fit", "FitLoads", "fit_to", "fitted_config", "write_fit"]

Ints = NDArray[np.int64]
_SECOND: Final = 1e9

SLOWER: Final = 0.4
"""The sweep must reach this share of what the replicas could serve, or the overhead is to blame."""

TURNS: Final = 20
"""Turnarounds that stand for all of them."""

NETWORK_FILE: Final = "network.parquet"
SERVICE_FILE: Final = "service.parquet"


class FitLoads(NamedTuple):
    """What a fit is made of: nothing else was looked at."""

    single: Log
    sweep: dict[int, Log]
    """By the number of requests in a query."""


class Fit(NamedTuple):
    """What was found.

    `sizes` and `service` are rows: a batch size and a time in ns that an execution of it took.
    `out` and `back` are rows of their own, ns. `hop` is the part of the way out that a message of
    the router takes, ns. `capacity` is the requests a second at load 1.
    """

    bottleneck: Literal["replicas", "overhead"]
    capacity: float
    sizes: Ints
    service: Ints
    out: Ints
    back: Ints
    hop: int
    facts: dict[str, float]


def fit_to(loads: FitLoads, deployment: Deployment) -> Fit:
    """Fit the simulated deployment to what was measured of the real one.

    Args:
        loads: The single-stream, and the sweep.
        deployment: Replicas and batching, as they were deployed.

    Raises:
        ModelFailedError: If the answers lack the replica's stamps, or there are too few.
    """
    single = loads.single.take(loads.single.answered)
    sizes, service = _by_size(single, list(loads.sweep.values()))
    legs = single.legs()
    if len(legs["service"]) < 10:
        raise ModelFailedError(
            f"a fit needs at least 10 answers with the replica's stamps: got {len(legs['service'])}"
            f" of {len(loads.single.number)} requests. Measure more, or on the replica's own host."
        )
    sweep = list(loads.sweep.values())
    rest = rest_of(single, sweep)
    service = np.where(sizes == 1, np.maximum(service - rest, 0), service)
    slots = _slot_capacity(sizes, service, deployment)
    between = turnarounds(sweep)
    held_ns = int(np.median(between)) if len(between) else 0
    swept, log = swept_capacity(single, loads.sweep, _slots(deployment))
    facts = {
        "slot_capacity": slots,
        "swept_capacity": swept,
        "single_stream_p50_ns": float(np.median(single.latency)),
        "service_p50_ns": float(np.median(legs["service"])),
        "out_p50_ns": float(np.median(legs["out"])),
        "back_p50_ns": float(np.median(legs["back"])),
        "turnaround_p50_ns": float(held_ns),
        "rest_ns": float(rest),
    }
    if swept >= SLOWER * slots:
        sizes, service = _held(sizes, service, between)
        back = np.maximum(legs["back"] - held_ns, 0)
        slots = _slot_capacity(sizes, service, deployment)
        hop = int(np.median(legs["out"])) // 2 if deployment.router.kind == "power_of_two" else 0
        out = np.maximum(legs["out"] - hop, 0) + rest
        return Fit("replicas", slots, sizes, service, out, back, hop, facts)
    held = answers_apart(log, _SECOND / swept)
    left = np.maximum(single.latency.astype(np.int64) - round(_SECOND / swept), 0)
    back = np.minimum(legs["back"], left)
    return Fit("overhead", swept, np.ones_like(held), held, left - back, back, 0, facts)


def _by_size(single: Log, sweep: list[Log]) -> tuple[Ints, Ints]:
    """Return executions, of a size that a single stream makes from there, of others of the sweep.

    A sweep fills the host, which lengthens what it times.
    """
    alone, took = executions([single])
    sizes, service = executions(sweep)
    larger = ~np.isin(sizes, alone)
    return np.concatenate([alone, sizes[larger]]), np.concatenate([took, service[larger]])


def _held(sizes: Ints, service: Ints, between: Ints) -> tuple[Ints, Ints]:
    """Return executions, each with a turnaround behind it: every one with several, spread evenly.

    The replica is held for both; the answer leaves after the first. What is added here is taken
    off the way back, so that a request alone takes as long as it did.
    """
    if not len(between):
        return sizes, service
    points = (np.arange(TURNS) + 0.5) / TURNS
    each = np.quantile(between, points).astype(np.int64)
    return np.repeat(sizes, TURNS), (service[:, None] + each[None, :]).ravel()


def _slots(deployment: Deployment) -> int:
    batching = deployment.batching
    at_once = deployment.ongoing_limit if batching is None else batching.executions
    return deployment.start_replicas * at_once


def _slot_capacity(sizes: Ints, service: Ints, deployment: Deployment) -> float:
    """Return the requests a second that the replicas alone could serve, in the best batches."""
    best = max(size / float(service[sizes == size].mean()) for size in np.unique(sizes))
    return _slots(deployment) * best * _SECOND


def write_fit(fit: Fit, folder: Path) -> None:
    """Write the two recordings that `fitted_config` names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    service = {"batch_size": fit.sizes, "service_time": _durations(fit.service)}
    pq.write_table(pa.table(service), folder / SERVICE_FILE)
    network = {"out": _durations(fit.out), "back": _durations(fit.back)}
    pq.write_table(pa.table(network), folder / NETWORK_FILE)


def _durations(column: Ints) -> Any:
    import pyarrow as pa

    return pa.array(column, pa.int64()).cast(pa.duration("ns"))


def fitted_config(fit: Fit, config: InferenceConfig, folder: Path) -> InferenceConfig:
    """Return a loop's configuration with what was measured in place of what was assumed.

    Args:
        fit: What was measured.
        config: The loop as the scenario has it.
        folder: Where `write_fit` wrote, as the configuration is to name it.
    """
    network = str(folder / NETWORK_FILE)
    given = config.model_dump(mode="json", exclude={"latency", "replica_speeds", "warm_up"})
    given |= {
        "service_time": {"kind": "profile", "path": str(folder / SERVICE_FILE)},
        "network": {
            "out": {"kind": "empirical", "path": network, "column": "out"},
            "back": {"kind": "empirical", "path": network, "column": "back"},
        },
    }
    if given["router"]["kind"] == "power_of_two":
        # what a router hears of its replicas is as old as the message
        given["router"] = {"kind": "power_of_two", "hop_latency": f"{fit.hop}ns"}
    if fit.bottleneck == "overhead":
        given |= {"num_replicas": 1, "max_ongoing_requests": None, "batching": None}
        given |= {"router": "round_robin", "autoscaling_config": None}
    return InferenceConfig.model_validate(given)
