"""Bars of trades: the last one closed, field by field."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from featurizer.feature import Batch, FeatureDefinition, Input, Market, Output, PositiveDuration

if TYPE_CHECKING:
    from featurizer.operators.bars import BarSeries, LastBar, MeasuredBars, TimeBars

__all__ = ["DollarBar", "TickBar", "TimeBar", "VolumeBar"]

Array = NDArray[Any]
BarField = Literal["open", "high", "low", "close", "volume", "vwap"]
_DAY = 86_400_000_000_000


class _Bar(FeatureDefinition):
    """One field of the last closed bar; it holds until the next closes."""

    unit: ClassVar[str] = "quote currency; volume: base currency, or contracts"
    field: BarField = "close"
    """Which: open, high, low, close, volume or vwap (turnover over volume)."""

    def inputs(self) -> tuple[Input, ...]:
        """Return the trades' prices and quantities."""
        return (Market("trades", ("price", "quantity")),)

    def field_of(self, series: BarSeries) -> Array:
        """Return the field of each bar. Shape (k,)."""
        from featurizer.operators.bars import CLOSE, HIGH, LOW, OPEN, TURNOVER, VOLUME

        table = series.table
        if self.field == "vwap":
            volume = table[VOLUME]
            # a bar without a trade has the last price for all its prices
            return np.divide(table[TURNOVER], volume, out=table[CLOSE].copy(), where=volume > 0.0)
        rows = {"open": OPEN, "high": HIGH, "low": LOW, "close": CLOSE, "volume": VOLUME}
        return np.asarray(table[rows[self.field]])


class TimeBar(_Bar):
    """A field of the last bar of `every`, which closes at each multiple of it since the epoch.

    A bar covers [open, close) and is visible from its close on, without waiting for a trade. Where
    nothing traded, its prices are the last price and its volume is 0. The first is the first to
    open after the first trade.
    """

    held = False
    formula: ClassVar[str] = (
        "open, high, low, close, volume or vwap of trades in [close - every, close)"
    )
    warm_up: ClassVar[str] = "one whole bar"
    source: ClassVar[str] = "the convention of exchanges' candles"

    every: PositiveDuration

    def start(self) -> tuple[TimeBars, LastBar]:
        """Return the bar in the making."""
        from featurizer.operators.bars import LastBar, TimeBars

        return TimeBars(self.every), LastBar()

    def push(self, state: tuple[TimeBars, LastBar], batch: Batch) -> Output:
        """Make bars, and read the last one closed."""
        price, quantity = batch.columns
        series = state[0].scan(price, quantity, batch)
        return state[1].output(self.field_of(series), series)


class _Measured(_Bar):
    """A bar that closes with the trade that fills it.

    Measuring starts anew at each multiple of `reset` since the epoch (a UTC day by default), and an
    unfinished bar is dropped there, so that bars do not depend on where a run began.
    """

    warm_up: ClassVar[str] = "the first bar to close after the first restart"
    source: ClassVar[str] = "López de Prado 2018, standard bars"

    reset: PositiveDuration = _DAY

    @abstractmethod
    def size(self) -> float:
        """Return what fills a bar."""

    @abstractmethod
    def measure(self, price: Array, quantity: Array) -> Array:
        """Return what each trade adds. Shape (n,)."""

    def start(self) -> tuple[MeasuredBars, LastBar]:
        """Return the bar in the making."""
        from featurizer.operators.bars import LastBar, MeasuredBars

        return MeasuredBars(self.size(), self.reset), LastBar()

    def push(self, state: tuple[MeasuredBars, LastBar], batch: Batch) -> Output:
        """Make bars, and read the last one closed."""
        price, quantity = batch.columns
        measure = self.measure(price, quantity).view()
        measure.flags.writeable = False
        series = state[0].scan(price, quantity, measure, batch)
        return state[1].output(self.field_of(series), series)


class TickBar(_Measured):
    """A field of the last bar of so many trades.

    Counting starts anew at each multiple of `reset` since the epoch (a UTC day by default); a bar
    unfinished by then is dropped.
    """

    formula: ClassVar[str] = "open, high, low, close, volume or vwap of `ticks` trades"

    ticks: int = Field(ge=1)

    def size(self) -> float:
        """Return the number of trades."""
        return float(self.ticks)

    def measure(self, price: Array, quantity: Array) -> Array:
        """Return one for each trade."""
        return np.ones(len(price))


class VolumeBar(_Measured):
    """A field of the last bar that reached a volume; what its last trade has too much is its own.

    The volume starts anew at each multiple of `reset` since the epoch (a UTC day by default); a bar
    unfinished by then is dropped.
    """

    formula: ClassVar[str] = (
        "open, high, low, close, volume or vwap of trades until their quantity reaches `volume`"
    )

    volume: float = Field(gt=0.0)

    def size(self) -> float:
        """Return the volume."""
        return self.volume

    def measure(self, price: Array, quantity: Array) -> Array:
        """Return the quantities."""
        return quantity


class DollarBar(_Measured):
    """A field of the last bar that reached a turnover, in the quote currency.

    The turnover starts anew at each multiple of `reset` since the epoch (a UTC day by default); a
    bar unfinished by then is dropped.
    """

    formula: ClassVar[str] = (
        "open, high, low, close, volume or vwap of trades until price * quantity reaches `turnover`"
    )

    turnover: float = Field(gt=0.0)

    def size(self) -> float:
        """Return the turnover."""
        return self.turnover

    def measure(self, price: Array, quantity: Array) -> Array:
        """Return price times quantity."""
        return price * quantity
