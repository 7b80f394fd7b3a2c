"""Features of two instruments, or of two other features."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from featurizer.definitions.price import FeatureOfFeature, MidPrice
from featurizer.definitions.sampled import bars_of, whole_bars
from featurizer.feature import Batch, Held, Input, Output, PositiveDuration

if TYPE_CHECKING:
    from featurizer.operators.asof import Lagged
    from featurizer.operators.bars import LastBar, TimeBars
    from featurizer.operators.changes import EventLag
    from featurizer.operators.moments import Moments, WindowMoments

__all__ = ["LeadReturn", "Ratio", "RollingBeta", "RollingCorrelation", "Spread"]


class OfTwo(FeatureOfFeature):
    """A feature of x and y: the mids of two instruments, unless features are named.

    `instrument` or `feature` gives x, `other` or `other_feature` gives y. Each is as of the newest
    record of either.
    """

    other: str | None = None
    """Id of the instrument whose mid is y."""
    other_feature: str | None = None
    """Name of the feature that is y."""

    @model_validator(mode="after")
    def _one_other(self) -> OfTwo:
        if (self.other is None) == (self.other_feature is None):
            raise ValueError(
                "`other` or `other_feature` must be given, and not both: got "
                f"{self.other!r} and {self.other_feature!r}."
            )
        return self

    def inputs(self) -> tuple[Input, ...]:
        """Return x and y."""
        return (*super().inputs(), self.other_feature or MidPrice(instrument=self.other))


class _PointwiseOfTwo(OfTwo):
    def start(self) -> Held:
        """Return a state that holds one value."""
        return Held()

    @abstractmethod
    def value(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Return the values of some updates. Shape (k,)."""

    def push(self, state: Held, batch: Batch) -> Output:
        """Work out each update's value."""
        if not len(batch.times):
            return Output(np.full(len(batch.read_times), state.value), batch.times)
        values = self.value(*batch.columns)
        return Output(state.read(values[batch.picks], batch), values)


class Spread(_PointwiseOfTwo):
    """x - hedge * y: how far two prices lie apart."""

    formula: ClassVar[str] = "x - hedge * y"
    unit: ClassVar[str] = "that of x"
    warm_up: ClassVar[str] = "a value of each"
    source: ClassVar[str] = "definition"

    hedge: float = 1.0

    def value(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Return the distance."""
        return x - self.hedge * y


class Ratio(_PointwiseOfTwo):
    """x / y; NaN where y is 0."""

    formula: ClassVar[str] = "x / y"
    unit: ClassVar[str] = "that of x over that of y"
    warm_up: ClassVar[str] = "a value of each"
    source: ClassVar[str] = "definition"

    def value(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Return the quotient."""
        return np.divide(x, y, out=np.full(len(x), np.nan), where=y != 0.0)


class LeadReturn(OfTwo):
    """How far y has run ahead of x: its log return over (now - window, now] less that of x.

    Read at the instant of emission.
    """

    held = False
    formula: ClassVar[str] = "ln(y(now) / y(now - window)) - ln(x(now) / x(now - window))"
    unit: ClassVar[str] = "1 (log)"
    warm_up: ClassVar[str] = "a value of each at or before now - window"
    source: ClassVar[str] = "after Huth and Abergel 2014, on lead and lag"

    window: PositiveDuration

    def start(self) -> tuple[Lagged, Lagged]:
        """Return the values of both within the window."""
        from featurizer.operators.asof import LOG_RETURN, Lagged

        return Lagged(self.window, LOG_RETURN), Lagged(self.window, LOG_RETURN)

    def push(self, state: tuple[Lagged, Lagged], batch: Batch) -> Output:
        """Scan both."""
        x, y = (ring.scan(column, batch) for ring, column in zip(state, batch.columns, strict=True))
        return Output(y.reads - x.reads, y.updates - x.updates)


class _Rolling(OfTwo):
    """Moments of the log returns of x and y from close to close of bars of `every`.

    Both are sampled at the multiples of `every` since the epoch, as of just before them; a new
    value is visible from that very instant on, and holds until the next.
    """

    held = False
    unit: ClassVar[str] = "1"
    warm_up: ClassVar[str] = "window / every + 1 bars after a value of each"

    window: PositiveDuration
    every: PositiveDuration

    @model_validator(mode="after")
    def _whole(self) -> _Rolling:
        whole_bars(self.window, self.every)
        return self

    @abstractmethod
    def read(self, moments: Moments) -> NDArray[Any]:
        """Return the value after each bar. Shape (k,)."""

    def start(
        self,
    ) -> tuple[TimeBars, TimeBars, EventLag, EventLag, WindowMoments, LastBar]:
        """Return the bars in the making, the last closes, and the returns of two windows."""
        from featurizer.operators.bars import LastBar, TimeBars
        from featurizer.operators.changes import EventLag
        from featurizer.operators.moments import WindowMoments

        moments = WindowMoments(whole_bars(self.window, self.every), columns=2)
        lags = EventLag(1, "log_return"), EventLag(1, "log_return")
        return TimeBars(self.every), TimeBars(self.every), *lags, moments, LastBar()

    def push(
        self,
        state: tuple[TimeBars, TimeBars, EventLag, EventLag, WindowMoments, LastBar],
        batch: Batch,
    ) -> Output:
        """Sample both where both are known, and follow the moments of their returns."""
        from featurizer.operators.bars import CLOSE

        bars_x, bars_y, lag_x, lag_y, moments, last = state
        x, y = batch.columns
        of_x, of_y = bars_of(bars_x, x, batch, y), bars_of(bars_y, y, batch, x)
        pairs = np.stack([lag_x.scan(of_x.table[CLOSE]), lag_y.scan(of_y.table[CLOSE])])
        pairs.flags.writeable = False
        places = of_x.places(self.every)
        if len(places.times):
            moments.begin(int(places.times[0]))  # the first bar has no return
        return last.output(self.read(moments.scan(pairs, places)[1]), of_x)


class RollingBeta(_Rolling):
    """The slope of the returns of x on those of y, by least squares; NaN where y stands still."""

    formula: ClassVar[str] = "cov(rx, ry) / var(ry), log returns over `every` within the window"
    source: ClassVar[str] = "Sharpe 1963"

    def read(self, moments: Moments) -> NDArray[Any]:
        """Return the slope."""
        return moments.beta()


class RollingCorrelation(_Rolling):
    """The correlation of the returns of x and y, from -1 to 1; NaN where either stands still."""

    formula: ClassVar[str] = (
        "cov(rx, ry) / sqrt(var(rx) * var(ry)), log returns over `every` within the window"
    )
    unit: ClassVar[str] = "1, from -1 to 1"
    source: ClassVar[str] = "Pearson 1895"

    def read(self, moments: Moments) -> NDArray[Any]:
        """Return the correlation."""
        return moments.correlation()
