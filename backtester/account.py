"""Books in whole ledger units: cash, positions, cost and realised profit, balanced exactly.

One class serves both books of a run: the venue's own, changed when it executes, and our belief,
changed when its reports reach us. In each currency the books are double-entry: what is booked
moves cash (or holdings) against one of fees, realised profit, funding and insurance, so that

    cash + holdings at cost + fees = opening + realised + funding + insurance

to the last ledger unit, at every instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from backtester.account_units import InstrumentUnits, Units
from backtester.errors import BooksDisagreeError

__all__ = ["Account", "Booking", "InstrumentUnits", "LedgerEntry", "Units", "Wallet"]


class Booking(IntEnum):
    """What was booked."""

    FILL = 0
    FUNDING = 1
    """A payment between those who are long and those who are short of a perpetual."""
    INSURANCE = 2
    """What the venue's insurance fund pays when a liquidation leaves less than nothing."""


class LedgerEntry(NamedTuple):
    """The books of one account just after a booking, in ledger units and lots.

    Attributes:
        instrument: Id of the instrument filled, or that a payment is for.
        lots: Signed lots that the fill added, 0 for a payment.
        ticks: Its price, 0 for a payment.
        fee: Fee charged.
        realised: Profit that this fill realised, before fees.
        cash: Cash in the instrument's currency after it.
        position: Signed position in lots after it.
        basis: Cost of that position after it, in steps (tick·lots; ledger units of the base
            currency where the contract is inverse).
        net: `realised` less the fees of closing and of opening what was closed.
        closed: Lots of the position before it that it closed.
        booking: Fill, funding or insurance.
        amount: What a payment added to the cash, 0 for a fill.
    """

    instrument: str
    lots: int
    ticks: int
    fee: int
    realised: int
    cash: int
    position: int
    basis: int
    net: int = 0
    closed: int = 0
    booking: Booking = Booking.FILL
    amount: int = 0


class Wallet:
    """The accounts of one currency, in ledger units.

    Attributes:
        opening: Opening balance.
        cash: What is there; spot holdings of other currencies are not.
        holdings: Cost of the spot positions that were paid with it.
        realised: Profit realised, before fees.
        maker_fees: Fees of fills that rested, rebates negative.
        taker_fees: Fees of fills that took.
        funding: Funding received less paid.
        insurance: Received of the venue's insurance fund.
    """

    __slots__ = (
        "cash",
        "funding",
        "holdings",
        "insurance",
        "maker_fees",
        "opening",
        "realised",
        "taker_fees",
    )

    def __init__(self, opening: int) -> None:
        self.opening = self.cash = opening
        self.holdings = self.realised = self.funding = self.insurance = 0
        self.maker_fees = self.taker_fees = 0

    @property
    def fees(self) -> int:
        """All fees."""
        return self.maker_fees + self.taker_fees


