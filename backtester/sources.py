"""What a strategy can read, and how much of it is visible at a place in the order of time.

A place is an instant, a rank, and inside the rank the item now being delivered. A lookup from
there sees all earlier ranks of the instant and its own rank up to the present item, whatever is
subscribed (design, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from backtester.book_view import BookView, Level
from backtester.records import FeatureRow, Prediction, record_class, records_of
from clock.rank import Rank
from featurizer.market import QUOTES, Records
from inference.rows import MISSING

__all__ = [
    "ItemSource",
    "LiveSource",
    "MarketSource",
    "Place",
    "PredictionSource",
    "QuoteSource",
    "RowSource",
]

_NO_TIMES = np.empty(0, dtype=np.int64)
_ALL = slice(None)


class Place(NamedTuple):
    """Where in the order of time somebody reads.

    Attributes:
        now: The instant.
        rank: Rank of what runs; everything of a lower rank at *now* is visible.
        source: Source of the item being delivered, None for an action of the clock.
        at: Its index in that source's window.
    """

    now: int
    rank: int
    source: ItemSource | None
    at: int


class ItemSource:
    """A stream of items of one window, sorted by instant, and the newest of earlier windows.

    Args:
        rank: Rank at which the items become visible.
        key: Place among the sources of that rank: (instrument, kind number).
    """

    def __init__(self, rank: Rank, key: tuple[int, int] = (0, 0)) -> None:
        self.rank = rank
        self.key = key
        self.times = _NO_TIMES
        self.tie: np.ndarray = _NO_TIMES
        self._before: Any = None

    def item(self, index: int) -> Any:
        """Return one item of this window."""
        raise NotImplementedError

    def items(self, part: slice = _ALL) -> Iterable[Any]:
        """Return the items of this window, or of a part of it, in order."""
        raise NotImplementedError

    def close_window(self) -> None:
        """Keep the newest item and forget the others."""
        if len(self.times):
            self._before = self.item(len(self.times) - 1)
        self.times = self.tie = _NO_TIMES

    def seen(self, place: Place) -> int:
        """Return how many items of this window are visible at a place."""
        if place.source is self:
            return place.at + 1
        mine = (self.rank, *self.key)
        if place.source is None:
            earlier = self.rank <= place.rank
        else:
            earlier = mine < (place.rank, *place.source.key)
        return int(self.times.searchsorted(place.now, side="right" if earlier else "left"))

    def latest(self, place: Place) -> Any:
        """Return the newest item visible at a place, None if there was none yet."""
        count = self.seen(place)
        return self.item(count - 1) if count else self._before


class MarketSource(ItemSource):
    """Records of one stream as we receive them.

    Args:
        kind: Name and number of the kind.
        instrument: Id and place in the scenario.
        fields: Columns handed over.
    """

    def __init__(
        self, kind: tuple[str, int], instrument: tuple[str, int], fields: Sequence[str]
    ) -> None:
        super().__init__(Rank.RECEIPT, (instrument[1], kind[1]))
        self.stream = (instrument[0], kind[0])
        self.callback = f"on_{kind[0].removesuffix('s')}"
        self.fields = tuple(fields)
        self._class = record_class(kind[0], instrument[0], fields)
        self._columns: list[np.ndarray] = []

    def open_window(self, records: Records) -> None:
        """Hold the records received in the next window."""
        self.times = records.receipt_time
        self.tie = records.sequence
        self._columns = [records.columns[name] for name in self.fields]

    def item(self, index: int) -> Any:
        """Return one record."""
        return tuple.__new__(self._class, [column[index].item() for column in self._columns])

    def items(self, part: slice = _ALL) -> Iterable[Any]:
        """Return the records of the window, or of a part of it."""
        return records_of(self._class, [column[part] for column in self._columns])


class QuoteSource(MarketSource):
    """Quotes as we receive them, with the mid and the stamp that decisions are measured by."""

    _MEASURED = ("bid_price", "ask_price", "event_time", "bid_quantity", "ask_quantity")

    def __init__(self, instrument: tuple[str, int], fields: Sequence[str]) -> None:
        super().__init__((QUOTES.name, QUOTES.number), instrument, fields)
        self._measured: list[np.ndarray] = []
        self._measured_before: tuple[float, int] = (float("nan"), MISSING)
        self._book_before = BookView(instrument[0], (), ())

    def open_window(self, records: Records) -> None:
        """Hold the quotes received in the next window."""
        super().open_window(records)
        self._measured = [records.columns[name] for name in self._MEASURED]

    def close_window(self) -> None:
        """Keep the newest quote and forget the others."""
        if len(self.times):
            self._measured_before = self._measure(len(self.times) - 1)
            self._book_before = self._book(len(self.times) - 1)
        super().close_window()
        self._measured = []

    def mid_and_event_time(self, place: Place) -> tuple[float, int]:
        """Return mid and event time of the newest visible quote; NaN and MISSING before it."""
        count = self.seen(place)
        return self._measure(count - 1) if count else self._measured_before

    def seen_from(self, source: ItemSource, instants: np.ndarray) -> np.ndarray:
        """Return how many quotes of this window are visible when items of a source are delivered.

        Args:
            source: Another one, whose items all have its rank.
            instants: When each item is delivered. Shape (n,).
        """
        earlier = (self.rank, *self.key) < (source.rank, *source.key)
        return self.times.searchsorted(instants, side="right" if earlier else "left")

    def measured(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mid and event time of the newest of so many quotes. Shape (n,) each."""
        mid, stamp = self._measured_before
        mids, stamps = np.full(len(counts), mid), np.full(len(counts), stamp)
        own = counts > 0
        bids, asks, times, _, _ = self._measured
        places = counts[own] - 1
        mids[own], stamps[own] = (bids[places] + asks[places]) / 2, times[places]
        return mids, stamps

    def book(self, place: Place) -> BookView:
        """Return the best levels of the newest visible quote, none before it."""
        count = self.seen(place)
        return self._book(count - 1) if count else self._book_before

    def _measure(self, index: int) -> tuple[float, int]:
        bid, ask, event_time, _, _ = self._measured
        return (bid[index].item() + ask[index].item()) / 2, event_time[index].item()

    def _book(self, index: int) -> BookView:
        bid, ask, _, bids, asks = (column[index].item() for column in self._measured)
        return BookView(self.stream[0], (Level(bid, bids),), (Level(ask, asks),))


