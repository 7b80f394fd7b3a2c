"""What the label did after each answer arrived: the yardstick of the information coefficient.

The label's quantity is measured over the lookahead *from the instant the prediction became
visible*, so a slow answer is judged by what was left to predict. It is read after the fact, by a
second graph of the label feature alone, and reaches no strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from featurizer.graph_nodes import names_read
from featurizer.market import Records, StreamKey

if TYPE_CHECKING:
    from featurizer.config import FeaturizerConfig
    from featurizer.graph import FeatureGraph

__all__ = ["Outlook", "label_features"]


def label_features(config: FeaturizerConfig) -> FeaturizerConfig:
    """Return a featurizer's configuration with its label feature and what that reads, no more.

    A row of it holds no earlier rows.
    """
    definitions = config.definitions()
    needed: set[str] = set()
    open_names = [name for name in (config.label_feature,) if name is not None]
    while open_names:
        name = open_names.pop()
        if name not in needed:
            needed.add(name)
            open_names += names_read(definitions[name])
    kept = tuple(feature for feature in config.feature_configs if feature.name in needed)
    return config.model_copy(update={"feature_configs": kept, "features_to_store": None, "rows": 1})


class Outlook:
    """Values of the label feature at instants asked for as the run goes.

    Args:
        graph: A graph with the label feature, emitting at scheduled instants.
        column: Place of the label feature in its rows.
        lookahead_ns: How far the label looks.
        each: Whether every instrument has a label feature of its own.
    """

    def __init__(
        self, graph: FeatureGraph, column: int, lookahead_ns: int, *, each: bool = False
    ) -> None:
        self.graph = graph
        self._each = each
        self._column = column
        self._lookahead = lookahead_ns
        self._waiting = np.empty(0, dtype=np.int64)
        self._times: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._instruments: list[np.ndarray] = []

    def read(
        self, records: Mapping[StreamKey, Records], asked: Sequence[np.ndarray], until: int
    ) -> None:
        """Read a window.

        Args:
            records: Records received in it.
            asked: Instants within it at which answers became visible.
            until: Its end.
        """
        instants = np.concatenate([self._waiting, *asked, *(a + self._lookahead for a in asked)])
        instants = np.unique(instants)
        count = int(np.searchsorted(instants, until, side="left"))
        self._waiting = instants[count:]
        due = instants[:count]
        due.flags.writeable = False
        self.graph.schedule(due)
        rows = self.graph.push(records, until)
        self._times.append(np.array(rows.emitted_at))
        self._values.append(np.array(rows.values[:, self._column]))
        self._instruments.append(np.array(rows.instrument))

    def around(
        self, instants: np.ndarray, instruments: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the label feature at instants asked for and one lookahead later.

        Args:
            instants: Shape (n,).
            instruments: Place of the instrument asked about at each. Shape (n,).

        Returns:
            Two arrays of shape (n,); NaN where the run ended before the horizon.
        """
        nothing = np.empty(0, dtype=np.int64)
        times = np.concatenate([nothing, *self._times])
        values = np.concatenate([np.empty(0), *self._values])
        if not self._each:
            later = instants + self._lookahead
            return _at(times, values, instants), _at(times, values, later)
        whose = np.concatenate([nothing, *self._instruments])
        before, after = np.full(len(instants), np.nan), np.full(len(instants), np.nan)
        for instrument in np.unique(instruments):
            own, asked = whose == instrument, instruments == instrument
            before[asked] = _at(times[own], values[own], instants[asked])
            after[asked] = _at(times[own], values[own], instants[asked] + self._lookahead)
        return before, after


def _at(times: np.ndarray, values: np.ndarray, instants: np.ndarray) -> np.ndarray:
    if not len(times):
        return np.full(len(instants), np.nan)
    place = np.minimum(np.searchsorted(times, instants), len(times) - 1)
    return np.where(times[place] == instants, values[place], np.nan)
