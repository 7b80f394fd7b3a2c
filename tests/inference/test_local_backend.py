"""A deployment in threads: one reply a request, whatever the model does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.backend import Backend, Reply
from inference.errors import ModelFailedError
from inference.local_backend import LocalBackend
from inference.rows import MISSING
from inference.schedule import Outcome, Reason
from tests.inference.cases import Formula, configuration, formula

DEADLINE = 20
Floats = NDArray[np.float64]


class Gated(Formula):
    """A model that answers a call only once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def predict(self, values: Floats) -> Floats:
        self.entered.release()
        assert self.go.acquire(timeout=DEADLINE)
        return super().predict(values)

    def wait_until_busy(self) -> None:
        assert self.entered.acquire(timeout=DEADLINE)


class Odd(Formula):
    def __init__(self, behave: Callable[[Floats], Floats]) -> None:
        super().__init__()
        self.behave = behave

    def predict(self, values: Floats) -> Floats:
        return self.behave(values)


def asked(backend: LocalBackend, *values: float) -> list[Future[Reply]]:
    return [backend.submit(np.array([value, 1.0])) for value in values]


def replies(futures: list[Future[Reply]]) -> list[Reply]:
    return [future.result(timeout=DEADLINE) for future in futures]


def test_each_row_is_answered_with_its_own_value_and_stamps_in_order() -> None:
    backend = LocalBackend(Formula(), num_replicas=2)
    assert isinstance(backend, Backend)
    assert backend.feature_names == ("mid", "flow")
    found = replies(asked(backend, *range(50)))
    backend.close()
    assert [reply.value for reply in found] == [formula([i, 1.0]) for i in range(50)]
    for reply in found:
        stamps = [reply.sent_at, reply.started_at, reply.completed_at, reply.received_at]
        assert stamps == sorted(stamps)
        assert stamps[0] > MISSING
        assert reply.outcome == Outcome.COMPLETED
        assert reply.replica in ("local#0", "local#1")


def test_the_row_is_read_when_it_is_sent() -> None:
    model = Gated()
    backend = LocalBackend(model)
    row = np.array([1.0, 2.0])
    future = backend.submit(row)
    row[:] = 100.0
    model.go.release()
    assert future.result(timeout=DEADLINE).value == formula([1.0, 2.0])
    backend.close()


def test_one_replica_serves_first_in_first_out_and_one_at_a_time() -> None:
    model = Gated()
    backend = LocalBackend(model)
    futures = asked(backend, 1, 2, 3)
    for served in range(3):
        model.wait_until_busy()
        assert [future.done() for future in futures] == [i < served for i in range(3)]
        model.go.release()
        futures[served].result(timeout=DEADLINE)
    assert model.batches == [1, 1, 1]
    backend.close()


def test_what_waits_when_a_replica_gets_free_goes_in_one_batch() -> None:
    model = Gated()
    backend = LocalBackend(model, max_batch_size=3)
    first = asked(backend, 1)
    model.wait_until_busy()
    rest = asked(backend, 2, 3, 4, 5)
    for _ in range(3):
        model.go.release()
    found = replies(first + rest)
    assert [reply.batch_size for reply in found] == [1, 3, 3, 3, 1]
    assert [reply.value for reply in found] == [formula([i, 1.0]) for i in (1, 2, 3, 4, 5)]
    assert len({reply.started_at for reply in found[1:4]}) == 1
    backend.close()


def test_over_the_limit_a_request_is_rejected_at_once_and_what_was_cancelled_waits_not() -> None:
    model = Gated()
    backend = LocalBackend(model, max_queued_requests=2)
    served = asked(backend, 1)
    model.wait_until_busy()
    waiting = asked(backend, 2, 3)
    refused = asked(backend, 4)[0]
    assert refused.done()
    reply = refused.result(timeout=0)
    assert (reply.outcome, reply.reason) == (Outcome.REJECTED, Reason.QUEUE_FULL)
    assert np.isnan(reply.value)
    assert waiting[0].cancel()
    late = asked(backend, 5)
    for _ in range(3):
        model.go.release()
    assert [reply.outcome for reply in replies(served + waiting[1:] + late)] == [0, 0, 0]
    assert model.batches == [1, 1, 1], "what was cancelled while it waited is never served"
    backend.close()


