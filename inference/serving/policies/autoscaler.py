"""Ray Serve's autoscaler, by its own names and defaults."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from clock.units import Duration, format_duration
from inference.serving.policies.base import Frozen, positive

__all__ = ["Autoscaling"]

_SECOND = 1_000_000_000


class Autoscaling(Frozen):
    """How many replicas there are: the mean number of ongoing requests over the target.

    A change waits until the same direction has been wanted without a break for `upscale_delay` or
    `downscale_delay`; the last step to zero waits `downscale_to_zero_delay` where it is given. From
    zero the first request starts a replica at once. A started replica is ready after `cold_start`.
    """

    reads_values: ClassVar[bool] = False
    min_replicas: int = Field(default=1, ge=0, le=4096)
    max_replicas: int = Field(default=1, ge=1, le=4096)
    initial_replicas: int | None = Field(default=None, ge=0)
    target_ongoing_requests: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    look_back_period: Duration = 30 * _SECOND
    upscale_delay: Duration = 30 * _SECOND
    downscale_delay: Duration = 600 * _SECOND
    downscale_to_zero_delay: Duration | None = None
    upscaling_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    downscaling_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    metrics_interval: Duration = 10 * _SECOND
    record_interval: Duration = _SECOND // 2
    control_interval: Duration = _SECOND // 10

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        low, high = self.min_replicas, self.max_replicas
        if low > high:
            raise ValueError(
                f"`min_replicas` must be at most `max_replicas`: got {low} > {high}, which leaves "
                f"no number between them. Raise `max_replicas` to {low} or more."
            )
        if self.initial_replicas is not None and not low <= self.initial_replicas <= high:
            raise ValueError(
                f"`initial_replicas` must lie between `min_replicas` and `max_replicas`: got "
                f"{self.initial_replicas}, which is not in {low}..{high}."
            )
        return self

    @model_validator(mode="after")
    def _intervals_fit(self) -> Self:
        for name in ("look_back_period", "metrics_interval", "record_interval", "control_interval"):
            positive(name, getattr(self, name))
        if self.metrics_interval > self.look_back_period:
            raise ValueError(
                f"`metrics_interval` must not be longer than `look_back_period`: got "
                f"{format_duration(self.metrics_interval)} > "
                f"{format_duration(self.look_back_period)}, so that between two reports the "
                "autoscaler would look back on nothing."
            )
        return self

    @property
    def start_replicas(self) -> int:
        """Replicas at the start of a run."""
        return self.min_replicas if self.initial_replicas is None else self.initial_replicas
