"""What features on a grid of prices share: bars of another feature, and a series made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from featurizer.definitions.price import FeatureOfFeature
from featurizer.feature import Batch, PositiveDuration

if TYPE_CHECKING:
    from featurizer.operators.bars import BarSeries, TimeBars

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
