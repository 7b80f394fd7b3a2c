"""What a deployment on Ray Serve has, and a simulated one has not, by Ray's names and defaults."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from inference.serving.policies.base import Frozen

__all__ = ["RayActorOptions"]


class RayActorOptions(Frozen):
    """What a replica takes of its machine. A simulation does not look at it.

    `num_cpus` is what Ray sets aside when it places a replica; it holds nobody back. Small by
    default, so that some replicas fit a laptop. A replica computes in one thread whatever it says.
    """

    reads_values: ClassVar[bool] = False
    num_cpus: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    num_gpus: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    memory: int | None = Field(default=None, ge=1, description="Bytes.")
    resources: dict[str, float] = Field(
        default_factory=dict, description="Amounts of a cluster's own resources, by name."
    )
    accelerator_type: str | None = None

    @model_validator(mode="after")
    def _shares_of_one_device(self) -> RayActorOptions:
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise ValueError(
                f"`num_gpus` above 1 must be whole: got {self.num_gpus:g}. Ray shares one device, "
                "not several."
            )
        bad = [name for name, amount in self.resources.items() if not 0 <= amount < float("inf")]
        if bad:
            raise ValueError(f"`resources` must be at least 0: got another for {', '.join(bad)}.")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What is said, as Ray takes it."""
        return {name: value for name, value in self if value not in (None, {}, 0.0)} | {
            "num_cpus": self.num_cpus
        }
