"""How much prices move about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from featurizer.definitions.price import FeatureOfFeature
from featurizer.feature import Batch, Output, PositiveDuration

if TYPE_CHECKING:
    from featurizer.operators.returns import SquaredReturns
    from featurizer.operators.windows import WindowSums

__all__ = ["RealisedVolatility"]


class RealisedVolatility(FeatureOfFeature):
    """The root of the sum of squared log returns, update by update, over (now - window, now].

    Of a positive feature; the mid by default. Not annualised: the unit is the return over one
    window. Read at the instant of emission; 0 where nothing arrived within the window; NaN until
    the first return lies at or before now - window.
    """

    held = False
    window: PositiveDuration

    def start(self) -> tuple[SquaredReturns, WindowSums]:
        """Return the last value, and the squares within two windows."""
        from featurizer.operators.returns import SquaredReturns
        from featurizer.operators.windows import WindowSums

        return SquaredReturns(), WindowSums(self.window)

    def push(self, state: tuple[SquaredReturns, WindowSums], batch: Batch) -> Output:
        """Square the returns, then sum them over the window."""
        squares = state[0].scan(batch.columns[0])
        reads, updates = state[1].scan(squares.reshape(1, -1), batch)
        return Output(np.sqrt(reads[0]), np.sqrt(updates[0]))