class Account:
    """Cash in several currencies and netted positions: one double-entry ledger.

    Args:
        units: Integers of the instruments traded.
        opening: Opening balance of each currency in ledger units; a whole number alone is that of
            the first instrument's currency.

    Attributes:
        wallets: The accounts of each currency that is traded or held.
        positions: Signed lots by instrument. Of a spot instrument: bought less sold in the run, so
            negative where some of the opening balance of its base currency was sold.
        bases: Cost of each position, in steps, as in `LedgerEntry`.
    """

    def __init__(self, units: Units, opening: Mapping[str, int] | int) -> None:
        self.units = units
        first = units[units.instruments[0]].currency
        if isinstance(opening, int):
            opening = {first: opening}
        names = dict.fromkeys((*units.currencies, *opening))
        self.wallets = {name: Wallet(opening.get(name, 0)) for name in names}
        self._first = self.wallets[first]
        self.positions: dict[str, int] = {}
        self.bases: dict[str, int] = {}
        self._bought = dict.fromkeys(units.instruments, 0)
        self._sold = dict.fromkeys(units.instruments, 0)
        self._entry_fees: dict[str, int] = {}
        self._spot_of = {
            name: [i for i in units.instruments if units[i].is_spot and units[i].base == name]
            for name in names
        }

    @property
    def cash(self) -> int:
        """Cash in the first instrument's currency, the only one of most scenarios."""
        return self._first.cash

    @property
    def fees(self) -> int:
        """Fees paid in the first instrument's currency."""
        return self._first.fees

    @property
    def realised(self) -> int:
        """Profit realised in the first instrument's currency, before fees."""
        return self._first.realised

    @property
    def funding(self) -> int:
        """Funding received in the first instrument's currency."""
        return self._first.funding

    @property
    def opening(self) -> int:
        """Opening balance of the first instrument's currency."""
        return self._first.opening

    def position(self, instrument: str) -> int:
        """Return the signed position in lots."""
        return self.positions.get(instrument, 0)

    def balance(self, currency: str) -> int:
        """Return what is held of a currency in ledger units: cash and spot positions in it."""
        total = self.wallets[currency].cash
        for name in self._spot_of[currency]:  # nearly always none
            total += self.positions.get(name, 0) * self.units[name].per_lot
        return total

    def apply_fill(
        self, instrument: str, lots: int, ticks: int, fee: int, is_maker: bool = False
    ) -> LedgerEntry:
        """Book an execution.

        A fill against the position first closes it and realises the difference to its cost; what
        is left of the fill opens a position at the fill's price. When only part of a position is
        closed its cost is released in proportion, rounded towards zero to a whole step, and the
        rest stays in the basis: nothing is lost. The fees of opening are released likewise.

        Args:
            instrument: Id of the instrument.
            lots: Signed, positive for a buy.
            ticks: Price of the fill.
            fee: In ledger units of the instrument's currency, a rebate is negative.
            is_maker: Whether our order rested.

        Returns:
            The books after it.
        """
        unit = self.units[instrument]
        wallet = self.wallets[unit.currency]
        position = self.positions.get(instrument, 0)
        basis = self.bases.get(instrument, 0)
        multiplier = unit.multiplier
        realised = net = closed = 0
        opened, opening_fee = lots, fee
        if position * lots < 0:
            closed = min(abs(lots), abs(position))
            signed = closed if position > 0 else -closed
            released = _part(basis, closed, abs(position))
            basis -= released
            realised = (self.units.cost(instrument, signed, ticks) - released) * multiplier
            opened = lots + signed
            closing_fee = _part(fee, closed, abs(lots))
            opening_fee = fee - closing_fee
            entry_fee = _part(self._entry_fees[instrument], closed, abs(position))
            self._entry_fees[instrument] -= entry_fee
            net = realised - closing_fee - entry_fee
        if opened:
            basis += self.units.cost(instrument, opened, ticks)
            self._entry_fees[instrument] = self._entry_fees.get(instrument, 0) + opening_fee
        position += lots
        self.positions[instrument] = position
        self.bases[instrument] = basis
        if lots > 0:
            self._bought[instrument] += lots
        else:
            self._sold[instrument] -= lots
        wallet.realised += realised
        if is_maker:
            wallet.maker_fees += fee
        else:
            wallet.taker_fees += fee
        if unit.is_spot:
            paid = lots * ticks * multiplier
            wallet.holdings += paid + realised
            wallet.cash -= paid + fee
        else:
            wallet.cash += realised - fee
        return LedgerEntry(
            instrument, lots, ticks, fee, realised, wallet.cash, position, basis, net, closed
        )

    def restore(
        self, instrument: str, position: int, basis: int, fees: int, traded: tuple[int, int]
    ) -> None:
        """Take over a position that was kept elsewhere; the wallets are the caller's.

        Args:
            instrument: Id of the instrument.
            position: Signed lots.
            basis: Its cost.
            fees: Of opening it.
            traded: Lots bought and sold in all.
        """
        self.positions[instrument], self.bases[instrument] = position, basis
        self._entry_fees[instrument] = fees
        self._bought[instrument], self._sold[instrument] = traded

    def apply_payment(self, instrument: str, booking: Booking, amount: int) -> LedgerEntry:
        """Book funding, or what the insurance fund pays, in the currency of an instrument.

        Args:
            instrument: Id of the perpetual.
            booking: `FUNDING` or `INSURANCE`.
            amount: In ledger units, positive where we receive it.

        Returns:
            The books after it.
        """
        wallet = self.wallets[self.units[instrument].currency]
        if booking is Booking.FUNDING:
            wallet.funding += amount
        else:
            wallet.insurance += amount
        wallet.cash += amount
        return LedgerEntry(
            instrument,
            0,
            0,
            0,
            0,
            wallet.cash,
            self.positions.get(instrument, 0),
            self.bases.get(instrument, 0),
            booking=booking,
            amount=amount,
        )

    def check(self) -> None:
        """Assert that the books balance to the last ledger unit and lot.

        Raises:
            BooksDisagreeError: If they do not; says what does not.
        """
        faults = [*self._wallet_faults(), *self._position_faults()]
        if faults:
            raise BooksDisagreeError("\n".join(faults))

    def _wallet_faults(self) -> Iterator[str]:
        for name, wallet in self.wallets.items():
            expected = (wallet.opening + wallet.realised + wallet.funding + wallet.insurance) - (
                wallet.fees + wallet.holdings
            )
            if wallet.cash != expected:
                yield (
                    f"`cash` in {name} must be {expected} ledger units (opening {wallet.opening} + "
                    f"realised {wallet.realised} + funding {wallet.funding} + insurance "
                    f"{wallet.insurance} - fees {wallet.fees} - holdings at cost "
                    f"{wallet.holdings}): got {wallet.cash}."
                )
            held = sum(
                self.bases.get(i, 0) * self.units[i].multiplier
                for i in self.units.instruments
                if self.units[i].is_spot and self.units[i].currency == name
            )
            if wallet.holdings != held:
                yield (
                    f"`holdings` in {name} must be the cost of the spot positions, {held} ledger "
                    f"units: got {wallet.holdings}."
                )

    def _position_faults(self) -> Iterator[str]:
        for name in self.units.instruments:
            lots, basis = self.position(name), self.bases.get(name, 0)
            bought, sold = self._bought[name], self._sold[name]
            if lots != bought - sold:
                yield (
                    f"`position` of {name} must be {bought - sold} lots (bought {bought} - sold "
                    f"{sold}): got {lots}."
                )
            if basis and not lots:
                yield f"`basis` of {name} must be 0, as nothing is held: got {basis}."

    def differences(self, other: Account) -> list[str]:
        """Return what the books of two accounts disagree about; empty where they are the same."""
        found = []
        for name, wallet in self.wallets.items():
            for field in Wallet.__slots__:
                one, two = getattr(wallet, field), getattr(other.wallets[name], field)
                if one != two:
                    found.append(f"`{field}` in {name}: {one} and {two} ledger units.")
        for name in self.units.instruments:
            for field, one, two in (
                ("position", self.position(name), other.position(name)),
                ("basis", self.bases.get(name, 0), other.bases.get(name, 0)),
            ):
                if one != two:
                    found.append(f"`{field}` of {name}: {one} and {two}.")
        return found


def _part(whole: int, part: int, of: int) -> int:
    """Return *whole* · *part* / *of*, rounded towards zero."""
    return whole * part // of if whole >= 0 else -(-whole * part // of)
