"""Verdicts: a kept trial against the simulation that was fitted to it, cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.config import InferenceConfig
from inference.measure.fit import Fit, fit_to, fitted_config, write_fit
from inference.measure.log import Log
from inference.measure.simulate import simulate
from inference.measure.statistics import (
    BOUNDS,
    QUANTILES,
    Interval,
    Verdict,
    bootstrap_errors,
    noise_floor,
    quantile,
    signed_error,
    verdict,
)
from inference.measure.trial import Trial

__all__ = ["Cell", "Compared", "LoadResult", "compare", "counted", "simulator"]

SEEDS: Final = 8
"""Times that each trace is simulated, with other draws."""

Floats = NDArray[np.float64]
Simulator = Callable[[NDArray[np.int64], int], Log]
"""Makes a log of arrivals, given as ns from the start, and a seed."""


class Cell(NamedTuple):
    """One quantile of one load: latencies in ns, the rest shares of the real latency."""

    quantile: str
    real: float
    simulated: float
    error: float
    interval: Interval
    floor: float
    bound: float
    verdict: Verdict


class LoadResult(NamedTuple):
    """What a load came to."""

    name: str
    requests: int
    rate: float
    utilisation: dict[str, float]
    lagged_runs: int
    unanswered: int
    host_busy: float
    cells: list[Cell]
    real: list[Floats]
    simulated: list[Floats]


class Compared(NamedTuple):
    """A trial held against its simulation."""

    name: str
    about: str
    fit: Fit
    config: InferenceConfig
    loads: list[LoadResult]


def simulator(config: InferenceConfig) -> Simulator:
    """Return what simulates a configuration; recorded latencies are found as it names them."""
    return lambda at, seed: simulate(config, at, seed=seed)


def compare(
    trial: Trial, folder: Path, make: Callable[[InferenceConfig], Simulator] = simulator
) -> Compared:
    """Fit to a trial, simulate every trace of it, and compare.

    Args:
        trial: What was measured.
        folder: Where the fit is written.
        make: Returns what simulates a configuration.
    """
    fit = fit_to(trial.fit_loads, trial.config)
    folder.mkdir(parents=True, exist_ok=True)
    write_fit(fit, folder)
    config = fitted_config(fit, trial.config, folder)
    run = make(config)
    seed = int(trial.about["seed"])
    loads = [
        _of_load(name, pairs, trial, run, (seed, place, config))
        for place, (name, pairs) in enumerate(trial.runs.items())
    ]
    return Compared(trial.about["name"], trial.about["about"], fit, config, loads)


def counted(compared: list[Compared]) -> dict[str, int]:
    """Return how many cells there are, by verdict."""
    found = [c.verdict for one in compared for load in one.loads for c in load.cells]
    return {name: found.count(name) for name in ("pass", "fail", "inconclusive")}


def _of_load(
    name: str,
    pairs: list[tuple[Log, Log]],
    trial: Trial,
    run: Simulator,
    given: tuple[int, int, InferenceConfig],
) -> LoadResult:
    seed, place, config = given
    traces, spent = [], []
    for number, (first, second) in enumerate(pairs):
        at = first.scheduled_at - int(first.scheduled_at[0])
        seeds = [seed + 1000 * number + k for k in range(SEEDS)]
        logs = [run(at, one) for one in seeds]
        traces.append(([first.latency, second.latency], [log.latency for log in logs]))
        spent.append(_busy(logs, config))
    real = [latency for runs, _ in traces for latency in runs]
    simulated = [latency for _, runs in traces for latency in runs]
    told = [one for one in trial.about["runs"] if one["load"] == name]
    whole = [log for pair in pairs for log in pair]
    cells = [
        _cell(which, share, traces, (np.concatenate(real), np.concatenate(simulated)), seed + place)
        for which, share in QUANTILES.items()
    ]
    return LoadResult(
        name=name,
        requests=sum(len(log.number) for log in whole),
        rate=float(np.mean([one["rate"] for one in told])),
        utilisation={"real": _busy(whole, trial.config), "simulated": float(np.mean(spent))},
        lagged_runs=sum(log.lagged for log in whole),
        unanswered=sum(int((~log.answered).sum()) for log in whole),
        host_busy=float(np.mean([one["host_busy"] for one in told])),
        cells=cells,
        real=real,
        simulated=simulated,
    )


def _cell(
    which: str,
    share: float,
    traces: list[tuple[list[Floats], list[Floats]]],
    pooled: tuple[Floats, Floats],
    seed: int,
) -> Cell:
    real, simulated = (quantile(latency, share) for latency in pooled)
    error = signed_error(simulated, real)
    floor = noise_floor([(runs[0], runs[1]) for runs, _ in traces], share)
    bound = BOUNDS[which]
    interval = bootstrap_errors(traces, share, seed=seed)
    found = verdict(error, floor, bound)
    return Cell(which, real, simulated, error, interval, floor, bound, found)


def _busy(logs: list[Log], config: InferenceConfig) -> float:
    """Return the busy share of what the replicas could execute, while there were requests."""
    batching = config.batching
    slots = config.start_replicas
    slots *= config.ongoing_limit if batching is None else batching.executions
    busy = span = 0.0
    for log in logs:
        known = log.take(log.answered & (log.started_at > -(2**62)))
        if not len(known.number):
            continue
        each = (known.completed_at - known.started_at) / known.batch_size
        busy += float(each.sum())
        span += float(known.received_at.max() - known.scheduled_at.min())
    return busy / (span * slots) if span else 0.0


def as_json(compared: Compared) -> dict[str, Any]:
    """Return a comparison as plain values; latencies in ms."""
    return {
        "name": compared.name,
        "about": compared.about,
        "fit": {
            "bottleneck": compared.fit.bottleneck,
            "capacity": compared.fit.capacity,
            **compared.fit.facts,
        },
        "loads": [
            {
                "load": load.name,
                "requests": load.requests,
                "rate": load.rate,
                "utilisation": load.utilisation,
                "host_busy": load.host_busy,
                "lagged_runs": load.lagged_runs,
                "unanswered": load.unanswered,
                "cells": [_cell_json(cell) for cell in load.cells],
                "curve": _curve(load),
            }
            for load in compared.loads
        ],
    }


def _curve(load: LoadResult) -> dict[str, list[float | None]]:
    """Return, for some shares of the requests, what they took longer than, in ms."""
    longer = np.geomspace(1e-3, 0.99, 40)
    curve: dict[str, list[float | None]] = {"longer": [round(float(x), 6) for x in longer]}
    for side, runs in (("real_ms", load.real), ("simulated_ms", load.simulated)):
        late = np.concatenate(runs)
        curve[side] = [_finite(round(quantile(late, 1 - x) / 1e6, 4)) for x in longer]
    return curve


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {
        "quantile": cell.quantile,
        "real_ms": _finite(cell.real / 1e6),
        "simulated_ms": _finite(cell.simulated / 1e6),
        "error": _finite(cell.error),
        "interval": [_finite(bound) for bound in cell.interval],
        "floor": _finite(cell.floor),
        "bound": cell.bound,
        "verdict": cell.verdict,
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
