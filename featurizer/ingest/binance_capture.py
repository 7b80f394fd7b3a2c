"""Lines of a Binance USD-M futures capture into columns.

A line is `<local ns> <json>`: a combined-stream message (`bookTicker`, `trade`, `depth@…`), or a
depth snapshot as the REST endpoint answers it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from featurizer.errors import MarketDataError
from featurizer.ingest.refusal import Origin, refuse_if
from featurizer.market import DEPTH, QUOTES, TRADES, Array, Kind

__all__ = ["Capture", "read_capture"]

Progress = Callable[[int, int], None]
_MS: Final = 1_000_000
_EVERY: Final = 4096


class Rows:
    """Rows of one kind as they come: the line number, the stamps, then the kind's columns."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.line = array("q")
        self._columns = {
            name: array("d" if type_ == "float64" else "q")
            for name, type_ in kind.all_columns.items()
        }
        self._appends = [column.append for column in self._columns.values()]

    def add(self, line: int, *values: Any) -> None:
        """Add a row; values in the order of the kind's columns, stamps first."""
        for append, value in zip(self._appends, values, strict=True):
            append(value)
        self.line.append(line)

    def columns(self) -> dict[str, Array]:
        """Return the columns, in the order of the file. Each: shape (rows,)."""
        return {name: np.array(column) for name, column in self._columns.items()}


