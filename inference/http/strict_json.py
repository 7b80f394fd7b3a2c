"""JSON as its standard has it: UTF-8, no NaN, no name twice, no number beyond a double."""

from __future__ import annotations

import json
import math
from typing import Any

from inference.http.errors import RefusedError, clipped

__all__ = ["parse"]


def parse(body: bytes) -> Any:
    """Return the value of a body.

    Raises:
        RefusedError: With status 400, if it is not strict JSON.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 (byte {error.start})") from None
    try:
        return json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_once,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _malformed(f"{error.msg} ({where})") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise _malformed(
        f"{name} is not JSON. Send null for a missing feature, where the model accepts that"
    )


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _malformed(f"{clipped(text)} is beyond the range of a double")
    return value


def _whole(text: str) -> int | float:
    # beyond 2**63 as a double: an int of thousands of digits would cost quadratic time
    return int(text) if len(text) < 19 else _finite(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise RefusedError(
            400,
            "duplicate_name",
            f"each name must be given once in an object: got {clipped(twice)} more than once.",
        )
    return found


def _malformed(why: str) -> RefusedError:
    return RefusedError(400, "malformed_json", f"the body must be JSON: {why}.")
