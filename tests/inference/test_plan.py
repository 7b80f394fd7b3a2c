"""Plans of a deployment: the goal, the search, and what a trial counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from clock.errors import InputError
from inference.config import InferenceConfig
from inference.serving.goals import Goal, Load, Option
from inference.serving.plan import make_plan, options_for, try_out

NONE = Option(None)


def config(**given: object) -> InferenceConfig:
    return InferenceConfig.model_validate({"model_uri": "m", "service_time": "10ms", **given})


def test_a_goal_is_a_quantile_and_its_bound() -> None:
    goal = Goal.parse("p99.9=20ms")
    assert (goal.quantile, goal.bound_ns, str(goal)) == (0.999, 20_000_000, "p99.9 <= 20ms")


@pytest.mark.parametrize("text", ["p99", "99=20ms", "p0=1ms", "p100=1ms", "mean=1ms", "p99=20"])
def test_what_is_no_goal_is_refused(text: str) -> None:
    with pytest.raises((InputError, ValueError), match=r"p99=20ms|unit"):
        Goal.parse(text)


def test_arrivals_are_poisson_of_the_rate_and_the_seed_decides_them() -> None:
    instants = Load(500, requests=20_000).instants()
    gaps = np.diff(instants) / 1e9
    assert gaps.min() > 0
    assert gaps.mean() == pytest.approx(1 / 500, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 500, rel=0.03)
    assert (instants == Load(500, requests=20_000).instants()).all()
    assert (instants != Load(500, requests=20_000, seed=1).instants()).any()


def test_a_share_of_the_requests_repeats_the_one_before() -> None:
    cells = Load(100, requests=20_000, repeats=0.3).cells()
    assert (np.diff(cells) == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert len(set(Load(100, requests=2000).cells())) == 2000


def test_batching_is_varied_only_where_a_batch_has_a_price() -> None:
    goal = Goal.parse("p99=20ms")
    assert options_for(config(), goal) == [NONE]
    priced = config(service_time={"kind": "affine", "base": "8ms", "per_item": "1ms"})
    kinds = {str(option).partition(" ")[0] for option in options_for(priced, goal)}
    assert kinds == {"none", "ray", "triton"}
    table = {"kind": "table", "sizes": {1: "8ms", 4: "9ms"}}
    only = options_for(
        config(service_time=table, batching={"kind": "ray", "max_batch_size": 4}), goal
    )
    sizes = {o.batching["max_batch_size"] for o in only if o.batching is not None}
    assert sizes == {2, 4}


@pytest.mark.slow
def test_a_request_without_an_answer_is_never_in_time() -> None:
    goal, load = Goal.parse("p99=1s"), Load(150, requests=3000)
    full = try_out(config(max_queued_requests=1), NONE, 1, load, goal)
    assert full.answered < 0.75
    assert not np.isfinite(full.latency_ms["p99"])
    assert not full.meets


@pytest.mark.slow
def test_an_idle_deployment_answers_in_its_service_time() -> None:
    trial = try_out(config(), NONE, 4, Load(1, requests=1000), Goal.parse("p99=20ms"))
    assert trial.latency_ms == {"p50": 10.0, "p95": 10.0, "p99": 10.0}
    assert trial.utilisation == pytest.approx(1 * 0.010 / 4, rel=0.1)
    assert trial.meets


@pytest.mark.slow
def test_the_search_finds_what_trying_each_number_would() -> None:
    goal, load = Goal.parse("p95=14ms"), Load(450, requests=4000)
    plan = make_plan(config(), goal, load, options=[NONE], most_replicas=40)
    one_by_one = next(n for n in range(1, 41) if try_out(config(), NONE, n, load, goal).meets)
    assert plan.best is not None
    assert plan.best.replicas == one_by_one > 5
    assert len(plan.trials) < one_by_one


@pytest.mark.slow
def test_a_goal_below_the_service_time_is_met_by_nothing() -> None:
    goal, load = Goal.parse("p50=9ms"), Load(100, requests=1000)
    plan = make_plan(config(), goal, load, options=[NONE], most_replicas=4)
    assert plan.best is None
    assert [trial.replicas for trial in plan.trials] == [1, 2, 4]


@pytest.mark.slow
def test_batching_saves_replicas_where_a_batch_is_cheap() -> None:
    priced = config(service_time={"kind": "affine", "base": "10ms", "per_item": "200us"})
    goal, load = Goal.parse("p99=60ms"), Load(300, requests=4000)
    triton = Option({"kind": "triton", "max_batch_size": 16})
    plan = make_plan(priced, goal, load, options=[NONE, triton], most_replicas=16)
    assert plan.best is not None
    assert plan.best.option == triton
    assert plan.best.batch_size > 1.5
    alone, together = plan.choices
    assert alone.meets
    assert alone.replicas > together.replicas


@pytest.mark.slow
def test_a_cache_answers_what_repeats() -> None:
    cached = config(cache={"ttl": "10s"})
    goal, load = Goal.parse("p99=1s"), Load(50, requests=3000, repeats=0.5)
    with_cache = try_out(cached, NONE, 1, load, goal)
    without = try_out(cached, NONE, 1, dataclasses.replace(load, repeats=0.0), goal)
    assert with_cache.utilisation < 0.75 * without.utilisation
