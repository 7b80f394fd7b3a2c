"""What every policy of a scenario has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from clock.latency import Constant, LatencyModel, Sum, Uniform
from clock.units import format_duration

__all__ = ["Frozen", "by_kind", "least_ns", "positive"]


class Frozen(BaseModel):
    """A part of the configuration: unknown keys are refused, and nothing changes later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True
    )


def by_kind(value: Any) -> Any:
    """Return a bare word as the `kind` that it names: `router: least_loaded`."""
    return {"kind": value} if isinstance(value, str) else value


def positive(what: str, duration_ns: int) -> int:
    """Return a duration that must be longer than zero.

    Raises:
        ValueError: If it is not.
    """
    if duration_ns <= 0:
        raise ValueError(f"`{what}` must be longer than 0: got {format_duration(duration_ns)}.")
    return duration_ns


def least_ns(model: LatencyModel) -> int:
    """Return a lower bound of every draw of a latency, in nanoseconds; 0 where none is known.

    >>> least_ns(Uniform(low="2ms", high="3ms"))
    2000000
    """
    if isinstance(model, Constant):
        return int(model.latency)
    if isinstance(model, Uniform):
        return int(model.low)
    if isinstance(model, Sum):
        return sum(least_ns(term) for term in model.terms)
    return 0
