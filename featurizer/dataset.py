"""Features joined with labels, and split in time without a leak."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clock.units import format_instant
from featurizer.config import FeaturizerConfig, LabelKind
from featurizer.emission import Emission
from featurizer.errors import FeatureError
from featurizer.graph import MISSING, FeatureGraph, FeatureRows
from featurizer.market import Kind, Records, StreamKey

if TYPE_CHECKING:
    import polars as pl

    from featurizer.catalog import Catalog

__all__ = ["FeatureLabelSet", "LabelledArrays", "label_change"]

Array: TypeAlias = NDArray[Any]


def label_change(kind: LabelKind, before: Array, after: Array) -> Array:
    """Return how far values have moved.

    Args:
        kind: `difference`, `log_return` (NaN unless both values are positive), `sign` of the
            difference, or `level`: the value after.
        before: Values at the rows' instants. Shape (n,).
        after: Values one lookahead later. Shape (n,).

    Returns:
        Shape (n,). NaN where a value is NaN.

    Example:
        >>> label_change("sign", np.array([1.0, 2.0]), np.array([0.5, 2.0])).tolist()
        [-1.0, 0.0]
    """
    if kind == "difference":
        return after - before
    if kind == "sign":
        return np.sign(after - before)
    if kind == "level":
        return np.where(np.isnan(before), np.nan, after)
    known = (before > 0.0) & (after > 0.0)
    ratio = np.divide(after, before, out=np.full(len(before), np.nan), where=known)
    return np.log(ratio)


class LabelledArrays(NamedTuple):
    """The rows that a model can learn from: no feature is NaN, and the label is known.

    Attributes:
        features: Shape (n, features), in the order of `FeatureLabelSet.names`.
        labels: Shape (n,).
        emitted_at: Shape (n,), ns.
        label_visible_at: Shape (n,), ns.
    """

    features: Array
    labels: Array
    emitted_at: Array
    label_visible_at: Array


@dataclass(frozen=True, slots=True)
class FeatureLabelSet:
    """Feature rows with, where there is one, what each should have foretold.

    A label is the change of the label feature from the row's own value to its value as of
    `emitted_at` + lookahead, made of records visible by then. It is known from `label_visible_at`
    on: the receipt of the first of the label feature's records at or after that instant.

    Attributes:
        frame: `emitted_at, visible_at, event_time, instrument`, the features, `label` and
            `label_visible_at`; a missing instant or label is null, a feature warming up is NaN.
        names: The features' columns.
    """

    frame: pl.DataFrame
    names: tuple[str, ...]

    @classmethod
    def build(
        cls,
        catalog: Catalog,
        config: FeaturizerConfig,
        instruments: Sequence[str],
        start: int,
        until: int,
        progress: Callable[[int], None] | None = None,
    ) -> FeatureLabelSet:
        """Work out the rows of [start, until) and their labels, window by window.

        A label whose lookahead ends at or after *until* is null: nothing from there on is read.

        Args:
            catalog: Where the market records are.
            config: The features, when a row is emitted, and the label.
            instruments: Ids of the instruments, the features' default first.
            start: First instant.
            until: First instant after it.
            progress: Told after each window how far in time the work has come.

        Raises:
            FeatureError: If the features cannot be made from these instruments.
            CatalogError: If the catalog has not what they read.
        """
        graph = FeatureGraph(config, instruments, start=start, kinds=catalog.kinds)
        labeller = None
        if config.label_feature is not None:
            labeller = _Labeller(config, instruments, start, catalog.kinds)
        parts: list[FeatureRows] = []
        for window in catalog.windows(graph.requests, start, until):
            parts.append(graph.push(window.ours, window.until))
            if labeller is not None:
                labeller.push(parts[-1].emitted_at, window.ours, window.until)
            if progress is not None:
                progress(window.until)
        rows = FeatureRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        return cls._of_rows(rows, labeller, config, graph.names, instruments)

    @classmethod
    def _of_rows(
        cls,
        rows: FeatureRows,
        labeller: _Labeller | None,
        config: FeaturizerConfig,
        names: Sequence[str],
        instruments: Sequence[str],
    ) -> FeatureLabelSet:
        import polars as pl

        kept = tuple(config.features_to_store or names)
        count = len(rows.emitted_at)
        label, known_at = np.full(count, np.nan), np.full(count, MISSING)
        if labeller is not None and config.label_feature is not None:
            before = rows.values[:, names.index(config.label_feature)]
            after, known_at = labeller.finish(count)
            label = label_change(config.label, before, after)
            label[known_at == MISSING] = np.nan
            known_at = np.where(np.isnan(label), MISSING, known_at)
        columns = {
            "emitted_at": rows.emitted_at,
            "visible_at": rows.visible_at,
            "event_time": rows.event_time,
            "instrument": pl.Series(np.asarray(instruments)[rows.instrument], dtype=pl.String),
            **{name: np.ascontiguousarray(rows.values[:, names.index(name)]) for name in kept},
            "label": pl.Series(label).fill_nan(None),
            "label_visible_at": known_at,
        }
        stamps = ["emitted_at", "visible_at", "event_time", "label_visible_at"]
        frame = pl.DataFrame(columns).with_columns(
            pl.when(pl.col(name) != MISSING).then(pl.col(name)).cast(pl.Datetime("ns", "UTC"))
            for name in stamps
        )
        return cls(frame, kept)

    def split(
        self, test_start: int | float, *, purge: bool = True, embargo_ns: int = 0
    ) -> tuple[FeatureLabelSet, FeatureLabelSet]:
        """Split in time into a training and a test set.

        Args:
            test_start: An instant (`int`, ns), or the share of rows to train on (a `float` from 0
                to 1): the test then starts at the instant of the first row beyond that share.
            purge: Drop training rows whose label becomes visible after the test's start.
            embargo_ns: Drop test rows emitted less than this after the test's start.

        Returns:
            Rows emitted before the test's start, and rows emitted from it on.

        Raises:
            FeatureError: If one of the two would be empty.
        """
        begin = self._boundary(test_start)
        # by value, as a literal of polars would round to microseconds
        emitted = self.frame["emitted_at"].to_physical()
        known = self.frame["label_visible_at"].to_physical()
        learnable = emitted < begin
        if purge:
            learnable &= (known <= begin).fill_null(
                True
            )  # a row without a label has nothing to leak
        train = self.frame.filter(learnable)
        test = self.frame.filter(emitted >= begin + embargo_ns)
        for name, part in (("training", train), ("test", test)):
            if part.is_empty():
                raise FeatureError(
                    "`test_start` must leave rows on both sides: got "
                    f"{format_instant(begin)}, which leaves no {name} row of {len(self.frame)}. "
                    "Choose another, or a shorter lookahead or embargo."
                )
        return FeatureLabelSet(train, self.names), FeatureLabelSet(test, self.names)

    def _boundary(self, test_start: int | float) -> int:
        if isinstance(test_start, int):
            return test_start
        if not 0.0 < test_start < 1.0 or self.frame.is_empty():
            raise FeatureError(
                f"`test_start` must be an instant or a share between 0 and 1 of some rows: got "
                f"{test_start} of {len(self.frame)} rows."
            )
        row = min(int(test_start * len(self.frame)), len(self.frame) - 1)
        return int(self.frame["emitted_at"].to_physical()[row])

    def to_arrays(self) -> LabelledArrays:
        """Return the rows whose features and label are all known, as arrays."""
        features = self.frame.select(self.names).to_numpy().astype(np.float64, order="C")
        labels = self.frame["label"].fill_null(float("nan")).to_numpy()
        known = ~(np.isnan(features).any(axis=1) | np.isnan(labels))
        emitted_at = self.frame["emitted_at"].to_physical().to_numpy()
        known_at = self.frame["label_visible_at"].to_physical().fill_null(MISSING).to_numpy()
        arrays = (features[known], labels[known], emitted_at[known], known_at[known])
        for array in arrays:
            array.flags.writeable = False
        return LabelledArrays(*arrays)


class _Labeller:
    """A second graph of the label feature alone, read one lookahead after each row."""

    def __init__(
        self,
        config: FeaturizerConfig,
        instruments: Sequence[str],
        start: int,
        kinds: Mapping[str, Kind],
    ) -> None:
        assert config.label_lookahead is not None, "the config refuses a label without it"
        self.lookahead_ns = config.label_lookahead
        self.graph = FeatureGraph(
            config,
            instruments,
            Emission.scheduled(),
            start,
            kinds=kinds,
            outputs=[str(config.label_feature)],
        )
        self.streams = [request.key for request in self.graph.requests]
        self.waiting = np.empty(0, np.int64)
        self.values: list[Array] = []
        self.known_at: list[Array] = []

    def push(self, emitted_at: Array, records: dict[StreamKey, Records], until: int) -> None:
        horizons = emitted_at + self.lookahead_ns
        self.graph.schedule(horizons)
        self.values.append(self.graph.push(records, until).values[:, 0])
        self.waiting = np.concatenate([self.waiting, horizons])
        closed = np.full(len(self.waiting), -MISSING - 1)
        for stream in self.streams:
            found = records.get(stream)
            if found is not None and len(found):
                received = found.receipt_time
                first = received.searchsorted(self.waiting, "left")
                reached = int(first.searchsorted(len(received), "left"))
                np.minimum(closed[:reached], received[first[:reached]], out=closed[:reached])
        # horizons are in order, so those closed by this window are the first of them
        done = int(np.count_nonzero(closed != -MISSING - 1))
        self.known_at.append(closed[:done])
        self.waiting = self.waiting[done:]

    def finish(self, count: int) -> tuple[Array, Array]:
        """Return for each row the value at its horizon, and when that was known."""
        after, known_at = np.full(count, np.nan), np.full(count, MISSING)
        values, known = np.concatenate(self.values), np.concatenate(self.known_at)
        after[: len(values)], known_at[: len(known)] = values, known
        return after, known_at
