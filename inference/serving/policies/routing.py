"""Who serves a request: the router among replicas, the order of a queue, the choice of a model."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from clock.latency import ZERO_LATENCY, LatencyModel
from clock.units import Duration
from inference.serving.policies.base import Frozen, by_kind

__all__ = ["LatencyBudget", "Queue", "QueueField", "Router", "RouterField", "RoutingField", "Split"]

RouterKind = Literal["round_robin", "power_of_two", "least_loaded"]


class Router(Frozen):
    """How a request finds its replica.

    `round_robin`: the next ready one, whatever it has to do. `power_of_two`: as Ray Serve does it,
    with probes that take `hop_latency` each way. `least_loaded`: one queue for all, served by the
    replica with the fewest requests as soon as it has room.
    """

    reads_values: ClassVar[bool] = False
    kind: RouterKind = "round_robin"
    hop_latency: LatencyModel = ZERO_LATENCY

    @model_validator(mode="after")
    def _hops_belong_to_power_of_two(self) -> Self:
        if self.kind != "power_of_two" and self.hop_latency != ZERO_LATENCY:
            raise ValueError(
                f"`hop_latency` belongs to `kind: power_of_two`: got it with `kind: {self.kind}`. "
                "Remove it."
            )
        return self


RouterField = Annotated[
    Router, BeforeValidator(by_kind, json_schema_input_type=Router | RouterKind)
]

Discipline = Literal["fifo", "newest_first", "priority"]


class Queue(Frozen):
    """Which waiting request is served first; ties by arrival."""

    reads_values: ClassVar[bool] = False
    discipline: Discipline = "fifo"
    priorities: dict[str, int] = Field(
        default_factory=dict,
        description="Instrument, or `own` for a strategy's requests, to rank; smaller goes first.",
    )

    @model_validator(mode="after")
    def _priorities_belong_to_priority(self) -> Self:
        if self.discipline == "priority" and not self.priorities:
            raise ValueError(
                "`priorities` must rank something for `discipline: priority`: got nothing. "
                "Write for example priorities: {own: -1}."
            )
        if self.discipline != "priority" and self.priorities:
            raise ValueError(
                f"`priorities` belongs to `discipline: priority`: got it with `discipline: "
                f"{self.discipline}`. Remove it."
            )
        return self


def _discipline(value: Any) -> Any:
    return {"discipline": value} if isinstance(value, str) else value


QueueField = Annotated[
    Queue,
    BeforeValidator(_discipline, json_schema_input_type=Queue | Literal["fifo", "newest_first"]),
]


class Split(Frozen):
    """An A/B split: a request goes to a variant with the probability of its `share`."""

    reads_values: ClassVar[bool] = False
    kind: Literal["split"] = "split"


class LatencyBudget(Frozen):
    """The most accurate variant whose expected latency is within the budget."""

    reads_values: ClassVar[bool] = False
    kind: Literal["latency_budget"] = "latency_budget"
    budget: Duration
    otherwise: Literal["fastest", "reject"] = "fastest"
    explore_every: int | None = Field(
        default=None,
        ge=1,
        description="Every n-th request goes to the most accurate, so that a slow estimate heals.",
    )


RoutingField = Annotated[
    Annotated[Split | LatencyBudget, Field(discriminator="kind")],
    BeforeValidator(by_kind, json_schema_input_type=Split | LatencyBudget | Literal["split"]),
]