def test_an_answer_that_was_given_up_is_dropped_and_the_replica_goes_on() -> None:
    model = Gated()
    backend = LocalBackend(model)
    given_up, next_one = asked(backend, 1, 2)
    model.wait_until_busy()
    assert given_up.cancel()
    model.go.release()
    model.go.release()
    assert next_one.result(timeout=DEADLINE).value == formula([2, 1.0])
    with pytest.raises(CancelledError):
        given_up.result(timeout=0)
    backend.close()


def raises(values: Floats) -> Floats:
    if values[0, 0] == 1:
        raise ZeroDivisionError("by nothing")
    return values[:, 0]


def exits(values: Floats) -> Floats:
    if values[0, 0] == 1:
        raise SystemExit(3)
    return values[:, 0]


def wrong_shape(values: Floats) -> Floats:
    return values if values[0, 0] == 1 else values[:, 0]


@pytest.mark.parametrize(
    ("behave", "told"),
    [(raises, "ZeroDivisionError: by nothing"), (exits, "SystemExit: 3"), (wrong_shape, "shape")],
)
def test_a_model_that_fails_ends_its_request_and_no_other(
    behave: Callable[[Floats], Floats], told: str
) -> None:
    backend = LocalBackend(Odd(behave))
    failed, fine = replies(asked(backend, 1, 2))
    backend.close()
    assert (failed.outcome, failed.reason) == (Outcome.FAILED, Reason.ERROR)
    assert told in failed.error
    assert np.isnan(failed.value)
    assert (fine.outcome, fine.value, fine.error) == (Outcome.COMPLETED, 2.0, "")


def test_nan_is_an_answer() -> None:
    backend = LocalBackend(Odd(lambda values: np.full(len(values), np.nan)))
    reply = replies(asked(backend, 1))[0]
    backend.close()
    assert reply.outcome == Outcome.COMPLETED
    assert np.isnan(reply.value)


def test_closing_ends_every_future_even_of_a_model_that_hangs() -> None:
    model = Gated()
    backend = LocalBackend(model, num_replicas=2)
    futures = asked(backend, *range(6))
    model.wait_until_busy()
    model.wait_until_busy()
    backend.close()
    backend.close()
    assert not wait(futures, timeout=DEADLINE).not_done
    assert all(future.cancelled() for future in futures)
    after = asked(backend, 7)[0].result(timeout=0)
    assert (after.outcome, after.reason) == (Outcome.FAILED, Reason.ERROR)
    assert "closed" in after.error
    model.go.release(2)  # lets the threads end


@pytest.mark.parametrize("invariant", [True, False])
def test_many_rows_are_predicted_in_one_call_only_where_the_bits_allow_it(invariant: bool) -> None:
    model = Formula(invariant=invariant)
    backend = LocalBackend(model)
    rows = np.arange(8.0).reshape(4, 2)
    assert backend.predict(rows).tolist() == [formula(list(row)) for row in rows]
    assert model.batches == ([4] if invariant else [1] * 4)
    assert backend.predict(rows[:0]).shape == (0,)
    backend.close()


def test_a_failure_of_predict_is_told() -> None:
    backend = LocalBackend(Odd(raises), name="mid")
    with pytest.raises(ModelFailedError, match="deployment 'mid' failed on 1 rows: by nothing"):
        backend.predict(np.ones((1, 2)))
    backend.close()


def test_a_configuration_says_how_many_threads_and_how_long_the_queue() -> None:
    config = configuration(
        num_replicas=2, max_queued_requests=1, deployment_name="mid", max_ongoing_requests=4
    )
    model = Gated()
    backend = LocalBackend.of(config, model)
    busy = asked(backend, 1, 2)
    model.wait_until_busy()
    model.wait_until_busy()
    waiting, refused = asked(backend, 3, 4)
    assert refused.done()
    for _ in range(3):
        model.go.release()
    assert {reply.replica for reply in replies(busy)} == {"mid#0", "mid#1"}
    assert waiting.result(timeout=DEADLINE).outcome == Outcome.COMPLETED
    backend.close()
