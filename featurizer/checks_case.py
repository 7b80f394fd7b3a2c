"""A feature under check: graphs of it, a market for it, and how two runs of it are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clock.units import format_instant
from featurizer.checks_market import Market, checked_market, merged_times
from featurizer.config import FeaturizerConfig
from featurizer.emission import Emission
from featurizer.errors import BrokenPromiseError
from featurizer.feature import FeatureDefinition, Input, Pointwise
from featurizer.graph import FeatureGraph, FeatureRows
from featurizer.market import Kind, Records

__all__ = ["GRID_NS", "START", "Case", "Probe"]

START: Final = 1_700_000_000_000_000_000
GRID_NS: Final = 37_000_000
NAME: Final = "checked"


class Probe(Pointwise):
    """Another feature's value as of its last update: shows the updates that features read."""

    feature: str

    def inputs(self) -> tuple[Input, ...]:
        """Return the feature."""
        return (self.feature,)

    def value(self, value: Any) -> Any:
        """Return the value itself."""
        return value


class _Definitions(FeaturizerConfig):
    """A config of definitions that need no dotted path."""

    named: dict[str, Any]

    def definitions(self) -> dict[str, FeatureDefinition]:
        return self.named


@dataclass(frozen=True)
class Case:
    """A definition under check, and a market for it."""

    definition: FeatureDefinition
    others: Mapping[str, FeatureDefinition]
    instruments: Sequence[str]
    kinds: Mapping[str, Kind]
    length_ns: int
    count: int
    seed: int

    def graph(self, emission: Emission | None = None, probe: bool = False) -> FeatureGraph:
        """Return a new graph of the feature, beside it a `Probe` of it if asked."""
        named = {**self.others, NAME: self.definition, "probe": Probe(feature=NAME)}
        config = _Definitions.model_construct(feature_configs=(), named=named)
        outputs = [NAME, "probe"] if probe else [NAME]
        emission = emission or Emission.raw()
        return FeatureGraph(
            config, self.instruments, emission, START, kinds=self.kinds, outputs=outputs
        )

    def market(self, seed: int = 0) -> Market:
        """Return records for all that the feature reads."""
        graph = self.graph()
        return checked_market(
            graph.requests, self.kinds, START, self.length_ns, self.count, self.seed + seed
        )

    @property
    def end(self) -> int:
        """The first instant after the market."""
        return START + self.length_ns

    def run(
        self,
        pieces: Sequence[Market],
        emission: Emission | None = None,
        empty: bool = False,
        probe: bool = False,
    ) -> FeatureRows:
        """Push a market in pieces, with empty pushes between if asked; return all rows."""
        graph = self.graph(emission, probe)
        parts = []
        for piece in pieces:
            received = merged_times(piece)
            if not len(received):
                continue
            if empty:
                parts.append(graph.push({}, int(received[0])))
            parts.append(graph.push(piece, int(received[-1])))
        parts.append(graph.push({}, self.end))
        return joined(parts)


def joined(parts: Sequence[FeatureRows]) -> FeatureRows:
    """Return the rows of several pushes as one."""
    return FeatureRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def same(case: Case, left: FeatureRows, right: FeatureRows, rule: str, cause: str) -> None:
    """Refuse a difference in a single bit of any column."""
    if all(a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True)):
        return
    where = "the number of rows"
    if left.values.shape == right.values.shape:
        row = int((left.values.view(np.int64) != right.values.view(np.int64)).any(1).argmax())
        where = (
            f"{float(left.values[row, 0])!r} and {float(right.values[row, 0])!r} "
            f"at {format_instant(int(left.emitted_at[row]))}"
        )
    raise BrokenPromiseError(f"{label(case)} must {rule}: got {where}. Look at {cause}.")


def label(case: Case) -> str:
    """Return what messages call the feature."""
    return type(case.definition).__name__


def until(piece: Market, graph: FeatureGraph) -> int:
    """Return the watermark that a piece can be pushed with: its last receipt."""
    times = merged_times(piece)
    return int(times[-1]) if len(times) else graph.watermark


def first_rows(rows: FeatureRows, count: int) -> FeatureRows:
    """Return the first rows."""
    return FeatureRows(*(column[:count] for column in rows))


def altered(records: Records) -> Records:
    """Return the records with other values, ten times as large and backwards."""
    columns: dict[str, NDArray[Any]] = dict(records.columns)
    for name in columns:
        if name not in ("event_time", "receipt_time", "sequence"):
            columns[name] = columns[name][::-1] * 10
    return Records(*records.key, columns)


def chained(first: Records, second: Records) -> Records:
    """Return two runs of records of one stream as one."""
    columns = {}
    for name, values in first.columns.items():
        columns[name] = np.concatenate([values, second.columns[name]])
        columns[name].flags.writeable = False
    return Records(*first.key, columns)
