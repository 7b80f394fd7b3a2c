"""The service's description: every error of every path, and what a row of each deployment holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from inference.http.models import ErrorResponse
from inference.http.served import About

__all__ = ["describe", "refusals"]

_MEANS = {
    400: "Not JSON, a name given twice, or a request id that cannot be repeated.",
    401: "The bearer token is missing or wrong.",
    404: "No deployment has this name.",
    408: "The body came too slowly.",
    413: "The body has too many bytes, or too many rows.",
    415: "The body is not sent as application/json.",
    422: "A field, a feature's name or a value is wrong.",
    500: "A defect of the service.",
    502: "The model failed, or answered with something that is no number.",
    503: "The deployment's queue is full, or it cannot answer now.",
    504: "The deployment did not answer in time.",
}
_HEADERS = {
    401: {"WWW-Authenticate": "The scheme, Bearer."},
    503: {"Retry-After": "Seconds to wait before asking again."},
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how a router describes that it may refuse with these statuses."""
    return {
        status: {
            "model": ErrorResponse,
            "description": _MEANS[status],
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in _HEADERS.get(status, {}).items()
            },
        }
        for status in statuses
    }


def describe(app: FastAPI, deployments: Sequence[About]) -> None:
    """Let the description say which features each deployment reads, and in which order."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make()
            schemas = schema["components"]["schemas"]
            for name, field, many in (
                ("PredictionRequest", "features", False),
                ("BatchRequest", "rows", True),
            ):
                schemas[name] = _request(schemas[name], field, many, deployments)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _request(
    general: dict[str, Any], field: str, many: bool, deployments: Sequence[About]
) -> dict[str, Any]:
    choices = [_of(general, field, many, about, len(deployments) == 1) for about in deployments]
    if len(choices) == 1:
        return choices[0]
    kept = {key: general[key] for key in ("title", "description") if key in general}
    return kept | {"oneOf": choices}


def _of(
    general: dict[str, Any], field: str, many: bool, about: About, is_only: bool
) -> dict[str, Any]:
    row = _row(about)
    value: dict[str, Any] = {"type": "array", "items": row, "minItems": 1} if many else row
    example = dict.fromkeys(about.feature_names, 0.0)
    name: dict[str, Any] = {"type": "string", "enum": [about.name]}
    if is_only:
        name = {"type": ["string", "null"], "enum": [about.name, None]}
    return general | {
        "properties": general["properties"] | {"deployment": name, field: value},
        "required": [field] if is_only else ["deployment", field],
        "examples": [{"deployment": about.name, field: [example] if many else example}],
    }


def _row(about: About) -> dict[str, Any]:
    names = about.feature_names
    # bounds are left out: those of a double are no decimal numbers
    number: dict[str, Any] = {
        "type": ["number", "null"] if about.accepts_nan else "number",
        "description": "Within the range of a double.",
    }
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": dict.fromkeys(names, number),
                "required": list(names),
                "additionalProperties": False,
            },
            {
                "type": "array",
                "description": f"In the order {', '.join(names)}.",
                "items": number,
                "minItems": len(names),
                "maxItems": len(names),
            },
        ]
    }
