"""Files of Binance's public archive into a catalog: what each is, its name tells.

Their rows carry the venue's ids, which order them, and the venue's time; nobody recorded when they
were received, so a feed latency must be declared. Stamps are in ms, of spot from 2025 on in µs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from featurizer.errors import MarketDataError
from featurizer.ingest.bars import ingest_bars
from featurizer.ingest.convert import TimeFormat, TimeUnit, choices, instants, integers, numbers
from featurizer.ingest.delimited import Layout
from featurizer.ingest.files import Batch, TableFile
from featurizer.ingest.pipeline import Rows, Target, ingest_rows
from featurizer.ingest.receipts import Receipts
from featurizer.ingest.refusal import refuse_if
from featurizer.ingest.report import IngestReport
from featurizer.market import Array

__all__ = ["ingest_archive"]

_NAME: Final = re.compile(
    r"(?P<symbol>[A-Z0-9_]+)-(?P<data>trades|aggTrades|bookTicker|(?P<bar>\d+[smhdw]))-"
    r"\d{4}-\d{2}(-\d{2})?\.(zip|csv)"
)
_UNITS_NS: Final = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


@dataclass(frozen=True)
class _Form:
    """How the archive writes a kind of data.

    Attributes:
        kind: Kind of the catalog.
        names: Its columns, in order; the files of spot have no line of names.
        sequence: Column of the venue's id.
        time: Column of the venue's time.
        consecutive: The ids have no gap.
    """

    kind: str
    names: tuple[str, ...]
    sequence: str
    time: str
    consecutive: bool


_TRADE_NAMES: Final = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match")
_AGGREGATE_NAMES: Final = (
    "agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time",
    "is_buyer_maker", "is_best_match",
)  # fmt: skip
_TICKER_NAMES: Final = (
    "update_id", "best_bid_price", "best_bid_qty", "best_ask_price", "best_ask_qty",
    "transaction_time", "event_time",
)  # fmt: skip
_BAR_NAMES: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_FORMS: Final = {
    "trades": _Form("trades", _TRADE_NAMES, "id", "time", True),
    "aggTrades": _Form("trades", _AGGREGATE_NAMES, "agg_trade_id", "transact_time", True),
    "bookTicker": _Form("quotes", _TICKER_NAMES, "update_id", "transaction_time", False),
}
_OWN: Final = {
    "bid_price": "best_bid_price",
    "bid_quantity": "best_bid_qty",
    "ask_price": "best_ask_price",
    "ask_quantity": "best_ask_qty",
}


def ingest_archive(
    paths: Sequence[Path], feed_latency_ns: int | None, target: Target, *, accept_gaps: bool = False
) -> IngestReport:
    """Read daily (or monthly) files of one symbol and one kind of data into a catalog.

    Args:
        paths: The files under their own names, in order of time, packed or not.
        feed_latency_ns: What every record takes to reach us.
        target: Where the records go.
        accept_gaps: Accept ids of trades that do not follow, and count them.

    Raises:
        MarketDataError: If a name tells nothing, a file cannot be read, or a record breaks a rule.
        CatalogError: If the instrument is not known, or the catalog has these records.
    """
    symbol, data, bar = _what(paths)
    if symbol.replace("_", "") not in re.sub(r"[^A-Z0-9]", "", target.instrument.upper()):
        raise MarketDataError(
            f"{paths[0]}: the files must be of the symbol that `--instrument {target.instrument}` "
            f"names: got {symbol}. Give the instrument that they are of."
        )
    receipts = Receipts(None, feed_latency_ns)
    receipts.check(paths[0])
    if bar is not None:
        return _ingest_bars(paths, bar, feed_latency_ns, target)
    form, ids = _FORMS[data], _Ids(accept_gaps)

    def read(path: Path, offset: int) -> Rows:
        file, unit = _open(path, form.names, form.time)
        wanted = [name for name in form.names if name in file.columns]
        for batch in file.batches(wanted, target.progress):
            if batch.frame.height == 0:
                continue
            event = instants(batch, form.time, TimeFormat(unit))
            sequence = integers(batch, form.sequence)
            if form.consecutive:
                ids.check(event, sequence, batch, form.sequence)
            yield (
                {
                    "event_time": event,
                    "receipt_time": receipts.of(batch, event, TimeFormat(unit)),
                    "sequence": sequence,
                }
                | _values(batch, form),
                batch.origin,
            )

    return ingest_rows(
        paths, form.kind, read, target,
        in_order=form.consecutive, note=receipts.note(),
        remarks=lambda: receipts.remarks() + ids.remarks(),
    )  # fmt: skip


def _what(paths: Sequence[Path]) -> tuple[str, str, str | None]:
    found = [_NAME.fullmatch(path.name) for path in paths]
    for path, match in zip(paths, found, strict=True):
        first = found[0]
        if match is None or first is None:
            raise MarketDataError(
                f"{path}: a file of the archive must keep its name, as in "
                f"BTCUSDT-trades-2024-08-08.zip: got {path.name!r}. Rename it, or map its columns "
                f"with `lightcone data ingest csv`."
            )
        if (match["symbol"], match["data"]) != (first["symbol"], first["data"]):
            raise MarketDataError(
                f"{path}: the files of one ingest must be of one symbol and one kind of data: got "
                f"{match['symbol']} {match['data']} after {first['symbol']} {first['data']}. "
                f"Ingest them one after the other."
            )
    assert found[0] is not None
    return found[0]["symbol"], found[0]["data"], found[0]["bar"]


def _open(path: Path, names: Sequence[str], time: str) -> tuple[TableFile, TimeUnit]:
    """Return the file, with or without a line of names, and the unit of its stamps."""
    named = TableFile(path)
    bare = named.columns[0].isdigit()
    file = TableFile(path, names) if bare else named
    missing = [name for name in names if name not in file.columns and name != "is_best_match"]
    if missing:
        raise MarketDataError(
            f"{path}: a file of the archive must have a column `{missing[0]}`: got "
            f"{', '.join(file.columns)}. Map its columns with `lightcone data ingest csv`."
        )
    for batch in file.batches([time]):
        if batch.frame.height:
            # Binance changed the unit of spot files; 14 digits of ms would be the year 5138
            return file, "us" if len(str(batch.frame[time][0])) > 14 else "ms"
    return file, "ms"


def _values(batch: Batch, form: _Form) -> dict[str, Array]:
    if form.kind == "quotes":
        return {name: numbers(batch, column) for name, column in _OWN.items()}
    return {
        "price": numbers(batch, "price"),
        "quantity": numbers(batch, "qty" if "qty" in form.names else "quantity"),
        "aggressor": choices(batch, "is_buyer_maker", {"true": -1, "false": 1}),
    }


class _Ids:
    """Ids of trades, which follow each other over the files."""

    def __init__(self, accept_gaps: bool) -> None:
        self._accepted, self._last, self._gaps = accept_gaps, -1, 0

    def check(self, event: Array, ids: Array, batch: Batch, column: str) -> None:
        """Refuse ids that go back, leave a gap, or are against the order of time."""
        before = np.concatenate([[self._last if self._last >= 0 else ids[0] - 1], ids[:-1]])
        text = lambda i: f"{int(ids[i])} after {int(before[i])}"  # noqa: E731
        where, what = batch.origin, f"`{column}` must grow from line to line"
        refuse_if(ids <= before, where, what, text, "Give the files in order of time, each once.")
        gaps = ids != before + 1
        if not self._accepted:
            what = f"`{column}` must follow the one before (trades are missing)"
            refuse_if(gaps, where, what, text, "Accept gaps with `--accept-gaps`.")
        self._gaps += int(np.count_nonzero(gaps))
        self._last = int(ids[-1])

    def remarks(self) -> list[str]:
        """Return how many gaps were accepted."""
        return [f"Accepted {self._gaps} gaps in the ids of trades."] if self._gaps else []


def _ingest_bars(
    paths: Sequence[Path], bar: str, feed_latency_ns: int | None, target: Target
) -> IngestReport:
    if bar[-1] not in _UNITS_NS:
        raise MarketDataError(
            f"{paths[0]}: bars must be of a day or shorter: got {bar}. Take shorter ones."
        )
    interval_ns = int(bar[:-1]) * _UNITS_NS[bar[-1]]
    file, unit = _open(paths[0], _BAR_NAMES, "open_time")
    bare = file.columns == list(_BAR_NAMES) and TableFile(paths[0]).columns != file.columns
    layout = Layout(
        columns={"event_time": "open_time"},
        time=TimeFormat(unit),
        feed_latency_ns=feed_latency_ns,
        names=_BAR_NAMES if bare else None,
    )
    return ingest_bars(paths, "open", layout, target, interval_ns=interval_ns)
