"""Latency models as a scenario writes them: one class each, one union told apart by `kind`.

A bare duration is a constant: `latency: 20ms` means `{kind: constant, latency: 20ms}`. A model only
says what it is; `clock.sampler.Sampler` draws from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from clock.errors import LatencyError, UnitError
from clock.nearest import did_you_mean
from clock.units import Duration, format_duration, parse_duration

LONGEST_NS = 2**61
"""No draw may be longer (73 years): an instant plus a draw always stays an int64."""

Z_99 = 2.3263478740408408
"""The 99 % quantile of the standard normal distribution."""

Z_MAX = 8.3
"""Above the normal quantile of the largest uniform number, `1 - 2**-53`."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def longest_ns(self) -> float:
        """An upper bound of every draw, in nanoseconds; 0 where a file decides."""
        return 0.0

    @model_validator(mode="after")
    def _stays_in_range(self) -> Self:
        if not self.longest_ns <= LONGEST_NS:
            raise LatencyError(
                f"`{getattr(self, 'kind')}` latency must never draw more than "  # noqa: B009
                f"{format_duration(LONGEST_NS)}: got up to {self.longest_ns:.3g} ns. "
                "Bring its parameters closer together."
            )
        return self


class Constant(_Model):
    """Always the same latency."""

    kind: Literal["constant"] = "constant"
    latency: Duration

    @property
    def longest_ns(self) -> float:
        """The latency itself."""
        return float(self.latency)


class Uniform(_Model):
    """Evenly spread from `low` to `high`."""

    kind: Literal["uniform"] = "uniform"
    low: Duration
    high: Duration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise _out_of_order("high", self.high, "low", self.low)
        return self

    @property
    def longest_ns(self) -> float:
        """The upper end."""
        return float(self.high)


class Lognormal(_Model):
    """Half of the draws lie below `median`, one in a hundred above `p99`."""

    kind: Literal["lognormal"] = "lognormal"
    median: Duration
    p99: Duration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.median == 0:
            raise LatencyError(
                "`median` must be above zero: got 0s. Write a bare 0 for no latency at all."
            )
        if self.median > self.p99:
            raise _out_of_order("p99", self.p99, "median", self.median)
        return self

    @property
    def longest_ns(self) -> float:
        """The quantile of the largest uniform number there is."""
        return self.median * (self.p99 / self.median) ** (Z_MAX / Z_99) if self.median else 0.0


class Gamma(_Model):
    """A mean and a shape: the standard deviation is the mean divided by the root of the shape."""

    kind: Literal["gamma"] = "gamma"
    mean: Duration
    shape: float = Field(gt=0, allow_inf_nan=False)

    @property
    def longest_ns(self) -> float:
        """The bound of the rejection method that draws it."""
        d = max(self.shape, self.shape + 1 if self.shape < 1 else 0.0) - 1 / 3
        return self.mean / self.shape * d * (1 + Z_MAX / math.sqrt(9 * d)) ** 3


class Empirical(_Model):
    """Drawn from a recorded column, each row as likely as any other.

    The column holds durations, or integers counted in nanoseconds. The order of the rows does not
    matter. A scenario's relative path starts in the folder from which the command is run.
    """

    kind: Literal["empirical"] = "empirical"
    path: str
    column: str


class Interpolated(_Model):
    """Read off a recording at the instant of the draw: linear between rows, flat outside.

    A scenario's relative path starts in the folder from which the command is run.
    """

    kind: Literal["interpolated"] = "interpolated"
    path: str
    instant_column: str = "instant"
    latency_column: str = "latency"


class Sum(_Model):
    """The sum of independent terms, each rounded to the nanosecond for itself."""

    kind: Literal["sum"] = "sum"
    terms: Annotated[list[LatencyModel], Field(min_length=1)]

    @property
    def longest_ns(self) -> float:
        """The sum of the terms' bounds."""
        return sum(term.longest_ns for term in self.terms)


_KINDS: dict[str, type[_Model]] = {
    model.model_fields["kind"].default: model
    for model in (Constant, Uniform, Lognormal, Gamma, Empirical, Interpolated, Sum)
}


def read_latency(value: Any, further: Mapping[str, type[BaseModel]] = MappingProxyType({})) -> Any:
    """Turn a bare duration into a constant, and refuse an unknown kind by naming the known ones.

    Args:
        value: What a scenario wrote.
        further: Kinds that a field allows beside those of this file.

    Raises:
        LatencyError: If it is neither a duration nor a model of a known kind.
    """
    if isinstance(value, BaseModel):
        return value
    if not isinstance(value, dict):
        try:
            return Constant.model_construct(latency=parse_duration(value))
        except UnitError as error:
            raise LatencyError(
                f"a latency is a duration or a model with a `kind`: {error}"
            ) from None
    kind, kinds = value.get("kind"), {**_KINDS, **further}
    if isinstance(kind, str) and kind in kinds:
        return value
    hint = did_you_mean(str(kind), kinds)
    known = ", ".join(kinds)
    raise LatencyError(f"`kind` of a latency must be one of {known}: got {kind!r}.{hint}")


def _read(value: Any) -> Any:
    return read_latency(value)


def _out_of_order(upper: str, high: int, lower: str, low: int) -> LatencyError:
    return LatencyError(
        f"`{upper}` must not be below `{lower}`: got {format_duration(high)}, "
        f"`{lower}` is {format_duration(low)}."
    )


_AnyModel = Annotated[
    Constant | Uniform | Lognormal | Gamma | Empirical | Interpolated | Sum,
    Field(discriminator="kind"),
]
LatencyModel = Annotated[
    _AnyModel, BeforeValidator(_read, json_schema_input_type=Duration | _AnyModel)
]
"""Any latency model, as a field of a pydantic model."""

Sum.model_rebuild()

ZERO_LATENCY = Constant.model_construct(latency=0)
"""No latency at all: the default of every leg."""
