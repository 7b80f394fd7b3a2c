"""What goes over the wire: requests, answers, and the one shape of every error."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

__all__ = [
    "BatchRequest",
    "BatchResponse",
    "DeploymentMetrics",
    "DeploymentResponse",
    "DeploymentsResponse",
    "ErrorResponse",
    "HealthResponse",
    "Latency",
    "Prediction",
    "PredictionRequest",
    "PredictionResponse",
    "Readiness",
    "RowField",
]


class Message(BaseModel):
    """A part of a request or an answer: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


# strict: no text that looks like a number, and no booleans
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Value = Number | None
"""One feature; null where it is missing, for models that accept that."""

BY_NAME, IN_ORDER = "by name", "in order"


def _shape(value: Any) -> str | None:
    if isinstance(value, dict):
        return BY_NAME
    return IN_ORDER if isinstance(value, list) else None


RowField = Annotated[
    Annotated[dict[str, Value], Tag(BY_NAME)] | Annotated[list[Value], Tag(IN_ORDER)],
    Discriminator(
        _shape,
        custom_error_type="row_shape",
        custom_error_message="must be an object of numbers by feature name, or an array of numbers",
    ),
]
"""One row: numbers by feature name, or all of them in the model's order."""

DeploymentName = Annotated[
    str | None,
    Field(description="Which deployment; may be left out where the service has only one."),
]


class PredictionRequest(Message):
    """One row to predict."""

    deployment: DeploymentName = None
    features: RowField


class BatchRequest(Message):
    """Several rows to predict, answered in order."""

    deployment: DeploymentName = None
    rows: list[RowField] = Field(min_length=1)


class Latency(Message):
    """Where the time went, in milliseconds; a leg that the deployment does not tell is null."""

    total_ms: float = Field(description="From the last byte of the request to the answer.")
    queue_ms: float | None = Field(default=None, description="Until the model began.")
    model_ms: float | None = Field(default=None, description="In the model.")


class Prediction(Message):
    """The answer to one row."""

    prediction: float
    probabilities: list[float] | None = Field(
        default=None, description="One for each class, where the model has them."
    )
    confidence: float | None = Field(
        default=None, description="The largest of the probabilities, where the model has them."
    )


class Answered(Message):
    """Who answered, and how long it took."""

    request_id: str
    deployment: str
    model_id: str = Field(description="URI of the model.")
    model_version: str = Field(description="Its version; empty where it has none.")
    latency: Latency


class PredictionResponse(Answered, Prediction):
    """The answer to one row, and who gave it."""


class BatchResponse(Answered):
    """The answers to several rows, in the order of the request."""

    predictions: list[Prediction]


class DeploymentResponse(Message):
    """A deployment: its model, and what a row for it must hold."""

    name: str
    model_id: str
    model_version: str
    model_digest: str
    predictor: str
    backend: str
    replicas: int
    features: list[str]
    accepts_missing: bool = Field(description="Whether a feature may be null.")
    ready: bool


class DeploymentsResponse(Message):
    """Every deployment of the service."""

    deployments: list[DeploymentResponse]


class DeploymentMetrics(Message):
    """What a deployment did since the service started, and holds now."""

    deployment: str
    requests: int
    rows: int
    errors: dict[str, int] = Field(description="Requests that failed, by the code of the error.")
    processing: int
    queued: int | None = Field(description="Null where the deployment does not tell.")
    latency_ms: dict[str, float] = Field(
        description="p50, p95, p99 and max of the last requests answered; empty before the first."
    )
    sample: int = Field(description="How many requests are behind `latency_ms`.")
    uptime_s: float


class Readiness(Message):
    """Whether a deployment can answer now."""

    ready: bool
    reason: str | None = None


class HealthResponse(Message):
    """That the service lives, and which deployments can answer."""

    live: bool
    ready: bool
    deployments: dict[str, Readiness]


class ErrorResponse(Message):
    """Every error of the service."""

    code: str = Field(description="A word for programs, as `unknown_feature`.")
    message: str = Field(description="A sentence for people: what, where, and what to do.")
    field: str | None = Field(
        default=None, description="Where in the request, as `rows[3].mid`; null: all of it."
    )
    request_id: str
