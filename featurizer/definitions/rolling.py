"""Statistics of any feature over a sliding window."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from featurizer.definitions.price import FeatureOfFeature
from featurizer.feature import Batch, Held, Output, PositiveDuration

__all__ = ["Rolling"]

Statistic = Literal[
    "sum",
    "mean",
    "variance",
    "std",
    "z_score",
    "min",
    "max",
    "median",
    "quantile",
    "first",
    "last",
    "count",
]


class Rolling(FeatureOfFeature):
    """A statistic of a feature's updates over (now - window, now]; of the mid by default.

    Each update counts once, however long it was in force (`smoothing.Ema` weighs by time). Read at
    the instant of emission: where nothing came within the window, `sum` and `count` are 0 and the
    others NaN. `variance` and `std` divide by the count; `z_score` is (x - mean) / std of the
    newest x, 0 where the window stands still; `quantile` is the share below it, interpolated.
    """

    held = False
    formula: ClassVar[str] = "`statistic` of the updates in the window"
    unit: ClassVar[str] = "that of the feature; variance: squared; z_score, count: 1"
    warm_up: ClassVar[str] = "a first update at or before now - window"
    source: ClassVar[str] = "definition"

    window: PositiveDuration
    statistic: Statistic = "mean"
    quantile: float = Field(0.5, ge=0.0, le=1.0)
    """Of `quantile` only: from 0, the least, to 1, the largest."""

    def start(self) -> tuple[Any, Held]:
        """Return the operator of the statistic, and the newest value."""
        return self._operator(), Held()

    def _operator(self) -> Any:
        if self.statistic == "sum":
            from featurizer.operators.windows import WindowSum

            return WindowSum(self.window)
        if self.statistic in ("min", "max"):
            from featurizer.operators.windows import WindowExtreme

            return WindowExtreme(self.window, largest=self.statistic == "max")
        if self.statistic in ("mean", "variance", "std", "z_score"):
            from featurizer.operators.moments import WindowMoments

            return WindowMoments(self.window, means_only=self.statistic == "mean")
        from featurizer.operators.ranks import COUNT, FIRST, LAST, WindowRank

        ranks = {"first": FIRST, "last": LAST, "count": COUNT, "median": 0.5}
        return WindowRank(self.window, ranks.get(self.statistic, self.quantile))

    def push(self, state: tuple[Any, Held], batch: Batch) -> Output:
        """Scan the values of the feature."""
        operator, newest = state
        values = batch.columns[0]
        if self.statistic not in ("mean", "variance", "std", "z_score"):
            return Output(*operator.scan(values, batch, batch.room))
        reads, updates = operator.scan(values.reshape(1, -1), batch)
        if self.statistic == "mean":
            return Output(reads.mean_x, updates.mean_x)
        if self.statistic == "z_score":
            return Output(
                reads.z_score(_newest(newest, values, batch)),
                updates.z_score(values) if batch.materialise else values[:0],
            )
        if self.statistic == "std":
            return Output(reads.std(), updates.std())
        return Output(reads.variance(), updates.variance())


def _newest(held: Held, values: NDArray[Any], batch: Batch) -> NDArray[Any]:
    if len(values):
        return held.read(values[batch.picks], batch)
    return np.full(len(batch.read_times), held.value)
