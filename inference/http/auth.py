"""The optional bearer token: compared in constant time, asked for before anything is read."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from inference.http.errors import RefusedError

__all__ = ["OPEN_PATHS", "check_token"]

OPEN_PATHS = frozenset({"/health", "/health/live", "/openapi.json"})
"""Paths without a token: probes have none, and the description holds no secret."""


def check_token(headers: Iterable[tuple[bytes, bytes]], path: str, token: str | None) -> None:
    """Refuse a request that does not carry the token, where there is one.

    Args:
        headers: As ASGI has them, names in lower case.
        path: The path of the request.
        token: The token of the service; None: everybody may ask.

    Raises:
        RefusedError: With status 401.
    """
    if token is None or path in OPEN_PATHS:
        return
    given = [value for name, value in headers if name == b"authorization"]
    scheme, _, sent = (given[0] if len(given) == 1 else b"").partition(b" ")
    # compared even where the scheme is wrong, so that the time tells nothing
    is_right = hmac.compare_digest(sent.strip(), token.encode())
    if not is_right or scheme.lower() != b"bearer":
        got = "none" if not given else "another one, or more than one"
        raise RefusedError(
            401,
            "unauthorized",
            f"the header `Authorization` must be `Bearer <token>` with this service's token: got "
            f"{got}.",
            headers={"WWW-Authenticate": "Bearer"},
        )
