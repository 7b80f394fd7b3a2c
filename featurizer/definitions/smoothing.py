"""Features smoothed or held back in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from clock.units import Duration
from featurizer.definitions.price import FeatureOfFeature
from featurizer.feature import Batch, Output, PositiveDuration

if TYPE_CHECKING:
    from featurizer.operators.asof import Lagged
    from featurizer.operators.exponential import ExponentialMean

__all__ = ["Ema", "Lag"]


class Ema(FeatureOfFeature):
    """The exponentially weighted average over time of a feature; of the mid by default.

    A value weighs as long as it was in force, halved for every `half_life` since; the first value
    counts as in force from ever. Read at the instant of emission: in silence the average goes on
    towards the value held.
    """

    formula: ClassVar[str] = (
        "sum of x * weight / sum of weights over time, weight = 2^(-age / half_life)"
    )
    unit: ClassVar[str] = "that of the feature"
    warm_up: ClassVar[str] = "the first value"
    source: ClassVar[str] = "definition"

    held = False
    tolerance: ClassVar[float] = 1e-9
    half_life: PositiveDuration

    @property
    def settling_ns(self) -> int:
        """40 half-lives: by then the first value weighs less than 1e-12."""
        return 40 * self.half_life

    def start(self) -> ExponentialMean:
        """Return an average without a value."""
        from featurizer.operators.exponential import ExponentialMean

        return ExponentialMean(self.half_life)

    def push(self, state: ExponentialMean, batch: Batch) -> Output:
        """Scan the values of the feature."""
        return state.scan(batch.columns[0], batch, batch.room)


class Lag(FeatureOfFeature):
    """A feature as of now - lag, bound included; the mid by default.

    Read at the instant of emission. NaN until the feature has a value at or before now - lag.
    """

    formula: ClassVar[str] = "x(now - lag)"
    unit: ClassVar[str] = "that of the feature"
    warm_up: ClassVar[str] = "a value at or before now - lag"
    source: ClassVar[str] = "definition"

    held = False
    lag: Duration

    def start(self) -> Lagged:
        """Return a ring of the values within the lag."""
        from featurizer.operators.asof import Lagged

        return Lagged(self.lag)

    def push(self, state: Lagged, batch: Batch) -> Output:
        """Scan the values of the feature."""
        return state.scan(batch.columns[0], batch, batch.room)
