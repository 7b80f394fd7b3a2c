"""The simulated stack against the installed Ray Serve: its batch queue and its autoscaler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.rows import Rows
from inference.schedule import ChangeKind, Outcome, Outcomes, ReplicaState
from tests.inference.cases import COLUMNS, build, configuration
from tests.inference.ray_batches import Arrivals, Batch, rays_batches
from tests.inference.ray_scaling import rays_targets
from tests.reference.serving.hand import serve

pytest.importorskip("ray.serve", reason="the simulation is held against an installed Ray Serve")
pytestmark = [
    pytest.mark.slow,
    # ray's own sources warn of what pydantic and asyncio will take away
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TICK = 1_000_000
STEP = 1_000_000
"""Arrivals differ within a step, waits and executions add to it: no two things are ever due at one
instant, where an event loop's order is an accident."""

SECOND = 1_000_000_000


def rows_at(instants: list[int]) -> Rows:
    stamps = np.array(instants, np.int64)
    zeros = np.zeros(len(stamps), np.int64)
    values = np.zeros((len(stamps), len(COLUMNS)))
    rows = Rows(stamps, stamps, stamps, zeros, zeros, values)
    for column in rows:
        column.flags.writeable = False
    return rows


def run(instants: list[int], until: int, **given: Any) -> tuple[Any, Outcomes]:
    """Ask at these instants of a deployment whose queue takes everybody."""
    loop = build(
        configuration(polling="on_feature", max_in_flight=len(instants) + 1, **given), start=0
    )
    output = loop.push(rows_at(instants), until)
    return output, output.outcomes


def deployment(asked: Arrivals) -> dict[str, Any]:
    """Return the block of a scenario for a queue; a tick is a millisecond."""
    sizes = {n: f"{asked.durations(n)}ms" for n in range(1, asked.max_batch_size + 1)}
    return {
        "max_ongoing_requests": len(asked.at) + 1,
        "service_time": {"kind": "table", "sizes": sizes},
        "batching": {
            "kind": "ray",
            "max_batch_size": asked.max_batch_size,
            "batch_wait_timeout": f"{asked.wait}ms",
            "max_concurrent_batches": asked.slots,
            "function": "blocking" if asked.blocking else "yielding",
        },
    }


