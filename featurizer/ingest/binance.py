"""Binance USD-M futures captures into a catalog: quotes, trades and depth on the venue's clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import numpy as np

from featurizer.catalog import Catalog
from featurizer.errors import MarketDataError
from featurizer.ingest.binance_capture import Capture, read_capture
from featurizer.ingest.calibration import ClockCalibration, fit_clock
from featurizer.ingest.known import find_instrument
from featurizer.ingest.refusal import Origin
from featurizer.ingest.report import IngestReport, latency_quantiles
from featurizer.ingest.validation import (
    DEFAULT_MAX_LATENESS_NS,
    check_receipts,
    check_records,
)
from featurizer.market import Array, Kind

__all__ = ["DEFAULT_MIN_FEED_LATENCY_NS", "IngestReport", "ingest_binance_capture"]

DEFAULT_MIN_FEED_LATENCY_NS: Final = 1_000_000
"""What `--clock-offset auto` takes for the fastest message when the user states nothing else."""

Prepared = list[tuple[Kind, dict[str, Array], Origin]]


def ingest_binance_capture(
    path: Path | str,
    instrument: str,
    catalog_root: Path | str,
    *,
    clock_offset: int | Literal["auto"] | None = None,
    min_feed_latency_ns: int = DEFAULT_MIN_FEED_LATENCY_NS,
    max_lateness_ns: int = DEFAULT_MAX_LATENESS_NS,
    instruments_file: Path | None = None,
    accept_gaps: bool = False,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Read a capture of one symbol, validate it, and write it to a catalog.

    `event_time` is the matching engine's `T`. Everything is validated before anything is
    written.

    Args:
        path: The capture, one `<local ns> <json>` a line, gzip or plain.
        instrument: Id to write it under.
        catalog_root: Folder of the catalog; made if it does not exist.
        clock_offset: Added to every receipt stamp, ns; "auto" fits it (see `fit_clock`); None
            takes the stamps as they are.
        min_feed_latency_ns: Latency of the fastest messages; used by "auto" alone.
        max_lateness_ns: Longest `receipt_time - event_time` accepted.
        instruments_file: Definitions of instruments that are not known, or other fees.
        accept_gaps: Accept lost messages, and count them.
        replace: Replace the days that the capture touches.
        progress: Called with (done, total) while the file is read, in bytes.

    Raises:
        MarketDataError: If a line or a record breaks a rule.
        CatalogError: If the instrument is not known, or the catalog already has these days.
    """
    definitions = find_instrument(instrument, instruments_file)
    capture = read_capture(Path(path), accept_gaps, progress)
    _check_symbol(capture, instrument, Path(path))
    prepared = list(capture.sorted_rows())
    if not prepared:
        raise MarketDataError(f"{path}: a capture must hold quotes, trades or depth: got none.")
    calibration = _calibrate(prepared, clock_offset, min_feed_latency_ns)
    if calibration is not None:
        for _, columns, _ in prepared:
            columns["receipt_time"] = calibration.apply(columns["receipt_time"])
    # over all streams together, so that the message counts messages of the file
    moved_ns = clock_offset if isinstance(clock_offset, int) else 0
    check_receipts(*_messages(prepared), moved_ns)
    for kind, columns, origin in prepared:
        check_records(columns, kind, definitions, origin, max_lateness_ns)
    catalog = Catalog.create(catalog_root, definitions)
    with catalog.transaction(replace=replace) as change:
        for kind, columns, origin in prepared:
            change.write(
                instrument, kind.name, columns, max_lateness_ns=max_lateness_ns, origin=origin
            )
            if calibration is not None:
                entry = {"file": Path(path).name} | calibration.as_dict()
                change.note(instrument, kind.name, entry)
    replaced = {kind: rows for (_, kind), rows in change.replaced.items()}
    return _report(str(path), instrument, prepared, capture.gaps, calibration, replaced)


def _check_symbol(capture: Capture, instrument: str, path: Path) -> None:
    symbols = sorted(capture.symbols)
    if len(symbols) != 1 or symbols[0] not in instrument.upper():
        raise MarketDataError(
            f"{path}: a capture must hold the one symbol that `--instrument {instrument}` names: "
            f"got {', '.join(symbols) or 'none'}. Give the instrument that was recorded."
        )


def _messages(prepared: Prepared) -> tuple[Array, Array, Origin]:
    """Return event, receipt and line of every streamed message, once, in the order of the file."""
    event, receipt, line = [], [], []
    for _, columns, origin in prepared:
        streamed = columns.get("is_snapshot", np.zeros_like(columns["sequence"])) == 0
        numbers = origin.numbers if origin.numbers is not None else np.arange(len(streamed))
        event.append(columns["event_time"][streamed])
        receipt.append(columns["receipt_time"][streamed])
        line.append(numbers[streamed])
    _, first = np.unique(np.concatenate(line), return_index=True)
    file = prepared[0][2].file
    numbers = np.concatenate(line)[first]
    origin = Origin(file, "line", numbers)
    return np.concatenate(event)[first], np.concatenate(receipt)[first], origin


def _calibrate(
    prepared: Prepared, clock_offset: int | Literal["auto"] | None, min_feed_latency_ns: int
) -> ClockCalibration | None:
    if clock_offset is None:
        return None
    if clock_offset == "auto":
        event, receipt, _ = _messages(prepared)
        return fit_clock(event, receipt, min_feed_latency_ns)
    first = int(prepared[0][1]["receipt_time"][0])
    return ClockCalibration("constant", (first,), (clock_offset,))


def _report(
    source: str,
    instrument: str,
    prepared: Prepared,
    gaps: int,
    calibration: ClockCalibration | None,
    replaced: dict[str, int],
) -> IngestReport:
    columns = prepared[0][1]
    late = columns["receipt_time"] - columns["event_time"]
    return IngestReport(
        source=source,
        instrument=instrument,
        rows={kind.name: len(c["event_time"]) for kind, c, _ in prepared},
        start=min(int(c["event_time"][0]) for _, c, _ in prepared),
        end=max(int(c["event_time"][-1]) for _, c, _ in prepared),
        latency_ns=latency_quantiles(late),
        gaps=gaps,
        calibration=calibration,
        replaced=replaced,
    )
