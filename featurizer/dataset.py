"""Features joined with labels, and split in time without a leak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clock.units import format_instant
from featurizer.config import FeaturizerConfig, row_names
from featurizer.errors import FeatureError
from featurizer.graph import MISSING, FeatureGraph
from featurizer.labels import LabelledRows, label_change, labelled_rows

if TYPE_CHECKING:
    import polars as pl

    from featurizer.catalog import Catalog

__all__ = ["FeatureLabelSet", "LabelledArrays", "label_change", "rows_frame", "stored_names"]

STAMPS = ("emitted_at", "visible_at", "event_time", "label_visible_at")

Array: TypeAlias = NDArray[Any]


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
        import polars as pl

        names = FeatureGraph(config, instruments, start=start, kinds=catalog.kinds).names
        kept = stored_names(config, names)
        frames = [
            rows_frame(labelled, names, kept, instruments)
            for labelled in labelled_rows(
                catalog, config, instruments, start, until, progress=progress
            )
        ]
        return cls(pl.concat(frames).rechunk(), kept)

    @classmethod
    def scan(cls, folder: Path | str) -> pl.LazyFrame:
        """Return a stored set as a lazy frame: nothing is read until it is collected.

        Raises:
            FeatureError: If the folder holds none.
        """
        from featurizer.dataset_store import scan_dataset

        return scan_dataset(folder)

    @classmethod
    def read(cls, folder: Path | str) -> FeatureLabelSet:
        """Return a stored set, all of it in memory.

        Raises:
            FeatureError: If the folder holds none.
        """
        from featurizer.dataset_store import scan_dataset, stored_features

        return cls(scan_dataset(folder).collect(), stored_features(folder))

    def take(self, rows: Array) -> FeatureLabelSet:
        """Return some rows, by their places in the frame, in the order given."""
        return FeatureLabelSet(self.frame[rows], self.names)

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


def stored_names(config: FeaturizerConfig, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a row that a training set keeps, in the row's order.

    Args:
        config: Its `features_to_store` names features; the earlier rows of each come with it.
        names: All columns of a row.
    """
    if config.features_to_store is None:
        return tuple(names)
    return row_names(config.features_to_store, config.rows)


def rows_frame(
    labelled: LabelledRows, names: Sequence[str], kept: Sequence[str], instruments: Sequence[str]
) -> pl.DataFrame:
    """Return labelled rows as a frame: a missing instant or label is null."""
    import polars as pl

    rows = labelled.rows
    columns = {
        "emitted_at": rows.emitted_at,
        "visible_at": rows.visible_at,
        "event_time": rows.event_time,
        "instrument": pl.Series(np.asarray(instruments)[rows.instrument], dtype=pl.String),
        **{name: np.ascontiguousarray(rows.values[:, names.index(name)]) for name in kept},
        "label": pl.Series(labelled.label).fill_nan(None),
        "label_visible_at": labelled.label_visible_at,
    }
    return pl.DataFrame(columns).with_columns(
        pl.when(pl.col(name) != MISSING).then(pl.col(name)).cast(pl.Datetime("ns", "UTC"))
        for name in STAMPS
    )
