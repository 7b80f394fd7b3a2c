"""One deployment on Ray Serve, and everything that can happen to it while it answers."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clock.wall import utc_now
from inference.backend import Backend
from inference.errors import FeatureMismatchError, ModelFailedError, NotOnRayError, ServingError
from inference.ray_serve import Deployed, RayCluster, RayServeBackend, deploy
from inference.ray_serve.status import statuses
from inference.schedule import Outcome, Reason
from tests.inference.real.conftest import answers, moody, row, wait_for
from tests.inference.real.moody import EXIT, NAN, PID, RAISE, SHAPE, SLEEP, SUM, WHERE

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]

NAME = "steady"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def deployed(cluster: RayCluster, folder: Path) -> Iterator[Deployed]:
    found = deploy(cluster, moody(folder / "one.json", num_replicas=2), name=NAME)
    yield found
    found.delete()


@pytest.fixture
def backend(deployed: Deployed) -> Iterator[RayServeBackend]:
    client = deployed.backend()
    yield client
    client.close()
    counts = client.counts
    assert counts.submitted == counts.ended, "a request was lost silently"


def running() -> int:
    return sum(one.replicas.get("RUNNING", 0) for one in statuses() if one.name == NAME)


def pids(backend: RayServeBackend) -> set[int]:
    return {int(reply.value) for reply in answers([backend.submit(row(PID)) for _ in range(8)])}


def test_a_reply_carries_the_stamps_of_the_replica_in_order(backend: RayServeBackend) -> None:
    before = utc_now()
    replies = answers([backend.submit(row(SUM, value)) for value in range(10)])
    assert isinstance(backend, Backend)
    assert [reply.value for reply in replies] == [float(value) for value in range(10)]
    for reply in replies:
        stamps = (before, *reply[2:3], *reply[4:6], reply.received_at, utc_now())
        assert list(stamps) == sorted(stamps)
        assert (reply.outcome, reply.reason, reply.error) == (Outcome.COMPLETED, Reason.NONE, "")


def test_round_robin_takes_the_replicas_in_turn(backend: RayServeBackend) -> None:
    replies = [backend.submit(row(SUM)).result(30) for _ in range(20)]
    assert sorted(Counter(reply.replica for reply in replies).values()) == [10, 10]
    assert all(a.replica != b.replica for a, b in itertools.pairwise(replies))


def test_many_rows_are_predicted_in_their_order(backend: RayServeBackend) -> None:
    values = np.stack([row(SUM, value) for value in range(10_000)])
    assert (backend.predict(values) == np.arange(10_000.0)).all()
    assert backend.predict(values[:0]).shape == (0,)
    with pytest.raises(FeatureMismatchError, match=r"2 features: got shape \(3, 5\)"):
        backend.predict(np.zeros((3, 5)))
    with pytest.raises(ModelFailedError, match="not today"):
        backend.predict(np.stack([row(SUM), row(RAISE)]))


@pytest.mark.parametrize(
    ("mood", "error"),
    [
        (RAISE, "the model raised RuntimeError: not today"),
        (SHAPE, "a model must return one value a row: got shape (1, 2) for 1 rows."),
    ],
)
def test_a_model_that_fails_fails_its_request_alone(
    backend: RayServeBackend, mood: int, error: str
) -> None:
    bad, good = answers([backend.submit(row(mood)), backend.submit(row(SUM, 3.0))])
    assert (bad.outcome, bad.reason, bad.error) == (Outcome.FAILED, Reason.ERROR, error)
    assert np.isnan(bad.value)
    assert bad.sent_at <= bad.started_at <= bad.completed_at <= bad.received_at
    assert (good.outcome, good.value) == (Outcome.COMPLETED, 3.0)


def test_a_model_that_answers_nan_has_answered(backend: RayServeBackend) -> None:
    reply = backend.submit(row(NAN)).result(30)
    assert reply.outcome is Outcome.COMPLETED
    assert np.isnan(reply.value)


def test_a_row_of_another_width_fails_with_the_reason(backend: RayServeBackend) -> None:
    reply = backend.submit(np.zeros(3)).result(30)
    assert (reply.outcome, reply.reason) == (Outcome.FAILED, Reason.ERROR)
    assert "2 features" in reply.error


def test_models_run_on_the_processors_they_are_bound_to_one_a_replica_in_turn(
    cluster: RayCluster, folder: Path
) -> None:
    mine = sorted(os.sched_getaffinity(0))
    bound = moody(folder / "bound.json", num_replicas=2, processors=mine[-2:], router="round_robin")
    found = deploy(cluster, bound, name="bound")
    try:
        client = found.backend()
        replies = [client.submit(row(WHERE)).result(30) for _ in range(4)]
        assert sorted({int(reply.value) for reply in replies}) == mine[-2:]
        assert set(client.predict(np.stack([row(WHERE)] * 3)).astype(int)) <= set(mine[-2:])
        client.close()
    finally:
        found.delete()
    lost = moody(folder / "lost.json", processors=[4095])
    with pytest.raises(
        ServingError, match=r"`processors` must be .* got \[4095\], this process has"
    ):
        deploy(cluster, lost, name="lost")


def test_a_cancelled_request_is_taken_back_while_it_waits(backend: RayServeBackend) -> None:
    busy = [backend.submit(row(SLEEP, 0.6)) for _ in range(2)]
    waiting = [backend.submit(row(SUM, value)) for value in range(6)]
    assert all(future.cancel() for future in waiting[::2])
    replies = answers([*busy, *waiting[1::2]])
    assert {reply.outcome for reply in replies} == {Outcome.COMPLETED}
    counts = wait_for(lambda: backend.counts.ended == 8 and backend.counts, "the cancelled ones")
    assert (counts.completed, counts.cancelled) == (5, 3)


def test_a_replica_that_is_killed_in_mid_run_costs_its_requests_and_comes_back(
    backend: RayServeBackend,
) -> None:
    before = pids(backend)
    assert len(before) == 2
    slow = [backend.submit(row(SLEEP, 1.0)) for _ in range(2)]
    wait_for(lambda: not any(future.done() for future in slow), "the requests to be under way")
    victim = min(before)
    busy = [backend.submit(row(SUM, value)) for value in range(20)]
    os.kill(victim, signal.SIGKILL)
    replies = answers([*slow, *busy])
    lost = [reply for reply in replies if reply.outcome is not Outcome.COMPLETED]
    assert {(reply.outcome, reply.reason) for reply in lost} <= {(Outcome.FAILED, Reason.CRASHED)}
    assert all(reply.error for reply in lost)
    assert len(lost) < len(replies)

    def recovered() -> bool:
        now = pids(backend)
        return len(now) == 2 and victim not in now

    wait_for(recovered, "a new replica")


def test_a_model_that_ends_its_process_is_a_crash_and_no_silence(
    backend: RayServeBackend,
) -> None:
    reply = backend.submit(row(EXIT)).result(60)
    assert (reply.outcome, reply.reason) == (Outcome.FAILED, Reason.CRASHED)
    assert backend.submit(row(SUM, 5.0)).result(60).value == 5.0
    wait_for(lambda: len(pids(backend)) == 2, "a new replica")


def test_replicas_answer_while_the_controller_is_dead_and_it_comes_back(
    backend: RayServeBackend,
) -> None:
    import ray
    from ray.serve.context import _get_global_client

    before = pids(backend)
    ray.kill(_get_global_client()._controller, no_restart=False)
    replies = answers([backend.submit(row(SUM, value)) for value in range(20)])
    assert [reply.value for reply in replies] == [float(value) for value in range(20)]

    def knows() -> bool:
        try:
            return running() == 2
        except ray.exceptions.RayActorError:
            return False

    wait_for(knows, "the controller")
    assert pids(backend) == before


def test_more_and_fewer_replicas_while_requests_run(
    cluster: RayCluster, folder: Path, backend: RayServeBackend
) -> None:
    stayed = pids(backend)
    deploy(cluster, moody(folder / "one.json", num_replicas=3), name=NAME)
    assert running() == 3
    wait_for(lambda: len(found := pids(backend)) == 3 and stayed < found, "the new one to answer")
    requests = [backend.submit(row(SLEEP, 0.01)) for _ in range(40)]
    deploy(cluster, moody(folder / "one.json", num_replicas=2), name=NAME)
    assert {reply.outcome for reply in answers(requests)} == {Outcome.COMPLETED}
    wait_for(lambda: running() == 2, "two replicas")


def test_another_version_takes_over_while_requests_run(
    cluster: RayCluster, folder: Path, backend: RayServeBackend
) -> None:
    first = backend.description.digest
    requests = [backend.submit(row(SUM, 1.0)) for _ in range(50)]
    again = deploy(cluster, moody(folder / "two.json", 10.0, num_replicas=2), name=NAME)
    requests += [backend.submit(row(SUM, 1.0)) for _ in range(10)]
    replies = answers(requests)
    assert {reply.outcome for reply in replies} == {Outcome.COMPLETED}
    assert {reply.value for reply in replies[:50]} <= {1.0, 10.0}
    wait_for(lambda: backend.submit(row(SUM, 1.0)).result(30).value == 10.0, "the new version")
    client = again.backend()
    assert client.description.digest != first
    client.close()
    deploy(cluster, moody(folder / "one.json", num_replicas=2), name=NAME)


def test_a_full_queue_refuses_and_a_closed_client_says_so(
    cluster: RayCluster, folder: Path
) -> None:
    config = moody(
        folder / "full.json",
        max_queued_requests=4,
        batching={"kind": "ray", "max_batch_size": 4, "batch_wait_timeout": "500ms"},
    )
    found = deploy(cluster, config, name="full")
    client = found.backend()
    assert client.submit(row(SUM)).result(30).batch_size == 1
    # four fill the replica, four may wait for it, and the others have no room
    requests = [client.submit(row(SLEEP, 0.3)) for _ in range(4)]
    wait_for(lambda: all(not one.done() for one in requests), "a batch under way")
    requests += [client.submit(row(SUM, value)) for value in range(20)]
    replies = answers(requests)
    refused = [reply for reply in replies if reply.outcome is Outcome.REJECTED]
    served = [reply for reply in replies if reply.outcome is Outcome.COMPLETED]
    assert len(refused) + len(served) == len(replies)
    assert refused
    assert {reply.reason for reply in refused} == {Reason.QUEUE_FULL}
    assert 1 < max(reply.batch_size for reply in served) <= 4
    hanging = client.submit(row(SLEEP, 30.0))
    client.close()
    gone = hanging.result(10)
    assert (gone.outcome, gone.reason) == (Outcome.FAILED, Reason.CANCELLED)
    assert "closed" in gone.error
    assert "closed" in client.submit(row(SUM)).result(1).error
    assert client.counts.submitted == client.counts.ended == 1 + 24 + 1 + 1
    found.delete()
    assert "full" not in [one.name for one in statuses()]


def test_a_model_that_hangs_costs_its_replica_and_the_next_one_answers(
    cluster: RayCluster, folder: Path
) -> None:
    config = moody(folder / "hangs.json", max_ongoing_requests=2, health_check_timeout="2s")
    found = deploy(cluster, config, name="hangs")
    client = found.backend()
    hanging = client.submit(row(SLEEP, 600.0)).result(60)
    assert (hanging.outcome, hanging.reason) == (Outcome.FAILED, Reason.CRASHED)
    assert client.submit(row(SUM, 4.0)).result(60).value == 4.0
    client.close()
    found.delete()


def test_a_model_that_cannot_be_loaded_is_one_sentence(cluster: RayCluster, folder: Path) -> None:
    config = moody(folder / "broken.json")
    (folder / "broken.json").write_text("{}")
    with pytest.raises(ServingError, match=r"`broken` cannot be deployed: .*must hold a weight"):
        deploy(cluster, config, name="broken")
    assert "broken" not in [one.name for one in statuses()], "it failed, and is still there"


def test_a_version_that_cannot_be_loaded_takes_not_all_of_the_one_before_it(
    cluster: RayCluster, folder: Path
) -> None:
    config = moody(folder / "good.json", 3.0, num_replicas=2)
    found = deploy(cluster, config, name="kept")
    client = found.backend()
    assert client.submit(row(SUM, 2.0)).result(60).value == 6.0
    bad = moody(folder / "bad.json", num_replicas=2)
    (folder / "bad.json").write_text("{}")
    with pytest.raises(ServingError, match=r"`kept` cannot be deployed: .*must hold a weight"):
        deploy(cluster, bad, name="kept")
    # Serve renews one replica at a time: the other one has not been touched, and goes on
    (kept,) = [one for one in statuses() if one.name == "kept"]
    assert (kept.status, kept.replicas.get("RUNNING")) == ("DEPLOY_FAILED", 1)
    assert client.submit(row(SUM, 2.0)).result(60).value == 6.0
    deploy(cluster, config, name="kept")
    assert [one.status for one in statuses() if one.name == "kept"] == ["RUNNING"]
    assert client.submit(row(SUM, 2.0)).result(60).value == 6.0
    client.close()
    found.delete()


def test_what_ray_serve_does_not_do_is_refused(cluster: RayCluster, folder: Path) -> None:
    with pytest.raises(NotOnRayError, match=r"`batching.kind` must be ray"):
        deploy(cluster, moody(folder / "a.json", batching="triton"), name="no")
    with pytest.raises(NotOnRayError, match=r"`queue.discipline` must be fifo"):
        deploy(cluster, moody(folder / "a.json", queue="newest_first"), name="no")
