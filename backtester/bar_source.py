"""Bars as we receive them, and what stands in for quotes where there are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtester.book_view import BookView
from backtester.sources import MarketSource, Place
from featurizer.market import BARS, Records
from inference.rows import MISSING

__all__ = ["BarSource", "NoQuotes"]


class BarSource(MarketSource):
    """Bars as we receive them, with the close that decisions are measured by."""

    def __init__(self, instrument: tuple[str, int], fields: Sequence[str]) -> None:
        super().__init__((BARS.name, BARS.number), instrument, fields)
        self._measured: list[np.ndarray] = []
        self._measured_before: tuple[float, int] = (float("nan"), MISSING)

    def open_window(self, records: Records) -> None:
        """Hold the bars received in the next window."""
        super().open_window(records)
        self._measured = [records.columns["close"], records.event_time]

    def close_window(self) -> None:
        """Keep the newest bar and forget the others."""
        if len(self.times):
            self._measured_before = self._measure(len(self.times) - 1)
        super().close_window()
        self._measured = []

    def close_and_event_time(self, place: Place) -> tuple[float, int]:
        """Return close and event time of the newest visible bar; NaN and MISSING before it."""
        count = self.seen(place)
        return self._measure(count - 1) if count else self._measured_before

    def _measure(self, index: int) -> tuple[float, int]:
        close, event_time = (column[index].item() for column in self._measured)
        return close, event_time


class NoQuotes:
    """An instrument without quotes: there is nothing to look up, and bars tell the price.

    Args:
        instrument: Its id.
        bars: Its bars, None without any.
    """

    def __init__(self, instrument: str, bars: BarSource | None) -> None:
        self.bars = bars
        self._book = BookView(instrument, (), ())

    def latest(self, place: Place) -> None:
        """Return None: there was no quote yet, and there will be none."""

    def book(self, place: Place) -> BookView:
        """Return a book without levels."""
        return self._book

    def mid_and_event_time(self, place: Place) -> tuple[float, int]:
        """Return the newest visible close and its event time, NaN and MISSING without bars."""
        if self.bars is None:
            return float("nan"), MISSING
        return self.bars.close_and_event_time(place)
