"""How many replicas a load needs: a deployment under Poisson arrivals, simulated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clock.units import format_duration
from inference.config import InferenceConfig
from inference.loop import InferenceLoop
from inference.predictors.base import TrainingRecord
from inference.rows import Rows
from inference.serving.explain import completed
from inference.serving.goals import Goal, Load, Option, Plan, Trial
from inference.serving.policies.service import Affine, Profile, Table

__all__ = ["make_plan", "options_for", "try_out"]

_SECOND: Final = 1_000_000_000
_SIZES: Final = (2, 4, 8, 16, 32)


class _Blank:
    """A model without a price: its answers are zeros."""

    accepts_nan = True
    batch_invariant = True
    digest = "blank"
    version = "0"
    training: TrainingRecord | None = None
    feature_names = ("cell",)

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return zeros, shape (n,)."""
        return np.zeros(len(values))


def options_for(config: InferenceConfig, goal: Goal, kind: str | None = None) -> list[Option]:
    """Return the ways of batching that are worth a trial.

    Where the service time does not depend on the size of a batch, any batch would be free: then
    only the scenario's own way is tried.

    Args:
        config: The deployment.
        goal: Waits for a batch are parts of its bound.
        kind: `none`, `ray` or `triton`; by default the scenario's, or all three where it has none.
    """
    own = config.batching
    if not isinstance(config.service_time, Affine | Table | Profile):
        return [Option(None if own is None else own.model_dump(mode="json"))]
    kinds = [kind] if kind else [own.kind] if own is not None else ["none", "triton", "ray"]
    largest = config.service_time.largest if isinstance(config.service_time, Table) else 1 << 30
    sizes = [size for size in _SIZES if size <= largest]
    made = [Option(None)] if "none" in kinds or own is not None else []
    if "triton" in kinds:
        made += [Option({**_template(own, "triton"), "max_batch_size": size}) for size in sizes]
    if "ray" in kinds:
        waits = [format_duration(goal.bound_ns // part) for part in (10, 4)]
        made += [
            Option({**_template(own, "ray"), "max_batch_size": size, "batch_wait_timeout": wait})
            for size in sizes
            for wait in ("0s", *waits)
        ]
    return made


def _template(own: Any, kind: str) -> dict[str, Any]:
    """Return the scenario's batching of a kind, without what a plan varies."""
    if own is None or own.kind != kind:
        return {"kind": kind}
    varied = {"max_batch_size", "batch_wait_timeout", "preferred_batch_sizes"}
    return {
        name: value for name, value in own.model_dump(mode="json").items() if name not in varied
    }


def try_out(
    config: InferenceConfig, option: Option, replicas: int, load: Load, goal: Goal
) -> Trial:
    """Simulate one deployment under a load.

    Requests are asked whether or not earlier ones are answered: nothing holds them back.
    """
    loop = InferenceLoop(
        _open_loop(config, option, replicas, load.requests),
        _Blank(),
        start=0,
        column_names=("cell",),
        seed=load.seed,
        name="plan",
    )
    rows = _rows(load)
    end = int(rows.visible_at[-1])
    # what is under way at the end gets the time that the goal allows, and then counts as late
    until = end + goal.bound_ns + 1
    outcomes = loop.push(rows, until).outcomes
    done = completed(outcomes.outcome)
    latency = np.full(load.requests, np.inf)
    latency[outcomes.number[done]] = (outcomes.visible_at - outcomes.submitted_at)[done]
    counted = loop.statistics(until)[""]
    halves = (latency, latency[load.requests // 2 :])
    worst = max(float(_quantile(part, goal.quantile)) for part in halves)
    sizes = outcomes.batch_size[done & (outcomes.batch_size > 0)]
    return Trial(
        option,
        replicas,
        {name: float(_quantile(latency, q)) / 1e6 for name, q in _POINTS.items()},
        worst / 1e6,
        float(np.isfinite(latency).mean()),
        float(done.sum() / (until / _SECOND)),
        counted["busy_ns"] / counted["slot_ns"],
        # each member of a batch of n stands for one n-th of an execution
        float(len(sizes) / (1 / sizes).sum()) if len(sizes) else 0.0,
        worst <= goal.bound_ns,
    )


_POINTS: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _quantile(latency: NDArray[np.float64], quantile: float) -> float:
    """Return the smallest latency that a share of the requests does not exceed."""
    place = min(math.ceil(quantile * len(latency)), len(latency)) - 1
    return float(np.partition(latency, place)[place])


def _open_loop(
    config: InferenceConfig, option: Option, replicas: int, requests: int
) -> InferenceConfig:
    """Return the configuration of a trial; written and read again, so that its rules hold."""
    without = {"autoscaling_config", "num_replicas", "variants", "routing", "features"}
    given = config.model_dump(mode="json", exclude=without)
    if option.batching != given["batching"]:
        given["max_ongoing_requests"] = None  # it was meant for another way of batching
    given |= {
        "num_replicas": replicas,
        "batching": option.batching,
        "polling": "on_feature",
        "max_in_flight": requests,
        "on_new": "queue",
    }
    return InferenceConfig.model_validate(given)


def _rows(load: Load) -> Rows:
    instants = load.instants()
    zeros = np.zeros(load.requests, np.int64)
    rows = Rows(instants, instants, instants, zeros, zeros, load.cells().reshape(-1, 1))
    for column in rows:
        column.flags.writeable = False
    return rows


def make_plan(
    config: InferenceConfig,
    goal: Goal,
    load: Load,
    *,
    options: Iterable[Option],
    most_replicas: int,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Return the fewest replicas that meet a goal, for each way of batching, by simulation."""
    tried = list(options)
    trials: list[Trial] = []
    choices = []
    for place, option in enumerate(tried):
        found = list(_search(config, option, goal, load, most_replicas))
        trials += found
        met = [trial for trial in found if trial.meets]
        choices.append(min(met, key=lambda trial: trial.replicas) if met else found[-1])
        if progress is not None:
            progress(place + 1, len(tried))
    met = [trial for trial in choices if trial.meets]
    best = min(met, key=lambda trial: (trial.replicas, trial.goal_ms)) if met else None
    return Plan(goal, load, best, choices, trials, list(_left_out(config)))


def _left_out(config: InferenceConfig) -> Iterator[str]:
    if not isinstance(config.service_time, Affine | Table | Profile):
        yield (
            "`service_time` does not depend on the size of a batch, so that any batch would be "
            "free: batching is left as the scenario has it. Write service_time: {kind: affine, "
            "base: ..., per_item: ...} to compare ways of batching."
        )
    if config.autoscaling_config is not None:
        yield "`autoscaling_config` is left out: a plan is for a fixed number of replicas."


def _search(
    config: InferenceConfig, option: Option, goal: Goal, load: Load, most: int
) -> Iterator[Trial]:
    """Yield trials: doubling until the goal is met, then halving the gap."""
    low, high = 0, 1
    while True:
        trial = try_out(config, option, high, load, goal)
        yield trial
        if trial.meets or high == most:
            break
        low, high = high, min(2 * high, most)
    while trial.meets and high - low > 1:
        middle = (low + high) // 2
        between = try_out(config, option, middle, load, goal)
        yield between
        low, high = (low, middle) if between.meets else (middle, high)
