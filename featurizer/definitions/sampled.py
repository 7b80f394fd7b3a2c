"""What features on a grid of prices share: bars of another feature, and a series made of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from featurizer.definitions.price import FeatureOfFeature
from featurizer.feature import Batch, Output, PositiveDuration

if TYPE_CHECKING:
    from featurizer.operators.bars import BarSeries, LastBar, TimeBars

__all__ = ["Sampled", "bars_of", "whole_bars"]

Array = NDArray[Any]


class Sampled(FeatureOfFeature):
    """A feature of a price sampled every so often; of the mid by default.

    At each multiple of `every` since the epoch a bar closes, over the values received before that
    instant, and a new value is visible from that very instant on; it holds until the next.
    """

    held = False
    tolerance: ClassVar[float] = 1e-9
    every: PositiveDuration

    @abstractmethod
    def memory(self) -> Any:
        """Return what is kept from bar to bar."""

    @abstractmethod
    def of_bars(self, memory: Any, series: BarSeries) -> Array:
        """Return the value after each of some more bars. Shape (k,)."""

    def start(self) -> tuple[TimeBars, Any, LastBar]:
        """Return the bar in the making, what is kept, and the value of the last bar."""
        from featurizer.operators.bars import LastBar, TimeBars

        return TimeBars(self.every), self.memory(), LastBar()

    def push(self, state: tuple[TimeBars, Any, LastBar], batch: Batch) -> Output:
        """Sample, and work out the value of each bar that closed."""
        bars, memory, last = state
        series = bars_of(bars, batch.columns[0], batch)
        return last.output(self.of_bars(memory, series), series)


def whole_bars(window: int, every: int) -> int:
    """Return how many bars a window has; refuse parts of one, and fewer than two."""
    if window % every or window < 2 * every:
        raise ValueError(
            f"`window` must be a multiple of `every`, twice it or more: got {window} ns and "
            f"{every} ns."
        )
    return window // every


def bars_of(bars: TimeBars, price: Array, batch: Batch, beside: Array | None = None) -> BarSeries:
    """Return the bars of a feature's values that closed in a batch.

    Args:
        bars: The bars' state.
        price: The values. Shape (n,).
        batch: When they came.
        beside: Values are left out where this is NaN. Shape (n,).
    """
    quantity = np.ones(len(price))
    if beside is not None:
        quantity[np.isnan(beside)] = np.nan
    quantity.flags.writeable = False
    return bars.scan(price, quantity, batch)
