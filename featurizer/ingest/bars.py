"""Bars from CSV or Parquet files: stamped with their open or their close, which must be said.

A bar is not known before its close, so `event_time` is the close and a file whose stamps are taken
for the wrong one leaks a whole bar of the future. What is said is therefore held against the data:
markets are busiest in the bar that begins at the full quarter of an hour, when schedules, news and
algorithms fire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from clock.units import format_duration, format_instant
from featurizer.errors import MarketDataError
from featurizer.ingest.convert import instants, numbers
from featurizer.ingest.delimited import Layout
from featurizer.ingest.files import TableFile
from featurizer.ingest.mapping import resolve_columns
from featurizer.ingest.pipeline import Rows, Target, ingest_rows
from featurizer.ingest.receipts import Receipts
from featurizer.ingest.refusal import Origin, refuse_if
from featurizer.ingest.report import IngestReport
from featurizer.market import Array

__all__ = ["Evidence", "Stamp", "ingest_bars", "stamp_evidence"]

Stamp: TypeAlias = Literal["open", "close"]

_VALUES: Final = ("open", "high", "low", "close", "volume")
_QUARTER_NS: Final = 900_000_000_000
_CERTAIN: Final = 4.0


@dataclass(frozen=True)
class Evidence:
    """What the data say about their stamps.

    Attributes:
        at_open: Quarters of an hour in which the bar stamped at the quarter was the busier one:
            as of bars stamped with their open.
        at_close: Quarters in which the bar stamped one interval later was: as of bars stamped
            with their close.
    """

    at_open: int
    at_close: int

    @property
    def certainty(self) -> float:
        """Standard deviations by which the counts differ from chance; positive: the close."""
        both = self.at_open + self.at_close
        return (self.at_close - self.at_open) / both**0.5 if both else 0.0

    @property
    def says(self) -> Stamp | None:
        """The stamp that the data show; None where they do not tell."""
        if abs(self.certainty) < _CERTAIN:
            return None
        return "close" if self.certainty > 0 else "open"


def stamp_evidence(stamp: Array, activity: Array, interval_ns: int) -> Evidence:
    """Compare the bars stamped at each full quarter of an hour with those one interval later.

    Args:
        stamp: Shape (n,), ns, ascending.
        activity: Shape (n,), such as the volume.
        interval_ns: Length of a bar; at 5 minutes or more the bars tell nothing.
    """
    if interval_ns > _QUARTER_NS // 3:
        return Evidence(0, 0)
    first = np.flatnonzero(stamp[:-1] % _QUARTER_NS == 0)
    first = first[stamp[first + 1] - stamp[first] == interval_ns]
    at, after = activity[first], activity[first + 1]
    return Evidence(int(np.count_nonzero(at > after)), int(np.count_nonzero(after > at)))


def ingest_bars(
    paths: Sequence[Path],
    stamp: Stamp,
    layout: Layout,
    target: Target,
    *,
    interval_ns: int = 60_000_000_000,
    accept_stamp: bool = False,
) -> IngestReport:
    """Read bars of one length and write them to a catalog.

    Args:
        paths: CSV or Parquet files, in order of time.
        stamp: Whether the file stamps a bar with its open or with its close.
        layout: How the files are laid out; a feed latency must be declared.
        target: Where the bars go.
        interval_ns: Length of a bar.
        accept_stamp: Accept a `stamp` that the data speak against.

    Raises:
        MarketDataError: If a file cannot be read, a bar breaks a rule, or `stamp` is not
            plausible.
        CatalogError: If the instrument is not known, or the catalog has these bars.
    """
    if interval_ns <= 0:
        raise MarketDataError("`--interval` must be longer than 0: got 0. Write it as 1m.")
    check = _Stamps(stamp, interval_ns, accept_stamp)
    receipts = Receipts(layout.columns.get("receipt_time"), layout.feed_latency_ns)

    def read(path: Path, offset: int) -> Rows:
        file = TableFile(path, layout.names, layout.delimiter)
        columns = resolve_columns(
            layout.columns, file.columns, ["event_time", *_VALUES], ["receipt_time"], path
        )
        receipts.check(path)
        for batch in file.batches(list(columns.values()), target.progress):
            stamps = instants(batch, columns["event_time"], layout.time)
            own = {name: numbers(batch, columns[name]) for name in _VALUES}
            check.add(stamps, own, batch.origin)
            event = stamps + (interval_ns if stamp == "open" else 0)
            yield (
                {
                    "event_time": event,
                    "receipt_time": receipts.of(batch, event, layout.time),
                    "sequence": np.arange(offset, offset + len(event)),
                    "open_time": event - interval_ns,
                }
                | own,
                batch.origin,
            )
            offset += len(event)
        if path == paths[-1]:
            check.finish(path)

    return ingest_rows(
        paths, "bars", read, target,
        in_order=True, note=receipts.note(), remarks=lambda: receipts.remarks() + check.remarks(),
    )  # fmt: skip


class _Stamps:
    """The stamps of all bars, held against the interval and against the data."""

    def __init__(self, stamp: Stamp, interval_ns: int, accepted: bool) -> None:
        self._stamp, self._interval, self._accepted = stamp, interval_ns, accepted
        self._stamps: list[Array] = []
        self._volume: list[Array] = []
        self._range: list[Array] = []
        self._evidence = Evidence(0, 0)
        self._missing = 0

    def add(self, stamps: Array, own: dict[str, Array], origin: Origin) -> None:
        """Take bars.

        Raises:
            MarketDataError: If a stamp is no multiple of the interval, or does not follow.
        """
        length = format_duration(self._interval)
        refuse_if(
            stamps % self._interval != 0,
            origin,
            f"the stamp of a bar must be a multiple of `--interval {length}`",
            lambda i: format_instant(int(stamps[i])),
            "Give the length of the bars with `--interval`, or correct the stamp.",
        )
        last = self._stamps[-1][-1:] if self._stamps else stamps[:1] - self._interval
        before = np.concatenate([last, stamps[:-1]])
        refuse_if(
            stamps <= before,
            origin,
            "the stamp of a bar must be after that of the bar above",
            lambda i: f"{format_instant(int(stamps[i]))} after {format_instant(int(before[i]))}",
            "Sort the file, or remove the duplicate.",
        )
        if len(stamps):
            self._stamps.append(stamps)
            self._volume.append(own["volume"])
            self._range.append(own["high"] - own["low"])

    def finish(self, where: Path) -> None:
        """Decide when all bars are there.

        Raises:
            MarketDataError: If bars are longer than said, or stamped otherwise than said.
        """
        if not self._stamps:
            return
        stamps = np.concatenate(self._stamps)
        steps = np.diff(stamps)
        if len(steps) and int(steps.min()) != self._interval:
            shortest = format_duration(int(steps.min()))
            raise MarketDataError(
                f"{where}: neighbouring bars must be `--interval "
                f"{format_duration(self._interval)}` apart: got at least {shortest}. Give the "
                f"length of the bars with `--interval {shortest}`."
            )
        self._missing = int((stamps[-1] - stamps[0]) // self._interval) + 1 - len(stamps)
        volume = np.concatenate(self._volume)
        activity = volume if volume.any() else np.concatenate(self._range)
        self._evidence = stamp_evidence(stamps, activity, self._interval)
        said = self._evidence.says
        if said is not None and said != self._stamp and not self._accepted:
            raise MarketDataError(
                f"{where}: `--stamp {self._stamp}` must be plausible: got {self._told()}, as of "
                f"bars stamped with their {said}. Give `--stamp {said}`, or accept it with "
                f"`--accept-stamp`."
            )

    def remarks(self) -> list[str]:
        """Return what the report says of the stamps."""
        match self._evidence.says:
            case None if self._evidence == Evidence(0, 0):
                said = "There are no quarters of an hour in the data to hold that against."
            case None:
                said = f"The data do not tell: {self._told()}."
            case self._stamp:
                said = f"The data agree: {self._told()}."
            case other:
                said = f"Accepted although the data look stamped with the {other}: {self._told()}."
        text = [f"Bars are stamped with their {self._stamp}, as stated. {said}"]
        if self._missing:
            text.append(f"{self._missing} bars between the first and the last are not there.")
        return text

    def _told(self) -> str:
        found = self._evidence
        return (
            f"the bar stamped one interval after the full quarter of an hour busier than the one "
            f"stamped at it in {found.at_close} of {found.at_open + found.at_close} cases "
            f"({abs(found.certainty):.1f} standard deviations from chance)"
        )
