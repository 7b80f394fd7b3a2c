"""InferenceConfig: what to ask, when to ask it, and how the deployment behind it behaves."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from clock.units import Duration
from inference.serving.policies import combinations
from inference.serving.policies.base import Frozen
from inference.serving.policies.cache import Cache
from inference.serving.policies.deadlines import Retry, TimeoutField
from inference.serving.policies.deployment import DEPLOYMENT_FIELDS, Deployment, Network, Variant
from inference.serving.policies.routing import RoutingField

__all__ = ["InferenceConfig", "Network", "Polling"]

PollingKind = Literal["continuous", "every", "on_feature"]


class Polling(Frozen):
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


class _Every(Frozen):
    every: Duration


def _need_no_model_of_their_own(schema: dict[str, Any]) -> None:
    """Ask for `model_uri` or for `variants`, which may each name one."""
    schema["required"].remove("model_uri")
    schema["anyOf"] = [{"required": ["model_uri"]}, {"required": ["variants"]}]


class InferenceConfig(Deployment):
    """One inference loop and the deployment behind it.

    `service_time` occupies the replica that serves the request; `network` does not; a bare
    `latency` is pure delay, added to the way back. Fields that Ray Serve has too are named as
    there, and so are their defaults, but for `max_ongoing_requests`.

    Example:
        >>> config = InferenceConfig.model_validate({
        ...     "model_uri": "models:/mid/1", "num_replicas": 2, "polling": {"every": "50ms"},
        ... })
        >>> config.polling.period, config.in_flight_limit
        (50000000, 2)
    """

    model_config = ConfigDict(json_schema_extra=_need_no_model_of_their_own)

    deployment_name: str | None = None
    model_uri: str = Field(min_length=1)
    polling: Annotated[
        Polling,
        BeforeValidator(
            _polling_shorthand,
            json_schema_input_type=Polling | _Every | Literal["continuous", "on_feature"],
        ),
    ] = Polling()
    max_in_flight: int | None = Field(
        default=None, ge=1, description="By default as many as the replicas may hold."
    )
    on_new: Literal["replace", "queue"] = "replace"
    features: tuple[str, ...] | None = None
    timeout: TimeoutField = None
    retry: Retry | None = None
    cache: Cache | None = None
    variants: dict[str, Variant] = Field(default_factory=dict)
    routing: RoutingField | None = None
    backend: Literal["local", "ray_serve"] = Field(
        default="local",
        description="Who predicts in `lightcone run`: this process, or real replicas on Ray Serve. "
        "The result is the same.",
    )

    @model_validator(mode="before")
    @classmethod
    def _named_by_a_variant(cls, given: Any) -> Any:
        """Take the first variant's model as the loop's where the loop names none."""
        if isinstance(given, dict) and "model_uri" not in given:
            variants = given.get("variants")
            first = next(iter(variants.values()), None) if isinstance(variants, dict) else None
            if isinstance(first, dict) and "model_uri" in first:
                return {**given, "model_uri": first["model_uri"]}
        return given

    @field_validator("variants")
    @classmethod
    def _as_the_loop_says(
        cls, variants: dict[str, Variant], info: ValidationInfo
    ) -> dict[str, Variant]:
        return {name: _inherited(name, variant, info.data) for name, variant in variants.items()}

    @model_validator(mode="after")
    def _features_are_named_once(self) -> InferenceConfig:
        names = self.features
        if names is not None and (not names or len(set(names)) != len(names)):
            raise ValueError(
                f"`features` must name at least one column, each once: got {list(names)}."
            )
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        combinations.check(self)
        return self

    @property
    def deployments(self) -> dict[str, Deployment]:
        """The variants by name, or the only deployment under the name ''."""
        return dict(self.variants) if self.variants else {"": self}

    @property
    def model_uris(self) -> dict[str, str]:
        """The model of each deployment, under the same names."""
        if self.variants:
            return {name: variant.model_uri for name, variant in self.variants.items()}
        return {"": self.model_uri}

    @property
    def in_flight_limit(self) -> int:
        """The most requests out at once: `max_in_flight`, by default what the replicas may hold."""
        if self.max_in_flight is not None:
            return self.max_in_flight
        return sum(one.most_replicas * one.ongoing_limit for one in self.deployments.values())

    @property
    def reads_values(self) -> bool:
        """Whether the timing depends on predicted values, so that a run goes in lockstep."""
        if self.variants:
            return any(one.reads_values for one in self.variants.values())
        return super().reads_values

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is possible but probably not meant, a sentence each, with its arithmetic."""
        return tuple(combinations.remarks(self))


_EITHER = ({"num_replicas", "autoscaling_config"},)
"""Fields of which a variant that gives one takes none from the loop."""


def _inherited(name: str, variant: Variant, loop: dict[str, Any]) -> Variant:
    given = variant.model_fields_set
    shadowed = {field for group in _EITHER if group & given for field in group}
    taken = {
        field: loop[field]
        for field in (*DEPLOYMENT_FIELDS, "model_uri")
        if field in loop and field not in given and field not in shadowed
    }
    if loop.get("autoscaling_config") is not None:
        taken.pop("num_replicas", None)  # it says nothing there
    if "predictor_class_name" in given:
        taken.pop("predictor_params", None)  # another class takes others
    breaker = taken.get("circuit_breaker")
    if breaker is not None and breaker.fallback.variant == name:
        del taken["circuit_breaker"]  # the others fall back on this one, which has none
    return variant.model_copy(update=taken)
