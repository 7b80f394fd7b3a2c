from __future__ import annotations

import asyncio
import re
from concurrent.futures import Future
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from clock.errors import InputError
from inference.backend import Reply
from inference.http import InProcess, OverBackend, Settings, make_app
from inference.http.served import About
from inference.schedule import Outcome, Reason
from tests.inference.http_cases import (
    BATCH,
    ONE,
    Classes,
    Held,
    Model,
    Saying,
    application,
    get,
    post,
    using,
)


class OwnBackend:
    """A backend that answers at once, as it is told."""

    feature_names = ("mid", "flow")

    def __init__(self, **reply: Any) -> None:
        self.reply, self.closed = reply, 0

    def submit(self, values: NDArray[np.float64]) -> Future[Reply]:
        future: Future[Reply] = Future()
        if self.reply.get("cancel"):
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        told = {"outcome": Outcome.COMPLETED, "value": float(values.sum())} | self.reply
        future.set_result(Reply(sent_at=1_000_000, received_at=9_000_000, **told))
        return future

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values.sum(axis=1)

    def close(self) -> None:
        self.closed += 1


def over(backend: OwnBackend) -> Any:
    about = About("main", "models:/mid/3", "3", (), False, backend="ray_serve")
    return make_app([OverBackend(backend, about)])


def test_a_row_by_name_or_in_order_is_answered_as_the_predictor_does() -> None:
    rows = np.random.default_rng(5).normal(size=(20, 2)) * 10.0 ** np.arange(-9, 11)[:, None]
    wanted = Model().predict(rows)
    app = application()

    async def work(client: httpx.AsyncClient) -> None:
        for row, value in zip(rows.tolist(), wanted.tolist(), strict=True):
            for features in (row, {"flow": row[1], "mid": row[0]}):
                answer = (await client.post(ONE, json={"features": features})).json()
                assert answer["prediction"] == value
        batch = await client.post(BATCH, json={"rows": rows.tolist()})
        assert [one["prediction"] for one in batch.json()["predictions"]] == wanted.tolist()

    using(app, work)


def test_an_answer_says_who_gave_it_and_where_the_time_went() -> None:
    answer = post(application(), {"features": [1, 2], "deployment": "main"}).json()
    assert answer["deployment"] == "main"
    assert (answer["model_id"], answer["model_version"]) == ("models:/mid/3", "3")
    legs = answer["latency"]
    assert 0 <= legs["queue_ms"] + legs["model_ms"] <= legs["total_ms"]
    assert answer["probabilities"] is answer["confidence"] is None


def test_a_model_with_classes_tells_them_and_how_sure_it_is() -> None:
    answer = post(application(Classes()), {"rows": [[1, 2], [3, 4]]}, BATCH).json()
    assert [one["probabilities"] for one in answer["predictions"]] == [[0.25, 0.75]] * 2
    assert [one["confidence"] for one in answer["predictions"]] == [0.75] * 2


def test_a_request_keeps_its_name_or_is_given_one_that_no_other_has() -> None:
    app = application()

    async def work(client: httpx.AsyncClient) -> None:
        named = await client.post(ONE, json={"features": [1, 2]}, headers={"X-Request-ID": "a-7"})
        assert named.json()["request_id"] == named.headers["x-request-id"] == "a-7"
        others = [await client.get("/health") for _ in range(5)]
        assert len({answer.headers["x-request-id"] for answer in others}) == 5
        refused = await client.post(ONE, json={}, headers={"X-Request-ID": "a-8"})
        assert refused.json()["request_id"] == "a-8"

    using(app, work)


def test_a_missing_value_is_null_where_the_model_accepts_that() -> None:
    class Accepting(Model):
        accepts_nan = True

        def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.nan_to_num(values, nan=100.0).sum(axis=1)

    assert post(application(Accepting()), {"features": [1, None]}).json()["prediction"] == 101.0
    refused = post(application(), {"features": {"mid": None, "flow": 1}})
    assert refused.status_code == 422
    assert refused.json()["code"] == "missing_value"
    assert refused.json()["field"] == "features.mid"


