"""What a hostile client may send: 4xx with a reason, never 5xx."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from clock.errors import InputError
from inference.http import Settings
from inference.http.server import listen, make_server
from inference.http.settings import TOKEN_VARIABLE, read_token
from tests.inference.http_cases import BATCH, JSON, ONE, Held, application, get, post, using

TOKEN = "a-token-of-32-letters-and-digits"

HOSTILE: dict[str, tuple[str | bytes, int, str]] = {
    "nothing": ("", 422, "missing_field"),
    "no JSON": ("{'features': [1, 2]}", 400, "malformed_json"),
    "cut off": ('{"features": [1, 2', 400, "malformed_json"),
    "more after it": ('{"features": [1, 2]} x', 400, "malformed_json"),
    "NaN": ('{"features": [1, NaN]}', 400, "malformed_json"),
    "-Infinity": ('{"features": [1, -Infinity]}', 400, "malformed_json"),
    "beyond a double": ('{"features": [1, 1e999]}', 400, "malformed_json"),
    "a huge integer": ('{"features": [1, ' + "9" * 5000 + "]}", 400, "malformed_json"),
    "nested deeply": ("[" * 100_000, 400, "malformed_json"),
    "objects nested deeply": ('{"a":' * 50_000, 400, "malformed_json"),
    "not UTF-8": (b'{"features": [1, "\xff"]}', 400, "malformed_json"),
    "UTF-16": ('{"features": [1, 2]}'.encode("utf-16"), 400, "malformed_json"),
    "a name twice": ('{"features": [1, 2], "features": [1, 2]}', 400, "duplicate_name"),
    "a feature twice": ('{"features": {"mid": 1, "mid": 2, "flow": 3}}', 400, "duplicate_name"),
    "an array": ("[1, 2]", 422, "invalid"),
    "null": ("null", 422, "invalid"),
    "a text": ('"features"', 422, "invalid"),
    "a text as number": ('{"features": [1, "2"]}', 422, "not_a_number"),
    "a boolean": ('{"features": [1, true]}', 422, "not_a_number"),
    "an object as number": ('{"features": {"mid": {}, "flow": 1}}', 422, "not_a_number"),
    "no row": ('{"features": 7}', 422, "wrong_shape"),
    "too few": ('{"features": [1]}', 422, "wrong_number_of_features"),
    "too many": ('{"features": [1, 2, 3]}', 422, "wrong_number_of_features"),
    "a missing one": ('{"features": {"mid": 1}}', 422, "missing_feature"),
    "a misspelt one": ('{"features": {"midd": 1, "flow": 2}}', 422, "unknown_feature"),
    "a null": ('{"features": [1, null]}', 422, "missing_value"),
    "a lone surrogate": ('{"features": {"\\ud800": 1, "flow": 2}}', 422, "unknown_feature"),
    "a bell": ('{"features": {"\\u0007\\u202e": 1}}', 422, "unknown_feature"),
    "an endless name": (json.dumps({"features": {"x" * 500_000: 1}}), 422, "unknown_feature"),
    "an unknown field": ('{"featurs": [1, 2]}', 422, "unknown_field"),
    "a deployment of another type": ('{"features": [1, 2], "deployment": 3}', 422, "invalid"),
    "a surrogate deployment": (
        '{"features": [1, 2], "deployment": "\\udfff"}',
        404,
        "unknown_deployment",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_with_a_reason(name: str) -> None:
    content, status, code = HOSTILE[name]
    answer = post(application(), content)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["message"].endswith(".")
    assert len(answer.content) < 600  # what was sent is not sent back


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"rows": [[1, 2], {"mid": 1, "flow": "x"}]}, "rows[1].flow"),
        ({"rows": [[1, 2], [1, [2]]]}, "rows[1][1]"),
        ({"rows": [[1, 2], {"mid": 1}]}, "rows[1].flow"),
        ({"rows": [[1, 2], 3]}, "rows[1]"),
        ({"rows": []}, "rows"),
        ({"rows": {}}, "rows"),
    ],
)
def test_a_fault_in_a_batch_is_told_with_its_place(content: Any, field: str) -> None:
    answer = post(application(), content, BATCH)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_batch_of_too_many_rows_is_refused() -> None:
    app = application(settings=Settings(max_rows=3))
    assert post(app, {"rows": [[1, 2]] * 3}, BATCH).status_code == 200
    answer = post(app, {"rows": [[1, 2]] * 4}, BATCH)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_rows")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_refused_before_it_is_read_to_its_end(chunked: bool) -> None:
    app = application(settings=Settings(max_body_bytes=1000))
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100
            yield b" " * 100

    async def work(client: httpx.AsyncClient) -> httpx.Response:
        headers = JSON if chunked else JSON | {"Content-Length": "10000000000000000000000"}
        return await client.post(ONE, content=endless(), headers=headers)

    answer = using(app, work)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert sent <= 1100


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Type": "\xff; ;;="},
        {"Content-Encoding": "gzip"},
    ],
)
def test_anything_but_plain_json_is_an_unsupported_type(headers: dict[str, str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in (JSON | headers).items()}

    async def work(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(ONE, content=b'{"features": [1, 2]}', headers=encoded)

    assert using(application(), work).status_code == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_a_wrong_method_is_told_which_one_is_right(method: str) -> None:
    answer = using(application(), lambda client: client.request(method, ONE))
    assert (answer.status_code, answer.json()["code"]) == (405, "wrong_method")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/predictions/", "/docs", "/..%2f..", "/%ff"])
def test_an_unknown_path_is_not_found(path: str) -> None:
    answer = get(application(), path)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_path")


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "caf\xe9", "\x7f"])
def test_a_request_id_that_cannot_be_repeated_is_refused(name: str) -> None:
    async def work(client: httpx.AsyncClient) -> httpx.Response:
        headers = {"X-Request-ID": name.encode("latin-1")}
        return await client.get("/health", headers=headers)

    answer = using(application(), work)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request_id")


def test_without_the_token_nothing_is_answered_but_whether_it_lives() -> None:
    app = application(settings=Settings(token=TOKEN))
    right = f"Bearer {TOKEN}"

    async def work(client: httpx.AsyncClient) -> None:
        for path in ("/metrics", "/api/v1/deployments", "/api/v1/deployments/main/metrics"):
            assert (await client.get(path)).status_code == 401
            answer = await client.get(path, headers={"Authorization": right})
            assert answer.status_code == 200
        for path in ("/health", "/health/live", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
        for wrong in ("", TOKEN, "Bearer", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", f"{right}x"):
            headers = JSON | {"Authorization": wrong}
            answer = await client.post(ONE, content=b"{", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.text
        headers = JSON | {"Authorization": right}
        answer = await client.post(ONE, json={"features": [1, 2]}, headers=headers)
        assert answer.status_code == 200

    using(app, work)
    assert TOKEN not in repr(Settings(token=TOKEN))


def test_a_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert read_token(None) == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN[::-1]}\n")
    assert read_token(tmp_path / "token") == TOKEN[::-1]
    (tmp_path / "short").write_text("secret")
    with pytest.raises(InputError, match="at least 16 visible") as refused:
        read_token(tmp_path / "short")
    assert "secret" not in str(refused.value)
    with pytest.raises(InputError, match="readable"):
        read_token(tmp_path)


def test_an_address_that_others_reach_needs_a_token() -> None:
    with pytest.raises(InputError, match="loopback"):
        listen("0.0.0.0", 0, Settings())
    listen("0.0.0.0", 0, Settings(token=TOKEN)).close()
    with pytest.raises(InputError, match="address of this machine"):
        listen("no.such.host.invalid", 0, Settings())
    with listen("127.0.0.1", 0, Settings()) as taken, pytest.raises(InputError, match="free"):
        listen("127.0.0.1", taken.getsockname()[1], Settings())


# --- over a real socket ------------------------------------------------------------------------


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


@pytest.mark.slow
def test_whatever_fits_or_breaks_the_description_is_answered_as_described() -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import Case

    class Accepting(Held):
        accepts_nan = True

    model = Accepting()
    model.let_go.set()
    model.predict = lambda values: values[:, 0] * 0.0 == 0.0  # type: ignore[method-assign]
    app = application(model)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    seen: set[tuple[str, int]] = set()
    for operation in schema.get_all_operations():
        endpoint = operation.ok()
        for mode in schemathesis.GenerationMode:
            if mode.is_negative and endpoint.method == "get":
                continue

            @given(case=endpoint.as_strategy(generation_mode=mode))
            @settings(
                max_examples=40 if endpoint.method == "post" else 5,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def check(case: Case) -> None:
                answer = case.call()
                seen.add((case.path, answer.status_code))
                case.validate_response(answer)

            check()
    assert {(ONE, 200), (BATCH, 200)} <= seen
    assert {(ONE, 422), (BATCH, 422)} & seen
    assert all(status < 500 for _, status in seen)
