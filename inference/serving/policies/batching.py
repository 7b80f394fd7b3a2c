"""How requests share an execution."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from clock.units import Duration
from inference.serving.policies.base import Frozen, by_kind

__all__ = ["Batching", "BatchingField", "RayBatching", "TritonBatching"]


class RayBatching(Frozen):
    """Ray Serve's `@serve.batch`: a batch is sealed when full, or a wait after its first request.

    A sealed batch waits for one of `max_concurrent_batches` slots. `yielding`: the next batch forms
    while one executes. `blocking`: the function holds the replica's event loop, as a model on the
    CPU does, so that nothing else of the replica moves until it returns.
    """

    reads_values: ClassVar[bool] = False
    kind: Literal["ray"] = "ray"
    max_batch_size: int = Field(default=10, ge=1)
    batch_wait_timeout: Duration = 10_000_000
    max_concurrent_batches: int = Field(default=1, ge=1)
    function: Literal["yielding", "blocking"] = "yielding"

    @property
    def executions(self) -> int:
        """Batches that a replica executes at once."""
        return self.max_concurrent_batches


class TritonBatching(Frozen):
    """Triton's dynamic batcher: a free instance takes what waits.

    It takes up to `max_batch_size` at once when so many wait, or the largest preferred size that
    they fill, or all once the oldest has waited `max_queue_delay`.
    """

    reads_values: ClassVar[bool] = False
    kind: Literal["triton"] = "triton"
    max_batch_size: int = Field(default=8, ge=1)
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay: Duration = 0
    instances: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _preferred_fit(self) -> Self:
        sizes = self.preferred_batch_sizes
        if list(sizes) != sorted(set(sizes)) or any(
            not 1 <= size <= self.max_batch_size for size in sizes
        ):
            raise ValueError(
                f"`preferred_batch_sizes` must rise from 1 or more to at most `max_batch_size` "
                f"({self.max_batch_size}): got {list(sizes)}."
            )
        return self

    @property
    def executions(self) -> int:
        """Batches that a replica executes at once."""
        return self.instances


Batching = RayBatching | TritonBatching


def _read(value: Any) -> Any:
    return None if value == "none" else by_kind(value)


BatchingField = Annotated[
    Annotated[Batching, Field(discriminator="kind")] | None,
    BeforeValidator(
        _read, json_schema_input_type=Batching | Literal["none", "ray", "triton"] | None
    ),
]
