"""Books in whole ledger units: cash, positions, cost and realised profit, balanced exactly.

One class serves both books of a run: the venue's own, changed when it executes, and our belief,
changed when its reports reach us.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import NamedTuple

from backtester.errors import BooksDisagreeError, ScenarioError
from featurizer.market import Instrument

__all__ = ["Account", "InstrumentUnits", "LedgerEntry", "Units"]

_FEWEST_DECIMALS = 8
_LARGEST = 2**61


class InstrumentUnits(NamedTuple):
    """The whole numbers of one instrument.

    Attributes:
        tick_size: Price of one tick.
        lot_size: Quantity of one lot.
        multiplier: Ledger units in one tick times one lot.
        is_spot: Whether a fill moves its whole notional in cash.
        taker: Taker fee as an exact share of the notional.
    """

    tick_size: Decimal
    lot_size: Decimal
    multiplier: int
    is_spot: bool
    taker: Fraction


class Units:
    """Conversion between decimals and the integers of a ledger.

    The ledger unit is 10^-k of the quote currency, where k is at least 8 and large enough that one
    tick of one lot of any instrument is a whole number of units: notionals are exact, and only fees
    are rounded (half to even).

    Args:
        instruments: Instruments that share one quote currency.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        products = [_tick_lot(instrument) for instrument in instruments]
        self.decimals = max([_FEWEST_DECIMALS, *(_decimals(product) for product in products)])
        self.per_currency = 10**self.decimals
        self._of = {
            instrument.id: InstrumentUnits(
                tick_size=instrument.tick_size,
                lot_size=instrument.lot_size,
                multiplier=int(product * self.per_currency),
                is_spot=instrument.contract == "spot",
                taker=Fraction(instrument.fees.taker),
            )
            for instrument, product in zip(instruments, products, strict=True)
        }

    def __getitem__(self, instrument: str) -> InstrumentUnits:
        return self._of[instrument]

    def from_decimal(self, amount: Decimal) -> int:
        """Return an amount of quote currency in ledger units, rounded half to even.

        Raises:
            ScenarioError: If it is so large that 64 bits might not hold what becomes of it.
        """
        units = int((amount * self.per_currency).to_integral_value(rounding=ROUND_HALF_EVEN))
        if abs(units) > _LARGEST:
            most = _LARGEST // self.per_currency
            raise ScenarioError(
                f"`portfolio.balances` must be at most {most:,} with {self.decimals} decimal "
                f"places, which these instruments need: got {amount}. Take a smaller balance."
            )
        return units

    def to_float(self, units: int) -> float:
        """Return ledger units in quote currency."""
        return units / self.per_currency

    def notional(self, instrument: str, lots: int, ticks: int) -> int:
        """Return the exact value of *lots* at *ticks*, in ledger units."""
        return lots * ticks * self._of[instrument].multiplier

    def taker_fee(self, instrument: str, lots: int, ticks: int) -> int:
        """Return the taker's fee in ledger units, rounded half to even."""
        rate = self._of[instrument].taker
        notional = self.notional(instrument, lots, ticks)
        fee, rest = divmod(rate.numerator * notional, rate.denominator)
        # what `round` does to a Fraction, without making one for every fill
        up = 2 * rest > rate.denominator or (2 * rest == rate.denominator and fee % 2 == 1)
        return fee + up


class LedgerEntry(NamedTuple):
    """The books of one account just after a fill, in ledger units and lots.

    Attributes:
        instrument: Id of the instrument filled.
        lots: Signed lots that the fill added.
        ticks: Its price.
        fee: Fee charged.
        realised: Profit that this fill realised, before its fee.
        cash: Cash after it.
        position: Signed position in lots after it.
        basis: Cost of that position after it, tick·lots, signed like the position.
    """

    instrument: str
    lots: int
    ticks: int
    fee: int
    realised: int
    cash: int
    position: int
    basis: int


class Account:
    """Cash and netted positions of one account.

    Args:
        units: Integers of the instruments traded.
        cash: Opening balance in ledger units.
    """

    def __init__(self, units: Units, cash: int) -> None:
        self.units = units
        self.opening = cash
        self.cash = cash
        self.realised = 0
        self.fees = 0
        self.positions: dict[str, int] = {}
        self.bases: dict[str, int] = {}

    def apply_fill(self, instrument: str, lots: int, ticks: int, fee: int) -> LedgerEntry:
        """Book an execution.

        A fill against the position first closes it and realises the difference to its cost; what
        is left of the fill opens a position at the fill's price. When only part of a position is
        closed its cost is released in proportion, rounded down to a whole tick·lot, and the rest
        stays in the basis: nothing is lost.

        Args:
            instrument: Id of the instrument.
            lots: Signed, positive for a buy.
            ticks: Price of the fill.
            fee: In ledger units, a rebate is negative.

        Returns:
            The books after it.
        """
        unit = self.units[instrument]
        position = self.positions.get(instrument, 0)
        basis = self.bases.get(instrument, 0)
        closed = min(abs(lots), abs(position)) if position * lots < 0 else 0
        released = 0
        if closed:
            sign = 1 if position > 0 else -1
            released = sign * (abs(basis) * closed // abs(position))
        proceeds = closed * ticks * (1 if position > 0 else -1)
        realised = (proceeds - released) * unit.multiplier
        opened = lots + (closed if position > 0 else -closed)
        position += lots
        basis = basis - released + opened * ticks
        self.positions[instrument] = position
        self.bases[instrument] = basis
        self.realised += realised
        self.fees += fee
        self.cash += (-lots * ticks * unit.multiplier if unit.is_spot else realised) - fee
        return LedgerEntry(instrument, lots, ticks, fee, realised, self.cash, position, basis)

    def check(self) -> None:
        """Assert that the books balance.

        Cash must equal the opening balance plus realised profit less fees, less the cost of the
        spot holdings, to the last ledger unit.

        Raises:
            BooksDisagreeError: If they do not.
        """
        held = sum(
            basis * self.units[name].multiplier
            for name, basis in self.bases.items()
            if self.units[name].is_spot
        )
        expected = self.opening + self.realised - self.fees - held
        if self.cash != expected:
            raise BooksDisagreeError(
                f"`cash` must be {expected} ledger units (opening {self.opening} + realised "
                f"{self.realised} - fees {self.fees} - holdings at cost {held}): got {self.cash}."
            )

    def equity(self, mids: dict[str, float]) -> float:
        """Return cash plus positions at given prices, in quote currency.

        Args:
            mids: Price of each instrument that is held, in quote currency.
        """
        total = self.cash / self.units.per_currency
        for name, lots in self.positions.items():
            if lots:
                unit = self.units[name]
                worth = lots * (mids[name] / float(unit.tick_size))
                if not unit.is_spot:
                    worth -= self.bases[name]
                total += worth * unit.multiplier / self.units.per_currency
        return total


def _tick_lot(instrument: Instrument) -> Decimal:
    return instrument.tick_size * instrument.lot_size * instrument.contract_size


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -int(exponent))
