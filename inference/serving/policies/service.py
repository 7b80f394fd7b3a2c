"""How long a replica takes: any latency, or one that depends on the size of the batch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from clock.latency import (
    Constant,
    Empirical,
    Gamma,
    Interpolated,
    LatencyModel,
    Lognormal,
    Sum,
    Uniform,
    read_latency,
)
from clock.units import Duration
from inference.serving.policies.base import Frozen, least_ns

__all__ = ["Affine", "Measured", "Profile", "ServiceTime", "Table", "WarmUp", "least_service_ns"]


class Affine(Frozen):
    """A base, drawn once a batch, and a fixed time for every request in it."""

    reads_values: ClassVar[bool] = False
    kind: Literal["affine"] = "affine"
    base: LatencyModel
    per_item: Duration


class Table(Frozen):
    """A latency for each of some sizes; between two of them the draws of both, linearly."""

    reads_values: ClassVar[bool] = False
    kind: Literal["table"] = "table"
    sizes: dict[int, LatencyModel] = Field(min_length=1)

    @model_validator(mode="after")
    def _starts_at_one(self) -> Self:
        if min(self.sizes) != 1:
            raise ValueError(
                f"`sizes` must start at 1, a batch of one request: got {sorted(self.sizes)}. "
                "Give the time of size 1."
            )
        return self

    @property
    def largest(self) -> int:
        """The largest size that it tells about."""
        return max(self.sizes)


class Profile(Frozen):
    """Recorded service times by batch size: one of the rows of that size, each as likely.

    Sizes that were not recorded lie between two that were, as in `table`. A relative path starts at
    the scenario's folder.
    """

    reads_values: ClassVar[bool] = False
    kind: Literal["profile"] = "profile"
    path: str
    size_column: str = "batch_size"
    latency_column: str = "service_time"


class Measured(Frozen):
    """What the real replica took for each row: measured in the run, or recorded by an earlier one.

    One time a row: a row that is asked about again, or again after a failure, takes as long again.
    """

    reads_values: ClassVar[bool] = False
    kind: Literal["measured"] = "measured"
    recorded: str | None = Field(
        default=None,
        alias="from",
        description="A run's service_times.parquet, to be told again; without it the run measures.",
    )


_BY_SIZE: dict[str, type[BaseModel]] = {
    "affine": Affine,
    "table": Table,
    "profile": Profile,
    "measured": Measured,
}


def _read(value: Any) -> Any:
    return read_latency(value, _BY_SIZE)


_AnyService = Annotated[
    Constant
    | Uniform
    | Lognormal
    | Gamma
    | Empirical
    | Interpolated
    | Sum
    | Affine
    | Table
    | Profile
    | Measured,
    Field(discriminator="kind"),
]
ServiceTime = Annotated[
    _AnyService, BeforeValidator(_read, json_schema_input_type=Duration | _AnyService)
]
"""Any latency model, or one by batch size, as a field of a pydantic model."""


class WarmUp(Frozen):
    """A replica's first executions after each start take longer."""

    reads_values: ClassVar[bool] = False
    requests: int = Field(default=5, ge=1, description="Executions that are slow after a start.")
    factor: float = Field(default=3.0, ge=1, allow_inf_nan=False)


def least_service_ns(service: ServiceTime) -> int:
    """Return a lower bound of the time that one request occupies a replica, in nanoseconds."""
    if isinstance(service, Affine):
        return least_ns(service.base) + service.per_item
    if isinstance(service, Table):
        return least_ns(service.sizes[1])
    return 0 if isinstance(service, Profile | Measured) else least_ns(service)