def our_batches(asked: Arrivals) -> list[Batch]:
    """Return the executions of the simulated stack."""
    _, ended = run([instant * TICK for instant in asked.at], 1 << 60, **deployment(asked))
    assert set(ended.outcome) == {Outcome.COMPLETED}
    batches = []
    for execution in set(ended.execution.tolist()):
        of = ended.execution == execution
        assert set(ended.batch_size[of]) == {of.sum()}
        (started_at,) = set(ended.started_at[of].tolist())
        batches.append(Batch(started_at // TICK, tuple(sorted(ended.number[of].tolist()))))
    return sorted(batches)


def reference_batches(asked: Arrivals) -> list[Batch]:
    """Return the executions of the reference simulator."""
    loop = serve(asked.at, until=1 << 40, **deployment(asked))
    members: dict[tuple[int, int], list[int]] = {}
    for request in loop.requests:
        key = (request.started_at // TICK, request.execution)
        members.setdefault(key, []).append(request.number)
    return sorted(Batch(started, tuple(sorted(of))) for (started, _), of in members.items())


@st.composite
def arrivals(draw: st.DrawFn) -> Arrivals:
    gaps = draw(st.lists(st.integers(0, 4), min_size=1, max_size=60))
    steps = np.cumsum(gaps)
    base, per_item = draw(st.integers(1, 6)), draw(st.integers(0, 2))
    return Arrivals(
        at=[STEP * int(step) + number for number, step in enumerate(steps)],
        max_batch_size=draw(st.integers(1, 6)),
        wait=STEP * draw(st.integers(0, 4)),
        slots=draw(st.integers(1, 3)),
        durations=lambda n: STEP * (base + per_item * n) + 1000,
        blocking=draw(st.booleans()),
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(arrivals())
@pytest.mark.parametrize("ours", [reference_batches, our_batches])
def test_the_same_arrivals_make_the_same_batches_as_in_rays_queue(
    monkeypatch: pytest.MonkeyPatch, ours: Callable[[Arrivals], list[Batch]], asked: Arrivals
) -> None:
    with monkeypatch.context() as patched:
        theirs = rays_batches(asked, patched)
    assert ours(asked) == theirs


@pytest.mark.parametrize(
    ("wait_ms", "blocking", "mean"), [(10, False, 2.99), (10, True, 5.56), (0, True, 3.98)]
)
def test_two_hundred_requests_a_second_make_batches_of_rays_mean_size(
    monkeypatch: pytest.MonkeyPatch, wait_ms: int, blocking: bool, mean: float
) -> None:
    gaps = np.random.default_rng(1).exponential(5000, 4000).astype(int)
    at = [int(instant) for instant in np.cumsum(gaps + 1)]
    asked = Arrivals(at, 8, 1000 * wait_ms, 1, lambda n: 20_000, blocking)
    ours, theirs = our_batches(asked), rays_batches(asked, monkeypatch)
    # stamps of whole microseconds coincide now and then, and an event loop decides by accident
    assert len(at) / len(ours) == pytest.approx(len(at) / len(theirs), rel=0.01)
    assert len(at) / len(ours) == pytest.approx(mean, rel=0.05)


scalings = st.builds(
    lambda low, more, first, **given: {
        "min_replicas": low,
        "max_replicas": low + more,
        "initial_replicas": min(low + first, low + more),
        "record_interval": "500ms",
        "control_interval": "125ms",
        **given,
    },
    low=st.integers(1, 2),
    more=st.integers(1, 6),
    first=st.integers(0, 3),
    target_ongoing_requests=st.sampled_from([0.5, 1.0, 1.7, 3.0]),
    look_back_period=st.sampled_from(["2s", "5s"]),
    metrics_interval=st.sampled_from(["500ms", "1s", "2s"]),
    upscale_delay=st.sampled_from(["0s", "1s", "3s"]),
    downscale_delay=st.sampled_from(["0s", "2s", "5s"]),
    upscaling_factor=st.sampled_from([0.3, 1.0, 2.0]),
    downscaling_factor=st.sampled_from([0.3, 1.0]),
)


@st.composite
def loads(draw: st.DrawFn) -> list[int]:
    """Arrivals in phases of different rates, all of them between two control ticks."""
    instants, now = [], 0
    for _ in range(draw(st.integers(1, 4))):
        gap = draw(st.sampled_from([20, 50, 125, 400, 2000])) * 1_000_000
        end = now + draw(st.integers(1, 8)) * SECOND
        while now < end:
            instants.append(now + 7)
            now += gap
    return instants


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scalings, loads(), st.sampled_from(["0s", "700ms", "3s"]))
def test_the_same_gauges_give_the_decisions_of_rays_autoscaler(
    monkeypatch: pytest.MonkeyPatch, scaling: dict[str, Any], instants: list[int], cold: str
) -> None:
    until = instants[-1] + 10 * SECOND
    output, _ = run(
        instants,
        until,
        router="least_loaded",
        autoscaling_config=scaling,
        service_time="333ms",
        cold_start=cold,
        max_ongoing_requests=2,
    )
    attempts = output.attempts
    arrived, left = np.sort(attempts.arrived_at), np.sort(attempts.completed_at)
    changes = list(zip(*(column.tolist() for column in output.changes), strict=True))

    def ongoing_at(now: int) -> int:
        # the gauge is read before what completes or arrives at its instant
        return int(np.searchsorted(arrived, now) - np.searchsorted(left, now))

    def ready_at(now: int) -> int:
        # what the decision of the instant brings about is not yet so when it is taken
        states = {}
        for at, _, kind, subject, value in changes:
            if at > now or (at == now and kind == ChangeKind.TARGET):
                break
            if kind == ChangeKind.REPLICA:
                states[subject] = value
        return sum(state == ReplicaState.READY for state in states.values())

    config = configuration(autoscaling_config=scaling).autoscaling_config
    assert config is not None
    with monkeypatch.context() as patched:
        theirs = rays_targets(config, ongoing_at, ready_at, until, patched)
    ours = [(at, value) for at, _, kind, _, value in changes if kind == ChangeKind.TARGET]
    assert ours == theirs


def answers_a_second(users: int) -> float:
    """Ask without a pause from a number of users, for two minutes."""
    seconds = 120
    rows = rows_at(list(range(0, seconds * SECOND, 1_000_000)))
    loop = build(
        configuration(
            polling="continuous",
            max_in_flight=users,
            max_ongoing_requests=1,
            service_time="100ms",
            router="power_of_two",
        ),
        start=0,
    )
    ended = loop.push(rows, seconds * SECOND).outcomes
    return float(np.sum(ended.outcome == Outcome.COMPLETED)) / seconds


def test_a_router_that_nothing_wakes_serves_five_users_slower_than_one() -> None:
    # ray#52609: a model of 100 ms, one request at a time
    assert 9 <= answers_a_second(1) <= 11
    assert 5 <= answers_a_second(5) <= 7
