"""Tardis CSV files: trades, quotes, `incremental_book_L2` and `book_snapshot_…`.

`timestamp` is the exchange's (Tardis writes `local_timestamp` there where an exchange gives none),
`local_timestamp` the receipt, both in µs. Rows come in the order of receipt. `sequence` is the
order in the file: of a book's rows, the row at which their message begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl

from clock.units import format_instant
from featurizer.errors import MarketDataError
from featurizer.ingest.convert import TimeFormat, choices, instants, numbers
from featurizer.ingest.files import Batch, TableFile
from featurizer.ingest.pipeline import Rows, Target, ingest_rows
from featurizer.ingest.refusal import Origin, refuse_if
from featurizer.ingest.report import IngestReport
from featurizer.market import Array

__all__ = ["TardisKind", "ingest_tardis"]

TardisKind: TypeAlias = Literal["trades", "quotes", "book"]

_MICROSECONDS: Final = TimeFormat("us")
_STAMPS: Final = ("symbol", "timestamp", "local_timestamp")
_QUOTES: Final = {
    "bid_price": "bid_price",
    "bid_quantity": "bid_amount",
    "ask_price": "ask_price",
    "ask_quantity": "ask_amount",
}
_KINDS: Final = {"trades": "trades", "quotes": "quotes", "book": "depth"}
_COLUMNS: Final = {
    "trades": (*_STAMPS, "side", "price", "amount"),
    "quotes": (*_STAMPS, *_QUOTES.values()),
    "book": (*_STAMPS, "is_snapshot", "side", "price", "amount"),
}
_LEVEL: Final = re.compile(r"(asks|bids)\[(\d+)\]\.(price|amount)")


def ingest_tardis(
    paths: Sequence[Path],
    kind: TardisKind,
    target: Target,
    *,
    symbol: str | None = None,
) -> IngestReport:
    """Read Tardis CSV files of one symbol and write them to a catalog.

    Args:
        paths: The files, in order of time; consecutive days belong together, as what happens
            before midnight may be received after it.
        kind: `trades`, `quotes` or `book`.
        target: Where the records go.
        symbol: The symbol, where its name is not part of the instrument's, or the files hold
            several.

    Raises:
        MarketDataError: If a file cannot be read, or a record breaks a rule.
        CatalogError: If the instrument is not known, or the catalog has these records.
    """
    book_time = _BookTime(target.start)

    def read(path: Path, offset: int) -> Rows:
        file = TableFile(path)
        levels = [name for name in file.columns if _LEVEL.fullmatch(name)] if kind == "book" else []
        wanted = (*_STAMPS, *levels) if levels else _COLUMNS[kind]
        _check_columns(file, wanted, kind)
        batches = _of_symbol(file.batches(wanted, target.progress), symbol, target.instrument)
        if levels:
            return book_time.checked(_snapshots(batches, levels, offset))
        if kind == "book":
            return book_time.checked(_updates(_whole_messages(batches), offset))
        return _rows(batches, _trades if kind == "trades" else _quotes, offset)

    return ingest_rows(paths, _KINDS[kind], read, target, in_order=True)


def _check_columns(file: TableFile, wanted: Sequence[str], kind: str) -> None:
    for name in wanted:
        if name not in file.columns:
            raise MarketDataError(
                f"{file.path}: a Tardis file of {kind} must have a column `{name}`: got "
                f"{', '.join(file.columns)}. Give the right format, or map the columns with "
                f"`lightcone data ingest csv`."
            )


def _of_symbol(batches: Iterable[Batch], symbol: str | None, instrument: str) -> Iterator[Batch]:
    known = symbol
    for batch in batches:
        if batch.frame.height == 0:
            continue
        if symbol is not None:
            yield _take(batch, np.flatnonzero((batch.frame["symbol"] == symbol).to_numpy()))
            continue
        found = batch.frame["symbol"]
        known = known or found[0]
        if not _is_named(known, instrument):
            raise MarketDataError(
                f"{batch.origin.at(0)}: `symbol` must be part of the name that `--instrument "
                f"{instrument}` gives: got {known!r}. Give the instrument that was recorded, or "
                f"accept it with `--symbol {known}`."
            )
        refuse_if(
            (found != known).to_numpy(),
            batch.origin,
            "`symbol` must be one in a file",
            lambda i, found=found, known=known: f"{found[i]!r} after {known!r}",  # type: ignore[misc]
            f"Take one with `--symbol {known}`.",
        )
        yield batch


def _is_named(symbol: str, instrument: str) -> bool:
    plain = [re.sub(r"[^A-Z0-9]", "", text.upper()) for text in (symbol, instrument)]
    return plain[0] in plain[1]


def _take(batch: Batch, rows: Array) -> Batch:
    return Batch(batch.frame[rows], batch.origin.take(rows))


def _stamps(batch: Batch) -> dict[str, Array]:
    return {
        "event_time": instants(batch, "timestamp", _MICROSECONDS),
        "receipt_time": instants(batch, "local_timestamp", _MICROSECONDS),
    }


def _rows(
    batches: Iterable[Batch], own: Callable[[Batch], dict[str, Array]], offset: int
) -> Iterator[tuple[dict[str, Array], Origin]]:
    for batch in batches:
        columns = _stamps(batch)
        columns["sequence"] = np.arange(offset, offset + batch.frame.height)
        offset += batch.frame.height
        yield columns | own(batch), batch.origin


def _trades(batch: Batch) -> dict[str, Array]:
    return {
        "price": numbers(batch, "price"),
        "quantity": numbers(batch, "amount"),
        "aggressor": choices(batch, "side", {"buy": 1, "sell": -1}),
    }


def _quotes(batch: Batch) -> dict[str, Array]:
    return {name: numbers(batch, column) for name, column in _QUOTES.items()}


_MESSAGE: Final = ["timestamp", "local_timestamp", "is_snapshot"]


def _whole_messages(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the rows so that no message is cut: its rows share both stamps and the flag."""
    rest: Batch | None = None
    for batch in batches:
        if rest is not None:
            origin = batch.origin
            assert rest.origin.numbers is not None
            assert origin.numbers is not None
            joined = np.concatenate([rest.origin.numbers, origin.numbers])
            frame = pl.concat([rest.frame, batch.frame])
            batch = Batch(frame, replace(origin, numbers=joined))
        begins = np.flatnonzero(_begins(batch.frame))
        cut = int(begins[-1])
        if cut:
            yield _take(batch, np.arange(cut))
        rest = _take(batch, np.arange(cut, batch.frame.height))
    if rest is not None:
        yield rest


