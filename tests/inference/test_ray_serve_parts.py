"""The parts of the real stack that need no running Ray: options, refusals, errors, the watchdog."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from clock.wall import WallClock, steady_clock_id, steady_ns, utc_now, utc_of
from inference.config import InferenceConfig
from inference.errors import ModelFailedError, NotOnRayError, PredictorError
from inference.models import ModelSpec
from inference.ray_serve.guard import living, processes
from inference.ray_serve.options import (
    batch_options,
    check_servable,
    serve_options,
    simulated_only,
)
from inference.ray_serve.outcomes import outcome_of
from inference.ray_serve.replica import Answer, ReplicaModel, Served
from inference.ray_serve.watchdog import Watchdog
from inference.registry import Registry
from inference.schedule import Outcome, Reason
from tests.inference.real.moody import SLEEP, SUM, Moody, write_model

SCALING = {
    "min_replicas": 0,
    "max_replicas": 4,
    "initial_replicas": 1,
    "target_ongoing_requests": 3,
    "look_back_period": "20s",
    "upscale_delay": "3s",
    "downscale_delay": "1m",
    "downscale_to_zero_delay": "2m",
    "metrics_interval": "5s",
}


def config(**fields: Any) -> InferenceConfig:
    return InferenceConfig.model_validate({"model_uri": "models:/mid/1", **fields})


@pytest.fixture(scope="module")
def ray() -> Any:
    from inference.ray_serve.quiet import quiet_ray

    return quiet_ray()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The `metrics_interval_s`:DeprecationWarning")
@pytest.mark.parametrize("router", ["round_robin", "least_loaded", "power_of_two"])
def test_ray_serve_takes_every_option_with_the_meaning_it_has_here(ray: Any, router: str) -> None:
    fixed = config(
        num_replicas=3,
        max_queued_requests=7,
        max_ongoing_requests=5,
        router=router,
        health_check_period="2s",
        health_check_timeout="3s",
        graceful_shutdown_timeout="4s",
        ray_actor_options={"num_gpus": 0.5, "resources": {"fast": 1}},
    )
    made = ray.serve.deployment(**serve_options(fixed))(Moody)
    assert made.num_replicas == 3
    assert (made.max_queued_requests, made.max_ongoing_requests) == (7, 5)
    taken = made._deployment_config
    assert (taken.health_check_period_s, taken.health_check_timeout_s) == (2, 3)
    assert taken.graceful_shutdown_timeout_s == 4
    assert made.ray_actor_options["num_cpus"] == 0.1
    assert made.ray_actor_options["num_gpus"] == 0.5
    assert made.ray_actor_options["resources"] == {"fast": 1}
    assert not taken.request_router_config.is_default_request_router()

    scaled = ray.serve.deployment(**serve_options(config(autoscaling_config=SCALING)))(Moody)
    scaling = scaled._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.initial_replicas, scaling.max_replicas) == (0, 1, 4)
    assert (scaling.target_ongoing_requests, scaling.look_back_period_s) == (3, 20)
    assert (scaling.upscale_delay_s, scaling.downscale_delay_s) == (3, 60)
    assert (scaling.downscale_to_zero_delay_s, scaling.metrics_interval_s) == (120, 5)


def test_batching_becomes_the_arguments_of_serve_batch() -> None:
    batching = {"kind": "ray", "max_batch_size": 4, "batch_wait_timeout": "15ms"}
    assert batch_options(config(batching=batching)) == {
        "max_batch_size": 4,
        "batch_wait_timeout_s": 0.015,
        "max_concurrent_batches": 1,
    }
    assert batch_options(config()) is None
    # batches of one wait for the model's threads: what `serve.batch` would add is a queue of tasks
    assert batch_options(config(batching=batching | {"max_batch_size": 1})) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PowerOfTwoRouter", "RoundRobinRouter", "LeastLoadedRouter"])
def test_a_router_counts_what_is_under_way_whatever_an_old_report_says(ray: Any, name: str) -> None:
    from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID

    from inference.ray_serve import routers

    async def counted() -> list[int]:
        deployment = DeploymentID("model", "mid")
        replica = ReplicaID("one", deployment)
        router = getattr(routers, name)(
            deployment_id=deployment,
            handle_source=DeploymentHandleSource.UNKNOWN,
            self_actor_id="",
            use_replica_queue_len_cache=True,
        )
        router.initialize_state()
        found: list[int] = []

        def note() -> None:
            found.append(router.replica_queue_len_cache.get(replica))

        for _ in range(3):
            router.on_send_request(replica)
        note()
        # the first answer: with it comes what the replica had when it took the request
        router.on_new_queue_len_info(replica, 1)
        router.on_request_routed(None, replica, None)
        router.decrement_queue_len_cache(replica)
        note()
        # a refusal: it has what others sent as well
        router.on_send_request(replica)
        router.on_new_queue_len_info(replica, 64)
        note()
        return found

    assert asyncio.run(counted()) == [3, 2, 64]


def test_what_ray_serve_does_not_do_is_refused_with_the_variant_that_asks() -> None:
    for fields in ({"batching": "triton"}, {"queue": "newest_first"}):
        variants = {"small": {"share": 0.5}, "large": {"share": 0.5, **fields}}
        with pytest.raises(NotOnRayError, match=r"variant 'large': .*Ray Serve"):
            check_servable(config(variants=variants, routing="split"))
    check_servable(config(batching="ray", router="least_loaded", max_queued_requests=3))


def test_what_only_a_simulation_has_is_named() -> None:
    assert list(simulated_only(config(num_replicas=2, batching="ray"))) == []
    (sentence,) = simulated_only(config(service_time="5ms", replica_speeds=[0.5], latency="1ms"))
    assert sentence.startswith("`service_time`, `latency` and `replica_speeds` belong to the sim")
    (sentence,) = simulated_only(config(autoscaling_config=SCALING | {"control_interval": "1s"}))
    assert "`control_interval`" in sentence


def test_fields_of_ray_alone_change_no_scenario_that_does_not_say_them() -> None:
    plain = config().model_dump(mode="json")
    assert "ray_actor_options" not in plain
    said = config(ray_actor_options={"num_cpus": 1}, health_check_period="5s")
    assert said.model_dump(mode="json")["ray_actor_options"]["num_cpus"] == 1
    again = InferenceConfig.model_validate(said.model_dump(mode="json"))
    assert again.health_check_period == 5_000_000_000
    inherited = config(
        variants={"a": {"share": 0.5}, "b": {"share": 0.5}},
        routing="split",
        ray_actor_options={"num_gpus": 1},
    )
    assert [one.ray_actor_options.num_gpus for one in inherited.deployments.values()] == [1, 1]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"ray_actor_options": {"num_gpus": 1.5}}, "`num_gpus` above 1 must be whole"),
        ({"ray_actor_options": {"resources": {"fast": -1}}}, "must be at least 0"),
        ({"ray_actor_options": {"num_cpu": 1}}, "num_cpu"),
        ({"processors": [-1]}, "processors"),
        ({"processors": [1, 1]}, r"`processors` must be distinct: got \[1, 1\]"),
        ({"health_check_timeout": "0s"}, "must be longer than 0: got 0s"),
    ],
)
def test_options_of_an_actor_that_mean_nothing_are_refused(
    fields: dict[str, Any], error: str
) -> None:
    with pytest.raises(ValidationError, match=error):
        config(**fields)


@pytest.mark.slow
def test_every_error_of_ray_has_an_outcome_and_a_sentence(ray: Any) -> None:
    from ray.serve import exceptions

    cases = [
        (exceptions.BackPressureError(4, 3), Outcome.REJECTED, Reason.QUEUE_FULL),
        (exceptions.RequestCancelledError("x"), Outcome.FAILED, Reason.CANCELLED),
        (ray.exceptions.ActorDiedError(), Outcome.FAILED, Reason.CRASHED),
        (ray.exceptions.WorkerCrashedError(), Outcome.FAILED, Reason.CRASHED),
        (exceptions.ReplicaUnavailableError("r1"), Outcome.FAILED, Reason.CRASHED),
        (ModelFailedError("it raised\nand more"), Outcome.FAILED, Reason.ERROR),
        (ray.exceptions.RayTaskError("f", "trace", ModelFailedError("oh")), Outcome.FAILED, 4),
    ]
    for error, outcome, reason in cases:
        got, why, sentence = outcome_of(error)
        assert (got, why) == (outcome, reason), error
        assert sentence
        assert "\n" not in sentence
    assert outcome_of(cases[-2][0])[2] == "ModelFailedError: it raised"
    assert outcome_of(cases[-1][0])[2] == "ModelFailedError: oh"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.slow
def test_the_watchdog_calls_once_a_server_has_been_silent_for_long(
    listening: socket.socket,
) -> None:
    told: list[str] = []
    over = Event()

    def tell(why: str) -> None:
        told.append(why)
        over.set()

    address = listening.getsockname()
    dog = Watchdog([("head", address)], 0.2, tell)
    assert not over.wait(1.2)  # two looks at a server that answers
    listening.close()
    assert over.wait(20)
    dog.stop()
    assert told == [f"its head at 127.0.0.1:{address[1]} does not answer"]


def test_a_process_is_known_by_when_it_started_as_well_as_by_its_id() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    identity = (child.pid, processes()[child.pid][1])
    assert living({identity, (child.pid, "another time")}) == {identity}
    child.communicate()
    assert living({identity}) == set()


@pytest.mark.slow
def test_stamps_of_the_steady_clock_are_those_of_a_wall_clock() -> None:
    clock = WallClock()
    stamps = [clock.now, utc_of(steady_ns()), utc_now(), clock.now]
    assert stamps == sorted(stamps)
    shared = subprocess.run(
        [sys.executable, "-c", "from clock.wall import steady_clock_id as i; print(i())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shared.stdout.strip() == steady_clock_id()


def slow_is_healthy(served: Served) -> bool:
    try:
        served.check()
    except ModelFailedError as error:
        return "`health_check_timeout` (0.05 s)" not in str(error)
    return True


@pytest.mark.slow
def test_a_replica_whose_model_takes_too_long_is_unhealthy(tmp_path: Path) -> None:
    uri = write_model(tmp_path / "model.json", 2.0)
    digest = Registry().resolve(uri).digest
    model = ModelSpec(uri, "tests.inference.real.moody.Moody", Path(uri), digest)
    spec = ReplicaModel(model, str(tmp_path), "")

    async def story() -> list[Answer]:
        served = Served(spec, 2, blocking=False, hangs_after_ns=50_000_000)
        slow = asyncio.ensure_future(served.answer([np.array([SLEEP, 0.3]).tobytes()]))
        served.check()
        while slow_is_healthy(served):
            await asyncio.sleep(0.005)
        quick = await served.answer([np.array([SUM, 1.0]).tobytes()] * 3)
        assert not slow.done()
        await slow
        served.check()
        return quick

    found = asyncio.run(asyncio.wait_for(story(), 30))
    assert [(one.value, one.batch_size) for one in found] == [(2.0, 3)] * 3
    other = spec._replace(model=model._replace(digest="other"))
    with pytest.raises(PredictorError, match="must be the model that was deployed"):
        Served(other, 1, blocking=True, hangs_after_ns=1)
