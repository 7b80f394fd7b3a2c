"""CSV and Parquet files of any make, with a mapping of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from clock.nearest import nearest
from featurizer.errors import MarketDataError
from featurizer.ingest.convert import TimeFormat, choices, instants, integers, numbers
from featurizer.ingest.files import Batch, TableFile
from featurizer.ingest.mapping import resolve_columns
from featurizer.ingest.pipeline import Rows, Target, ingest_rows
from featurizer.ingest.receipts import Receipts
from featurizer.ingest.report import IngestReport
from featurizer.market import Array, Kind

__all__ = ["Layout", "ingest_delimited"]

_BUYER_MAKER: Final = "buyer_is_maker"
_WORDS: Final[dict[str, dict[str, int]]] = {
    "aggressor": {
        "buy": 1,
        "sell": -1,
        "b": 1,
        "s": -1,
        "buyer": 1,
        "seller": -1,
        "1": 1,
        "-1": -1,
    },
    "side": {"bid": 1, "ask": -1, "buy": 1, "sell": -1, "b": 1, "a": -1, "1": 1, "-1": -1},
    "is_snapshot": {"true": 1, "false": 0, "1": 1, "0": 0},
    _BUYER_MAKER: {"true": -1, "false": 1, "1": -1, "0": 1},
}


@dataclass(frozen=True)
class Layout:
    """How the files are laid out.

    Attributes:
        columns: Field of the catalog to column of the file; others by their own name.
        time: How instants are written.
        feed_latency_ns: What every record takes to reach us, where no column says when it did.
        names: Names of the columns of a CSV that has no line of names.
        delimiter: What separates the values of a CSV.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    time: TimeFormat = field(default_factory=TimeFormat)
    feed_latency_ns: int | None = None
    names: Sequence[str] | None = None
    delimiter: str = ","


def ingest_delimited(
    paths: Sequence[Path], kind: str, layout: Layout, target: Target
) -> IngestReport:
    """Read tables of one kind of record and write them to a catalog.

    The records' order is that of the files, which is that of receipt, unless a column holds their
    `sequence`.

    Args:
        paths: The files, in order of time.
        kind: `quotes`, `trades`, `depth`, or a kind that the user declares.
        layout: How the files are laid out.
        target: Where the records go.

    Raises:
        MarketDataError: If a file cannot be read, or a record breaks a rule.
        CatalogError: If instrument or kind is not known, or the catalog has these records.
    """
    kinds = target.known_kinds()
    if kind not in kinds or kind == "bars":
        hint = (
            "Bars have a format of their own: `lightcone data ingest bars`."
            if (kind == "bars")
            else f"Declare others with `--kinds FILE`. {nearest(kind, set(kinds) - {'bars'})}"
        )
        raise MarketDataError(f"`--kind` must be a kind that tables can hold: got '{kind}'. {hint}")
    spec = kinds[kind]
    files = [TableFile(path, layout.names, layout.delimiter) for path in paths]
    plans = {file.path: _Plan(file, spec, layout) for file in files}
    plan = next(iter(plans.values()))

    def read(path: Path, offset: int) -> Rows:
        return plans[path].rows(target, offset)

    return ingest_rows(
        paths, kind, read, target,
        in_order="sequence" not in plan.columns,
        note=plan.receipts.note(), remarks=plan.receipts.remarks,
    )  # fmt: skip


class _Plan:
    """How a file becomes records: decided, and refused, before a row is read."""

    def __init__(self, file: TableFile, kind: Kind, layout: Layout) -> None:
        self._file, self._kind, self._layout = file, kind, layout
        own, optional = list(kind.columns), ["receipt_time", "sequence"]
        if kind.name == "trades" and "aggressor" not in layout.columns:
            alone = _BUYER_MAKER in file.columns and "aggressor" not in file.columns
            if alone or _BUYER_MAKER in layout.columns:
                own = [_BUYER_MAKER if name == "aggressor" else name for name in own]
        elif kind.name == "trades" and _BUYER_MAKER in layout.columns:
            optional.append(_BUYER_MAKER)
        required = ["event_time", *own]
        self.columns = resolve_columns(layout.columns, file.columns, required, optional, file.path)
        self.receipts = Receipts(self.columns.get("receipt_time"), layout.feed_latency_ns)
        self.receipts.check(file.path)
        self._own = own

    def rows(self, target: Target, offset: int) -> Rows:
        """Yield the columns of the kind, batch by batch."""
        for batch in self._file.batches(list(self.columns.values()), target.progress):
            if batch.frame.height == 0:
                continue
            event = instants(batch, self.columns["event_time"], self._layout.time)
            columns = {
                "event_time": event,
                "receipt_time": self.receipts.of(batch, event, self._layout.time),
                "sequence": self._sequence(batch, offset),
            }
            offset += batch.frame.height
            for name in self._own:
                target_name = "aggressor" if name == _BUYER_MAKER else name
                columns[target_name] = self._values(batch, name)
            yield columns, batch.origin

    def _sequence(self, batch: Batch, offset: int) -> Array:
        column = self.columns.get("sequence")
        if column is not None:
            return integers(batch, column)
        return np.arange(offset, offset + batch.frame.height)

    def _values(self, batch: Batch, name: str) -> Array:
        column = self.columns[name]
        if self._kind.number < 100 and name in _WORDS:
            return choices(batch, column, _WORDS[name])
        match self._kind.columns[name]:
            case "instant":
                return instants(batch, column, self._layout.time)
            case "int64":
                return integers(batch, column)
            case _:
                return numbers(batch, column)
