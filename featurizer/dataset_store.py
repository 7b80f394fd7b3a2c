"""A feature set on disk, a file for each day: written as a stream, scanned lazily.

    <out>/date=YYYY-MM-DD/part-00000.parquet

A day is a UTC day of `emitted_at`. A file appears when it is whole, and in no other way.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from featurizer.config import FeaturizerConfig
from featurizer.dataset import stored_names
from featurizer.dataset_part import META, Layout, PartWriter, part_of
from featurizer.errors import FeatureError
from featurizer.graph import FeatureGraph
from featurizer.labels import LabelledRows, labelled_rows

if TYPE_CHECKING:
    import polars as pl

    from featurizer.catalog import Catalog

__all__ = ["DAY_NS", "DayWriter", "Stored", "scan_dataset", "stored_features", "write_dataset"]

DAY_NS: Final = 86_400_000_000_000


class Stored(NamedTuple):
    """What was written.

    Attributes:
        rows: How many rows.
        labelled: How many of them have a label.
        files: The files, by day.
        columns: Their columns.
    """

    rows: int
    labelled: int
    files: tuple[Path, ...]
    columns: tuple[str, ...]


def write_dataset(
    catalog: Catalog,
    config: FeaturizerConfig,
    instruments: Sequence[str],
    start: int,
    until: int,
    out: Path | str,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Stored:
    """Work out the rows of [start, until) and their labels, and write them by day.

    Memory holds a window, the rows of one lookahead and one row group, however long the range.
    Files of the days written are replaced; those of other days, and files of one day that this
    range has no row for, are removed: the folder then holds this set and nothing else.

    Args:
        catalog: Where the market records are.
        config: The features, when a row is emitted, and the label.
        instruments: Ids of the instruments, the features' default first.
        start: First instant.
        until: First instant after it.
        out: Folder of the set; or, where it ends in `.parquet`, one file for all days.
        workers: Processes. With more than one, days are worked out side by side; each begins early
            enough that no feature still shows where it began, or, where one always does, from a
            state that is handed over. The files are the same, byte for byte.
        progress: Told how far in time the work has come.

    Raises:
        FeatureError: If the features cannot be made.
        CatalogError: If the catalog has not what they read.
    """
    out = Path(out)
    graph = FeatureGraph(config, instruments, start=start, kinds=catalog.kinds)
    kept = stored_names(config, graph.names)
    with DayWriter(out, Layout(graph.names, kept, tuple(instruments))) as writer:
        if workers > 1 and out.suffix != ".parquet" and until - start > 0:
            from featurizer.dataset_workers import write_days

            write_days(catalog, config, instruments, (start, until), writer, workers, progress)
        else:
            for labelled in labelled_rows(
                catalog, config, instruments, start, until, progress=progress
            ):
                writer.write(labelled)
    return writer.stored


class DayWriter:
    """Writes rows in order of emission, a file for each day; leaves the block with all or none.

    Args:
        out: Folder, or one `.parquet` file.
        layout: The columns of the files.
    """

    def __init__(self, out: Path, layout: Layout) -> None:
        self.layout = layout
        self._out = out
        self._single = out.suffix == ".parquet"
        self._part: PartWriter | None = None
        self._day = 0
        self._staged: dict[Path, Path] = {}
        self._rows = 0
        self._labelled = 0

    def __enter__(self) -> DayWriter:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            if not self._staged:  # a set without a row is a file without one
                self._open_day(self._day)
            self._close_day()
            self._publish()
            return
        if self._part is not None:
            self._part.abandon()
        for staged in self._staged.values():
            staged.unlink(missing_ok=True)
            if not self._single:
                with contextlib.suppress(OSError):
                    staged.parent.rmdir()

    @property
    def stored(self) -> Stored:
        """What has been written."""
        files = tuple(sorted(self._staged))
        return Stored(self._rows, self._labelled, files, tuple(self.layout.schema().names))

    def write(self, labelled: LabelledRows) -> None:
        """Take rows that come after all taken before."""
        emitted = labelled.rows.emitted_at
        begin = 0
        while begin < len(emitted):
            day = int(emitted[begin]) // DAY_NS
            end = len(emitted)
            if not self._single:
                end = int(emitted.searchsorted((day + 1) * DAY_NS, "left"))
            if self._part is None or (day != self._day and not self._single):
                self._close_day()
                self._open_day(day)
            assert self._part is not None
            self._part.write(part_of(labelled, begin, end))
            begin = end

    def adopt(self, day: int, rows: int, labelled: int) -> None:
        """Take a day that a worker has written to `staging(day)`."""
        self._staged[self._home(day)] = self.staging(day)
        self._rows += rows
        self._labelled += labelled

    def staging(self, day: int) -> Path:
        """Return the path at which a day is written until the set is whole."""
        home = self._home(day)
        home.parent.mkdir(parents=True, exist_ok=True)
        return home.with_name(f".{home.name}.{os.getpid()}")

    def _home(self, day: int) -> Path:
        if self._single:
            return self._out
        return self._out / f"date={np.datetime64(day, 'D')}" / "part-00000.parquet"

    def _open_day(self, day: int) -> None:
        path = self.staging(day)
        self._staged[self._home(day)] = path
        self._day = day
        self._part = PartWriter(path, self.layout)

    def _close_day(self) -> None:
        if self._part is not None:
            self._part.close()
            self._rows += self._part.rows
            self._labelled += self._part.labelled
            self._part = None

    def _publish(self) -> None:
        keep = {path.parent for path in self._staged}
        for home, staged in sorted(self._staged.items()):
            os.replace(staged, home)
        if self._single:
            return
        for folder in self._out.glob("date=*"):
            if folder not in keep:
                for part in folder.glob("part-*.parquet"):
                    part.unlink()
                with contextlib.suppress(OSError):
                    folder.rmdir()


def scan_dataset(folder: Path | str) -> pl.LazyFrame:
    """Return a stored set as a lazy frame, in order of emission.

    Args:
        folder: What `write_dataset` wrote: a folder or one file.

    Raises:
        FeatureError: If there is none.
    """
    import polars as pl

    return pl.scan_parquet(list(_parts(folder)), hive_partitioning=False)


def stored_features(folder: Path | str) -> tuple[str, ...]:
    """Return the names of a stored set's features.

    Raises:
        FeatureError: If there is none, or a file of it is not ours.
    """
    import pyarrow.parquet as pq

    first = next(_parts(folder))
    metadata = pq.read_schema(first).metadata or {}
    if META not in metadata:
        raise FeatureError(
            f"{first}: a stored set must say which of its columns are features: got a file "
            "without. Write it with `lightcone featurize`."
        )
    return tuple(json.loads(metadata[META]))


def _parts(folder: Path | str) -> Iterator[Path]:
    root = Path(folder)
    found = [root] if root.is_file() else sorted(root.glob("date=*/part-*.parquet"))
    if not found:
        raise FeatureError(
            f"{root}: a feature set must hold `date=…/part-….parquet`: got "
            f"{'a folder without' if root.is_dir() else 'no such folder'}. Make one with "
            "`lightcone featurize`."
        )
    yield from found
