"""Profile: what a predictor, and a deployment of it, take for their answers, kept as recordings.

A folder of a profile holds `service.parquet` (batch size, service time) and `network.parquet` (out,
back), which `service_time: {kind: profile}` and `{kind: empirical}` read as they are,
`requests.parquet` and `in_process.parquet`, what they were made of and all else that was measured,
and `profile.json`: the machine, versions, counts and quantiles.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.wall import host_ns
from inference.backend import Backend
from inference.config import InferenceConfig
from inference.measure import drive
from inference.measure.drive import PACER, Pacer
from inference.measure.fit import Fit, FitLoads, fit_to, fitted_config, write_fit
from inference.measure.loads import poisson
from inference.measure.log import Log, join_logs, write_log
from inference.measure.machine import host_load, machine
from inference.measure.statistics import QUANTILES, quantile
from inference.predictors.base import Predictor

__all__ = ["FILES", "InProcess", "Profile", "measure_profile", "scenario_block", "write_profile"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FILES: Final = (
    "service.parquet",
    "network.parquet",
    "requests.parquet",
    "in_process.parquet",
    "profile.json",
)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
"""Batches of the in-process sweep."""
QUERIES: Final = (2, 4, 8, 16, 32)
"""Requests at once of the deployment's sweep."""
SERVER_LOAD: Final = 0.5
PAUSE_NS: Final = 10_000_000
CALLS_WITHIN_NS: Final = 2_000_000_000
"""A model that sleeps, or is large, is called less often."""


class InProcess(NamedTuple):
    """Calls of a predictor: how many rows each had, and how long it took, ns."""

    batch_size: Ints
    service_time: Ints


class Profile(NamedTuple):
    """What was measured; `logs` by scenario: LoadGen's four, and a sweep of sizes."""

    name: str
    backend: str
    rows: str
    config: InferenceConfig
    in_process: InProcess
    logs: dict[str, Log]
    sizes: dict[str, Ints]
    fit: Fit
    host: dict[str, float]


