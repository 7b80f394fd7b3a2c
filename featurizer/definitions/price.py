"""Prices, and how they have moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
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

__all__ = ["FeatureOfFeature", "LogReturn", "MicroPrice", "MidPrice", "WeightedMid"]


class MidPrice(Pointwise):
    """The middle between the best bid and the best ask, in the quote currency."""

    takes_numbers: ClassVar[bool] = True
    formula: ClassVar[str] = "(bid + ask) / 2"
    unit: ClassVar[str] = "quote currency"
    warm_up: ClassVar[str] = "the first quote"
    source: ClassVar[str] = "definition"

    def inputs(self) -> tuple[Input, ...]:
        """Return the best prices."""
        return (Market("quotes", ("bid_price", "ask_price")),)

    def value(self, bid: Any, ask: Any) -> Any:
        """Return (bid + ask) / 2."""
        return (bid + ask) * 0.5


class WeightedMid(Pointwise):
    """The best prices weighted by the quantity at the other side: it leans to the thinner side."""

    takes_numbers: ClassVar[bool] = True
    formula: ClassVar[str] = (
        "(bid * ask quantity + ask * bid quantity) / (bid quantity + ask quantity)"
    )
    unit: ClassVar[str] = "quote currency"
    warm_up: ClassVar[str] = "the first quote"
    source: ClassVar[str] = "Gatheral and Oomen 2010; Stoikov 2018, weighted mid"

    def inputs(self) -> tuple[Input, ...]:
        """Return the best prices and their quantities."""
        columns = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
        return (Market("quotes", columns),)

    def value(self, bid: Any, bid_quantity: Any, ask: Any, ask_quantity: Any) -> Any:
        """Return the mean of the prices, each weighted by the other side's quantity."""
        return (bid * ask_quantity + ask * bid_quantity) / (bid_quantity + ask_quantity)


class MicroPrice(Pointwise):
    """The mid plus what its future moves are expected to add, by spread and imbalance.

    The expectations come as a table, in ticks: its first row for a spread of one tick, and so on,
    the last for all wider ones; columns cut the share of the bid's quantity, bid / (bid + ask),
    from 0 to 1 into equal parts, each with its lower bound. Fit it on quotes from before the run:
    `featurizer.micro_price.fit_micro_price`.
    """

    formula: ClassVar[str] = (
        "mid + tick_size * adjustments[spread in ticks][share of the bid's quantity]"
    )
    unit: ClassVar[str] = "quote currency"
    warm_up: ClassVar[str] = "the first quote"
    source: ClassVar[str] = "Stoikov 2018, 'The micro-price: a high frequency estimator'"

    tick_size: float = Field(gt=0.0)
    adjustments: tuple[tuple[float, ...], ...] = Field(min_length=1)
    """Expected moves in ticks: rows by spread, columns by share of the bid's quantity."""

    @model_validator(mode="after")
    def _rectangular(self) -> MicroPrice:
        widths = {len(row) for row in self.adjustments}
        if len(widths) != 1 or 0 in widths:
            raise ValueError(
                "`adjustments` must be rows of one length, at least 1: got lengths "
                f"{', '.join(map(str, sorted(widths)))}."
            )
        return self

    def inputs(self) -> tuple[Input, ...]:
        """Return the best prices and their quantities."""
        columns = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
        return (Market("quotes", columns),)

    def value(self, bid: Any, bid_quantity: Any, ask: Any, ask_quantity: Any) -> Any:
        """Return the mid plus the table's entry."""
        table = np.array(self.adjustments)
        rows, columns = table.shape
        spread = np.nan_to_num(np.rint((ask - bid) / self.tick_size), nan=1.0)
        share = np.nan_to_num(bid_quantity / (bid_quantity + ask_quantity))
        row = np.clip(spread, 1, rows).astype(np.int64) - 1
        column = np.clip(np.floor(share * columns), 0, columns - 1).astype(np.int64)
        return (bid + ask) * 0.5 + self.tick_size * table[row, column]


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

    formula: ClassVar[str] = "ln(x(now) / x(now - window))"
    unit: ClassVar[str] = "1 (log)"
    warm_up: ClassVar[str] = "a value at or before now - window"
    source: ClassVar[str] = "definition"

    held = False
    window: PositiveDuration

    def start(self) -> Lagged:
        """Return a ring of the values within the window."""
        from featurizer.operators.asof import LOG_RETURN, Lagged

        return Lagged(self.window, LOG_RETURN)

    def push(self, state: Lagged, batch: Batch) -> Output:
        """Scan the values of x."""
        return state.scan(batch.columns[0], batch, batch.room)
