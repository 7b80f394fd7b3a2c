"""How much prices move about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from featurizer.definitions.price import FeatureOfFeature
from featurizer.definitions.sampled import Sampled
from featurizer.feature import Batch, Held, Input, Output, PositiveDuration, output

if TYPE_CHECKING:
    from featurizer.operators.bars import BarSeries
    from featurizer.operators.changes import EventLag
    from featurizer.operators.recursions import EventMean
    from featurizer.operators.returns import SquaredReturns
    from featurizer.operators.windows import WindowSum

__all__ = ["ExponentialVolatility", "RealisedVolatility"]


class RealisedVolatility(FeatureOfFeature):
    """The root of the sum of squared log returns, update by update, over (now - window, now].

    Of a positive feature; the mid by default. Not annualised: the unit is the return over one
    window. Read at the instant of emission; 0 where nothing arrived within the window; NaN until
    the first return lies at or before now - window.
    """

    formula: ClassVar[str] = (
        "sqrt(sum of r^2 in the window), r = ln(x / x before), update by update"
    )
    unit: ClassVar[str] = "1 (log), over one window"
    warm_up: ClassVar[str] = "a first return at or before now - window"
    source: ClassVar[str] = "Andersen et al. 2001"

    held = False
    window: PositiveDuration

    def inputs(self) -> tuple[Input, ...]:
        """Return the squared returns of the feature named, or of the mid price."""
        return (_SquaredReturn(feature=self.feature, instrument=self.instrument),)

    def start(self) -> WindowSum:
        """Return the squares within two windows."""
        from featurizer.operators.windows import WindowSum

        return WindowSum(self.window)

    def push(self, state: WindowSum, batch: Batch) -> Output:
        """Sum the squares over the window."""
        reads, updates = state.scan(batch.columns[0], batch, batch.room)
        np.sqrt(reads, out=reads)
        return output((reads, np.sqrt(updates) if batch.materialise else updates))


class _SquaredReturn(FeatureOfFeature):
    """ln(x / x before)^2 of each update: made once, whatever the windows that sum it up."""

    def start(self) -> tuple[SquaredReturns, Held]:
        from featurizer.operators.returns import SquaredReturns

        return SquaredReturns(), Held()

    def push(self, state: tuple[SquaredReturns, Held], batch: Batch) -> Output:
        squares, newest = state
        if not len(batch.times):
            return Output(newest.repeated(len(batch.read_times)), batch.columns[0])
        updates = squares.scan(batch.columns[0])
        if not len(batch.read_times):  # as a part of others it is never read
            newest.value = updates[-1]
            return Output(batch.columns[0][:0], updates)
        return Output(newest.read(updates[batch.picks], batch), updates)


class ExponentialVolatility(Sampled):
    """The root of the exponentially weighted mean of squared log returns over `every`.

    Not annualised: the unit is the return over one `every`.
    """

    formula: ClassVar[str] = (
        "sqrt(v), v = decay * v before + (1 - decay) * r^2, r = ln(x / x before) over `every`; the "
        "first v is r^2"
    )
    unit: ClassVar[str] = "1 (log), over one `every`"
    warm_up: ClassVar[str] = "two bars"
    source: ClassVar[str] = "RiskMetrics 1996"

    decay: float = Field(0.94, gt=0.0, lt=1.0)

    @property
    def settling_ns(self) -> int:
        """By then the first return weighs less than 1e-17."""
        return int(40.0 / (1.0 - self.decay)) * self.every

    def memory(self) -> tuple[EventLag, EventMean]:
        """Return the last price, and the mean square."""
        from featurizer.operators.changes import EventLag
        from featurizer.operators.recursions import EventMean

        return EventLag(1, "log_return"), EventMean(1.0 - self.decay)

    def of_bars(self, memory: tuple[EventLag, EventMean], series: BarSeries) -> NDArray[Any]:
        """Take returns, and smooth their squares."""
        from featurizer.operators.bars import CLOSE

        lag, mean = memory
        returns = lag.scan(series.table[CLOSE])
        squares = returns * returns
        squares.flags.writeable = False
        return np.sqrt(mean.scan(squares))
