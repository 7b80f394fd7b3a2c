"""What a hostile client may send: 4xx with a reason, never 5xx."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from clock.errors import InputError
from inference.http import Settings
from inference.http.server import listen
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
