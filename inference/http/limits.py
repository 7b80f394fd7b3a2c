"""Limits on what comes in: how many requests, how large a body, how slow, of which type."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from email.message import Message
from typing import Any

from starlette.types import Receive

from inference.http.errors import RefusedError, clipped
from inference.http.settings import Settings

__all__ = [
    "REQUEST_ID",
    "DisconnectedError",
    "check_head",
    "overloaded",
    "read_body",
    "replayed",
    "request_id_of",
]

Headers = Iterable[tuple[bytes, bytes]]

REQUEST_ID = r"^[!-~]{1,128}$"
"""What a client may name its request."""

_SECOND = 1_000_000_000
_CLOSE = {"Connection": "close"}
"""The rest of a body that was refused is not read: the connection is of no more use."""


class DisconnectedError(Exception):
    """The client left before its request was there."""


def request_id_of(headers: Headers) -> str | None:
    """Return the client's name for its request, None where it gives none.

    Raises:
        RefusedError: With status 400, if it is none that can be repeated in an answer.
    """
    given = [value for name, value in headers if name == b"x-request-id"]
    if not given:
        return None
    text = given[0].decode("latin-1")
    if len(given) > 1 or re.fullmatch(REQUEST_ID, text) is None:
        raise RefusedError(
            400,
            "bad_request_id",
            "the header `X-Request-ID` must be given once, as 1 to 128 visible ASCII characters: "
            f"got {clipped(text)}.",
            "X-Request-ID",
        )
    return text


def check_head(headers: Headers, settings: Settings) -> None:
    """Refuse a body by what its head says: not JSON, packed, or too large.

    Raises:
        RefusedError: With status 413 or 415.
    """
    named = dict(headers)
    kind = named.get(b"content-type", b"").decode("latin-1")
    parsed = Message()
    parsed["content-type"] = re.sub(r"[^ -~]", "?", kind)
    charset = str(parsed.get_param("charset", "utf-8")).lower()
    if parsed.get_content_type() != "application/json" or charset not in ("utf-8", "utf8"):
        raise RefusedError(
            415,
            "wrong_content_type",
            f"the header `Content-Type` must be application/json in UTF-8: got {clipped(kind)}.",
            "Content-Type",
            _CLOSE,
        )
    if named.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise RefusedError(
            415,
            "wrong_content_encoding",
            "the body must be sent as it is: `Content-Encoding` is not supported.",
            "Content-Encoding",
            _CLOSE,
        )
    length = named.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 18 or int(length) > settings.max_body_bytes:
        raise _too_large(settings)


async def read_body(receive: Receive, settings: Settings) -> bytes:
    """Return the whole body of a request, however it is cut into chunks.

    Raises:
        RefusedError: With status 413 once it exceeds the limit, 408 if it is not there in time.
        DisconnectedError: If the client left.
    """
    try:
        async with asyncio.timeout(settings.body_timeout_ns / _SECOND):
            return await _read(receive, settings)
    except TimeoutError:
        raise RefusedError(
            408,
            "slow_body",
            f"the body must arrive within {settings.body_timeout_ns / _SECOND:g} s.",
            headers=_CLOSE,
        ) from None


async def _read(receive: Receive, settings: Settings) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        body += message.get("body", b"")
        if len(body) > settings.max_body_bytes:
            raise _too_large(settings)
        if not message.get("more_body", False):
            return bytes(body)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return what hands a body over in one piece, and then whatever comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return messages.pop() if messages else await receive()

    return again


def _too_large(settings: Settings) -> RefusedError:
    return RefusedError(
        413,
        "body_too_large",
        f"the body must have at most {settings.max_body_bytes:,} bytes. Send fewer rows a request.",
        headers=_CLOSE,
    )


def overloaded(settings: Settings) -> RefusedError:
    """Return the refusal of a service that has its hands full."""
    return RefusedError(
        503,
        "overloaded",
        f"the service answers at most {settings.max_requests} requests at once. Ask again later.",
        headers={"Retry-After": str(settings.retry_after_s), **_CLOSE},
    )