def measure_profile(
    backend: Backend,
    predictor: Predictor,
    config: InferenceConfig,
    rows: Floats,
    *,
    name: str,
    told: tuple[str, str] = ("", ""),
    requests: int = 500,
    seed: int = 0,
    pacer: Pacer = PACER,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Measure a predictor in this process, then a deployment of it.

    Args:
        backend: The running deployment.
        predictor: The same model, loaded here.
        config: As it was deployed.
        rows: What to ask about, shape (n, n_features).
        name: What it is called.
        told: What kind of deployment it is, and where the rows come from.
        requests: Of single-stream, server and offline each.
        seed: Of pauses and arrivals.
        pacer: Reads the host's time.
        progress: Called with the steps done and their number.
    """
    steps = 5
    step = progress or (lambda done, total: None)
    before = host_load()
    in_process = measure_calls(predictor, rows, requests)
    step(1, steps)
    drive.warm_up(backend, rows, min(requests, 100), pacer)
    single = drive.single_stream(backend, rows, requests, pacer, pause_ns=PAUSE_NS, seed=seed)
    close = drive.single_stream(backend, rows, requests, pacer)
    step(2, steps)
    sweep = {
        size: drive.multi_stream(backend, rows, max(requests // (5 * size), 8), size, pacer)
        for size in QUERIES
    }
    step(3, steps)
    fit = fit_to(FitLoads(single, sweep), config)
    arrivals = poisson(SERVER_LOAD * fit.capacity, requests, seed, "measure/profile")
    server = drive.server(backend, rows, arrivals, pacer)
    step(4, steps)
    offline = drive.offline(backend, rows, requests, pacer)
    step(5, steps)
    logs = {
        "single_stream": single,
        "single_stream_close": close,
        "multi_stream": join_logs(list(sweep.values())),
        "server": server,
        "offline": offline,
    }
    sizes = {key: np.ones(len(log.number), np.int64) for key, log in logs.items()}
    sizes["multi_stream"] = np.repeat([*sweep], [len(log.number) for log in sweep.values()])
    sizes["offline"][:] = requests
    host = host_load().since(before)
    return Profile(name, *told, config, in_process, logs, sizes, fit, host)


def measure_calls(predictor: Predictor, rows: Floats, calls: int) -> InProcess:
    """Time calls of a predictor in this process, for batches of each size."""
    sizes, times = [], []
    for size in SIZES:
        batches = [
            np.resize(np.roll(rows, -i * size, axis=0), (size, rows.shape[1])) for i in range(8)
        ]
        predictor.predict(batches[0])
        spent = 0
        for call in range(calls):
            batch = batches[call % len(batches)]
            started = host_ns()
            predictor.predict(batch)
            took = host_ns() - started
            sizes.append(size)
            times.append(took)
            spent += took
            if spent > CALLS_WITHIN_NS // len(SIZES) and call >= 10:
                break
    return InProcess(np.array(sizes, np.int64), np.array(times, np.int64))


def write_profile(profile: Profile, folder: Path) -> dict[str, Any]:
    """Write a profile's files into a folder that is there; return what `profile.json` says."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_fit(profile.fit, folder)
    scenario = np.repeat([*profile.logs], [len(log.number) for log in profile.logs.values()])
    whole = join_logs(list(profile.logs.values()))
    more: dict[str, NDArray[Any]] = {
        "scenario": scenario.astype(object),
        "size": np.concatenate(list(profile.sizes.values())),
    }
    for name, (first, last) in _LEGS.items():
        begin, end = getattr(whole, first), getattr(whole, last)
        more[name] = np.where((begin > 0) & (end > 0), end - begin, -1)
    write_log(whole, folder / "requests.parquet", more)
    alone = {name: pa.array(column) for name, column in profile.in_process._asdict().items()}
    pq.write_table(pa.table(alone), folder / "in_process.parquet")
    content = profile_json(profile)
    (folder / "profile.json").write_text(json.dumps(content, indent=1) + "\n")
    return content


_LEGS: Final = {
    "out_ns": ("submitted_at", "started_at"),
    "service_ns": ("started_at", "completed_at"),
    "back_ns": ("completed_at", "received_at"),
}


def profile_json(profile: Profile) -> dict[str, Any]:
    """Return a profile's numbers as plain values; latencies in ms."""
    alone = profile.in_process
    return {
        "name": profile.name,
        "backend": profile.backend,
        "rows": profile.rows,
        "machine": machine(),
        "host": profile.host,
        "bottleneck": profile.fit.bottleneck,
        "capacity": profile.fit.capacity,
        "facts": profile.fit.facts,
        "in_process": {
            str(size): _spread(alone.service_time[alone.batch_size == size])
            for size in np.unique(alone.batch_size)
        },
        "scenarios": {name: _of_log(log) for name, log in profile.logs.items()},
    }


def _of_log(log: Log) -> dict[str, Any]:
    late = log.latency[log.answered]
    span = float(log.received_at[log.answered].max() - log.scheduled_at.min()) if len(late) else 0
    return {
        "requests": len(log.number),
        "answered": len(late),
        "lagged": log.lagged,
        "answers_a_second": len(late) / span * 1e9 if span else None,
        "latency": _spread(late),
        **{leg: _spread(times) for leg, times in log.legs().items()},
    }


def _spread(times: NDArray[Any]) -> dict[str, float] | None:
    if not len(times):
        return None
    found = {name: quantile(times.astype(np.float64), at) / 1e6 for name, at in QUANTILES.items()}
    return {"count": len(times), "mean": float(times.mean()) / 1e6, **found}


def scenario_block(profile: Profile, folder: Path) -> str:
    """Return the `inference_config` of a scenario that behaves as what was measured, as YAML.

    Where the overhead is what holds requests up, it is one replica that stands for all.
    """
    import yaml

    config = fitted_config(profile.fit, profile.config, folder)
    short = config.model_dump(mode="json", exclude_defaults=True)
    fields = _with_kinds(short, config.model_dump(mode="json"))
    head = (
        f"# {profile.name}, measured on {profile.backend}; bottleneck: {profile.fit.bottleneck}.\n"
        f"# {len(profile.logs['single_stream'].number)} requests one at a time; {folder}\n"
    )
    return head + yaml.safe_dump({"inference_config": fields}, sort_keys=False)


def _with_kinds(short: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    """Return the short form with each `kind` in front, even where it is a default."""
    found = {"kind": full["kind"]} if "kind" in full else {}
    for name, value in short.items():
        nested = isinstance(value, dict) and isinstance(full[name], dict)
        found[name] = _with_kinds(value, full[name]) if nested else value
    return found