class OwnedSource(ItemSource):
    """Items that are each of one instrument, and the newest of each from earlier windows.

    Args:
        rank: Rank at which the items become visible.
        key: Place among the sources of that rank.
        instruments: Ids that the items' instrument index stands for.
    """

    def __init__(self, rank: Rank, key: tuple[int, int], instruments: Sequence[str]) -> None:
        super().__init__(rank, key)
        self._instruments = instruments
        self._before_of: dict[str, Any] = {}

    def owners(self) -> np.ndarray:
        """Return the instrument index of each item of this window. Shape (n,)."""
        raise NotImplementedError

    def latest_of(self, place: Place, instrument: str) -> Any:
        """Return an instrument's newest item visible at a place, None if there was none yet."""
        return self._newest_of(instrument, self.seen(place))

    def close_window(self) -> None:
        """Keep the newest item, of each instrument too, and forget the others."""
        if len(self.times) and len(self._instruments) > 1:
            for name in self._instruments:
                self._before_of[name] = self._newest_of(name, len(self.times))
        super().close_window()

    def _newest_of(self, instrument: str, count: int) -> Any:
        if count and len(self._instruments) > 1:
            own = self.owners()[:count] == self._instruments.index(instrument)
            found = np.flatnonzero(own)
            return self.item(int(found[-1])) if len(found) else self._before_of.get(instrument)
        if len(self._instruments) > 1:
            return self._before_of.get(instrument)
        return self.item(count - 1) if count else self._before


