"""Refusals: every error that the service answers with, as one model, and how it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from inference.http.models import ErrorResponse

__all__ = ["RefusedError", "clipped", "error_response"]

_LONGEST = 80


class RefusedError(Exception):
    """A request that is not answered with a prediction: status, code, message and field."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = dict(headers or {})


def clipped(value: Any) -> str:
    """Return what a client sent as a message may repeat it: short, printable, on one line."""
    text = ascii(value) if not isinstance(value, str) else repr(value)
    text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def error_response(error: RefusedError, request_id: str) -> Response:
    """Return the answer to a request that was refused."""
    body = ErrorResponse(
        code=error.code,
        message=error.message.encode("utf-8", "backslashreplace").decode(),
        field=error.field,
        request_id=request_id,
    )
    return Response(body.model_dump_json(), error.status, error.headers, "application/json")
