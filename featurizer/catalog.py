"""A folder of market records in Parquet: written once, read by window.

    <root>/instruments.yaml
    <root>/kinds.yaml                       kinds that a user declares
    <root>/<kind>/instrument=<ID>/date=YYYY-MM-DD/part-00000.parquet

A day is a UTC day of `event_time`. Parts of a stream never overlap in (`event_time`, `sequence`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from clock.units import format_instant
from featurizer.catalog_describe import StreamSummary, describe_stream
from featurizer.catalog_instruments import (
    Definitions,
    group_definitions,
    merge_definitions,
    merge_kinds,
    read_instruments,
    read_kinds,
    unknown_name,
    write_instruments,
    write_kinds,
)
from featurizer.catalog_parts import Part, list_parts
from featurizer.catalog_write import write_days
from featurizer.errors import CatalogError
from featurizer.ingest.validation import DEFAULT_MAX_LATENESS_NS
from featurizer.market import STAMPS, Instrument, Kind, StreamKey, StreamRequest, Window
from featurizer.window import StreamReader, read_windows

__all__ = ["Catalog"]

_HOUR_NS: Final = 3_600_000_000_000


class Catalog:
    """A catalog of market records that exists.

    The parts of a stream are looked up when it is first read; a part that is replaced after
    that is noticed and refused.

    Args:
        root: Folder of the catalog.

    Raises:
        CatalogError: If the folder holds no catalog, or its `instruments.yaml` is wrong.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not (self.root / "instruments.yaml").exists():
            raise CatalogError(
                f"{self.root}: a catalog must hold `instruments.yaml`: got "
                f"{'a folder without it' if self.root.exists() else 'no such folder'}. Make one "
                f"with `lightcone data synth` or `lightcone data ingest`."
            )
        self.definitions: Definitions = read_instruments(self.root / "instruments.yaml")
        self.kinds: dict[str, Kind] = read_kinds(self.root / "kinds.yaml")
        self._index: dict[StreamKey, list[Part]] = {}

    @classmethod
    def create(
        cls, root: Path | str, instruments: Iterable[Instrument], kinds: Sequence[Kind] = ()
    ) -> Catalog:
        """Make a catalog, or add instruments and kinds to one that exists.

        Args:
            root: Folder of the catalog; made if it does not exist.
            instruments: Definitions; one that the catalog already has must be the same.
            kinds: Kinds besides the built-in ones, in order: their numbers count from 100.

        Raises:
            CatalogError: If the catalog already defines an instrument or a kind differently.
        """
        root = Path(root)
        root.mkdir(parents=True, exist_ok=True)
        given = group_definitions(instruments, str(root))
        merged_kinds = merge_kinds(kinds, str(root))
        if (root / "instruments.yaml").exists():
            present = cls(root)
            given = merge_definitions(present.definitions, given, root / "instruments.yaml")
            if kinds and present.kinds != merged_kinds:
                raise CatalogError(
                    f"{root / 'kinds.yaml'}: the kinds must stay as they are declared: got "
                    f"{list(merged_kinds)}, not {list(present.kinds)}. Use another folder."
                )
        write_kinds(root / "kinds.yaml", merged_kinds)
        write_instruments(root / "instruments.yaml", given)
        return cls(root)

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The newest definition of each instrument, by id."""
        return {name: entries[-1] for name, entries in self.definitions.items()}

    def instrument(self, name: str, at: int) -> Instrument:
        """Return the definition of an instrument that is valid at an instant.

        Raises:
            CatalogError: If the catalog does not know it, or not that early.
        """
        entries = self._definitions(name)
        valid = [entry for entry in entries if entry.valid_from <= at]
        if not valid:
            raise CatalogError(
                f"{self.root / 'instruments.yaml'}: {name} must be defined at "
                f"{format_instant(at)}: got a first `valid_from` of "
                f"{format_instant(entries[0].valid_from)}. Add an earlier definition."
            )
        return valid[-1]

    def kind(self, name: str) -> Kind:
        """Return a kind of record by name.

        Raises:
            CatalogError: If the catalog does not know it.
        """
        if name not in self.kinds:
            raise CatalogError(unknown_name(str(self.root), "kind of record", name, self.kinds))
        return self.kinds[name]

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
        key = (instrument, kind)
        definitions, spec = self._definitions(instrument), self.kind(kind)
        present = [] if replace else self.parts(instrument, kind)
        self._index.pop(key, None)
        return write_days(
            self._folder(instrument, kind), data, spec, definitions,
            source=source or f"{instrument} {kind}",
            max_lateness_ns=max_lateness_ns, present=present, replace=replace,
        )  # fmt: skip

    def parts(self, instrument: str, kind: str) -> list[Part]:
        """Return the parts of a stream in order of time; none where there is no such stream.

        Raises:
            CatalogError: If a part cannot be read, or parts overlap.
        """
        key = (instrument, kind)
        if key not in self._index:
            definitions, spec = self._definitions(instrument), self.kind(kind)
            folder = self._folder(instrument, kind)
            self._index[key] = list_parts(folder, spec, definitions, DEFAULT_MAX_LATENESS_NS)
        return self._index[key]

    def streams(self) -> list[StreamKey]:
        """Return the streams that hold records, by instrument in the catalog's order, by kind."""
        return [
            (name, kind)
            for name in self.definitions
            for kind in self.kinds
            if any(self._folder(name, kind).glob("date=*/part-*.parquet"))
        ]

    def range(self, streams: Iterable[StreamKey]) -> tuple[int, int]:
        """Return the first instant of an event of the streams, and the one after the last.

        Raises:
            CatalogError: If a stream holds nothing.
        """
        summaries = [part.summary for key in streams for part in self._held(*key)]
        first = min(summary.first[0] for summary in summaries)
        return first, max(summary.last[0] for summary in summaries) + 1

    def describe(self) -> list[StreamSummary]:
        """Return for each stream its rows, range, longest gap and feed latency.

        Reads every stamp once, with bounded memory.
        """
        return [
            describe_stream(key, self.parts(*key), self._folder(*key)) for key in self.streams()
        ]

    def digest(self, streams: Iterable[StreamKey], start: int, until: int) -> str:
        """Return a digest of what [start, until) is read from, wherever the folder lies.

        It covers the range, the definitions of the instruments, and the content of every part
        that a run over the range may read a record from.
        """
        digest = hashlib.sha256(f"{start} {until}".encode())
        for name, kind in sorted(set(streams)):
            digest.update(f"\n{name} {kind}".encode())
            for definition in self._definitions(name):
                digest.update(f"\n{definition.model_dump_json()}".encode())
            for part in self.parts(name, kind):
                if part.summary.first[0] < until and part.summary.last_receipt >= start:
                    digest.update(f"\n{part.summary.digest}".encode())
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
        wanted: dict[StreamKey, set[str]] = {}
        for request in requests:
            known = self.kind(request.kind).all_columns
            for column in request.columns:
                if column not in known:
                    where = f"{self.root}: {request.kind}"
                    raise CatalogError(unknown_name(where, "column", column, known))
            wanted.setdefault(request.key, set()).update(request.columns)
        parts = {key: self._held(*key) for key in wanted}
        self._check_range(parts, start, until)
        readers = [
            StreamReader(
                key[0], self.kind(key[1]), self._names(key[1], columns), parts[key], start, until
            )
            for key, columns in wanted.items()
        ]
        return read_windows(readers, start, until, rows, max_window_ns)

    def _names(self, kind: str, columns: set[str]) -> list[str]:
        own = self.kind(kind).columns
        return [*STAMPS, *(column for column in own if column in columns)]

    def _check_range(self, parts: dict[StreamKey, list[Part]], start: int, until: int) -> None:
        for held in parts.values():
            for part in held:
                if part.summary.first[0] < until and part.summary.last[0] >= start:
                    return
        if not parts:
            return
        first, last = self.range(parts)
        names = ", ".join(f"{kind} of {name}" for name, kind in parts)
        raise CatalogError(
            f"{self.root}: the range must hold records: got none of {names} from "
            f"{format_instant(start)} to {format_instant(until)}. The catalog has them from "
            f"{format_instant(first)} to {format_instant(last)}."
        )

    def _held(self, instrument: str, kind: str) -> list[Part]:
        parts = self.parts(instrument, kind)
        if not parts:
            held = ", ".join(f"{k} of {n}" for n, k in self.streams()) or "nothing"
            raise CatalogError(
                f"{self.root}: the catalog must hold {kind} of {instrument}: got none. It holds "
                f"{held}."
            )
        return parts

    def _definitions(self, name: str) -> tuple[Instrument, ...]:
        if name not in self.definitions:
            raise CatalogError(unknown_name(str(self.root), "instrument", name, self.definitions))
        return self.definitions[name]

    def _folder(self, instrument: str, kind: str) -> Path:
        return self.root / kind / f"instrument={instrument}"
