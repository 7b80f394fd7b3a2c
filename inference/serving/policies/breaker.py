"""A circuit breaker: stop asking a deployment that fails, and what to answer instead."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from clock.units import Duration
from inference.serving.policies.base import Frozen

__all__ = ["CircuitBreaker", "Fallback"]

FallbackKind = Literal["none", "last_value", "constant", "variant"]


class Fallback(Frozen):
    """What answers while the breaker is open.

    `none`: the request is rejected. `last_value`: the newest answer for its instrument, or a
    rejection where there is none yet. `constant`: a number. `variant`: another model.
    """

    kind: FallbackKind = "none"
    constant: float | None = Field(default=None, allow_inf_nan=False)
    variant: str | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for name in ("constant", "variant"):
            given = getattr(self, name) is not None
            if given != (self.kind == name):
                rule = "must be given for" if self.kind == name else "belongs to"
                raise ValueError(
                    f"`{name}` {rule} `kind: {name}`: got `kind: {self.kind}` "
                    f"{'with' if given else 'without'} it."
                )
        return self


def _fallback(value: Any) -> Any:
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, dict) and len(value) == 1 and set(value) <= {"constant", "variant"}:
        return {"kind": next(iter(value)), **value}
    return value


class _ConstantAnswer(Frozen):
    constant: float


class _OtherVariant(Frozen):
    variant: str


BreakerCause = Literal["failed", "timed_out", "rejected", "nan"]


class CircuitBreaker(Frozen):
    """Opens after failures, stays open for a while, then lets a few requests try.

    It opens after `failure_threshold` failures in a row, or when the share of failures among the
    last `window` outcomes, of which there must be `min_requests`, reaches `failure_rate`.
    """

    failure_threshold: int | None = Field(default=None, ge=1)
    failure_rate: float | None = Field(default=None, gt=0, le=1)
    window: int = Field(default=20, ge=1, le=1_000_000)
    min_requests: int = Field(default=10, ge=1)
    open_for: Duration = 1_000_000_000
    half_open_probes: int = Field(default=1, ge=1)
    counts: tuple[BreakerCause, ...] = Field(
        default=("failed", "timed_out", "rejected"), min_length=1
    )
    fallback: Annotated[
        Fallback,
        BeforeValidator(
            _fallback,
            json_schema_input_type=Fallback
            | _ConstantAnswer
            | _OtherVariant
            | Literal["none", "last_value"],
        ),
    ] = Fallback()

    @model_validator(mode="before")
    @classmethod
    def _five_in_a_row(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = [name for name in ("failure_threshold", "failure_rate") if value.get(name)]
        return value if given else {**value, "failure_threshold": 5}

    @model_validator(mode="after")
    def _can_open(self) -> Self:
        if self.failure_threshold is not None and self.failure_rate is not None:
            raise ValueError(
                f"a breaker opens by `failure_threshold` or by `failure_rate`: got both "
                f"({self.failure_threshold} and {self.failure_rate:g}). Remove one of them."
            )
        if self.failure_rate is not None and self.min_requests > self.window:
            raise ValueError(
                f"`min_requests` must be at most `window`: got {self.min_requests} > {self.window},"
                " and a window that never holds enough outcomes never opens the breaker."
            )
        return self

    @property
    def reads_values(self) -> bool:
        """Whether it looks at answers: where a NaN counts as a failure."""
        return "nan" in self.counts
