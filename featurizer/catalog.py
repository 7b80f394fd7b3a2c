"""A folder of market records in Parquet: written once, read by window.

    <root>/instruments.yaml
    <root>/kinds.yaml                       kinds that a user declares
    <root>/<kind>/instrument=<ID>/date=YYYY-MM-DD/part-00000.parquet

A day is a UTC day of `event_time`. Parts of a stream never overlap in (`event_time`, `sequence`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from clock.units import format_instant
from featurizer.catalog_commit import locked
from featurizer.catalog_compact import Compaction, compact_stream
from featurizer.catalog_describe import StreamSummary, describe_stream
from featurizer.catalog_folder import CatalogFolder, user_kinds
from featurizer.catalog_instruments import (
    group_definitions,
    merge_definitions,
    read_instruments,
    write_instruments,
)
from featurizer.catalog_kinds import UserKind, merge_kinds, write_kinds
from featurizer.catalog_scan import columns_wanted, scan, span
from featurizer.catalog_write import Transaction
from featurizer.errors import CatalogError
from featurizer.ingest.refusal import Origin
from featurizer.ingest.validation import DEFAULT_MAX_LATENESS_NS
from featurizer.market import Instrument, Kind, StreamKey, StreamRequest, Window

__all__ = ["Catalog"]

_HOUR_NS: Final = 3_600_000_000_000


class Catalog(CatalogFolder):
    """A catalog of market records that exists.

    The parts of a stream are looked up when it is first read; a part that is replaced after
    that is noticed and refused.

    Args:
        root: Folder of the catalog.

    Raises:
        CatalogError: If the folder holds no catalog, or its `instruments.yaml` is wrong.
    """

    @classmethod
    def create(
        cls,
        root: Path | str,
        instruments: Iterable[Instrument],
        kinds: Iterable[Kind | UserKind] = (),
    ) -> Catalog:
        """Make a catalog, or add instruments and kinds to one that exists.

        Args:
            root: Folder of the catalog; made if it does not exist.
            instruments: Definitions; one that the catalog already has must be the same.
            kinds: Kinds besides the built-in ones, in order: their numbers count from 100, and
                on from those that the catalog already has.

        Raises:
            CatalogError: If the catalog already defines an instrument or a kind differently.
        """
        root = Path(root)
        given = group_definitions(instruments, str(root))
        added = [k if isinstance(k, UserKind) else UserKind(k) for k in kinds]
        merge_kinds((), added, root)
        root.mkdir(parents=True, exist_ok=True)
        path = root / "instruments.yaml"
        with locked(root, exclusive=True):
            known = read_instruments(path) if path.exists() else {}
            merged = merge_definitions(known, given, path)
            declared = merge_kinds(user_kinds(root), added, root / "kinds.yaml")
            # a catalog without instruments is none, so they come last
            write_kinds(root / "kinds.yaml", declared)
            write_instruments(path, merged)
        return cls(root)

    def write(
        self,
        instrument: str,
        kind: str,
        data: Any,
        *,
        max_lateness_ns: int = DEFAULT_MAX_LATENESS_NS,
        replace: bool = False,
        source: str | None = None,
    ) -> int:
        """Validate records and write them, a part for each UTC day.

        Args:
            instrument: Id of the instrument.
            kind: Name of the kind.
            data: A mapping of arrays (instants as `int64` ns), a Polars frame or an Arrow
                table, with all columns of the kind, sorted by (`event_time`, `sequence`).
            max_lateness_ns: Longest `receipt_time - event_time` accepted.
            replace: Replace the days that the records touch. Otherwise records must not lie
                among those that are there already.
            source: What to call the data in messages; by default the name of the stream.

        Returns:
            The number of records written.

        Raises:
            MarketDataError: If a record breaks a rule.
            CatalogError: If instrument or kind is unknown, or the records overlap others.
        """
        with self.transaction(replace=replace) as change:
            return change.write(
                instrument, kind, data,
                max_lateness_ns=max_lateness_ns, origin=Origin(source) if source else None,
            )  # fmt: skip

    @contextmanager
    def transaction(self, *, replace: bool = False) -> Iterator[Transaction]:
        """Write records of any streams as one change, which happens when the block ends.

        Another process sees the catalog as it was before or as it is after, and so does
        everybody when this one is killed.

        Args:
            replace: Replace the days that the records touch.

        Raises:
            CatalogError: If records lie among those that are there.
        """
        change = Transaction(self, replace=replace)
        try:
            yield change
            change.commit()
        finally:
            change.close()
            self._index.clear()

    def compact(
        self, streams: Iterable[StreamKey] | None = None, max_rows: int = 4_000_000
    ) -> list[Compaction]:
        """Put small parts of a day together; no record and no digest changes.

        Args:
            streams: Streams to compact; by default all.
            max_rows: Most rows of a part that is put together: what is held in memory.

        Returns:
            What was done, for each stream.
        """
        keys = self.streams() if streams is None else list(streams)
        done = [
            compact_stream(self, key, self.held(*key), self.kind(key[1]), max_rows) for key in keys
        ]
        self._index.clear()
        return done

    def range(self, streams: Iterable[StreamKey]) -> tuple[int, int]:
        """Return the first instant of an event of the streams, and the one after the last.

        Raises:
            CatalogError: If a stream holds nothing.
        """
        return span(part for key in streams for part in self.held(*key))

    def describe(self) -> list[StreamSummary]:
        """Return for each stream its rows, range, longest gap and feed latency.

        Reads every stamp once, with bounded memory.
        """
        return [
            describe_stream(key, self.parts(*key), self.folder(*key), self.kind(key[1]))
            for key in self.streams()
        ]

    def digest(self, streams: Iterable[StreamKey], start: int, until: int) -> str:
        """Return a digest of what [start, until) is read from, wherever the folder lies.

        It covers the range, the definitions of the instruments, and the content of every part
        that a run over the range may read a record from.
        """
        digest = hashlib.sha256(f"{start} {until}".encode())
        for name, kind in sorted(set(streams)):
            digest.update(f"\n{name} {kind}".encode())
            for definition in self.definitions_of(name):
                digest.update(f"\n{definition.model_dump_json()}".encode())
            for part in self.parts(name, kind):
                # a part that was compacted counts as those it was made of
                for first, last_receipt, own in part.summary.pieces:
                    if first < until and last_receipt >= start:
                        digest.update(f"\n{own}".encode())
        return digest.hexdigest()

    def windows(
        self,
        requests: Iterable[StreamRequest],
        start: int,
        until: int,
        rows: int = 8192,
        max_window_ns: int = _HOUR_NS,
    ) -> Iterator[Window]:
        """Return the windows that cover [start, until) without a gap.

        The requests are checked at once, before the first window is asked for.

        Args:
            requests: Streams and columns; a stream may be asked for twice.
            start: First instant. What happened before it and reaches us after is read too.
            until: First instant after the last window.
            rows: Rows of the densest stream in a window, about. Never changes a result.
            max_window_ns: Longest window.

        Raises:
            CatalogError: If a stream or column is unknown, or no stream has a record in the range.
        """
        if start >= until or rows < 1 or max_window_ns < 1:
            raise CatalogError(
                f"{self.root}: a range must begin before it ends: got {format_instant(start)} to "
                f"{format_instant(until)}, with windows of {rows} rows. Correct `start` or `until`."
            )
        asked = list(requests)
        for request in asked:
            self.kind(request.kind)
        wanted = columns_wanted(asked, self.kinds, self.root)
        parts = {key: self.held(*key) for key in wanted}
        return scan(wanted, parts, self.kinds, self.root, (start, until), rows, max_window_ns)