def test_a_model_whose_bits_depend_on_the_batch_is_asked_row_by_row() -> None:
    class Shifty(Model):
        batch_invariant = False

        def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
            return values[:, 0] + 0.001 * len(values)

    answer = post(application(Shifty()), {"rows": [[1, 0], [2, 0]]}, BATCH).json()
    assert [one["prediction"] for one in answer["predictions"]] == [1.001, 2.001]


def test_one_of_several_deployments_must_be_named() -> None:
    app = make_app([InProcess("fast", Model()), InProcess("good", Saying(np.array([7.0])))])
    assert post(app, {"features": [1, 2], "deployment": "good"}).json()["prediction"] == 7.0
    needed = post(app, {"features": [1, 2]})
    assert (needed.status_code, needed.json()["code"]) == (422, "deployment_needed")
    unknown = post(app, {"features": [1, 2], "deployment": "god"})
    assert unknown.status_code == 404
    assert "Did you mean 'good'?" in unknown.json()["message"]
    with pytest.raises(InputError, match="distinct names"):
        make_app([InProcess("a", Model()), InProcess("a", Model())])


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (np.zeros((1, 2, 3)), "model_failed", "shape"),
        (ValueError("no\nsuch thing"), "model_failed", "ValueError: no such thing"),
        (SystemExit(3), "model_failed", "SystemExit: 3"),
        (np.zeros((1, 2)), "model_failed", "shape"),
        (np.array([np.nan]), "not_finite", "row 0"),
        (["x"], "model_failed", "could not convert"),
    ],
)
def test_a_model_that_fails_is_a_bad_gateway_with_its_reason(
    answer: Any, code: str, words: str
) -> None:
    found = post(application(Saying(answer)), {"features": [1, 2]})
    assert (found.status_code, found.json()["code"]) == (502, code)
    assert words in found.json()["message"]


def test_a_model_that_hangs_is_a_timeout_and_a_full_queue_says_when_to_return() -> None:
    model = Held()
    app = application(model, Settings(timeout_ns=200_000_000, retry_after_s=4), max_queued=1)

    async def work(client: httpx.AsyncClient) -> None:
        asked = [asyncio.create_task(client.post(ONE, json={"features": [1, 2]}))]
        while not model.asked.is_set():
            await asyncio.sleep(0)
        asked.append(asyncio.create_task(client.post(ONE, json={"features": [1, 2]})))
        while (await client.get("/api/v1/deployments/main/metrics")).json()["queued"] != 1:
            await asyncio.sleep(0)
        full = await client.post(ONE, json={"features": [1, 2]})
        assert (full.status_code, full.json()["code"]) == (503, "queue_full")
        assert full.headers["retry-after"] == "4"
        late = [await task for task in asked]
        assert [(one.status_code, one.json()["code"]) for one in late] == [(504, "timeout")] * 2
        told = (await client.get("/api/v1/deployments/main/metrics")).json()
        assert told["errors"] == {"queue_full": 1, "timeout": 2}
        model.let_go.set()

    using(app, work)


def test_more_requests_than_allowed_at_once_are_turned_away() -> None:
    model = Held()
    app = application(model, Settings(max_requests=1))

    async def work(client: httpx.AsyncClient) -> None:
        first = asyncio.create_task(client.post(ONE, json={"features": [1, 2]}))
        while not model.asked.is_set():
            await asyncio.sleep(0)
        second = await client.post(ONE, json={"features": [1, 2]})
        assert (second.status_code, second.json()["code"]) == (503, "overloaded")
        assert (await client.get("/health")).status_code == 200
        model.let_go.set()
        assert (await first).json()["prediction"] == 1.0

    using(app, work)


