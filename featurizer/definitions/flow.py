"""Who trades, and how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featurizer.feature import Batch, FeatureDefinition, Input, Market, Output, PositiveDuration

if TYPE_CHECKING:
    from featurizer.operators.windows import WindowSums

__all__ = ["TradeVolumeImbalance"]


class TradeVolumeImbalance(FeatureDefinition):
    """(bought - sold) / (bought + sold) by takers over (now - window, now], from -1 to 1.

    Read at the instant of emission. 0 where nothing traded within the window: no trade leans
    neither way. NaN until the first trade lies at or before now - window.
    """

    held = False
    window: PositiveDuration

    def inputs(self) -> tuple[Input, ...]:
        """Return the trades' quantities and takers' sides."""
        return (Market("trades", ("quantity", "aggressor")),)

    def start(self) -> WindowSums:
        """Return the trades within two windows."""
        from featurizer.operators.windows import WindowSums

        return WindowSums(self.window, columns=2)

    def push(self, state: WindowSums, batch: Batch) -> Output:
        """Sum what was bought and what was sold apart, so that the ratio stays within -1 and 1."""
        quantity, aggressor = batch.columns
        volumes = np.empty((2, len(quantity)))
        np.multiply(quantity, aggressor > 0.0, out=volumes[0])
        np.multiply(quantity, aggressor < 0.0, out=volumes[1])
        volumes.flags.writeable = False
        reads, updates = state.scan(volumes, batch)
        return Output(_balance(reads), _balance(updates))


def _balance(volumes: NDArray[Any]) -> NDArray[Any]:
    bought, sold = volumes
    total = bought + sold
    # 0 stays 0 where nothing traded, NaN stays NaN
    return np.divide(bought - sold, total, out=total * 0.0, where=total > 0.0)
