"""What pydantic found wrong with a request, as one refusal that names the place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clock.nearest import did_you_mean
from inference.http.errors import RefusedError, clipped
from inference.http.models import BY_NAME, IN_ORDER, BatchRequest, PredictionRequest

__all__ = ["in_words"]

_KEYS = {*PredictionRequest.model_fields, *BatchRequest.model_fields}
_KINDS = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", type(None): "null"}


def in_words(error: Any) -> RefusedError:
    """Return the first fault of a request, with status 422 and its place.

    Args:
        error: FastAPI's `RequestValidationError`.
    """
    # an unknown field first: it may be the misspelt one that is missing
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    place = _place(fault["loc"])
    more = f" Faults in all: {len(faults)}." if len(faults) > 1 else ""
    code, rule = _rule(fault, place)
    return RefusedError(422, code, f"{rule}{more}", place or None)


def _rule(fault: dict[str, Any], place: str) -> tuple[str, str]:
    kind, got = fault["type"], fault.get("input")
    where = f"`{place}`" if place else "the body"
    if kind == "missing":
        return "missing_field", f"{where} must be given: it is missing."
    if kind == "extra_forbidden":
        name = str(fault["loc"][-1])
        near = did_you_mean(name, _KEYS, "`") if len(name) <= 200 else ""
        return "unknown_field", f"{where} is no field of a request.{near} Remove it."
    if kind.startswith("float"):
        return "not_a_number", f"{where} must be a finite number: got {_told(got)}."
    rule = fault["msg"][:1].lower() + fault["msg"][1:]
    if kind == "row_shape":
        return "wrong_shape", f"{where} {rule}: got {_told(got)}."
    return "invalid", f"{where}: {rule}; got {_told(got)}."


def _told(value: Any) -> str:
    """Return a value as a message tells it: never its inside, which may be large."""
    kind = _KINDS.get(type(value))
    return f"{kind}, {clipped(value)}" if isinstance(value, str) else kind or clipped(value)


def _place(loc: Sequence[str | int]) -> str:
    """Return a place such as `rows[3].mid`; what is not of the client's own naming is left out."""
    text = ""
    for step in loc[1:] if loc and loc[0] in ("body", "path", "query", "header") else loc:
        if step in (BY_NAME, IN_ORDER):
            continue
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if step.isidentifier() and len(step) <= 80 else clipped(step)
            text += f".{name}" if text else name
    return text
