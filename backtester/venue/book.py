"""The venue's present best bid and ask, in the venue's own time."""

from __future__ import annotations

import numpy as np

from backtester.account import InstrumentUnits
from backtester.errors import ScenarioError
from clock.units import format_instant
from featurizer.market import Records

__all__ = ["TopOfBook"]


class TopOfBook:
    """Best bid and ask of one instrument at the venue: a cursor that only moves forward.

    It reads the venue's view of the quotes (`event_time`), which runs ahead of ours by the feed
    latency. What we took from one side of a quote stays taken until the venue's next quote.

    Attributes:
        bid_ticks: Best bid, in ticks.
        bid_lots: Lots displayed there, less what we took.
        ask_ticks: Best ask, in ticks.
        ask_lots: Lots displayed there, less what we took.
        has_quote: Whether the venue has shown any quote in this run.
    """

    __slots__ = (
        "_columns",
        "_index",
        "_lot",
        "_tick",
        "_times",
        "ask_lots",
        "ask_ticks",
        "bid_lots",
        "bid_ticks",
        "has_quote",
    )

    def __init__(self, unit: InstrumentUnits) -> None:
        self._tick = float(unit.tick_size)
        self._lot = float(unit.lot_size)
        self._times = np.empty(0, dtype=np.int64)
        self._columns: tuple[np.ndarray, ...] = ()
        self._index = 0
        self.has_quote = False
        self.bid_ticks = self.bid_lots = self.ask_ticks = self.ask_lots = 0

    def open_window(self, quotes: Records) -> None:
        """Go on with the next window of quotes, the last one having been read to its end."""
        self.advance(_END)
        columns = quotes.columns
        for name, step in (("price", self._tick), ("quantity", self._lot)):
            for side in ("bid", "ask"):
                _check_whole(quotes, f"{side}_{name}", step)
        self._times = quotes.event_time
        self._columns = (
            columns["bid_price"],
            columns["bid_quantity"],
            columns["ask_price"],
            columns["ask_quantity"],
        )
        self._index = 0

    def advance(self, now: int) -> None:
        """Move to the last quote with `event_time <= now`."""
        index = int(self._times.searchsorted(now, side="right"))
        if index <= self._index:
            return
        self._index = index
        bid, bid_quantity, ask, ask_quantity = (float(c[index - 1]) for c in self._columns)
        self.bid_ticks = round(bid / self._tick)
        self.bid_lots = round(bid_quantity / self._lot)
        self.ask_ticks = round(ask / self._tick)
        self.ask_lots = round(ask_quantity / self._lot)
        self.has_quote = True

    @property
    def mid(self) -> float:
        """Mean of the best bid and ask, in quote currency; NaN before the first quote."""
        if not self.has_quote:
            return float("nan")
        return (self.bid_ticks + self.ask_ticks) * self._tick / 2


_END = 2**63 - 1


def _check_whole(quotes: Records, column: str, step: float) -> None:
    """Refuse what the instrument's definition says the venue cannot have shown."""
    steps = quotes.columns[column] / step
    wrong = np.flatnonzero(np.abs(steps - np.rint(steps)) > 1e-6 + 1e-15 * np.abs(steps))
    if len(wrong):
        row = int(wrong[0])
        raise ScenarioError(
            f"quotes of {quotes.instrument}: `{column}` must be a multiple of {step:g}, as "
            f"`instruments.yaml` says: got {float(quotes.columns[column][row])!r} at "
            f"{format_instant(int(quotes.event_time[row]))}. Mend the definition, or ingest anew."
        )
