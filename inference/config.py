"""InferenceConfig: what to ask, when to ask it, and how long the answer takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from clock.latency import ZERO_LATENCY, LatencyModel
from clock.units import Duration

PollingKind = Literal["continuous", "every", "on_feature"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Polling(_Frozen):
    """When a loop asks.

    `continuous`: whenever fewer than `max_in_flight` requests are out, the newest row, unless it
    was asked already. `every`: at `start + k * period`, the newest row, again if there is no newer.
    `on_feature`: each row as it becomes visible. Rows that the model cannot read (NaN) are passed
    over by all three.
    """

    kind: PollingKind = "continuous"
    period: Duration | None = None

    @model_validator(mode="after")
    def _period_belongs_to_every(self) -> Polling:
        if self.kind == "every" and (self.period is None or self.period <= 0):
            got = "nothing" if self.period is None else f"{self.period} ns"
            raise ValueError(f"`period` must be longer than 0 for `kind: every`: got {got}.")
        if self.kind != "every" and self.period is not None:
            raise ValueError(
                f"`period` belongs to `kind: every`: got it with `kind: {self.kind}`. Remove it."
            )
        return self


def _polling_shorthand(value: Any) -> Any:
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, dict) and set(value) == {"every"}:
        return {"kind": "every", "period": value["every"]}
    return value


class _Every(_Frozen):
    every: Duration


class Network(_Frozen):
    """The way to the deployment and back; it occupies no replica."""

    out: LatencyModel = ZERO_LATENCY
    back: LatencyModel = ZERO_LATENCY


class InferenceConfig(_Frozen):
    """One inference loop and the deployment behind it.

    `service_time` occupies the replica that serves the request; `network` does not; a bare
    `latency` is pure delay, added to the way back.

    Example:
        >>> config = InferenceConfig.model_validate({
        ...     "model_uri": "models:/mid/1", "num_replicas": 2, "polling": {"every": "50ms"},
        ... })
        >>> config.polling.period, config.in_flight_limit
        (50000000, 2)
    """

    deployment_name: str | None = None
    model_uri: str = Field(min_length=1)
    predictor_class_name: str = Field(default="XGBoostPredictor", min_length=1)
    num_replicas: int = Field(default=1, ge=1, le=4096)
    polling: Annotated[
        Polling,
        BeforeValidator(
            _polling_shorthand,
            json_schema_input_type=Polling | _Every | Literal["continuous", "on_feature"],
        ),
    ] = Polling()
    max_in_flight: int | None = Field(default=None, ge=1)
    on_new: Literal["replace", "queue"] = "replace"
    service_time: LatencyModel = ZERO_LATENCY
    latency: LatencyModel = ZERO_LATENCY
    network: Network = Network()
    features: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _features_are_named_once(self) -> InferenceConfig:
        names = self.features
        if names is not None and (not names or len(set(names)) != len(names)):
            raise ValueError(
                f"`features` must name at least one column, each once: got {list(names)}."
            )
        return self

    @property
    def in_flight_limit(self) -> int:
        """The most requests out at once: `max_in_flight`, by default one for each replica."""
        return self.num_replicas if self.max_in_flight is None else self.max_in_flight
