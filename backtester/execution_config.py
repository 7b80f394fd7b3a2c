"""How a scenario describes the way between the strategy and the venue."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from backtester.risk import RiskConfig
from backtester.strict import Strict
from backtester.venue.fee_models import FeeModels
from backtester.venue.funding_config import FundingConfig
from backtester.venue.margin import MarginModels
from backtester.venue.queue_config import Back, QueueModel
from clock.latency import ZERO_LATENCY, LatencyModel
from clock.units import Duration, Instant, format_instant

__all__ = [
    "ActionLatencies",
    "ActivityOverload",
    "DeclaredOverload",
    "ExecutionConfig",
    "Overload",
    "RateLimit",
]


class ActionLatencies(Strict):
    """Latencies of single actions; what is not named has the latency of its direction."""

    new: LatencyModel | None = Field(default=None, description="Orders on their way to the venue.")
    cancel: LatencyModel | None = Field(default=None, description="Cancels on their way.")
    modify: LatencyModel | None = Field(default=None, description="Changes of an order.")
    acknowledgement: LatencyModel | None = Field(
        default=None, description="Reports of anything but an execution, on their way back."
    )
    fill: LatencyModel | None = Field(default=None, description="Reports of executions.")


class RateLimit(Strict):
    """Most orders that the venue lets in: of those within `(now - per, now]`, so many."""

    orders: int = Field(ge=1, description="New orders and changes let in; cancels are not counted.")
    per: Duration

    @model_validator(mode="after")
    def _lasts(self) -> RateLimit:
        if self.per == 0:
            raise ValueError("`per` must be above zero: got 0s")
        return self


class _Refusing(Strict):
    refuses: float = Field(
        default=1.0, gt=0, le=1, description="Share of the orders refused meanwhile."
    )


class ActivityOverload(_Refusing):
    """Overloaded while an instrument has had more than `quotes` quotes in `(now - per, now]`."""

    kind: Literal["activity"] = "activity"
    quotes: int = Field(ge=0)
    per: Duration


class Outage(Strict):
    """One overload, `[start, until)`."""

    start: Instant
    until: Instant

    @model_validator(mode="after")
    def _in_order(self) -> Outage:
        if self.until <= self.start:
            raise ValueError(
                f"`until` must be after `start`: got {format_instant(self.until)}, start is "
                f"{format_instant(self.start)}"
            )
        return self


class DeclaredOverload(_Refusing):
    """Overloaded at times that the scenario gives."""

    kind: Literal["declared"] = "declared"
    during: tuple[Outage, ...] = Field(min_length=1)


Overload = Annotated[ActivityOverload | DeclaredOverload, Field(discriminator="kind")]


class ExecutionConfig(Strict):
    """What lies between a decision and its effect, and back."""

    entry_latency: LatencyModel = Field(
        default=ZERO_LATENCY, description="From us to the venue, for every action."
    )
    response_latency: LatencyModel = Field(
        default=ZERO_LATENCY, description="From the venue to us, for every report."
    )
    latency: ActionLatencies = Field(
        default=ActionLatencies(), description="Exceptions from the two, by action."
    )
    decision_latency: LatencyModel = Field(
        default=ZERO_LATENCY,
        description="How long each callback keeps the strategy busy; its orders leave at the end.",
    )
    book: Literal["quotes", "depth", "bars"] | None = Field(
        default=None,
        description="What the venue's book is made of; by default the first of these that the "
        "catalog holds for an instrument.",
    )
    queue_model: QueueModel = Field(
        default=Back(), description="Who leaves a price level: those ahead of us or those behind."
    )
    self_trade: Literal["cancel_resting", "cancel_incoming", "cancel_both"] = Field(
        default="cancel_resting", description="What happens when an order meets our own."
    )
    rate_limit: RateLimit | None = None
    overload: Overload | None = None
    fees: FeeModels = Field(
        default_factory=dict,
        description="What fills cost, instead of the shares that `instruments.yaml` states.",
    )
    margin: MarginModels = Field(
        default_factory=dict, description="What backs the positions of perpetuals."
    )
    funding: FundingConfig | None = None
    risk: RiskConfig | None = Field(
        default=None, description="Limits that orders are tested against before they leave us."
    )
