"""Small parts of a day put together: fewer files, the same records, the same digest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clock.units import format_instant
from featurizer.catalog_commit import Staging, carry_out, commit, locked
from featurizer.catalog_folder import CatalogFolder
from featurizer.catalog_parts import Part, PartReader, write_part
from featurizer.errors import CatalogError
from featurizer.market import Kind, StreamKey

__all__ = ["Compaction", "compact_stream"]


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did to a stream.

    Attributes:
        instrument: Id of the instrument.
        kind: Name of the kind.
        rows: Records that were put together anew.
        parts_before: Number of parts before.
        parts_after: Number of parts after.
    """

    instrument: str
    kind: str
    rows: int
    parts_before: int
    parts_after: int


def compact_stream(
    store: CatalogFolder, key: StreamKey, parts: Sequence[Part], kind: Kind, max_rows: int
) -> Compaction:
    """Put neighbouring parts of a day together, up to a number of rows, as one change.

    A day's neighbours are put together as long as they fit, so doing it again changes nothing.

    Raises:
        CatalogError: If another process changed the parts meanwhile.
    """
    runs = [run for run in _runs(parts, max_rows) if len(run) > 1]
    rows = sum(part.summary.rows for run in runs for part in run)
    gone = [part for run in runs for part in run]
    if runs:
        staging = Staging(store.root)
        try:
            moves = {_put_together(run, kind, staging): run[0].home for run in runs}
            with locked(store.root, exclusive=True):
                carry_out(store.root)
                now = {(part.home, part.summary.digest) for part in store.listed(*key)}
                _check_unchanged(gone, now)
                targets = set(moves.values())
                commit(store.root, moves, [p.home for p in gone if p.home not in targets])
        finally:
            staging.close()
    return Compaction(*key, rows, len(parts), len(parts) - len(gone) + len(runs))


def _runs(parts: Sequence[Part], max_rows: int) -> Iterator[list[Part]]:
    run: list[Part] = []
    for part in parts:
        fits = sum(other.summary.rows for other in run) + part.summary.rows <= max_rows
        if run and not (fits and run[-1].home.parent == part.home.parent):
            yield run
            run = []
        run.append(part)
    yield run


def _put_together(run: Sequence[Part], kind: Kind, staging: Staging) -> Path:
    names = list(kind.all_columns)
    groups = []
    for part in run:
        reader = PartReader(part, names)
        groups += [reader.read(number) for number in range(len(part.summary.groups))]
        reader.close()
    columns = {name: np.concatenate([group[name] for group in groups]) for name in names}
    path = staging.file()
    pieces = [piece for part in run for piece in part.summary.pieces]
    write_part(path, columns, kind, pieces)
    return path


def _check_unchanged(gone: Sequence[Part], now: set[tuple[Path, str]]) -> None:
    for part in gone:
        if (part.home, part.summary.digest) not in now:
            raise CatalogError(
                f"{part.path}: a part must not change while it is compacted: got other records "
                f"from {format_instant(part.summary.first[0])}. Compact again."
            )
