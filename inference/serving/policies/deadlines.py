"""How long the client waits for an answer, and how often it asks again."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from clock.units import Duration, format_duration
from inference.serving.policies.base import Frozen, positive

__all__ = ["Retry", "RetryBudget", "Timeout", "TimeoutField"]


class Timeout(Frozen):
    """An answer that is not visible by then is not wanted any more.

    The request keeps its slot in the deployment, as it does with real servers, unless `cancel`.
    """

    reads_values: ClassVar[bool] = False
    after: Duration
    cancel: bool = False

    @field_validator("after")
    @classmethod
    def _positive(cls, after: int) -> int:
        return positive("after", after)


def _after(value: Any) -> Any:
    return value if isinstance(value, dict | Timeout) or value is None else {"after": value}


TimeoutField = Annotated[
    Timeout | None,
    BeforeValidator(_after, json_schema_input_type=Timeout | Duration | None),
]


class RetryBudget(Frozen):
    """Retries are paid in tokens: `burst` at first, `ratio` for each new request, never more."""

    reads_values: ClassVar[bool] = False
    ratio: float = Field(default=0.2, ge=0, le=1000)
    burst: float = Field(default=10.0, ge=1, le=1e9)


RetryCause = Literal["failed", "rejected", "timed_out"]


class Retry(Frozen):
    """Asks again, after a backoff that grows, with jitter, and within a budget.

    The k-th retry leaves `min(backoff * multiplier**k, max_backoff)` after the attempt before it
    ended, times `1 + jitter * x`, x evenly in (-1, 1).
    """

    reads_values: ClassVar[bool] = False
    max_attempts: int = Field(default=3, ge=1, le=65_536)
    backoff: Duration = 5_000_000
    multiplier: float = Field(default=2.0, ge=1, le=1e6)
    max_backoff: Duration | None = None
    jitter: float = Field(default=0.0, ge=0, le=1)
    attempt_timeout: Duration | None = None
    on: tuple[RetryCause, ...] = ("failed", "rejected", "timed_out")
    budget: RetryBudget | None = None

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_word(cls, value: Any) -> Any:
        # YAML 1.1 reads a bare `on` as true
        if isinstance(value, dict) and True in value and "on" not in value:
            return {"on" if key is True else key: part for key, part in value.items()}
        return value

    @field_validator("attempt_timeout")
    @classmethod
    def _positive(cls, after: int | None) -> int | None:
        return None if after is None else positive("attempt_timeout", after)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_backoff is not None and self.max_backoff < self.backoff:
            raise ValueError(
                f"`max_backoff` must not be below `backoff`: got "
                f"{format_duration(self.max_backoff)}, `backoff` is "
                f"{format_duration(self.backoff)}."
            )
        return self

    @property
    def longest_backoff_ns(self) -> int:
        """The cap of a backoff before jitter; an hour where the scenario sets none."""
        hour = 3_600_000_000_000
        return max(hour, self.backoff) if self.max_backoff is None else self.max_backoff
