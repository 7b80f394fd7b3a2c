"""A catalog with another future, beside the real one, which is never touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from backtester.causality.futures import Array, Columns, Future, changed
from featurizer.catalog import Catalog
from featurizer.catalog_parts import Part, PartReader
from featurizer.market import Kind, StreamKey

__all__ = ["later_rows", "write_future"]

MOST_ROWS = 4_000_000
"""Most records of a stream kept after the cut; that there is nothing beyond is a future, too."""


def write_future(
    catalog: Catalog, streams: Iterable[StreamKey], future: Future, at: int, root: Path
) -> tuple[Catalog, int]:
    """Write the streams with another future into a new folder; return it and the records changed.

    Parts that lie before the cut as a whole are linked, not copied.

    Args:
        catalog: The real one.
        streams: Those that a run may read; others are linked as they are.
        future: What to change.
        at: Instant whose definition of an instrument gives its tick and lot.
        root: Folder that does not exist.
    """
    root.mkdir(parents=True)
    for name in ("instruments.yaml", "kinds.yaml"):
        if (catalog.root / name).exists():
            shutil.copy2(catalog.root / name, root / name)
    wanted = set(streams)
    rest: list[tuple[StreamKey, list[Part]]] = []
    for key in catalog.streams():
        parts = catalog.held(*key)
        whole = _whole(parts, future) if key in wanted else len(parts)
        for part in parts[:whole]:
            _link(part.path, root / part.home.relative_to(catalog.root))
        if whole < len(parts):
            rest.append((key, parts[whole:]))
    made = Catalog(root)
    count = 0
    for key, parts in rest:
        kind = catalog.kind(key[1])
        columns = _read(parts, kind, future)
        if future.fits(kind, catalog.key_of(kind.name)):
            count += _count(columns, key, future)
            columns = changed(columns, key, kind, catalog.instrument(key[0], at), future)
        if len(columns["event_time"]):
            lateness = int((columns["receipt_time"] - columns["event_time"]).max())
            made.write(*key, columns, max_lateness_ns=lateness)
    return Catalog(root), count


def _count(columns: Columns, stream: StreamKey, future: Future) -> int:
    later = int((columns[future.stamp] > future.cut).sum())
    if future.only is None:
        return later
    return future.only.last - future.only.first if future.only.stream == stream else 0


def later_rows(catalog: Catalog, stream: StreamKey, future: Future) -> Columns:
    """Return the records of a stream after the cut, in the order in which they are changed."""
    parts = catalog.held(*stream)
    columns = _read(parts[_whole(parts, future) :], catalog.kind(stream[1]), future)
    after = columns[future.stamp] > future.cut
    return {name: column[after] for name, column in columns.items()}


def _whole(parts: list[Part], future: Future) -> int:
    """Return how many parts lie before the cut, so that they stay as they are."""
    for place, part in enumerate(parts):
        summary = part.summary
        last = summary.last[0] if future.stamp == "event_time" else summary.last_receipt
        if last > future.cut:
            return place
    return len(parts)


def _read(parts: list[Part], kind: Kind, future: Future) -> Columns:
    names = list(kind.all_columns)
    read: dict[str, list[Array]] = {name: [] for name in names}
    later = 0
    for part in parts:
        reader = PartReader(part, names)
        for group in range(len(part.summary.groups)):
            if later >= MOST_ROWS:
                break
            columns = reader.read(group)
            later += int((columns[future.stamp] > future.cut).sum())
            for name in names:
                read[name].append(columns[name])
        reader.close()
    return {
        name: np.concatenate(chunks) if chunks else np.empty(0, kind.dtype(name))
        for name, chunks in read.items()
    }


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
