"""Connections of the HTTP service, over the loopback: slow, deaf, broken, too many."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from inference.http import Settings
from inference.http.server import listen, make_server
from tests.inference.http_cases import ONE, Held, application


@contextmanager
def running(
    app: Any, settings: Settings, *, buffer: int | None = None
) -> Iterator[tuple[str, Any]]:
    """Serve an application on a loopback socket, in a thread; yield its address and the server.

    *buffer*: the bytes that the kernel takes of an answer that is not read.
    """
    listening = listen("127.0.0.1", 0, settings)
    if buffer is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    server = make_server(app, settings)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", server
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


def raw(address: str, content: bytes) -> bytes:
    """Send bytes, and read until the other side closes."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(content)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


HEAD = b"POST /api/v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.slow
def test_a_slow_body_is_given_up_and_a_broken_one_does_no_harm() -> None:
    settings = Settings(body_timeout_ns=100_000_000, max_body_bytes=5000)
    with running(application(settings=settings), settings) as (address, _):
        slow = raw(address, HEAD + b"Content-Length: 50\r\n\r\n{")
        assert slow.startswith(b"HTTP/1.1 408 ")
        assert b"slow_body" in slow
        large = raw(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + b" " * 5000)
        assert large.startswith(b"HTTP/1.1 408 ")  # the chunk has no end yet
        chunk = b"1389\r\n" + b" " * 5001 + b"\r\n"
        large = raw(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        assert large.startswith(b"HTTP/1.1 413 ")
        for bad in (b"\x16\x03\x01 nonsense\r\n\r\n", HEAD + b"X-Long: " + b"x" * 20_000):
            told = raw(address, bad)
            assert told.startswith(b"HTTP/1.1 400 ")
            assert b'"code":"no_http"' in told
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(HEAD + b"Content-Length: 50\r\n\r\n{")
        assert httpx.get(f"{address}/health").status_code == 200


def sent(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # the other side has closed
        connection.sendall(content)


@pytest.mark.slow
def test_a_head_that_comes_too_slowly_is_given_up_however_it_drips() -> None:
    settings = Settings(head_timeout_ns=150_000_000)
    app = application(settings=settings)
    with running(app, settings) as (address, _):
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as dripping:
            dripping.settimeout(0.01)
            answer = b""
            for byte in itertools.chain(HEAD, itertools.repeat(ord("x"))):
                sent(dripping, bytes([byte]))
                with suppress(TimeoutError):
                    answer = dripping.recv(65536)
                    break
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"slow_head"' in answer
        assert b"within 0.15 s" in answer
        # one that says nothing is closed, and so is one that is slow with its second request
        assert raw(address, b"") == b""
        told = raw(address, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /he")
        assert told.startswith(b"HTTP/1.1 200 ")
        assert b"slow_head" in told
        # what was answered before its body came is not read for ever
        told = raw(address, b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert told.count(b"HTTP/1.1") == 1
        # a quick client is not touched; how long it rests is bounded by the server itself
        with httpx.Client(base_url=address) as client:
            assert [client.get("/health").status_code for _ in range(3)] == [200, 200, 200]
        metrics = httpx.get(f"{address}/metrics").text
    assert '{method="OTHER",route="unread",status_code="408"}' in metrics


@pytest.mark.slow
def test_connections_beyond_the_limit_are_refused_and_those_that_are_there_go_on() -> None:
    settings = Settings(max_connections=2)
    with (
        running(application(settings=settings), settings) as (address, _),
        httpx.Client(base_url=address) as first,
        httpx.Client(base_url=address) as second,
    ):
        assert first.get("/health").status_code == second.get("/health").status_code == 200
        refused = raw(address, b"")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"too_many_connections" in refused
        assert first.get("/health").status_code == second.get("/health").status_code == 200


@pytest.mark.slow
def test_a_client_that_does_not_read_its_answer_is_given_up() -> None:
    settings = Settings(body_timeout_ns=150_000_000)
    with running(application(settings=settings), settings, buffer=8192) as (address, server):
        body = json.dumps({"rows": [[1.0, 2.0]] * 10_000}).encode()
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            head = HEAD.replace(b"predictions", b"predictions/batch")
            deaf.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            deadline = time.monotonic() + 20
            with httpx.Client(base_url=address) as other:
                counted = 'route="/api/v1/predictions/batch",status_code="200"'
                while counted not in other.get("/metrics").text:
                    assert time.monotonic() < deadline
                while len(server.server_state.connections) > 1:  # the other one's stays
                    assert other.get("/health/live").status_code == 200
                    assert time.monotonic() < deadline


@pytest.mark.slow
def test_a_stopping_service_answers_what_is_under_way() -> None:
    model, settings = Held(), Settings()
    with running(application(model), settings) as (address, server):
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(httpx.post(f"{address}{ONE}", json={"features": [1, 2]}, timeout=20))

        client = threading.Thread(target=ask)
        client.start()
        assert model.asked.wait(20)
        server.should_exit = True
        model.let_go.set()
        client.join(20)
        assert answers[0].json()["prediction"] == 1.0
