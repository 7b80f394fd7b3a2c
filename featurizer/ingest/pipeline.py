"""From the rows of files, in the order they were received, to the order of the catalog.

Rows wait until nothing that is still to come can have happened before them: no row is accepted
that was received more than the accepted lateness after its event. So memory is bounded by what is
received in that time, however long the files are, and nothing is visible before all is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from clock.units import format_instant
from featurizer.catalog import Catalog
from featurizer.catalog_kinds import UserKind, merge_kinds, with_built_in
from featurizer.catalog_write import Transaction
from featurizer.errors import MarketDataError
from featurizer.ingest.files import Progress
from featurizer.ingest.known import find_instrument
from featurizer.ingest.refusal import Origin, refuse_if
from featurizer.ingest.report import IngestReport, latency_quantiles
from featurizer.ingest.validation import DEFAULT_MAX_LATENESS_NS, check_stamps, order_keys
from featurizer.market import Array, Kind

__all__ = ["Rows", "Target", "ingest_rows"]

_FLUSH: Final = 1_000_000
_SAMPLE: Final = 100_000

Rows = Iterable[tuple[dict[str, Array], Origin]]
"""Columns of a kind, batch by batch, and where they come from."""


@dataclass(frozen=True)
class Target:
    """Where the records of an ingest go, and what is accepted.

    Attributes:
        instrument: Id to write them under.
        catalog: Folder of the catalog; made if it does not exist.
        instruments_file: Definitions of instruments that are not known, or other fees.
        kinds: Kinds that a user declares.
        max_lateness_ns: Longest `receipt_time - event_time` accepted.
        start: Records that happened before it are left out; None for no bound.
        until: Records that happened at or after it are left out; None for no bound.
        replace: Replace the days that the records touch.
        progress: Called with (done, total) of the file that is read.
    """

    instrument: str
    catalog: Path
    instruments_file: Path | None = None
    kinds: tuple[UserKind, ...] = ()
    max_lateness_ns: int = DEFAULT_MAX_LATENESS_NS
    start: int | None = None
    until: int | None = None
    replace: bool = False
    progress: Progress | None = None

    def known_kinds(self) -> dict[str, Kind]:
        """Return the built-in kinds, those of the catalog, and the ones given, by name."""
        present: tuple[UserKind, ...] = ()
        if (self.catalog / "instruments.yaml").exists():
            present = Catalog(self.catalog).user_kinds
        return with_built_in(merge_kinds(present, self.kinds, self.catalog))


class _Places(NamedTuple):
    """Where rows come from: which of the files, and which line or row of it."""

    files: Array
    numbers: Array


@dataclass
class _Waiting:
    """Rows that wait for others which may have happened before them."""

    kind: Kind
    target: Target
    change: Transaction
    in_order: bool
    batches: list[dict[str, Array]] = field(default_factory=list)
    places: list[_Places] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    size: int = 0
    newest: int = -(2**63)
    left_out: int = 0
    rows: int = 0
    start: int = 2**63 - 1
    end: int = -(2**63)
    late: list[Array] = field(default_factory=list)

    def add(self, columns: dict[str, Array], origin: Origin) -> None:
        """Take rows; write those that nothing can come before any more."""
        if len(columns["event_time"]) == 0:
            return
        check_stamps(columns, origin, self.target.max_lateness_ns)
        if self.in_order:
            self._check_order(columns, origin)
        columns, origin = self._within(columns, origin)
        numbers = origin.numbers
        assert numbers is not None
        if not self.origins or self.origins[-1].file != origin.file:
            self.origins.append(Origin(origin.file, origin.word))
        self.batches.append(columns)
        self.places.append(_Places(np.full(len(numbers), len(self.origins) - 1, np.int16), numbers))
        self.size += len(numbers)
        if self.in_order and self.size > _FLUSH:
            self.write(before=self.newest - self.target.max_lateness_ns)

    def _check_order(self, columns: dict[str, Array], origin: Origin) -> None:
        receipt = columns["receipt_time"]
        before = np.concatenate([[self.newest], receipt[:-1]])
        refuse_if(
            receipt < before,
            origin,
            "the order of the file, which is the records' only order, must be that of receipt",
            lambda i: f"{format_instant(int(receipt[i]))} after {format_instant(int(before[i]))}",
            "Sort the file, give several files in order of time, or map a `sequence` column.",
        )
        self.newest = int(receipt[-1])

    def _within(self, columns: dict[str, Array], origin: Origin) -> tuple[dict[str, Array], Origin]:
        start, until = self.target.start, self.target.until
        if start is None and until is None:
            return columns, origin
        event = columns["event_time"]
        kept = np.ones(len(event), np.bool_)
        if start is not None:
            kept &= event >= start
        if until is not None:
            kept &= event < until
        self.left_out += int(np.count_nonzero(~kept))
        rows = np.flatnonzero(kept)
        return {name: values[rows] for name, values in columns.items()}, origin.take(rows)

    def write(self, before: int | None = None) -> None:
        """Write the rows that happened before an instant, or all."""
        if self.size == 0:
            return
        columns = {
            name: np.concatenate([batch[name] for batch in self.batches])
            for name in self.kind.all_columns
        }
        places = _Places(*(np.concatenate(parts) for parts in zip(*self.places, strict=True)))
        self.batches, self.places = [], []
        order = np.lexsort(list(reversed(order_keys(columns, self.kind))))
        stop = len(order)
        if before is not None:
            stop = int(np.searchsorted(columns["event_time"][order], before))
        first, rest = order[:stop], np.sort(order[stop:])
        self.batches = [{name: values[rest] for name, values in columns.items()}]
        self.places = [_Places(*(part[rest] for part in places))]
        self.size = len(rest)
        if len(first):
            origin = _ManyFiles(
                self.origins[0].file, self.origins[0].word, places.numbers[first],
                self.origins, places.files[first],
            )  # fmt: skip
            self._hand_over({name: values[first] for name, values in columns.items()}, origin)

    def _hand_over(self, columns: dict[str, Array], origin: Origin) -> None:
        target = self.target
        self.change.write(
            target.instrument, self.kind.name, columns,
            max_lateness_ns=target.max_lateness_ns, origin=origin,
        )  # fmt: skip
        event = columns["event_time"]
        self.rows += len(event)
        self.start, self.end = min(self.start, int(event[0])), max(self.end, int(event[-1]))
        late = columns["receipt_time"] - event
        stride = max(1, len(late) // _SAMPLE)
        self.late += [late[::stride].copy(), late.max(keepdims=True)]


@dataclass(frozen=True)
class _ManyFiles(Origin):
    origins: Sequence[Origin] = ()
    files: Array | None = None

    def at(self, index: int) -> str:
        """Return `file row n`, of the file that the record came from."""
        assert self.files is not None
        assert self.numbers is not None
        return f"{self.origins[self.files[index]].file} {self.word} {self.numbers[index]}"

    def take(self, order: Array) -> Origin:
        """Return the origin of the records in another order."""
        assert self.files is not None
        assert self.numbers is not None
        numbers, files = self.numbers[order], self.files[order]
        return _ManyFiles(self.file, self.word, numbers, self.origins, files)


def ingest_rows(
    paths: Sequence[Path],
    kind: str,
    read: Callable[[Path, int], Rows],
    target: Target,
    *,
    in_order: bool,
    note: dict[str, Any] | None = None,
    remarks: Callable[[], list[str]] = list,
) -> IngestReport:
    """Write the rows of files to a catalog, all of them or none.

    Args:
        paths: The files, in order of time.
        kind: Name of the kind of record.
        read: Returns the rows of a file, given how many were read before it. All columns of the
            kind are there; `sequence` goes on over the files where it is the order in them.
        target: Where they go.
        in_order: The rows' order is that of receipt, and it is the order of the records.
            Otherwise `sequence` orders them, and all are held in memory.
        note: What was done to the stamps, for the catalog.
        remarks: Asked at the end for what a reader of the report must know.

    Raises:
        MarketDataError: If a file cannot be read, or a record breaks a rule.
        CatalogError: If instrument or kind is not known, or the catalog has these records.
    """
    definitions = find_instrument(target.instrument, target.instruments_file)
    with _catalog(target, definitions) as catalog:
        with catalog.transaction(replace=target.replace) as change:
            waiting = _Waiting(catalog.kind(kind), target, change, in_order)
            seen = 0
            for path in paths:
                for columns, origin in read(path, seen):
                    waiting.add(columns, origin)
                    seen += len(columns["event_time"])
            waiting.write()
            if waiting.rows == 0:
                raise _nothing(paths, kind, target, waiting.left_out)
            if note is not None:
                for path in paths:
                    change.note(target.instrument, kind, {"file": path.name} | note)
        replaced = {name: rows for (_, name), rows in change.replaced.items()}
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    said = remarks()
    if waiting.left_out:
        said.append(f"Left out {waiting.left_out} records that `--start` or `--until` excludes.")
    return IngestReport(
        source=f"{paths[0]}{more}",
        instrument=target.instrument,
        rows={kind: waiting.rows},
        start=waiting.start,
        end=waiting.end,
        latency_ns=latency_quantiles(np.concatenate(waiting.late)),
        replaced=replaced,
        remarks=said,
    )


@contextmanager
def _catalog(target: Target, definitions: Any) -> Iterator[Catalog]:
    """Open or make the catalog; one that was made for an ingest that failed goes again."""
    root = target.catalog
    new = not (root / "instruments.yaml").exists()
    made = not root.exists()
    try:
        yield Catalog.create(root, definitions, target.kinds)
    except BaseException:
        if new and root.exists():
            for name in ("instruments.yaml", "kinds.yaml"):
                (root / name).unlink(missing_ok=True)
            if made and not any(root.iterdir()):
                root.rmdir()
        raise


def _nothing(paths: Sequence[Path], kind: str, target: Target, left_out: int) -> MarketDataError:
    if left_out:
        return MarketDataError(
            f"{paths[0]}: records must be left between `--start` and `--until`: got none of "
            f"{left_out}. Give another range."
        )
    return MarketDataError(f"{paths[0]}: it holds no {kind}. Give at least one record.")
