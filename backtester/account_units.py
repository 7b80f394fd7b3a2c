"""The whole numbers of money: lots, ticks and ledger units, and how decimals become them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import NamedTuple

from backtester.errors import ScenarioError
from featurizer.market import Instrument

__all__ = ["InstrumentUnits", "Units", "half_even", "share"]

_FEWEST_DECIMALS = 8
_LARGEST = 2**61


class InstrumentUnits(NamedTuple):
    """The whole numbers of one instrument.

    Attributes:
        tick_size: Price of one tick.
        lot_size: Quantity of one lot.
        multiplier: Ledger units in one step of a basis: in one tick times one lot; 1 where the
            contract is inverse, whose basis is in ledger units.
        is_spot: Whether a fill moves its whole notional in cash.
        taker: Taker fee as an exact share of the notional.
        maker: Maker fee, likewise.
        is_inverse: Whether profit is paid in the base currency.
        currency: Currency of cash, fees and profit: the quote currency, the base currency where
            the contract is inverse.
        base: Base currency.
        quote: Quote currency.
        per_lot: Ledger units of the base currency in one lot, where it is spot; else 0.
        inverse: Ledger units of the base currency that one lot is worth at a price of one tick,
            as numerator and denominator; (0, 1) where it is not inverse.
    """

    tick_size: Decimal
    lot_size: Decimal
    multiplier: int
    is_spot: bool
    taker: Fraction
    maker: Fraction
    is_inverse: bool
    currency: str
    base: str
    quote: str
    per_lot: int
    inverse: tuple[int, int]


class Units:
    """Conversion between decimals and the integers of a ledger.

    The ledger unit is 10^-k of any currency, where k is at least 8 and large enough that one tick
    of one lot of any instrument, and one lot of any spot instrument, is a whole number of units:
    notionals are exact. Only fees, funding and the worth of inverse contracts are rounded (half to
    even).

    Args:
        instruments: The instruments traded.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        exact = [_tick_lot(i) for i in instruments if i.contract != "inverse"]
        exact += [i.lot_size * i.contract_size for i in instruments if i.contract == "spot"]
        self.decimals = max([_FEWEST_DECIMALS, *map(_decimals, exact)])
        self.per_currency = 10**self.decimals
        self._of = {i.id: self._units(i) for i in instruments}
        self.currencies = tuple(
            dict.fromkeys(
                name
                for unit in self._of.values()
                for name in (unit.currency, *((unit.base,) if unit.is_spot else ()))
            )
        )

    def _units(self, instrument: Instrument) -> InstrumentUnits:
        is_inverse, is_spot = instrument.contract == "inverse", instrument.contract == "spot"
        per_currency = self.per_currency
        multiplier = 1 if is_inverse else int(_tick_lot(instrument) * per_currency)
        lot = instrument.lot_size * instrument.contract_size
        worth = Fraction(lot) / Fraction(instrument.tick_size) * per_currency
        return InstrumentUnits(
            tick_size=instrument.tick_size,
            lot_size=instrument.lot_size,
            multiplier=multiplier,
            is_spot=is_spot,
            taker=Fraction(instrument.fees.taker),
            maker=Fraction(instrument.fees.maker),
            is_inverse=is_inverse,
            currency=instrument.base if is_inverse else instrument.quote,
            base=instrument.base,
            quote=instrument.quote,
            per_lot=int(lot * per_currency) if is_spot else 0,
            inverse=(worth.numerator, worth.denominator) if is_inverse else (0, 1),
        )

    def __getitem__(self, instrument: str) -> InstrumentUnits:
        return self._of[instrument]

    @property
    def instruments(self) -> tuple[str, ...]:
        """Ids of the instruments, in their order."""
        return tuple(self._of)

    def from_decimal(self, amount: Decimal) -> int:
        """Return an amount of currency in ledger units, rounded half to even.

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
        """Return ledger units in currency."""
        return units / self.per_currency

    def cost(self, instrument: str, lots: int, ticks: int) -> int:
        """Return what signed lots add to a basis at a price, in steps of `multiplier` units.

        Lots times ticks, exact. For an inverse contract less its worth in the base currency: who
        is long of one profits as that worth falls.
        """
        unit = self._of[instrument]
        if not unit.is_inverse:
            return lots * ticks
        numerator, denominator = unit.inverse
        return -half_even(lots * numerator, denominator * ticks)

    def notional(self, instrument: str, lots: int, ticks: int) -> int:
        """Return the value of *lots* at *ticks*, in ledger units of the instrument's currency."""
        unit = self._of[instrument]
        if not unit.is_inverse:
            return lots * ticks * unit.multiplier
        numerator, denominator = unit.inverse
        return half_even(lots * numerator, denominator * ticks)

    def quote_value(self, instrument: str, lots: int, price: float) -> float:
        """Return the value of *lots* at a price, in the quote currency, for limits and reports."""
        unit = self._of[instrument]
        if unit.is_inverse:
            worth = lots * unit.inverse[0] / unit.inverse[1]
            return worth * float(unit.tick_size) / self.per_currency
        return lots * price / float(unit.tick_size) * (unit.multiplier / self.per_currency)

    def twice_cost(self, instrument: str, lots: int, twice_ticks: int) -> int:
        """Return twice `cost * multiplier` at half of *twice_ticks*, in ledger units.

        A mid may lie between two ticks; twice of it is a whole number, and exact where `cost` is.
        """
        unit = self._of[instrument]
        if not unit.is_inverse:
            return lots * twice_ticks * unit.multiplier
        numerator, denominator = unit.inverse
        return -2 * half_even(2 * lots * numerator, denominator * twice_ticks)


def half_even(numerator: int, denominator: int) -> int:
    """Return a quotient rounded to the nearest whole number, a tie to the even one.

    >>> [half_even(n, 2) for n in (1, 3, -1, -3)]
    [0, 2, 0, -2]
    """
    quotient, rest = divmod(numerator, denominator)
    # what `round` does to a Fraction, without making one for every fill
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient % 2 == 1))


def share(rate: Fraction, amount: int) -> int:
    """Return a share of an amount, rounded half to even."""
    return half_even(rate.numerator * amount, rate.denominator)


def _tick_lot(instrument: Instrument) -> Decimal:
    return instrument.tick_size * instrument.lot_size * instrument.contract_size


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -int(exponent))
