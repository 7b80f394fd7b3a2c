"""The value of the venue's account on a regular grid, window by window."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backtester.account import Account
from backtester.errors import BooksDisagreeError
from backtester.ledger import Booked
from backtester.valuation import Valuation
from featurizer.market import Array, Records

__all__ = ["EquitySampler", "mids_of", "sampling_period"]

_SECOND = 1_000_000_000
_LADDER = tuple(_SECOND * s for s in (1, 10, 60, 300, 900, 3600, 14_400, 86_400))
_MOST_POINTS = 50_000
_NOTHING = Booked(*(np.empty(0, np.int64) for _ in Booked._fields))


def sampling_period(duration_ns: int) -> int:
    """Return the default period of the equity curve: one second, or longer for a long run."""
    for period in _LADDER:
        if duration_ns <= period * _MOST_POINTS:
            return period
    return _LADDER[-1]


def mids_of(quotes: Records) -> tuple[Array, Array]:
    """Return instants of quotes and the mid after each. Shape (n,) each."""
    return quotes.event_time, (quotes.columns["bid_price"] + quotes.columns["ask_price"]) / 2


class EquitySampler:
    """Equity, cash, positions and mids at `start + k · period`, as the venue has them.

    A sample at an instant includes what happened at it. Nothing here is known to the strategy.
    Equity is in the currency of the report; it is NaN while it depends on a price that the venue
    has not shown yet.

    Args:
        valuation: What several currencies are worth in the report's.
        account: The venue's account, before the run.
        start: Start of the run.
        period_ns: Period of the grid.

    Attributes:
        first_mids: The first price of each instrument that the venue showed, NaN before.
    """

    def __init__(self, valuation: Valuation, account: Account, start: int, period_ns: int) -> None:
        self._valuation = valuation
        self._units = valuation.units
        self._instruments = valuation.units.instruments
        self._period = period_ns
        self._next = start
        self._mids = dict.fromkeys(self._instruments, float("nan"))
        self.first_mids = dict(self._mids)
        self._state = dict.fromkeys(self._instruments, (0, 0))
        self._cash = {name: wallet.cash for name, wallet in account.wallets.items()}
        self._chunks: list[list[np.ndarray]] = []

    def sample(
        self,
        marks: Mapping[str, tuple[Array, Array]],
        booked: Booked,
        until: int,
    ) -> None:
        """Sample a window that was traded.

        Args:
            marks: Instants of the venue's records in the window and its mid after each, by
                instrument. Shape (n,) each.
            booked: What the venue booked in it.
            until: Its end; an instant at it belongs to the next window.
        """
        grid = np.arange(self._next, until, self._period, dtype=np.int64)
        if len(grid):
            self._next = int(grid[-1]) + self._period
        self._chunks.append(self._columns(grid, marks, booked))

    def to_columns(self, final: tuple[int, Mapping[str, float]]) -> dict[str, np.ndarray]:
        """Return the curve, closed by the mark at the end of the run.

        Args:
            final: End of the run and the venue's last mid of each instrument.
        """
        until, mids = final
        marks = {name: (np.array([until]), np.array([mids[name]])) for name in self._instruments}
        self._chunks.append(self._columns(np.array([until]), marks, _NOTHING))
        report = self._valuation.currency
        names = ["time", "equity", "cash"]
        names += [f"cash:{name}" for name in self._cash if name != report]
        for name in self._instruments:
            names += [f"position:{name}", f"mid:{name}"]
        columns = [np.concatenate(parts) for parts in zip(*self._chunks, strict=True)]
        return dict(zip(names, columns, strict=True))

    def check(self, account: Account) -> None:
        """Assert that the sampled books end where the venue's do."""
        for name, wallet in account.wallets.items():
            if self._cash[name] != wallet.cash:
                raise BooksDisagreeError(
                    f"`cash` in {name} of the curve must be the venue's: got {self._cash[name]}, "
                    f"not {wallet.cash}."
                )

    def _columns(
        self,
        grid: Array,
        marks: Mapping[str, tuple[Array, Array]],
        booked: Booked,
    ) -> list[np.ndarray]:
        per_currency, rates = self._units.per_currency, self._valuation.rates
        cash = {name: self._sample_cash(name, booked, grid) for name in self._cash}
        mids = {name: self._sample_mid(name, marks[name], grid) for name in self._instruments}
        worth = {name: units / per_currency for name, units in cash.items()}
        columns = []
        for name in self._instruments:
            unit, mid = self._units[name], mids[name]
            lots, basis = self._sample_position(name, booked, grid)
            if unit.is_spot:
                worth[unit.base] = worth[unit.base] + lots * (unit.per_lot / per_currency)
            else:
                profit = self._valuation.worth(name, lots, mid) - basis * float(unit.multiplier)
                worth[unit.currency] = worth[unit.currency] + np.where(
                    lots == 0, 0.0, profit / per_currency
                )
            columns += [lots * float(unit.lot_size), mid]
        equity = np.zeros(len(grid))
        for name, amount in worth.items():
            equity += np.where(amount == 0, 0.0, amount * rates[name].of(mids))
        report = self._valuation.currency
        others = [units / per_currency for name, units in cash.items() if name != report]
        own = cash[report] if report in cash else np.zeros(len(grid))
        return [grid, equity, own / per_currency, *others, *columns]

    def _sample_cash(self, currency: str, booked: Booked, grid: Array) -> Array:
        paid_in = [self._units[name].currency == currency for name in self._instruments]
        own = np.array(paid_in)[booked.instruments]
        cashes = np.concatenate([[self._cash[currency]], booked.cash[own]])
        self._cash[currency] = int(cashes[-1])
        return cashes[np.searchsorted(booked.instants[own], grid, side="right")]

    def _sample_mid(self, name: str, marks: tuple[Array, Array], grid: Array) -> Array:
        instants, mids = marks
        before = self._mids[name]
        if not len(mids):
            return np.full(len(grid), before)
        count = np.searchsorted(instants, grid, side="right")
        self._mids[name] = float(mids[-1])
        if np.isnan(self.first_mids[name]):
            self.first_mids[name] = float(mids[0])
        return np.where(count > 0, mids[np.maximum(count - 1, 0)], before)

    def _sample_position(self, name: str, booked: Booked, grid: Array) -> tuple[Array, Array]:
        own = booked.instruments == self._instruments.index(name)
        lots, basis = self._state[name]
        positions = np.concatenate([[lots], booked.positions[own]])
        bases = np.concatenate([[basis], booked.bases[own]])
        self._state[name] = (int(positions[-1]), int(bases[-1]))
        places = np.searchsorted(booked.instants[own], grid, side="right")
        return positions[places], bases[places]
