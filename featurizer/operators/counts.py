"""Windows over the last so many updates, by the operators that know windows of time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import readonly
from featurizer.feature import Batch

__all__ = ["Places"]


class Places:
    """The place of each update among those that count, from 1: a clock that ticks with updates.

    With it, a window of length N holds the last N updates without a NaN. Tell the operator
    `begin(0)`: it is warm with its Nth. Places count from the run's first update, so in sums the
    last bits may depend on where that was; series with places of their own (bars) do not need this.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def clocked(self, values: NDArray[Any], batch: Batch) -> Batch:
        """Return a batch whose instants are places.

        Args:
            values: What each update brings; one with a NaN does not count. Shape (columns, n).
            batch: When the updates came, and what is read when.
        """
        known = ~np.isnan(values).any(axis=0)
        places = np.empty(len(known) + 1, np.int64)
        places[0] = self._last
        places[1:] = self._last + known.cumsum()
        self._last = int(places[-1])
        return batch._replace(
            times=readonly(places[1:]), read_times=readonly(places[batch.read_counts])
        )
