"""What a reader asks of a catalog, checked before anything is read: streams, columns, range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from clock.units import format_instant
from featurizer.catalog_instruments import unknown_name
from featurizer.catalog_parts import Part
from featurizer.errors import CatalogError
from featurizer.market import STAMPS, Kind, StreamKey, StreamRequest, Window
from featurizer.window import StreamReader, read_windows

__all__ = ["columns_wanted", "scan", "span"]


def columns_wanted(
    requests: Iterable[StreamRequest], kinds: Mapping[str, Kind], root: Path
) -> dict[StreamKey, set[str]]:
    """Return the columns that are asked for of each stream; a stream may be asked for twice.

    Raises:
        CatalogError: If a kind does not have a column; its kind is known.
    """
    wanted: dict[StreamKey, set[str]] = {}
    for request in requests:
        known = kinds[request.kind].all_columns
        for column in request.columns:
            if column not in known:
                where = f"{root}: {request.kind}"
                raise CatalogError(unknown_name(where, "column", column, known))
        wanted.setdefault(request.key, set()).update(request.columns)
    return wanted


def span(parts: Iterable[Part]) -> tuple[int, int]:
    """Return the first instant of an event of the parts, and the one after the last."""
    summaries = [part.summary for part in parts]
    return min(s.first[0] for s in summaries), max(s.last[0] for s in summaries) + 1


def scan(
    wanted: Mapping[StreamKey, set[str]],
    parts: Mapping[StreamKey, Sequence[Part]],
    kinds: Mapping[str, Kind],
    root: Path,
    bounds: tuple[int, int],
    rows: int,
    max_window_ns: int,
) -> Iterator[Window]:
    """Return the windows of streams that exist; see `Catalog.windows`.

    Raises:
        CatalogError: If no stream has a record in the range.
    """
    start, until = bounds
    _check_range(parts, root, start, until)
    readers = [
        StreamReader(key[0], kinds[key[1]], _names(kinds[key[1]], own), parts[key], start, until)
        for key, own in wanted.items()
    ]
    return read_windows(readers, start, until, rows, max_window_ns)


def _names(kind: Kind, columns: set[str]) -> list[str]:
    return [*STAMPS, *(column for column in kind.columns if column in columns)]


def _check_range(
    parts: Mapping[StreamKey, Sequence[Part]], root: Path, start: int, until: int
) -> None:
    for held in parts.values():
        for part in held:
            if part.summary.first[0] < until and part.summary.last_receipt >= start:
                return
    if not parts:
        return
    first, last = span(part for held in parts.values() for part in held)
    names = ", ".join(f"{kind} of {name}" for name, kind in parts)
    raise CatalogError(
        f"{root}: the range must hold records: got none of {names} from "
        f"{format_instant(start)} to {format_instant(until)}. The catalog has them from "
        f"{format_instant(first)} to {format_instant(last)}."
    )
