"""The venue's money: whether an order can be paid for, what it reserves, what its fills cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from backtester.account import Account, Booking, LedgerEntry
from backtester.account_units import half_even, share
from backtester.errors import BooksDisagreeError
from backtester.orders import Reason, Side
from backtester.venue.fee_models import FeeModel
from backtester.venue.fees import FeeSchedule
from backtester.venue.margin import Margin, MarginTerms

__all__ = ["Booked", "Clearing"]


class Booked(NamedTuple):
    """A fill as it was booked.

    Attributes:
        fee: In ledger units of the instrument's currency.
        entry: The books after it.
    """

    fee: int
    entry: LedgerEntry


@dataclass(slots=True)
class _Hold:
    """What an order that rests has reserved."""

    instrument: str
    side: int
    lots: int
    ticks: int
    is_first: bool
    locked: int


class Clearing:
    """The only way into the venue's account: acceptance, reservations, fills, payments.

    A resting spot order locks what it may cost (a buy: lots at its limit and their largest fee; a
    sell: the lots). A resting order for a perpetual counts in the exposure that margin must cover.

    Args:
        account: The venue's account of us.
        leverage: Largest notional as a multiple of equity, where `margin` names no initial share.
        fees: Fee models by instrument.
        margin: Margin terms by instrument.

    Attributes:
        locked: Ledger units of each currency that resting spot orders have reserved.
        bookings: How often something was booked: while it stays the same, so do cash and positions.
    """

    def __init__(
        self,
        account: Account,
        leverage: Fraction = Fraction(1),
        fees: Mapping[str, FeeModel] | None = None,
        margin: Mapping[str, MarginTerms] | None = None,
    ) -> None:
        self.account = account
        self.units = account.units
        self.fees = FeeSchedule(account.units, fees)
        self.margin = Margin(account.units, account, leverage, margin)
        self.locked = dict.fromkeys(account.wallets, 0)
        self.bookings = 0
        self._open = {name: {1: 0, -1: 0} for name in account.units.instruments}
        self._holds: dict[int, _Hold] = {}

    def refusal(
        self,
        instrument: str,
        side: Side,
        lots: int,
        price_ticks: int,
        twice_mids: Mapping[str, int],
        *,
        order: int = 0,
        is_first: bool = True,
    ) -> Reason:
        """Return why an order cannot be paid for, or `Reason.NONE`.

        An order that can only make a perpetual position smaller is never refused.

        Args:
            instrument: What it is for.
            side: Buy or sell.
            lots: How many of it are open.
            price_ticks: Its limit; for a market order the worst price that it can reach now.
            twice_mids: Best bid plus best ask of each instrument in ticks, for those quoted.
            order: Number of an order that holds something already and asks for something else (a
                modification): what it holds counts as free.
            is_first: Whether it had no fill yet.
        """
        hold = self._holds.get(order)
        if self.units[instrument].is_spot:
            return self._spot_refusal(
                (instrument, side, lots, price_ticks), twice_mids, hold, is_first
            )
        return self._margin_refusal((instrument, side, lots), twice_mids, hold)

    def hold(
        self,
        order: int,
        instrument: str,
        side: Side,
        lots: int,
        price_ticks: int,
        *,
        is_first: bool = True,
    ) -> None:
        """Reserve what lots that begin to rest may cost.

        Args:
            order: Number of the order; it must hold nothing yet.
            instrument: What it is for.
            side: Buy or sell.
            lots: How many rest.
            price_ticks: Its limit.
            is_first: Whether it had no fill yet.
        """
        assert order not in self._holds, f"order {order} holds something already"
        hold = _Hold(instrument, int(side), lots, price_ticks, is_first, 0)
        self._holds[order] = hold
        self._open[instrument][hold.side] += lots
        self._lock(hold)

    def release(self, order: int, lots: int | None = None) -> None:
        """Give back what lots of a resting order reserved.

        Args:
            order: Number of the order.
            lots: How many rest no longer; None for all that are left.
        """
        hold = self._holds[order]
        self._take_off(order, hold, hold.lots if lots is None else lots)

    def fill(
        self,
        order: int,
        instrument: str,
        side: Side,
        lots: int,
        price_ticks: int,
        now: int,
        *,
        is_maker: bool,
        is_first: bool,
        is_forced: bool = False,
    ) -> Booked:
        """Book an execution and charge its fee; what it used of a reservation is given back.

        Args:
            order: Number of the order.
            instrument: What was executed.
            side: Side of the order.
            lots: How many.
            price_ticks: At what price.
            now: Instant of the execution.
            is_maker: Whether the order rested.
            is_first: Whether the order had no fill before.
            is_forced: Whether the venue liquidates: it charges the liquidation fee too.
        """
        self.bookings += 1
        fee = self.fees.charge(
            instrument, lots, price_ticks, now, is_maker=is_maker, is_first=is_first
        )
        if is_forced:
            notional = self.units.notional(instrument, lots, price_ticks)
            fee += share(self.margin.liquidation_fees[instrument], notional)
        entry = self.account.apply_fill(instrument, side * lots, price_ticks, fee, is_maker)
        hold = self._holds.get(order)
        if hold is not None:
            hold.is_first = False
            self._take_off(order, hold, lots)
        return Booked(fee, entry)

    def funding(self, instrument: str, rate: Fraction, mark_ticks: Fraction) -> LedgerEntry | None:
        """Book a funding payment: those who are long pay the rate of their notional at the mark.

        Args:
            instrument: Id of a perpetual.
            rate: Share of the notional; below zero those who are short pay.
            mark_ticks: The mark in ticks.

        Returns:
            The books after it, None where nothing is held.
        """
        lots = self.account.position(instrument)
        if not lots:
            return None
        self.bookings += 1
        unit = self.units[instrument]
        if unit.is_inverse:
            worth = lots * Fraction(*unit.inverse) / mark_ticks
        else:
            worth = lots * mark_ticks * unit.multiplier
        paid = rate * worth
        amount = -half_even(paid.numerator, paid.denominator)
        return self.account.apply_payment(instrument, Booking.FUNDING, amount)

    def insure(self, currency: str) -> LedgerEntry | None:
        """Fill up a wallet that a liquidation left below zero, once it backs no position."""
        balance = self.account.balance(currency)
        if balance >= 0 or self.margin.held(currency):
            return None
        first = self.margin.perpetuals[currency][0]
        return self.account.apply_payment(first, Booking.INSURANCE, -balance)

    def resting(self, instrument: str) -> tuple[int, int]:
        """Return the lots of resting orders to buy and to sell."""
        lots = self._open[instrument]
        return lots[1], lots[-1]

    def check(self) -> None:
        """Assert that the account balances, and that it holds what resting orders reserved.

        Raises:
            BooksDisagreeError: If not; says what does not balance.
        """
        self.account.check()
        faults = [*self._lock_faults(), *self._open_faults()]
        if faults:
            raise BooksDisagreeError("\n".join(faults))

    def _spot_refusal(
        self,
        asked: tuple[str, Side, int, int],
        twice_mids: Mapping[str, int],
        hold: _Hold | None,
        is_first: bool,
    ) -> Reason:
        instrument, side, lots, ticks = asked
        unit = self.units[instrument]
        currency = unit.currency if side > 0 else unit.base
        needed = self._cost(instrument, side, lots, ticks, is_first)
        own = hold.locked if hold is not None else 0
        free = self.margin.free(
            currency, self.locked[currency] - own, self._exposures(currency), twice_mids
        )
        return Reason.NONE if needed <= free else Reason.INSUFFICIENT_FUNDS

    def _margin_refusal(
        self,
        asked: tuple[str, Side, int],
        twice_mids: Mapping[str, int],
        hold: _Hold | None,
    ) -> Reason:
        instrument, side, lots = asked
        position = self.account.positions.get(instrument, 0)
        own = hold.lots if hold is not None else 0
        same = position + side * (self._open[instrument][side] - own + lots)
        if abs(same) < abs(position):  # less at risk than before is never refused
            return Reason.NONE
        currency = self.units[instrument].currency
        exposures = self._exposures(currency)
        other = abs(position - side * self._open[instrument][-side])
        exposures[instrument] = max(abs(same), other)
        enough = self.margin.suffices(currency, self.locked[currency], exposures, twice_mids)
        return Reason.NONE if enough else Reason.INSUFFICIENT_MARGIN

    def _exposures(self, currency: str) -> dict[str, int]:
        """Return the lots that each perpetual's position may come to as its orders fill."""
        exposures = {}
        for name in self.margin.perpetuals[currency]:
            position, lots = self.account.positions.get(name, 0), self._open[name]
            exposures[name] = max(abs(position + lots[1]), abs(position - lots[-1]))
        return exposures

    def _cost(self, instrument: str, side: int, lots: int, ticks: int, is_first: bool) -> int:
        """Return what a spot order may take from its wallet, in ledger units."""
        unit = self.units[instrument]
        if side < 0:
            return lots * unit.per_lot
        paid = lots * ticks * unit.multiplier
        return paid + self.fees.most(instrument, lots, ticks, is_first=is_first)

    def _lock(self, hold: _Hold) -> None:
        unit = self.units[hold.instrument]
        if unit.is_spot:
            needed = self._cost(hold.instrument, hold.side, hold.lots, hold.ticks, hold.is_first)
            self.locked[unit.currency if hold.side > 0 else unit.base] += needed - hold.locked
            hold.locked = needed

    def _take_off(self, order: int, hold: _Hold, lots: int) -> None:
        assert 0 <= lots <= hold.lots, f"order {order} holds {hold.lots} lots, not {lots}"
        self._open[hold.instrument][hold.side] -= lots
        hold.lots -= lots
        if not hold.lots:
            del self._holds[order]
            hold.is_first = False
        self._lock(hold)

    def _lock_faults(self) -> Iterator[str]:
        expected = dict.fromkeys(self.locked, 0)
        for hold in self._holds.values():
            unit = self.units[hold.instrument]
            if unit.is_spot:
                expected[unit.currency if hold.side > 0 else unit.base] += hold.locked
        for name, locked in self.locked.items():
            if locked != expected[name]:
                yield (
                    f"`locked` in {name} must be what its orders hold, {expected[name]} ledger "
                    f"units: got {locked}."
                )

    def _open_faults(self) -> Iterator[str]:
        for name, lots in self._open.items():
            for side in (1, -1):
                held = [h for h in self._holds.values() if (h.instrument, h.side) == (name, side)]
                if lots[side] != sum(hold.lots for hold in held):
                    yield (
                        f"open lots of {name} must be those of its orders, "
                        f"{sum(hold.lots for hold in held)}: got {lots[side]}."
                    )
