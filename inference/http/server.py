"""The service in the foreground: one address, until Ctrl-C, and nothing left behind."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clock.errors import InputError
from inference.http.settings import TOKEN_VARIABLE, Settings

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

__all__ = ["listen", "make_server", "serve"]

_SECOND = 1_000_000_000
_BACKLOG = 512


def listen(host: str, port: int, settings: Settings) -> socket.socket:
    """Return a listening socket; from here on clients are kept waiting, not refused.

    Args:
        host: Name or address; one that others can reach only where there is a token.
        port: 0 for any that is free.
        settings: Those of the service.

    Raises:
        InputError: If the address cannot be had, or is open to others without a token.
    """
    where = f"`--host {host} --port {port}`"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"{where} must be an address of this machine: {error}.") from None
    if settings.token is None and not ipaddress.ip_address(address[0]).is_loopback:
        raise InputError(
            f"`--host` must be a loopback address where there is no token: got {host}, which other "
            f"machines may reach. Set {TOKEN_VARIABLE}, or name a file with `--token-file`."
        )
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise InputError(
            f"{where} must be a free address of this machine: {os.strerror(error.errno or 0)}. "
            "Name another port; 0 takes any that is free."
        ) from None
    return listening


def serve(
    app: FastAPI, listening: socket.socket, settings: Settings, announce: Callable[[str], None]
) -> None:
    """Answer requests until SIGINT or SIGTERM; those under way are answered before it returns.

    Args:
        app: The application.
        listening: Its socket, which is closed at the end.
        settings: `grace_ns` bounds how long a stopping service waits.
        announce: Called once with the address, as `http://127.0.0.1:8000`.
    """
    host, port = listening.getsockname()[:2]
    announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    with listening, _signals_end_it():
        make_server(app, settings).run(sockets=[listening])


def make_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """Return the server of an application, with the limits of its connections."""
    import uvicorn

    from inference.http.connections import guarded_protocol

    config = uvicorn.Config(
        app,
        # on h11, the parser with a limit on the size of a head
        http=guarded_protocol(settings, getattr(app.state, "recorder", None)),
        ws="none",
        lifespan="on",
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(settings.grace_ns // _SECOND, 1),
    )
    return uvicorn.Server(config)


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Let the signals that stop the server do no more: it raises them again once it has stopped."""
    kept = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