def _begins(frame: pl.DataFrame) -> Array:
    changed = np.zeros(frame.height, np.bool_)
    for name in _MESSAGE:
        changed |= (frame[name] != frame[name].shift(1)).fill_null(True).to_numpy()
    return changed


def _updates(batches: Iterable[Batch], offset: int) -> Iterator[tuple[dict[str, Array], Origin]]:
    for batch in batches:
        side = choices(batch, "side", {"bid": 1, "ask": -1})
        price = numbers(batch, "price")
        begins = _begins_of_messages(_begins(batch.frame), side, price)
        index = np.arange(batch.frame.height)
        yield (
            _stamps(batch)
            | {
                "sequence": offset + np.maximum.accumulate(np.where(begins, index, 0)),
                "side": side,
                "price": price,
                "quantity": numbers(batch, "amount"),
                "is_snapshot": choices(batch, "is_snapshot", {"true": 1, "false": 0}),
            },
            batch.origin,
        )
        offset += batch.frame.height


def _begins_of_messages(changed: Array, side: Array, price: Array) -> Array:
    """Return where messages begin: a level that comes again with the same stamps is of another."""
    levels = {"row": np.arange(len(side)), "stamps": np.cumsum(changed)}
    frame = pl.DataFrame(levels | {"side": side, "price": price})
    same = pl.col("row").shift(1).over("stamps", "side", "price")
    earlier = frame.select(same.fill_null(-1)).to_series()
    before, begins, begin = earlier.to_numpy(), changed.copy(), 0
    for row in np.flatnonzero(before >= 0).tolist():  # hardly any
        if before[row] >= begin:
            begins[row], begin = True, row
    return begins


class _BookTime:
    """The newest event of a book: updates in another order would make another book.

    Args:
        start: What happened before it is left out, and may be in any order.
    """

    def __init__(self, start: int | None) -> None:
        self._start = self._newest = -(2**63) if start is None else start

    def checked(self, rows: Rows) -> Iterator[tuple[dict[str, Array], Origin]]:
        """Yield the rows unless one happened before those above it."""
        for columns, origin in rows:
            event = columns["event_time"]
            before = np.maximum(self._newest, np.concatenate([event[:1], event[:-1]]))
            refuse_if(
                (event < before) & (event >= self._start),
                origin,
                "`timestamp` must not go back within a book",
                lambda i, event=event, before=before: (  # type: ignore[misc]
                    f"{format_instant(int(event[i]))} after {format_instant(int(before[i]))}"
                ),
                "Begin at the snapshot after it, with `--start`.",
            )
            self._newest = max(self._newest, int(event[-1]))
            yield columns, origin


def _snapshots(
    batches: Iterable[Batch], levels: Sequence[str], offset: int
) -> Iterator[tuple[dict[str, Array], Origin]]:
    """Yield each row as a snapshot of so many levels: those that are empty are left out."""
    found = [_LEVEL.fullmatch(name) for name in levels]
    sides = sorted({(m[1], int(m[2])) for m in found if m is not None})
    for batch in batches:
        stamps, rows = _stamps(batch), batch.frame.height
        pieces = []
        for side, level in sides:
            price, amount = f"{side}[{level}].price", f"{side}[{level}].amount"
            held = np.flatnonzero((batch.frame[price].cast(pl.String) != "").fill_null(False))
            part = _take(batch, held)
            sign = np.full(len(held), 1 if side == "bids" else -1)
            pieces.append((held, sign, numbers(part, price), numbers(part, amount)))
        row, side_, price_, quantity = (np.concatenate(c) for c in zip(*pieces, strict=True))
        order = np.argsort(row, kind="stable")
        row = row[order]
        yield (
            {name: values[row] for name, values in stamps.items()}
            | {
                "sequence": offset + row,
                "side": side_[order],
                "price": price_[order],
                "quantity": quantity[order],
                "is_snapshot": np.ones(len(row), np.int64),
            },
            batch.origin.take(row),
        )
        offset += rows
