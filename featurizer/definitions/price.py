"""Prices, and how they have moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, Field, model_validator

from featurizer.feature import (
    Batch,
    FeatureDefinition,
    Input,
    Market,
    Output,
    Pointwise,
    PositiveDuration,
)

if TYPE_CHECKING:
    from featurizer.operators.asof import Lagged

__all__ = ["FeatureOfFeature", "LogReturn", "MidPrice"]


class MidPrice(Pointwise):
    """The middle between the best bid and the best ask, in the quote currency."""

    def inputs(self) -> tuple[Input, ...]:
        """Return the best prices."""
        return (Market("quotes", ("bid_price", "ask_price")),)

    def value(self, bid: Any, ask: Any) -> Any:
        """Return (bid + ask) / 2."""
        return (bid + ask) * 0.5


class FeatureOfFeature(FeatureDefinition):
    """A feature of one other feature: by default, of the mid price of its instrument."""

    feature: str | None = Field(None, validation_alias=AliasChoices("feature", "source"))
    """Name of the feature that this one is made from; `source` means the same."""

    @model_validator(mode="after")
    def _one_source(self) -> FeatureOfFeature:
        if self.feature is not None and self.instrument is not None:
            raise ValueError(
                f"`feature` and `instrument` must not both be given: got {self.feature!r} and "
                f"{self.instrument!r}. The feature has its own instrument."
            )
        return self

    def inputs(self) -> tuple[Input, ...]:
        """Return the feature named, or the mid price."""
        return (self.feature or MidPrice(instrument=self.instrument),)


class LogReturn(FeatureOfFeature):
    """log(x now / x as of now - window), x being a positive feature; the mid by default.

    Read at the instant of emission. NaN until x has a value at or before now - window.
    """

    held = False
    window: PositiveDuration

    def start(self) -> Lagged:
        """Return a ring of the values within the window."""
        from featurizer.operators.asof import LOG_RETURN, Lagged

        return Lagged(self.window, LOG_RETURN)

    def push(self, state: Lagged, batch: Batch) -> Output:
        """Scan the values of x."""
        return state.scan(batch.columns[0], batch)
