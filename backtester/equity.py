"""The value of the venue's account on a regular grid, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backtester.account import Account, LedgerEntry, Units
from backtester.errors import BooksDisagreeError
from featurizer.market import Records

__all__ = ["EquitySampler", "sampling_period"]

_SECOND = 1_000_000_000
_LADDER = tuple(_SECOND * s for s in (1, 10, 60, 300, 900, 3600, 14_400, 86_400))
_MOST_POINTS = 50_000


def sampling_period(duration_ns: int) -> int:
    """Return the default period of the equity curve: one second, or longer for a long run."""
    for period in _LADDER:
        if duration_ns <= period * _MOST_POINTS:
            return period
    return _LADDER[-1]


class EquitySampler:
    """Equity, cash, positions and mids at `start + k · period`, as the venue has them.

    A sample at an instant includes what happened at it. Nothing here is known to the strategy.

    Args:
        instruments: Ids in the order of the scenario.
        units: Their integers.
        account: The venue's account, before the run.
        start: Start of the run.
        period_ns: Period of the grid.
    """

    def __init__(
        self,
        instruments: Sequence[str],
        units: Units,
        account: Account,
        start: int,
        period_ns: int,
    ) -> None:
        self._instruments = tuple(instruments)
        self._units = units
        self._period = period_ns
        self._next = start
        self._mids = dict.fromkeys(instruments, float("nan"))
        self._state = dict.fromkeys(instruments, (0, 0))
        self._cash = account.cash
        self._chunks: list[list[np.ndarray]] = []

    def sample(
        self,
        quotes: Mapping[str, Records],
        entries: Sequence[tuple[int, LedgerEntry]],
        until: int,
    ) -> None:
        """Sample a window that was traded.

        Args:
            quotes: The venue's quotes of the window, by instrument.
            entries: What the venue booked in it, in order.
            until: Its end; an instant at it belongs to the next window.
        """
        grid = np.arange(self._next, until, self._period, dtype=np.int64)
        if len(grid):
            self._next = int(grid[-1]) + self._period
        self._chunks.append(self._columns(grid, quotes, entries))

    def to_columns(self, final: tuple[int, Mapping[str, float]]) -> dict[str, np.ndarray]:
        """Return the curve, closed by the mark at the end of the run.

        Args:
            final: End of the run and the venue's last mid of each instrument.
        """
        until, mids = final
        quotes = {name: _one_mid(name, mids[name], until) for name in self._instruments}
        self._chunks.append(self._columns(np.array([until]), quotes, ()))
        names = ["time", "equity", "cash"]
        for name in self._instruments:
            names += [f"position:{name}", f"mid:{name}"]
        columns = [np.concatenate(parts) for parts in zip(*self._chunks, strict=True)]
        return dict(zip(names, columns, strict=True))

    def check(self, account: Account) -> None:
        """Assert that the sampled books end where the venue's do."""
        if self._cash != account.cash:
            raise BooksDisagreeError(
                f"`cash` of the curve must be the venue's: got {self._cash}, not {account.cash}."
            )

    def _columns(
        self,
        grid: np.ndarray,
        quotes: Mapping[str, Records],
        entries: Sequence[tuple[int, LedgerEntry]],
    ) -> list[np.ndarray]:
        per_currency = self._units.per_currency
        instants = np.array([instant for instant, _ in entries], dtype=np.int64)
        cashes = np.array([self._cash, *(entry.cash for _, entry in entries)], dtype=np.int64)
        cash = cashes[np.searchsorted(instants, grid, side="right")] / per_currency
        equity = cash.copy()
        columns = []
        for name in self._instruments:
            unit = self._units[name]
            mid = self._sample_mid(name, quotes[name], grid)
            lots, basis = self._sample_position(name, entries, grid)
            ticks = mid / float(unit.tick_size)
            worth = lots * ticks - (0 if unit.is_spot else basis)
            equity += np.where(lots == 0, 0.0, worth) * (unit.multiplier / per_currency)
            columns += [lots * float(unit.lot_size), mid]
        self._cash = int(cashes[-1])
        return [grid, equity, cash, *columns]

    def _sample_mid(self, name: str, quotes: Records, grid: np.ndarray) -> np.ndarray:
        bid, ask = quotes.columns["bid_price"], quotes.columns["ask_price"]
        before = self._mids[name]
        if not len(bid):
            return np.full(len(grid), before)
        count = np.searchsorted(quotes.event_time, grid, side="right")
        at = np.maximum(count - 1, 0)
        self._mids[name] = float((bid[-1] + ask[-1]) / 2)
        return np.where(count > 0, (bid[at] + ask[at]) / 2, before)

    def _sample_position(
        self, name: str, entries: Sequence[tuple[int, LedgerEntry]], grid: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        own = [(instant, entry) for instant, entry in entries if entry.instrument == name]
        instants = np.array([instant for instant, _ in own], dtype=np.int64)
        states = np.array(
            [self._state[name], *((e.position, e.basis) for _, e in own)], dtype=np.int64
        )
        self._state[name] = (int(states[-1, 0]), int(states[-1, 1]))
        sampled = states[np.searchsorted(instants, grid, side="right")]
        return sampled[:, 0], sampled[:, 1]


def _one_mid(name: str, mid: float, instant: int) -> Records:
    price = np.array([mid])
    stamp = np.array([instant])
    columns = {
        "event_time": stamp,
        "receipt_time": stamp,
        "sequence": np.zeros(1, dtype=np.int64),
        "bid_price": price,
        "ask_price": price,
    }
    return Records(name, "quotes", columns)
