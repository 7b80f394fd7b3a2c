"""Deployments behind the HTTP service, and a client of the application in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from inference.http import InProcess, Settings, make_app

JSON = {"Content-Type": "application/json"}
ONE, BATCH = "/api/v1/predictions", "/api/v1/predictions/batch"


class Model:
    """A formula of two features, with classes; NaN is an answer where it is accepted."""

    feature_names = ("mid", "flow")
    batch_invariant, accepts_nan = True, False
    digest, version, training = "d1", "3", None

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[:, 0] * 3.0 - values[:, 1]


class Classes(Model):
    def probabilities(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.full(len(values), 0.25), np.full(len(values), 0.75)], axis=1)


class Held(Model):
    """A model that answers once it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        self.asked.set()
        assert self.let_go.wait(20)
        return super().predict(values)


class Saying(Model):
    """A model that answers with what it is given, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, values: NDArray[np.float64]) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def application(model: Any = None, settings: Settings | None = None, **given: Any) -> Any:
    deployment = InProcess("main", model or Model(), model_id="models:/mid/3", **given)
    return make_app([deployment], settings)


def using(app: Any, work: Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine with a client of an application; a defect of it raises."""

    async def run() -> Any:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            return await asyncio.wait_for(work(client), 30)

    return asyncio.run(run())


def post(app: Any, content: Any, path: str = ONE, **headers: str) -> httpx.Response:
    """Send one body to a service."""

    async def work(client: httpx.AsyncClient) -> httpx.Response:
        sent = {"headers": JSON | headers}
        if isinstance(content, str | bytes):
            return await client.post(path, content=content, **sent)  # type: ignore[arg-type]
        return await client.post(path, json=content, **sent)  # type: ignore[arg-type]

    answer: httpx.Response = using(app, work)
    return answer


def get(app: Any, path: str, **headers: str) -> httpx.Response:
    answer: httpx.Response = using(app, lambda client: client.get(path, headers=headers))
    return answer
