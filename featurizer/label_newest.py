"""Labels of a feature that depends on the newest record alone, such as the mid price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.emission import frozen
from featurizer.feature import Pointwise
from featurizer.graph_nodes import Column, Node
from featurizer.market import Records, StreamKey

__all__ = ["NewestLabeller"]

Array: TypeAlias = NDArray[Any]
_NONE = np.empty(0, np.int64)


class NewestLabeller:
    """Reads a pointwise feature of one stream one lookahead after each row, without a graph.

    One walk along the records finds which was the newest at each horizon, and when the horizon was
    known to be over. The values are those of a graph, bit for bit; pointwise features promise that.

    Args:
        feature: The feature.
        stream: Whose records it reads.
        columns: What it reads of them.
        lookahead_ns: From a row to its horizon.
    """

    def __init__(
        self, feature: Pointwise, stream: StreamKey, columns: Sequence[str], lookahead_ns: int
    ) -> None:
        from featurizer.operators.order import around

        self._around = around
        self._feature, self._stream, self._columns = feature, stream, tuple(columns)
        self._lookahead_ns = lookahead_ns
        self._horizons = _NONE
        self._held = np.nan

    @classmethod
    def of(cls, nodes: Sequence[Node], lookahead_ns: int) -> NewestLabeller | None:
        """Return the labeller of a graph's only feature, None where it takes a graph to read it."""
        if len(nodes) != 1:
            return None
        feature = nodes[0].definition
        if not isinstance(feature, Pointwise) or type(feature).push is not Pointwise.push:
            return None
        inputs = [source for source in nodes[0].inputs if isinstance(source, Column)]
        if len({source.stream for source in inputs}) != 1:
            return None
        columns = [source.name for source in inputs]
        return cls(feature, inputs[0].stream, columns, lookahead_ns)

    def absorb(self, records: Mapping[StreamKey, Records], until: int) -> None:
        """Take records that no row was emitted with."""
        found = records.get(self._stream)
        if found is not None and len(found):
            self._held = float(self._values(found, np.array([len(found) - 1]))[0])

    def push(
        self, emitted_at: Array, records: Mapping[StreamKey, Records], until: int
    ) -> tuple[Array, Array]:
        """Take the instants of new rows, and records.

        Returns:
            Of the oldest rows that waited, those that are closed by now: the value at the horizon,
            and when that was known.
        """
        horizons = np.concatenate([self._horizons, emitted_at + self._lookahead_ns])
        found = records.get(self._stream)
        if found is None or not len(found):
            self._horizons = horizons
            return np.empty(0), _NONE
        times = frozen(found.receipt_time)
        done = int(horizons.searchsorted(times[-1], "right"))
        self._horizons = horizons[done:]
        places, known_at = self._around(times, frozen(horizons[:done]))
        early = int(places.searchsorted(0, "left"))  # horizons before the first of these records
        values = np.empty(done)
        values[:early] = self._held
        if early < done:
            values[early:] = self._values(found, places[early:])
        self.absorb(records, until)
        return values, known_at

    def _values(self, records: Records, places: Array) -> Array:
        """Return the feature's values at some of the records."""
        columns = [
            frozen(records.columns[name].take(places).astype(np.float64, copy=False))
            for name in self._columns
        ]
        with np.errstate(all="ignore"):
            return np.asarray(self._feature.value(*columns), np.float64)
