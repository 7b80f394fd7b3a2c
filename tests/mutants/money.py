"""Plants that lose, find or misplace money; the books would often balance all the same."""

from __future__ import annotations

from typing import Any

import backtester.account as account
import backtester.money as money
from backtester.account import Account, Booking, Wallet
from backtester.account_units import Units
from backtester.orders import Reason
from backtester.venue.clearing import Clearing
from backtester.venue.fees import FeeSchedule
from backtester.venue.liquidation import Liquidator
from backtester.venue.margin import Margin
from tests.mutants.planting import Patch, wrap


def rebates_are_kept(patch: Patch) -> None:
    """A negative fee is none."""
    wrap(patch, FeeSchedule, "charge", lambda real: lambda *a, **k: max(0, real(*a, **k)))


def every_fill_is_a_takers(patch: Patch) -> None:
    """Who rests pays what who takes pays."""
    wrap(patch, FeeSchedule, "charge",
         lambda real: lambda *a, **k: real(*a, **(k | {"is_maker": False})))  # fmt: skip


def every_fill_is_an_orders_first(patch: Patch) -> None:
    """A flat fee is charged with each fill."""
    wrap(patch, FeeSchedule, "charge",
         lambda real: lambda *a, **k: real(*a, **(k | {"is_first": True})))  # fmt: skip


def funding_goes_the_other_way(patch: Patch) -> None:
    """Who is long receives."""
    wrap(patch, Clearing, "funding",
         lambda real: lambda self, name, rate, mark: real(self, name, -rate, mark))  # fmt: skip


def funding_is_not_told(patch: Patch) -> None:
    """Our books miss what was paid for funding, and balance."""

    def make(real: Any) -> Any:
        def book(belief: Account, report: Any) -> Any:
            return None if report.kind in money.PAYMENTS else real(belief, report)

        return book

    patch.setattr(money, "book_report", make(money.book_report))


def our_books_take_every_fee_for_a_makers(patch: Patch) -> None:
    """The total is right, the split is not."""

    def make(real: Any) -> Any:
        def book(belief: Account, report: Any) -> Any:
            if report.fill is not None:
                report = report._replace(fill=report.fill._replace(is_maker=True))
            return real(belief, report)

        return book

    patch.setattr(money, "book_report", make(money.book_report))


def a_part_releases_all_of_the_cost(patch: Patch) -> None:
    """A partial close realises against the whole basis."""
    patch.setattr(account, "_part", lambda whole, part, of: whole)


def cost_is_released_away_from_zero(patch: Patch) -> None:
    """The rounding of a part goes the other way."""
    patch.setattr(account, "_part", lambda whole, part, of: -(-whole * part // of))


def an_inverse_contract_is_rounded_down(patch: Patch) -> None:
    """Worth is cut off to whole units."""

    def make(real: Any) -> Any:
        def cost(self: Units, name: str, lots: int, ticks: int) -> int:
            unit = self[name]
            if not unit.is_inverse:
                return int(real(self, name, lots, ticks))
            return -(lots * unit.inverse[0] // (unit.inverse[1] * ticks))

        return cost

    wrap(patch, Units, "cost", make)


def a_cancel_frees_nothing(patch: Patch) -> None:
    """What an order locked stays locked when it is canceled."""

    def make(real: Any) -> Any:
        def release(self: Clearing, order: int, lots: int | None = None) -> None:
            locked = dict(self.locked)
            real(self, order, lots)
            self.locked.update(locked)

        return release

    wrap(patch, Clearing, "release", make)


def a_purchase_locks_no_fee(patch: Patch) -> None:
    """A resting purchase locks its cost alone."""
    wrap(patch, FeeSchedule, "most", lambda real: lambda *a, **k: 0)


def unrealised_profit_can_be_spent(patch: Patch) -> None:
    """A position in profit buys spot."""

    def make(real: Any) -> Any:
        def free(self: Margin, currency: str, *args: Any) -> int:
            profit = self.unrealised(currency, args[-1]) // 2
            return int(real(self, currency, *args)) + max(0, profit)

        return free

    wrap(patch, Margin, "free", make)


def resting_orders_need_no_margin(patch: Patch) -> None:
    """Only positions and the order asked about count."""

    def make(real: Any) -> Any:
        def exposures(self: Clearing, currency: str) -> dict[str, int]:
            return {name: abs(self.account.position(name)) for name in real(self, currency)}

        return exposures

    wrap(patch, Clearing, "_exposures", make)


def nobody_is_refused(patch: Patch) -> None:
    """Anything can be paid for."""
    patch.setattr(Clearing, "refusal", lambda *a, **k: Reason.NONE)


def liquidation_one_step_late(patch: Patch) -> None:
    """A coin or a dollar of the margin may be missing."""

    def make(real: Any) -> Any:
        def cushion(self: Margin, *args: Any) -> int:
            missing = int(real(self, *args))
            return missing + 2 * self._scale * 10**8

        return cushion

    wrap(patch, Margin, "cushion", make)


def liquidation_without_its_fee(patch: Patch) -> None:
    """Who is closed by force pays the taker's fee alone."""
    wrap(patch, Clearing, "fill",
         lambda real: lambda *a, **k: real(*a, **(k | {"is_forced": False})))  # fmt: skip


def orders_outlive_a_liquidation(patch: Patch) -> None:
    """Only the orders of the first instrument are canceled."""

    def make(real: Any) -> Any:
        def close(self: Liquidator, currency: str, now: int) -> Any:
            venue = self._venue
            self._venue = _Careless(venue)  # type: ignore[assignment]
            try:
                return real(self, currency, now)
            finally:
                self._venue = venue

        return close

    wrap(patch, Liquidator, "_close", make)


class _Careless:
    def __init__(self, venue: Any) -> None:
        self._venue = venue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    def cancel_held(self, names: Any, *args: Any) -> Any:
        return self._venue.cancel_held(names[:1], *args)


def insurance_covers_what_is_still_at_risk(patch: Patch) -> None:
    """The fund pays while positions are open."""
    wrap(patch, Clearing, "insure", lambda real: lambda self, currency: _insure(self, currency))


def _insure(clearing: Clearing, currency: str) -> Any:
    balance = clearing.account.balance(currency)
    if balance >= 0:
        return None
    first = clearing.margin.perpetuals[currency][0]
    return clearing.account.apply_payment(first, Booking.INSURANCE, -balance)


def insurance_is_taken_for_profit(patch: Patch) -> None:
    """What the fund pays is booked as realised profit."""

    def make(real: Any) -> Any:
        def pay(self: Account, name: str, booking: Booking, amount: int) -> Any:
            entry = real(self, name, booking, amount)
            if booking is Booking.INSURANCE:
                wallet: Wallet = self.wallets[self.units[name].currency]
                wallet.insurance -= amount
                wallet.realised += amount
            return entry

        return pay

    wrap(patch, Account, "apply_payment", make)


PLANTS = [
    rebates_are_kept,
    every_fill_is_a_takers,
    every_fill_is_an_orders_first,
    funding_goes_the_other_way,
    funding_is_not_told,
    our_books_take_every_fee_for_a_makers,
    a_part_releases_all_of_the_cost,
    cost_is_released_away_from_zero,
    an_inverse_contract_is_rounded_down,
    a_cancel_frees_nothing,
    a_purchase_locks_no_fee,
    unrealised_profit_can_be_spent,
    resting_orders_need_no_margin,
    nobody_is_refused,
    liquidation_one_step_late,
    liquidation_without_its_fee,
    orders_outlive_a_liquidation,
    insurance_covers_what_is_still_at_risk,
    insurance_is_taken_for_profit,
]