def test_a_deployment_describes_itself_and_counts_what_it_did() -> None:
    app = application(replicas=2)

    async def work(client: httpx.AsyncClient) -> None:
        await client.post(ONE, json={"features": [1, 2]})
        await client.post(BATCH, json={"rows": [[1, 2]] * 3})
        await client.post(ONE, json={"features": [1]})
        (told,) = (await client.get("/api/v1/deployments")).json()["deployments"]
        assert told["features"] == ["mid", "flow"]
        assert (told["replicas"], told["ready"], told["predictor"]) == (2, True, "Model")
        numbers = (await client.get("/api/v1/deployments/main/metrics")).json()
        assert (numbers["requests"], numbers["rows"], numbers["sample"]) == (2, 4, 2)
        assert 0 < numbers["latency_ms"]["p50"] <= numbers["latency_ms"]["max"]
        text = (await client.get("/metrics")).text
        name = 'serve_deployment_request_counter_total{deployment="main"}'
        assert re.search(rf"^{re.escape(name)} 2.0$", text, re.M)
        assert 'serve_deployment_processing_latency_ms_count{deployment="main"} 2.0' in text
        assert 'serve_replica_processing_queries{deployment="main"} 0.0' in text
        wanted = 'route="/api/v1/predictions",status_code="422"} 1.0'
        assert wanted in text

    using(app, work)


def test_every_outcome_of_a_backend_has_its_status() -> None:
    outcomes = [
        ({}, 200, None),
        ({"outcome": Outcome.REJECTED, "reason": Reason.QUEUE_FULL}, 503, "queue_full"),
        ({"outcome": Outcome.TIMED_OUT}, 504, "timeout"),
        ({"outcome": Outcome.FAILED, "reason": Reason.CRASHED}, 502, "model_failed"),
        ({"outcome": Outcome.FAILED, "error": "it broke"}, 502, "model_failed"),
        ({"cancel": True}, 503, "not_ready"),
        ({"value": np.inf}, 502, "not_finite"),
    ]
    for reply, status, code in outcomes:
        found = post(over(OwnBackend(**reply)), {"features": [1, 2]})
        assert (found.status_code, found.json().get("code")) == (status, code)


def test_a_backends_stamps_become_legs_and_it_is_closed_with_the_service() -> None:
    backend = OwnBackend(started_at=3_000_000, completed_at=7_500_000)
    answer = post(over(backend), {"features": [1, 2]}).json()
    assert (answer["latency"]["queue_ms"], answer["latency"]["model_ms"]) == (2.0, 4.5)
    assert backend.closed == 1
    batch = post(over(OwnBackend()), {"rows": [[1, 2], [3, 4]]}, BATCH).json()
    assert [one["prediction"] for one in batch["predictions"]] == [3.0, 7.0]


def test_a_service_that_cannot_answer_is_alive_but_not_ready() -> None:
    deployment = InProcess("main", Model())
    app = make_app([deployment])

    async def work(client: httpx.AsyncClient) -> None:
        assert (await client.get("/health")).json()["ready"]
        await deployment.close()
        health = await client.get("/health")
        assert health.status_code == 503
        assert health.json()["live"]
        assert health.json()["deployments"]["main"]["reason"] == "it is stopping"
        assert (await client.get("/health/live")).status_code == 200
        refused = await client.post(ONE, json={"features": [1, 2]})
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")

    using(app, work)


def test_the_description_names_every_error_and_the_features_of_the_model() -> None:
    schema = get(application(), "/openapi.json").json()
    for path in (ONE, BATCH):
        answers = schema["paths"][path]["post"]["responses"]
        assert set(answers) == {
            *("200", "400", "401", "404", "408", "413", "415", "422", "500", "502", "503", "504")
        }
        for status, answer in answers.items():
            if status != "200":
                content = answer["content"]["application/json"]["schema"]
                assert content == {"$ref": "#/components/schemas/ErrorResponse"}
    row = schema["components"]["schemas"]["PredictionRequest"]["properties"]["features"]
    assert row["oneOf"][0]["required"] == ["mid", "flow"]
    assert row["oneOf"][1]["minItems"] == row["oneOf"][1]["maxItems"] == 2
