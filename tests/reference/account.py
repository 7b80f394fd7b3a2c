"""Money in whole ledger units, positions in whole lots, prices in whole ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.reference.scenario import Instrument


def decimals(value: Fraction) -> int:
    """Return how many decimal places an exact decimal needs."""
    return next(places for places in range(60) if (value * 10**places).denominator == 1)


def round_half_even(value: Fraction) -> int:
    """Return the nearest whole number, of two equally near ones the even one."""
    return round(value)  # what Python's round does to a Fraction, exactly


class Ledger:
    """The size of the ledger unit, and conversions into it.

    The unit is 10^-k of the quote currency. k is 8, or more where one tick of one lot of some
    instrument needs it.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        steps = {i.id: i.tick_size * i.lot_size * i.contract_size for i in instruments}
        self.places = max([8, *(decimals(step) for step in steps.values())])
        self.per_tick_lot = {name: int(step * 10**self.places) for name, step in steps.items()}

    def units(self, amount: Fraction) -> int:
        """Return an amount of quote currency in ledger units."""
        return round_half_even(amount * 10**self.places)

    def amount(self, units: int | Fraction) -> Fraction:
        """Return ledger units as an amount of quote currency."""
        return Fraction(units) / 10**self.places

    def notional(self, instrument: str, lots: int, ticks: int) -> int:
        """Return lots times price, exact in ledger units."""
        return lots * ticks * self.per_tick_lot[instrument]


@dataclass(frozen=True)
class Entry:
    """The books just after a fill."""

    instrument: str
    lots: int
    ticks: int
    fee: int
    realised: int
    cash: int
    position: int
    basis: int


class Account:
    """Cash, signed positions and what they cost."""

    def __init__(self, ledger: Ledger, instruments: Sequence[Instrument], cash: int) -> None:
        self.ledger, self.cash = ledger, cash
        self.spot = {i.id: i.contract == "spot" for i in instruments}
        self.position = {i.id: 0 for i in instruments}
        self.basis = {i.id: 0 for i in instruments}
        self.realised = 0
        self.fees = 0
        self.entries: list[Entry] = []

    def fill(self, name: str, lots: int, ticks: int, fee: int) -> None:
        """Book a fill of signed lots: close what it closes, then open the rest."""
        position = self.position[name]
        closing = 0
        if position * lots < 0:
            closing = min(abs(position), abs(lots))
        opening = abs(lots) - closing
        profit = self._close(name, closing, ticks)
        self._open(name, opening if lots > 0 else -opening, ticks)
        if self.spot[name]:
            self.cash -= self.ledger.notional(name, lots, ticks)
        else:
            self.cash += profit
        self.cash -= fee
        self.realised += profit
        self.fees += fee
        self.entries.append(
            Entry(name, lots, ticks, fee, profit, self.cash, self.position[name], self.basis[name])
        )

    def _close(self, name: str, count: int, ticks: int) -> int:
        if count == 0:
            return 0
        position, basis = self.position[name], self.basis[name]
        sign = 1 if position > 0 else -1
        cost = abs(basis) * count // abs(position)  # the remainder stays in the basis
        self.basis[name] = basis - sign * cost
        self.position[name] = position - sign * count
        return sign * (ticks * count - cost) * self.ledger.per_tick_lot[name]

    def _open(self, name: str, lots: int, ticks: int) -> None:
        self.position[name] += lots
        self.basis[name] += lots * ticks

    def equity(self, mids: Mapping[str, Fraction | None]) -> Fraction:
        """Return cash and positions in ledger units, marked at mids in ticks."""
        total = Fraction(self.cash)
        for name, lots in self.position.items():
            if lots:
                mid = mids[name]
                assert mid is not None, "a position in what was never quoted"
                worth = lots * mid if self.spot[name] else lots * mid - self.basis[name]
                total += worth * self.ledger.per_tick_lot[name]
        return total
