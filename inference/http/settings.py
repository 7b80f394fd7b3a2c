"""Settings of the service: its limits, its deadlines and its token."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from clock.errors import InputError
from clock.units import format_duration, parse_duration

__all__ = ["TOKEN_VARIABLE", "Settings", "read_token"]

TOKEN_VARIABLE = "LIGHTCONE_HTTP_TOKEN"
"""Environment variable of the bearer token; a command line would show it to every user."""

_LEAST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """What the service accepts; durations in nanoseconds.

    Attributes:
        max_body_bytes: Larger bodies are refused before they are read to their end, chunked or not.
        max_rows: Rows of one batch.
        max_requests: Requests under way at once, those whose body is still coming included.
        max_connections: Connections at once, resting ones included.
        timeout_ns: From the end of a body to its answer; then 504.
        head_timeout_ns: From the first byte of a request to the end of its head; then 408. A
            new connection that says nothing is closed after it.
        body_timeout_ns: From the head of a request to the end of its body; then 408. A client that
            reads nothing of its answer for so long is given up.
        grace_ns: How long a stopping service waits for requests under way.
        retry_after_s: What a refused client is told to wait, in seconds.
        token: The bearer token that clients must send; None: none is asked for.
    """

    max_body_bytes: int = 1 << 20
    max_rows: int = 10_000
    max_requests: int = 256
    max_connections: int = 512
    timeout_ns: int = parse_duration("30s")
    head_timeout_ns: int = parse_duration("10s")
    body_timeout_ns: int = parse_duration("10s")
    grace_ns: int = parse_duration("10s")
    retry_after_s: int = 1
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        counted = ("max_body_bytes", "max_rows", "max_requests", "max_connections", "retry_after_s")
        for name in counted:
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be at least 1: got {getattr(self, name)}.")
        for name in ("timeout_ns", "head_timeout_ns", "body_timeout_ns", "grace_ns"):
            if getattr(self, name) <= 0:
                got = format_duration(getattr(self, name))
                raise InputError(f"`{name}` must be longer than 0: got {got}.")
        if self.token is not None:
            _check(self.token, "`token`")


def read_token(file: Path | None) -> str | None:
    """Return the bearer token of a file or of the environment, None where neither gives one.

    Raises:
        InputError: If the file cannot be read, or what is found is no token.
    """
    if file is None:
        found = os.environ.get(TOKEN_VARIABLE)
        return None if found is None else _check(found.strip(), f"`{TOKEN_VARIABLE}`")
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`--token-file` must be a readable text file: {error}.") from None
    return _check(text.strip(), f"`--token-file` ({file})")


def _check(token: str, where: str) -> str:
    fits = len(token) >= _LEAST_TOKEN and all("!" <= letter <= "~" for letter in token)
    if not fits:
        raise InputError(
            f"{where} must hold a token of at least {_LEAST_TOKEN} visible ASCII characters: got "
            f"{len(token)} characters. Make one with `openssl rand -hex 32`."
        )
    return token
