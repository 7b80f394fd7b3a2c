"""Classical indicators, on bars of a price: of the mid by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from featurizer.definitions.sampled import Sampled

if TYPE_CHECKING:
    from featurizer.operators.bars import BarSeries
    from featurizer.operators.changes import EventLag
    from featurizer.operators.moments import WindowMoments
    from featurizer.operators.recursions import EventMean

__all__ = ["Atr", "Bollinger", "Macd", "Rsi"]

Array = NDArray[Any]

_SETTLED = 40  # e^-40 < 1e-17


def _fixed(array: Array) -> Array:
    array.flags.writeable = False
    return array


class Rsi(Sampled):
    """Wilder's relative strength index of the closes of bars of `every`, from 0 to 100.

    50 where the price has never moved.
    """

    formula: ClassVar[str] = (
        "100 * up / (up + down), Wilder means (1 / periods) of the closes' rises and falls; the "
        "first means are plain ones"
    )
    unit: ClassVar[str] = "1, from 0 to 100"
    warm_up: ClassVar[str] = "periods + 1 bars"
    source: ClassVar[str] = "Wilder 1978"

    periods: int = Field(14, ge=2)

    @property
    def settling_ns(self) -> int:
        """By then the first mean weighs less than 1e-17."""
        return _SETTLED * self.periods * self.every

    def memory(self) -> tuple[EventLag, EventMean, EventMean]:
        """Return the last close, and the means."""
        from featurizer.operators.changes import EventLag
        from featurizer.operators.recursions import EventMean

        up, down = (EventMean(1.0 / self.periods, self.periods) for _ in range(2))
        return EventLag(1, "difference"), up, down

    def of_bars(self, memory: tuple[EventLag, EventMean, EventMean], series: BarSeries) -> Array:
        """Smooth rises and falls apart."""
        from featurizer.operators.bars import CLOSE

        lag, rises, falls = memory
        moves = lag.scan(series.table[CLOSE])
        up = rises.scan(_fixed(np.maximum(moves, 0.0)))
        down = falls.scan(_fixed(np.maximum(-moves, 0.0)))
        total = up + down
        still = np.where(total == 0.0, 50.0, np.nan)
        return np.divide(100.0 * up, total, out=still, where=total > 0.0)


class Macd(Sampled):
    """Appel's moving average convergence divergence of the closes of bars of `every`.

    The value of `line`: the `macd`, its `signal`, or the `histogram`, their difference.
    """

    tolerance: ClassVar[float] = 1e-6  # it goes through zero, where rounding counts for more
    formula: ClassVar[str] = (
        "macd = EMA(fast) - EMA(slow), signal = EMA(signal) of it, EMA(n) with weight 2 / (n + 1) "
        "starting as the plain mean of n"
    )
    unit: ClassVar[str] = "that of the feature"
    warm_up: ClassVar[str] = "slow bars; signal and histogram: slow + signal - 1"
    source: ClassVar[str] = "Appel 1979"

    fast: int = Field(12, ge=1)
    slow: int = Field(26, ge=2)
    signal: int = Field(9, ge=1)
    line: Literal["macd", "signal", "histogram"] = "macd"

    @model_validator(mode="after")
    def _ordered(self) -> Macd:
        if self.fast >= self.slow:
            raise ValueError(f"`fast` must be less than `slow`: got {self.fast} and {self.slow}.")
        return self

    @property
    def settling_ns(self) -> int:
        """By then the first closes weigh less than 1e-17."""
        return _SETTLED * (self.slow + self.signal) * self.every

    def memory(self) -> tuple[EventMean, EventMean, EventMean]:
        """Return the averages."""
        from featurizer.operators.recursions import EventMean

        fast, slow, signal = (
            EventMean(2.0 / (n + 1.0), n) for n in (self.fast, self.slow, self.signal)
        )
        return fast, slow, signal

    def of_bars(self, memory: tuple[EventMean, EventMean, EventMean], series: BarSeries) -> Array:
        """Smooth the closes."""
        from featurizer.operators.bars import CLOSE

        fast, slow, smooth = memory
        macd = _fixed(fast.scan(series.table[CLOSE]) - slow.scan(series.table[CLOSE]))
        signal = smooth.scan(macd)
        return {"macd": macd, "signal": signal, "histogram": macd - signal}[self.line]


class Bollinger(Sampled):
    """Bollinger's bands of the closes of the last `periods` bars of `every`.

    The value of `line`: `upper` or `lower` band, `width` (their distance over the mean), or
    `percent` (where the close lies between them: 0 at the lower, 1 at the upper, 0.5 where they
    coincide). The standard deviation divides by `periods`, as Bollinger's does.
    """

    tolerance: ClassVar[float] = 0.0
    formula: ClassVar[str] = (
        "bands = mean +- deviations * std of the closes; width = (upper - lower) / mean; percent = "
        "(close - lower) / (upper - lower)"
    )
    unit: ClassVar[str] = "upper, lower: that of the feature; width, percent: 1"
    warm_up: ClassVar[str] = "periods bars"
    source: ClassVar[str] = "Bollinger 2001"

    periods: int = Field(20, ge=2)
    deviations: float = Field(2.0, gt=0.0)
    line: Literal["upper", "lower", "width", "percent"] = "percent"

    def memory(self) -> WindowMoments:
        """Return the closes of two windows."""
        from featurizer.operators.moments import WindowMoments

        return WindowMoments(self.periods)

    def of_bars(self, memory: WindowMoments, series: BarSeries) -> Array:
        """Work out mean and deviation of the last closes."""
        from featurizer.operators.bars import CLOSE

        places = series.places(self.every)
        if len(places.times):
            memory.begin(int(places.times[0]) - 1)
        _, found = memory.scan(series.table[CLOSE : CLOSE + 1], places)
        reach = self.deviations * found.std()
        if self.line == "percent":
            off = found.z_score(series.table[CLOSE]) / self.deviations
            return 0.5 + 0.5 * off
        lines = {
            "upper": found.mean_x + reach,
            "lower": found.mean_x - reach,
            "width": 2.0 * reach / found.mean_x,
        }
        return lines[self.line]


class Atr(Sampled):
    """Wilder's average true range of bars of `every`; of the mid, unless of another feature.

    The range of the first bar is left out: it has no close before it.
    """

    formula: ClassVar[str] = (
        "Wilder mean (1 / periods) of max(high - low, |high - close before|, |low - close before|);"
        " the first mean is a plain one"
    )
    unit: ClassVar[str] = "that of the feature"
    warm_up: ClassVar[str] = "periods + 1 bars"
    source: ClassVar[str] = "Wilder 1978"

    periods: int = Field(14, ge=1)

    @property
    def settling_ns(self) -> int:
        """By then the first mean weighs less than 1e-17."""
        return _SETTLED * self.periods * self.every

    def memory(self) -> tuple[EventLag, EventMean]:
        """Return the last close, and the mean."""
        from featurizer.operators.changes import EventLag
        from featurizer.operators.recursions import EventMean

        return EventLag(1), EventMean(1.0 / self.periods, self.periods)

    def of_bars(self, memory: tuple[EventLag, EventMean], series: BarSeries) -> Array:
        """Smooth the bars' true ranges."""
        from featurizer.operators.bars import CLOSE, HIGH, LOW

        lag, mean = memory
        high, low = series.table[HIGH], series.table[LOW]
        before = lag.scan(series.table[CLOSE])
        ranges = np.maximum(np.abs(high - before), np.abs(low - before))
        return mean.scan(_fixed(np.maximum(ranges, high - low)))
