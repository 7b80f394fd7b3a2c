"""Answers kept for features that were asked about before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from clock.errors import InputError
from clock.latency import ZERO_LATENCY, LatencyModel
from clock.units import Duration
from inference.serving.policies.base import Frozen

__all__ = ["Cache"]

Step = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Cache(Frozen):
    """An answer is used again while features fall into the same cell and it is younger than `ttl`.

    A feature's cell is `floor(value / step + 0.5)`; a step of 0 asks for exactly the same bits.
    When there are more than `max_entries`, the least recently used goes.
    """

    reads_values: ClassVar[bool] = False
    step: Step | dict[str, Step] = 0.0
    ttl: Duration
    max_entries: int = Field(default=1000, ge=1)
    hit_latency: LatencyModel = ZERO_LATENCY

    @field_validator("ttl")
    @classmethod
    def _keeps_something(cls, ttl: int) -> int:
        if ttl <= 0:
            raise ValueError(
                "`ttl` must be longer than 0: got 0s, for which 0 of 1 repeated requests is a hit, "
                "as an entry is valid while its age < 0s. Remove `cache`, or give it time."
            )
        return ttl

    def steps(self, columns: Sequence[str]) -> tuple[float, ...]:
        """Return the step of each column; 0 for one that `step` does not name.

        Raises:
            InputError: If `step` names a column that the model does not read.
        """
        if not isinstance(self.step, dict):
            return (self.step,) * len(columns)
        unknown = sorted(set(self.step) - set(columns))
        if unknown:
            raise InputError(
                f"`cache.step` must name features that the model reads: got {', '.join(unknown)}. "
                f"Known: {', '.join(columns)}."
            )
        return tuple(self.step.get(column, 0.0) for column in columns)
