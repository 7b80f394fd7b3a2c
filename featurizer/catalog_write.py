"""Records into the parts of a stream: validated, cut by UTC day, each part whole or not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from clock.units import format_instant
from featurizer.catalog_columns import to_columns
from featurizer.catalog_parts import Part, write_part
from featurizer.errors import CatalogError
from featurizer.ingest.refusal import Origin
from featurizer.ingest.validation import check_records
from featurizer.market import Array, Instrument, Kind

__all__ = ["write_days"]

_DAY_NS: Final = 86_400_000_000_000


def write_days(
    folder: Path,
    data: Any,
    kind: Kind,
    definitions: Sequence[Instrument],
    *,
    source: str,
    max_lateness_ns: int,
    present: Sequence[Part],
    replace: bool,
) -> int:
    """Write the records of a stream, a part for each day; see `Catalog.write`."""
    origin = Origin(source)
    columns = to_columns(data, kind, origin)
    check_records(columns, kind, definitions, origin, max_lateness_ns)
    days = list(_by_day(columns))
    for _, part in days:
        _check_apart(part, present, source)
    for day, part in days:
        target = folder / f"date={day}"
        others = sorted(target.glob("part-*.parquet"))
        number = 0 if replace or not others else int(others[-1].stem.removeprefix("part-")) + 1
        written = write_part(target / f"part-{number:05d}.parquet", part, kind)
        if replace:
            for other in others:
                if other != written.path:
                    other.unlink()
    return len(columns["event_time"])


def _by_day(columns: dict[str, Array]) -> Iterator[tuple[str, dict[str, Array]]]:
    event = columns["event_time"]
    first, last = int(event[0]) // _DAY_NS, int(event[-1]) // _DAY_NS
    edges = np.searchsorted(event, np.arange(first, last + 2) * _DAY_NS)
    for day, start, stop in zip(range(first, last + 1), edges, edges[1:], strict=False):
        if stop > start:
            name = str(np.datetime64(day, "D"))
            yield name, {column: values[start:stop] for column, values in columns.items()}


def _check_apart(columns: dict[str, Array], present: Sequence[Part], source: str) -> None:
    event, sequence = columns["event_time"], columns["sequence"]
    first = (int(event[0]), int(sequence[0]))
    last = (int(event[-1]), int(sequence[-1]))
    for part in present:
        if first <= part.summary.last and last >= part.summary.first:
            raise CatalogError(
                f"{source}: records must not lie among those of the catalog: got "
                f"{format_instant(first[0])} to {format_instant(last[0])}, while {part.path} has "
                f"{format_instant(part.summary.first[0])} to "
                f"{format_instant(part.summary.last[0])}. Accept it with `--replace`, which "
                f"replaces the days that the records touch."
            )