class RowSource(OwnedSource):
    """Feature rows by the instant they become visible.

    Args:
        names: Names of the features.
        instruments: Ids that the rows' instrument index stands for.
    """

    def __init__(self, names: tuple[str, ...], instruments: Sequence[str]) -> None:
        super().__init__(Rank.FEATURE_ROW, (0, 0), instruments)
        self.names = names
        self._rows: Any = None
        self._first = 0

    def owners(self) -> np.ndarray:
        """Return the instrument index of each row."""
        owners: np.ndarray = self._rows.instrument
        return owners

    def open_window(self, rows: Any, first_number: int) -> None:
        """Hold the rows that become visible in the next window."""
        self._rows, self._first = rows, first_number
        self.times = rows.visible_at
        self.tie = np.arange(first_number, first_number + len(rows.visible_at), dtype=np.int64)

    def count(self, place: Place) -> int:
        """Return how many rows of the run are visible at a place."""
        return self._first + self.seen(place)

    def close_window(self) -> None:
        """Keep the newest row, of each instrument too, and forget the others."""
        size = len(self.times)
        super().close_window()
        self._first += size

    def item(self, index: int) -> FeatureRow:
        """Return one row."""
        rows = self._rows
        return FeatureRow(
            int(rows.emitted_at[index]),
            int(rows.visible_at[index]),
            int(rows.event_time[index]),
            self._instruments[int(rows.instrument[index])],
            tuple(rows.values[index].tolist()),
            self.names,
        )

    def items(self, part: slice = _ALL) -> Iterable[FeatureRow]:
        """Return the rows of the window, or of a part of it."""
        return [self.item(index) for index in range(len(self.times))[part]]


class PredictionSource(OwnedSource):
    """Answers of one inference loop that were news when they arrived.

    Args:
        loop: Name and place of the loop.
        instruments: Ids that the answers' instrument index stands for.
    """

    def __init__(self, loop: tuple[str, int], instruments: Sequence[str]) -> None:
        super().__init__(Rank.PREDICTION, (loop[1], 0), instruments)
        self.loop = loop[0]
        self._columns: Any = None
        self.ranks = _NO_TIMES

    def owners(self) -> np.ndarray:
        """Return the instrument index of each answer."""
        owners: np.ndarray = self._columns[1]
        return owners

    def open_window(self, outcomes: Any, news: np.ndarray) -> None:
        """Hold the answers of the next window.

        Args:
            outcomes: Outcomes of the loop, sorted by (visible_at, rank, number).
            news: Indices of the completed ones that were not superseded.
        """
        self._columns = [
            getattr(outcomes, name)[news]
            for name in (
                "value",
                "instrument",
                "number",
                "emitted_at",
                "event_time",
                "submitted_at",
                "visible_at",
            )
        ]
        self.times = self._columns[6]
        self.tie = self._columns[2]
        self.ranks = outcomes.rank[news]

    def item(self, index: int) -> Prediction:
        """Return one answer."""
        value, instrument, number, *stamps = (column[index].item() for column in self._columns)
        return Prediction(value, self._instruments[instrument], self.loop, number, *stamps)

    def items(self, part: slice = _ALL) -> Iterable[Prediction]:
        """Return the answers of the window, or of a part of it."""
        value, instrument, number, *stamps = (column[part].tolist() for column in self._columns)
        names = [self._instruments[i] for i in instrument]
        loops = [self.loop] * len(names)
        rows = zip(value, names, loops, number, *stamps, strict=True)
        return map(Prediction._make, rows)

    def seen(self, place: Place) -> int:
        """Return how many answers of this window are visible at a place."""
        if place.source is self:
            return place.at + 1
        count = int(self.times.searchsorted(place.now, side="right"))
        while count and self.times[count - 1] == place.now and not self._shown(count - 1, place):
            count -= 1
        return count

    def _shown(self, index: int, place: Place) -> bool:
        # an answer that came after a poll of its instant carries the poll's rank
        rank = int(self.ranks[index])
        if place.source is None:
            return rank <= place.rank
        return (rank, *self.key) < (place.rank, *place.source.key)


class LiveSource(ItemSource):
    """Items delivered one by one on the clock: the newest one delivered is the newest visible."""

    def __init__(self, rank: Rank) -> None:
        super().__init__(rank)
        self.newest: Any = None
        self._newest_of: dict[str, Any] = {}
        self._count = 0

    def count(self, place: Place) -> int:
        """Return how many items of the run have been delivered."""
        return self._count

    def deliver(self, item: Any) -> None:
        """Take the item that is delivered now."""
        self._count += 1
        self.newest = self._newest_of[item.instrument] = item

    def latest(self, place: Place) -> Any:
        """Return the newest item delivered, None if there was none yet."""
        return self.newest

    def latest_of(self, place: Place, instrument: str) -> Any:
        """Return the newest item of an instrument delivered, None if there was none yet."""
        return self._newest_of.get(instrument)

    def close_window(self) -> None:
        """Keep the newest item."""
