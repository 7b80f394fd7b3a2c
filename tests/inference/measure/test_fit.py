"""A fit finds what was put in, and looks at nothing but its two loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inference.config import InferenceConfig
from inference.errors import ModelFailedError
from inference.measure import drive
from inference.measure.fit import Fit, FitLoads, fit_to, fitted_config, write_fit
from inference.measure.loads import poisson
from inference.measure.simulate import simulate
from inference.rows import MISSING
from tests.inference.measure.hand import MS, HandBackend, HandClock

ROWS = np.arange(100.0).reshape(-1, 1)
US = 1_000
ONE_BY_ONE = {"kind": "ray", "max_batch_size": 1, "batch_wait_timeout": "0s"}


def config(**more: object) -> InferenceConfig:
    return InferenceConfig.model_validate({"model_uri": "x", "num_replicas": 2, **more})


def loads(service: Callable[[int], int], queries: int = 8, **more: int) -> FitLoads:
    clock = HandClock()
    backend = HandBackend(clock, service, **more)
    single = drive.single_stream(backend, ROWS, 40, clock.pacer)
    sweep = {
        size: drive.multi_stream(backend, ROWS, queries, size, clock.pacer) for size in (2, 16)
    }
    return FitLoads(single, sweep)


def test_service_and_the_ways_there_and_back_come_apart() -> None:
    fit = fit_to(loads(lambda n: (5 + n % 3) * MS, out=2 * MS, back=MS), config())
    assert fit.bottleneck == "replicas"
    assert sorted(set(fit.service // MS)) == [5, 6, 7]
    assert set(fit.sizes) == {1}
    assert fit.out == pytest.approx([2 * MS] * 40, abs=100)
    assert fit.back == pytest.approx([MS] * 40, abs=100)
    assert fit.capacity == pytest.approx(2 / 0.006, rel=0.03)


def test_what_a_replica_takes_between_two_executions_holds_it_and_no_single_request() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: 30 * MS, back=3 * MS, holds=2 * MS)
    single = drive.single_stream(backend, ROWS, 40, clock.pacer)
    sweep = {16: drive.multi_stream(backend, ROWS, 8, 16, clock.pacer)}
    fit = fit_to(FitLoads(single, sweep), config())
    assert fit.facts["turnaround_p50_ns"] == pytest.approx(2 * MS, abs=100)
    assert set(np.round(fit.service / MS)) == {32}
    assert fit.back == pytest.approx([MS] * 40, abs=200)
    assert np.median(fit.out + fit.back) + 32 * MS == pytest.approx(34 * MS, abs=300)


@pytest.mark.slow
def test_a_replica_that_is_slower_after_a_rest_is_so_once_for_all_who_wait(tmp_path: Path) -> None:
    clock = HandClock()
    given = {"replicas": 1, "out": 2 * MS, "back": MS, "rest": 4 * MS}
    backend = HandBackend(clock, lambda n: 30 * MS, **given)
    single = drive.single_stream(backend, ROWS, 40, clock.pacer, pause_ns=MS)
    sweep = {16: drive.multi_stream(backend, ROWS, 8, 16, clock.pacer)}
    fit = fit_to(FitLoads(single, sweep), config(num_replicas=1))
    assert fit.facts["rest_ns"] == pytest.approx(4 * MS, abs=200)
    assert fit.service == pytest.approx([30 * MS] * len(fit.service), abs=200)
    assert fit.out == pytest.approx([6 * MS] * 40, abs=200)
    write_fit(fit, tmp_path)
    arrived = poisson(0.7 / 0.030, 2000, 3, "rest")
    real = drive.server(backend, ROWS, arrived, clock.pacer)
    made = simulate(fitted_config(fit, config(num_replicas=1), tmp_path), arrived.at, seed=0)
    for share in (0.05, 0.5, 0.95, 0.99):
        truth = np.quantile(real.latency, share)
        assert np.quantile(made.latency, share) == pytest.approx(truth, rel=0.02)


def test_a_model_faster_than_the_system_around_it_is_one_server_for_all() -> None:
    # one server of 2 ms stands before two replicas that would take 0.1 ms: 500 requests a second
    clock = HandClock()
    backend = HandBackend(clock, lambda n: 2 * MS, replicas=1, out=MS, back=MS)
    single = drive.single_stream(backend, ROWS, 40, clock.pacer)
    sweep = {16: drive.multi_stream(backend, ROWS, 8, 16, clock.pacer)}

    def as_seen(log):  # type: ignore[no-untyped-def]
        return log._replace(started_at=log.completed_at - 100 * US)

    fit = fit_to(FitLoads(as_seen(single), {16: as_seen(sweep[16])}), config())
    assert fit.bottleneck == "overhead"
    assert fit.capacity == pytest.approx(500, rel=0.01)
    assert fit.service == pytest.approx([2 * MS] * 8 * 15, abs=US)
    assert np.median(fit.out + fit.back) + 2 * MS == pytest.approx(4 * MS, abs=US)
    # as uneven as the answers of a query are: a mean of 3 ms, from 1 to 5
    drawn = np.random.Generator(np.random.Philox(5)).integers(MS, 5 * MS, 40 + 8 * 16)
    backend = HandBackend(clock, lambda n: int(drawn[n]), replicas=1, out=MS, back=MS)
    single = drive.single_stream(backend, ROWS, 40, clock.pacer)
    sweep = {16: drive.multi_stream(backend, ROWS, 8, 16, clock.pacer)}
    uneven = fit_to(FitLoads(as_seen(single), {16: as_seen(sweep[16])}), config())
    assert uneven.service.mean() == pytest.approx(1e9 / uneven.capacity, rel=1e-3)
    assert uneven.service.std() / uneven.service.mean() == pytest.approx(4 / 12**0.5 / 3, rel=0.1)


def test_part_of_the_way_there_is_the_routers_message_and_none_is_lost(tmp_path: Path) -> None:
    given = config(router="power_of_two", max_ongoing_requests=64, batching=ONE_BY_ONE)
    fit = fit_to(loads(lambda n: 10 * MS, out=4 * MS, back=MS), given)
    assert fit.hop == pytest.approx(2 * MS, abs=100)
    write_fit(fit, tmp_path)
    log = simulate(fitted_config(fit, given, tmp_path), np.arange(50) * 100 * MS, seed=1)
    # the first one finds nothing cached and asks two replicas before it goes to one of them
    assert log.latency == pytest.approx([19 * MS, *[15 * MS] * 49], abs=500)
    assert (log.started_at - log.sent_at)[1:] == pytest.approx([4 * MS] * 49, abs=500)


def test_an_execution_of_a_batch_counts_once() -> None:
    measured = loads(lambda n: 5 * MS)
    sweep = measured.sweep[16]
    # what looks like batches of two: the same replica, the same stamps
    pairs = sweep._replace(
        batch_size=np.full(len(sweep.number), 2),
        started_at=np.repeat(sweep.started_at[::2], 2),
        completed_at=np.repeat(sweep.completed_at[::2], 2) + 3 * MS,
        replica=np.repeat(sweep.replica[::2], 2),
    )
    fit = fit_to(FitLoads(measured.single, {16: pairs}), config())
    _, counts = np.unique(fit.sizes, return_counts=True)
    assert counts.tolist() == [40, len(sweep.number) // 2]


def test_answers_without_the_replicas_stamps_cannot_be_fitted_to() -> None:
    measured = loads(lambda n: 5 * MS)
    blank = np.full(len(measured.single.number), MISSING)
    single = measured.single._replace(started_at=blank)
    with pytest.raises(ModelFailedError, match="at least 10 answers with the replica's stamps"):
        fit_to(FitLoads(single, measured.sweep), config())


def test_the_fitted_configuration_answers_one_request_as_the_deployment_did(tmp_path: Path) -> None:
    measured = loads(lambda n: (5 + n % 3) * MS, out=2 * MS, back=MS)
    fit = fit_to(measured, config())
    write_fit(fit, tmp_path)
    fitted = fitted_config(fit, config(router="power_of_two"), tmp_path)
    log = simulate(fitted, np.arange(300) * 100 * MS, seed=1)
    assert np.median(log.latency) == pytest.approx(np.median(measured.single.latency), rel=1e-4)
    assert log.latency.min() >= 8 * MS - 200
    assert log.latency.max() <= 10 * MS + 200


def test_the_overhead_replaces_replicas_router_and_batches(tmp_path: Path) -> None:
    ones = np.ones(3, np.int64)
    fit = Fit("overhead", 500.0, ones, ones * 2 * MS, ones * MS, ones * MS, 0, {})
    write_fit(fit, tmp_path)
    given = config(router="power_of_two", batching="ray", max_ongoing_requests=64)
    fitted = fitted_config(fit, given, tmp_path)
    assert (fitted.num_replicas, fitted.router.kind, fitted.batching) == (1, "round_robin", None)
    log = simulate(fitted, np.zeros(4, np.int64), seed=1)
    assert (log.latency // MS).tolist() == [4, 6, 8, 10]