class Capture:
    """What a capture holds, parsed and not yet judged, except for its own numbering.

    Attributes:
        symbols: Symbols that its messages name.
        quotes: From `bookTicker`.
        trades: From `trade`.
        depth: From `depth`, and from snapshots.
        gaps: Update or trade ids that do not follow, when they were accepted.
    """

    def __init__(self, file: str, accept_gaps: bool) -> None:
        self.symbols: set[str] = set()
        self.quotes, self.trades, self.depth = Rows(QUOTES), Rows(TRADES), Rows(DEPTH)
        self.gaps = 0
        self._file, self._accept_gaps = file, accept_gaps
        self._last_update: int | None = None
        self._last_trade: int | None = None
        self._last_receipt = -1

    def add(self, line: int, text: bytes) -> None:
        """Add one line of the file.

        Raises:
            MarketDataError: If it is malformed, goes back in time, or leaves a gap.
        """
        stamp, _, body = text.partition(b" ")
        try:
            receipt = int(stamp)
            message = json.loads(body)
            self._check_receipt(line, receipt)
            if "stream" in message:
                data = message["data"]
                self.symbols.add(data["s"])
                self._add_event(line, receipt, data, message["stream"])
            else:
                self._add_snapshot(line, receipt, message)
        except KeyError as error:
            raise self._malformed(line, f"no field {error}", body) from None
        except (ValueError, TypeError, IndexError) as error:
            if isinstance(error, MarketDataError):
                raise
            raise self._malformed(line, str(error), text) from None

    def _add_event(self, line: int, receipt: int, data: dict[str, Any], stream: str) -> None:
        event = data["T"] * _MS
        match data["e"]:
            case "bookTicker":
                self.quotes.add(
                    line, event, receipt, data["u"],
                    float(data["b"]), float(data["B"]), float(data["a"]), float(data["A"]),
                )  # fmt: skip
            case "trade":
                self._check_follows(line, "t", data["t"] - 1, self._last_trade)
                self._last_trade = data["t"]
                aggressor = -1 if data["m"] else 1
                price, quantity = float(data["p"]), float(data["q"])
                self.trades.add(line, event, receipt, data["t"], price, quantity, aggressor)
            case "depthUpdate":
                self._check_follows(line, "pu", data["pu"], self._last_update)
                self._last_update = data["u"]
                self._add_levels(line, event, receipt, data["u"], data["b"], data["a"], 0)
            case other:
                raise self._malformed(line, f"unknown event {other!r}", stream.encode())

    def _add_snapshot(self, line: int, receipt: int, data: dict[str, Any]) -> None:
        event, update = data["T"] * _MS, data["lastUpdateId"]
        self._add_levels(line, event, receipt, update, data["bids"], data["asks"], 1)

    def _add_levels(
        self, line: int, event: int, receipt: int, update: int, bids: Any, asks: Any, flag: int
    ) -> None:
        add = self.depth.add
        for side, levels in ((1, bids), (-1, asks)):
            for price, quantity in levels:
                add(line, event, receipt, update, side, float(price), float(quantity), flag)

    def _check_receipt(self, line: int, receipt: int) -> None:
        if receipt < self._last_receipt:
            raise MarketDataError(
                f"{self._file} line {line}: the local stamp must not go back: got {receipt}, "
                f"which is {self._last_receipt - receipt} ns before the line above. "
                f"Sort the lines, or record again."
            )
        self._last_receipt = receipt

    def _check_follows(self, line: int, field: str, got: int, last: int | None) -> None:
        if last is None or got == last:
            return
        if not self._accept_gaps:
            shown = got if field == "pu" else got + 1
            raise MarketDataError(
                f"{self._file} line {line}: `{field}` must follow the message before (messages "
                f"were lost): got {shown} after {last}. Accept gaps with `--accept-gaps`."
            )
        self.gaps += 1

    def _malformed(self, line: int, why: str, text: bytes) -> MarketDataError:
        shown = text[:60].decode(errors="replace").strip()
        return MarketDataError(
            f"{self._file} line {line}: a line must be `<local ns> <json>` of a Binance USD-M "
            f"stream: got {shown!r} ({why}). Remove it, or record again."
        )

    def sorted_rows(self) -> Iterator[tuple[Kind, dict[str, Array], Origin]]:
        """Yield each kind that has rows, in the catalog's order, with its line numbers.

        Raises:
            MarketDataError: If the venue's own time goes back while its update ids grow.
        """
        for rows in (self.quotes, self.trades, self.depth):
            if not rows.line:
                continue
            columns = rows.columns()
            origin = Origin(self._file, "line", np.array(rows.line))
            self._check_event_order(columns, origin)
            keys = [columns["sequence"], columns["event_time"]]
            if rows.kind is DEPTH:
                keys = [columns["price"], -columns["side"], columns["is_snapshot"], *keys]
            order = np.lexsort(keys)
            yield rows.kind, {n: c[order] for n, c in columns.items()}, origin.take(order)

    def _check_event_order(self, columns: dict[str, Array], origin: Origin) -> None:
        streamed = np.flatnonzero(
            columns.get("is_snapshot", np.zeros_like(columns["sequence"])) == 0
        )
        event, sequence = columns["event_time"][streamed], columns["sequence"][streamed]
        for name, values in (("T", event), ("update id", sequence)):
            back = np.zeros(len(values), np.bool_)
            back[1:] = values[1:] < values[:-1]
            refuse_if(
                back,
                origin.take(streamed),
                f"`{name}` must not go back within a stream",
                lambda i, values=values: f"{int(values[i])} after {int(values[i - 1])}",  # type: ignore[misc]
                "Record again.",
            )


def read_capture(
    path: Path, accept_gaps: bool = False, progress: Progress | None = None
) -> Capture:
    """Parse a capture, compressed or not.

    Args:
        path: The file; gzip if it begins like it.
        accept_gaps: Accept ids that do not follow, and count them.
        progress: Called with bytes read and bytes in all.

    Raises:
        MarketDataError: If the file is missing, cut short, or a line is malformed.
    """
    capture = Capture(str(path), accept_gaps)
    line = 0
    try:
        total = path.stat().st_size
        with path.open("rb") as raw, _decompressed(raw) as file:
            for line, text in enumerate(file, 1):
                capture.add(line, text)
                if progress is not None and line % _EVERY == 0:
                    progress(raw.tell(), total)
        if progress is not None:
            progress(total, total)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MarketDataError(
            f"{path} line {line + 1}: the gzip file must be whole: got {error}. Copy it again."
        ) from None
    except OSError as error:
        raise MarketDataError(
            f"{path}: the file must exist and be readable: got {error.strerror}. Correct the path."
        ) from None
    if line == 0:
        raise MarketDataError(f"{path}: a capture must hold messages: got an empty file.")
    return capture


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(2)
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if magic == b"\x1f\x8b" else raw  # type: ignore[return-value]
