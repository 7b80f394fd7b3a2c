"""Trial: one deployment measured for a fit and then under other loads, and kept on disk.

A folder of a trial holds `fit.parquet` and `requests.parquet`, every request with its stamps, and
`trial.json`, what was asked for. All that is said of it later is computed from those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.backend import Backend
from inference.config import InferenceConfig
from inference.errors import ModelFailedError
from inference.measure import drive
from inference.measure.drive import PACER, Pacer
from inference.measure.fit import FitLoads, fit_to
from inference.measure.loads import Arrivals, Bursts, bursts, poisson, thinned
from inference.measure.log import Log, join_logs, read_log, write_log
from inference.measure.machine import host_load, machine

__all__ = [
    "DEFAULT_LOADS",
    "Amounts",
    "Load",
    "Trial",
    "measure_fit",
    "measure_trial",
    "read_trial",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]


class Load(NamedTuple):
    """What to drive a deployment with; `load` is the share of its capacity that is asked for."""

    kind: str
    load: float

    @property
    def name(self) -> str:
        """As tables and files name it."""
        return f"{self.kind} {self.load:g}"


DEFAULT_LOADS: Final = (
    Load("poisson", 0.3),
    Load("poisson", 0.5),
    Load("poisson", 0.7),
    Load("bursts", 0.5),
    Load("market", 0.5),
)


class Amounts(NamedTuple):
    """How much is measured.

    Each load has `pairs` traces, each driven twice: 5 pairs of 500 requests are 5000 of a cell. Of
    the `single` requests, one at a time, as many are asked before the loads as after each pair.
    """

    single: int = 1200
    pause_ns: int = 10_000_000
    queries: int = 40
    sizes: tuple[int, ...] = (2, 4, 8, 16, 32)
    pairs: int = 5
    requests: int = 500
    warm_up: int = 100

    @property
    def block(self) -> int:
        """Requests, one at a time, between two pairs; a fit needs ten."""
        return max(-(-self.single // (self.pairs + 1)), 10)


class Trial(NamedTuple):
    """A measured deployment.

    `runs` has, by load, one item a pair: the two logs of the same trace.
    """

    about: dict[str, Any]
    config: InferenceConfig
    fit_loads: FitLoads
    runs: dict[str, list[tuple[Log, Log]]]


def measure_fit(
    backend: Backend, rows: Floats, amounts: Amounts, seed: int = 0, pacer: Pacer = PACER
) -> FitLoads:
    """Drive a deployment with what a fit may look at: single-stream, and a sweep of sizes.

    One request at a time, with pauses between them as between the arrivals of a load that does not
    fill the deployment: without, everything stays warm, and answers sooner than it will.
    """
    drive.warm_up(backend, rows, amounts.warm_up, pacer)
    single = _single_block(backend, rows, amounts, 0, seed, pacer)
    sweep = {
        size: drive.multi_stream(backend, rows, max(amounts.queries * 2 // size, 8), size, pacer)
        for size in amounts.sizes
    }
    return FitLoads(single, sweep)


def _single_block(
    backend: Backend, rows: Floats, amounts: Amounts, block: int, seed: int, pacer: Pacer
) -> Log:
    """Ask about one row after the other; a block has rows of its own, if they suffice."""
    own = np.roll(rows, -block * amounts.block, axis=0)
    pause = amounts.pause_ns
    return drive.single_stream(
        backend, own, amounts.block, pacer, pause_ns=pause, seed=seed + block
    )


def measure_trial(
    backend: Backend,
    config: InferenceConfig,
    rows: Floats,
    market: Ints | None,
    folder: Path,
    *,
    name: str,
    about: str,
    loads: Sequence[Load] = DEFAULT_LOADS,
    amounts: Amounts = Amounts(),  # noqa: B008 - immutable
    seed: int = 0,
    pacer: Pacer = PACER,
    progress: Progress | None = None,
) -> Trial:
    """Measure a deployment for a fit, then under loads that the fit does not see, and keep all.

    The two runs of a pair lie a whole round of the other loads apart, so that what is slow for a
    while is slow for one of them. After each pair some more requests go one at a time: a host that
    changes meanwhile has changed for the fit, too.

    Args:
        backend: The running deployment.
        config: As it was deployed.
        rows: What to ask about, shape (n, n_features); a pair has rows of its own, if they suffice.
        market: Recorded arrivals for loads of the kind `market`, ns.
        folder: Where to keep it; made, if it is not there.
        name: What the deployment is called.
        about: What it is, in a sentence; a model that sleeps says so here.
        loads: What to drive it with.
        amounts: How much.
        seed: Of the arrivals.
        pacer: Reads the host's time.
        progress: Called with the loads driven and the total.
    """
    fit_loads = measure_fit(backend, rows, amounts, seed, pacer)
    fit = fit_to(fit_loads, config)
    folder.mkdir(parents=True, exist_ok=True)
    traces = {
        load: [
            arrivals(load, load.load * fit.capacity, amounts.requests, pair, market, seed)
            for pair in range(amounts.pairs)
        ]
        for load in loads
    }
    runs: dict[str, list[list[Log]]] = {load.name: [] for load in loads}
    told: list[dict[str, Any]] = []
    singles = [fit_loads.single]
    for pair in range(amounts.pairs):
        own = np.roll(rows, -pair * amounts.requests, axis=0)
        for run in range(2):
            for load in loads:
                before = host_load()
                log = drive.server(backend, own, traces[load][pair], pacer)
                runs[load.name].append([log]) if run == 0 else runs[load.name][pair].append(log)
                host = host_load().since(before)
                told.append(_told(load, pair, run, log, traces[load][pair], host))
                if progress is not None:
                    progress(len(told), amounts.pairs * 2 * len(loads))
        singles.append(_single_block(backend, rows, amounts, pair + 1, seed, pacer))
    fit_loads = FitLoads(join_logs(singles), fit_loads.sweep)
    content = {
        "name": name,
        "about": about,
        "seed": seed,
        "amounts": amounts._asdict(),
        "loads": [load._asdict() | {"rate": load.load * fit.capacity} for load in loads],
        "runs": told,
        "config": config.model_dump(mode="json"),
        "machine": machine(),
    }
    pairs = {key: [(a, b) for a, b in logs] for key, logs in runs.items()}
    trial = Trial(content, config, fit_loads, pairs)
    _write(trial, folder)
    return trial


def arrivals(
    load: Load, rate: float, requests: int, pair: int, market: Ints | None, seed: int
) -> Arrivals:
    """Return the arrivals of one pair of a load.

    Raises:
        ModelFailedError: If there is no such kind, or nothing recorded for `market`.
    """
    stream = f"measure/{load.name}/{pair}"
    if load.kind == "poisson":
        return poisson(rate, requests, seed, stream, load.name)
    if load.kind == "bursts":
        return bursts(rate, requests, seed, stream, Bursts(), load.name)
    if load.kind == "market" and market is not None:
        whole = "measure/market"  # one thinning of the recording, cut into the pairs' parts
        first = pair * requests
        return thinned(market, rate, requests, seed, whole, first=first, name=load.name)
    raise ModelFailedError(f"there is no load {load.kind!r}, or nothing recorded for it.")


def _told(
    load: Load, pair: int, run: int, log: Log, trace: Arrivals, host: dict[str, float]
) -> dict[str, Any]:
    lag = np.sort(log.lag)
    return {
        "load": load.name,
        "pair": pair,
        "run": run,
        "rate": trace.observed_rate,
        "lagged": log.lagged,
        "lag_p99_ns": int(lag[int(0.99 * (len(lag) - 1))]),
        "answered": int(log.answered.sum()),
        "host_busy": host["busy"],
        "host_stolen": host["stolen"],
    }


# --- on disk -----------------------------------------------------------------------------------


def _write(trial: Trial, folder: Path) -> None:
    single, sweep = trial.fit_loads
    sizes = np.repeat([1, *sweep], [len(log.number) for log in (single, *sweep.values())])
    write_log(join_logs([single, *sweep.values()]), folder / "fit.parquet", {"size": sizes})
    logs, marks = [], []
    for place, pairs in enumerate(trial.runs.values()):
        for pair, both in enumerate(pairs):
            for run, log in enumerate(both):
                logs.append(log)
                marks.append(np.tile([place, pair, run], (len(log.number), 1)))
    mark = np.concatenate(marks)
    more = {"load": mark[:, 0], "pair": mark[:, 1], "run": mark[:, 2]}
    write_log(join_logs(logs), folder / "requests.parquet", more)
    (folder / "trial.json").write_text(json.dumps(trial.about, indent=1) + "\n")


def read_trial(folder: Path) -> Trial:
    """Return a trial that `measure_trial` kept.

    Raises:
        ModelFailedError: If the folder holds none.
    """
    try:
        about = json.loads((folder / "trial.json").read_text())
        fit_log, fit_more = read_log(folder / "fit.parquet")
        log, more = read_log(folder / "requests.parquet")
    except (OSError, ValueError) as error:
        raise ModelFailedError(f"{folder} must hold a kept trial: {error}") from error
    size = fit_more["size"]
    by_size = {int(n): fit_log.take(size == n) for n in dict.fromkeys(size.tolist())}
    single = by_size.pop(1)
    runs: dict[str, list[tuple[Log, Log]]] = {}
    for place, load in enumerate(about["loads"]):
        one = more["load"] == place
        pairs = range(about["amounts"]["pairs"])
        runs[Load(load["kind"], load["load"]).name] = [
            _both(log, one & (more["pair"] == pair), more["run"]) for pair in pairs
        ]
    config = InferenceConfig.model_validate(about["config"])
    return Trial(about, config, FitLoads(single, by_size), runs)


def _both(log: Log, of_pair: NDArray[np.bool_], run: Ints) -> tuple[Log, Log]:
    return log.take(of_pair & (run == 0)), log.take(of_pair & (run == 1))
