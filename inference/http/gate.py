"""The gate before the application: names each request, checks it, counts it, never lets one fall.

Plain ASGI, outside FastAPI, because a limit that begins once the framework has read the body is
none.
"""

from __future__ import annotations

import itertools
import logging
import os
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clock.wall import WallClock, host_ns
from inference.http.auth import check_token
from inference.http.errors import RefusedError, error_response
from inference.http.limits import (
    DisconnectedError,
    check_head,
    overloaded,
    read_body,
    replayed,
    request_id_of,
)
from inference.http.metrics import Recorder
from inference.http.settings import Settings

__all__ = ["PREDICTION_PATHS", "Gate"]

_log = logging.getLogger(__name__)

PREDICTION_PATHS = frozenset({"/api/v1/predictions", "/api/v1/predictions/batch"})
"""Where a body is read; anywhere else it is left alone."""


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings, recorder: Recorder) -> None:
        """Guard an application."""
        self._app, self._settings, self._recorder = app, settings, recorder
        self._under_way = 0
        self._made = itertools.count()
        self._prefix = f"{WallClock().now:x}-{os.getpid():x}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at, status = host_ns(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)["X-Request-ID"] = scope["state"]["request_id"]
            await send(message)

        state = scope.setdefault("state", {})
        state["request_id"] = f"{self._prefix}-{next(self._made):x}"
        try:
            await self._pass(scope, receive, noting)
        except DisconnectedError:
            status = 499  # as Ray Serve counts a client that left
        except RefusedError as error:
            await error_response(error, state["request_id"])(scope, receive, noting)
        except Exception:
            if status:
                raise  # the answer has begun: nothing can be added to it
            _log.exception("request %s found a defect of the service", state["request_id"])
            await error_response(_DEFECT, state["request_id"])(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._recorder.http(route, scope["method"], status, host_ns() - started_at)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[Any] = scope["headers"]
        named = request_id_of(headers)
        if named is not None:
            scope["state"]["request_id"] = named
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        check_token(headers, path, self._settings.token)
        if scope["method"] != "POST" or path not in PREDICTION_PATHS:
            await self._app(scope, receive, send)
            return
        check_head(headers, self._settings)
        if self._under_way >= self._settings.max_requests:
            raise overloaded(self._settings)
        self._under_way += 1
        try:
            body = await read_body(receive, self._settings)
            await self._app(scope, replayed(body, receive), send)
        finally:
            self._under_way -= 1


_DEFECT = RefusedError(
    500, "internal", "the service failed on this request: its log says why. Please report it."
)
