"""What goes wrong, and when: instants count from the run's start, or are drawn from the seed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from clock.latency import ZERO_LATENCY, LatencyModel
from clock.units import Duration, format_duration
from inference.serving.policies.base import Frozen, positive

__all__ = [
    "Crash",
    "ErrorRate",
    "Fault",
    "LostReply",
    "NetworkPause",
    "Slow",
    "StuckBatch",
]


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, list | tuple) else [value]


At = Annotated[
    tuple[Duration, ...] | None,
    BeforeValidator(_listed, json_schema_input_type=Duration | list[Duration] | None),
]
Replica = Annotated[int, Field(ge=0)] | Literal["any"]
Probability = Annotated[float, Field(gt=0, le=1)]


class _Fault(Frozen):
    """Begins `at` given instants, or `every` so often in the mean, at random."""

    reads_values: ClassVar[bool] = False
    at: At = None
    every: Duration | None = None

    @field_validator("at")
    @classmethod
    def _rising(cls, at: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if at is not None and (not at or list(at) != sorted(set(at))):
            got = ", ".join(format_duration(instant) for instant in at) or "none"
            raise ValueError(f"`at` must name instants in rising order: got {got}.")
        return at

    @model_validator(mode="after")
    def _happens(self) -> Self:
        if (self.at is None) == (self.every is None):
            got = "neither" if self.at is None else "both"
            raise ValueError(
                f"a fault happens `at` instants or `every` so often: got {got}. "
                "Write for example at: 5s, or every: 60s."
            )
        if self.every is not None:
            positive("every", self.every)
        return self


class _Lasting(_Fault):
    lasts: Duration = Field(alias="for", default=1_000_000_000)

    @field_validator("lasts")
    @classmethod
    def _lasts_a_while(cls, lasts: int) -> int:
        return positive("for", lasts)


class Crash(_Fault):
    """A replica loses all that it has accepted, and is ready again after `restart`."""

    kind: Literal["crash"] = "crash"
    replica: Replica = "any"
    restart: LatencyModel = ZERO_LATENCY


class Slow(_Lasting):
    """Executions that start on a replica take `factor` times as long."""

    kind: Literal["slow"] = "slow"
    replica: Replica = "any"
    factor: float = Field(ge=1, allow_inf_nan=False)


class ErrorRate(_Lasting):
    """Requests whose execution starts on a replica fail with a probability, after their time."""

    kind: Literal["error_rate"] = "error_rate"
    replica: Replica = "any"
    probability: Probability


class StuckBatch(_Lasting):
    """The next execution that starts on a replica takes so much longer."""

    kind: Literal["stuck_batch"] = "stuck_batch"
    replica: Replica = "any"


class LostReply(_Lasting):
    """Replies that leave are lost with a probability: only a timeout ends the waiting."""

    kind: Literal["lost_reply"] = "lost_reply"
    probability: Probability = 1.0


class NetworkPause(_Lasting):
    """Messages that would arrive, either way, arrive at its end."""

    kind: Literal["network_pause"] = "network_pause"


Fault = Annotated[
    Crash | Slow | ErrorRate | StuckBatch | LostReply | NetworkPause, Field(discriminator="kind")
]
"""One of the things that go wrong."""
