"""A small venue around the real clearing: prices are set by hand, what rests fills when told to.

It stands where the matching engine does, so that the money can be tested on its own: acceptance,
reservations, fills, payments and liquidation are the product's; only who trades when is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from backtester.account import Account, Units
from backtester.money import PAYMENTS
from backtester.orders import Fill, Reason, Report, ReportKind, Side
from backtester.venue.clearing import Booked, Clearing
from backtester.venue.liquidation import Liquidator, payment
from backtester.venue.outcome import Outcome
from clock.simulated import SimulatedClock
from featurizer.market import Instrument


@dataclass
class Resting:
    """An order that rests."""

    number: int
    instrument: str
    side: Side
    lots: int
    ticks: int
    is_first: bool = True


@dataclass
class PaperVenue:
    """The venue's books and ours, with reports that reach us when they are delivered.

    Args:
        instruments: What is traded.
        balances: Opening balances, by currency.
        leverage: Gives the initial margin.
        fees: Fee models by instrument.
        margin: Margin terms by instrument.
    """

    instruments: Sequence[Instrument]
    balances: Mapping[str, Any]
    leverage: Fraction = Fraction(1)
    fees: Mapping[str, Any] | None = None
    margin: Mapping[str, Any] | None = None
    resting: dict[int, Resting] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    delivered: int = 0

    def __post_init__(self) -> None:
        self.units = Units(self.instruments)
        opening = {
            name: self.units.from_decimal(Decimal(str(amount)))
            for name, amount in self.balances.items()
        }
        self.account, self.belief = Account(self.units, opening), Account(self.units, opening)
        self.clearing = Clearing(self.account, self.leverage, self.fees, self.margin)
        self.clock = SimulatedClock(0)
        self.books: dict[str, tuple[int, int, int]] = {}
        self.liquidator = Liquidator(self.clearing, self.clock, self)
        self.orders = self.forced = 0

    # -- the market ---------------------------------------------------------------------------

    def quote(self, instrument: str, bid: int, ask: int, displayed: int = 10**9) -> None:
        """Show a quote in ticks and let happen what it causes."""
        self.tick()
        self.books[instrument] = (bid, ask, displayed)
        self.liquidator.open_window()
        self.settle()

    def tick(self) -> None:
        """Let an instant pass."""
        self.clock.advance_to(self.clock.now + 1)

    def settle(self) -> None:
        """Run what is due at this instant."""
        self.clock.advance_to(self.clock.now + 1)

    def marks(self, instrument: str) -> tuple[np.ndarray, np.ndarray]:
        """Every quote is a window of its own, with one mark: the present one."""
        if instrument not in self.books:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        bid, ask, _ = self.books[instrument]
        return np.array([self.clock.now]), np.array([bid + ask])

    def twice_mids(self) -> dict[str, int]:
        """Return twice the mid of each instrument that has been quoted."""
        return {name: bid + ask for name, (bid, ask, _) in self.books.items()}

    # -- orders ---------------------------------------------------------------------------------

    def ask(self, instrument: str, side: Side, lots: int, ticks: int) -> Reason:
        """Return why an order would be refused."""
        return self.clearing.refusal(instrument, side, lots, ticks, self.twice_mids())

    def rest(self, instrument: str, side: Side, lots: int, ticks: int) -> int:
        """Let an order rest if it is accepted; return its number, 0 where it was refused."""
        if self.ask(instrument, side, lots, ticks):
            return 0
        self.orders += 1
        self.resting[self.orders] = Resting(self.orders, instrument, side, lots, ticks)
        self.clearing.hold(self.orders, instrument, side, lots, ticks)
        return self.orders

    def trade(self, instrument: str, side: Side, lots: int, ticks: int) -> Booked | None:
        """Fill an order at once if it is accepted."""
        if self.ask(instrument, side, lots, ticks):
            return None
        self.orders += 1
        return self._fill(Resting(self.orders, instrument, side, lots, ticks), lots, ticks)

    def fill(self, number: int, lots: int, ticks: int | None = None) -> Booked:
        """Fill a resting order at its price, or at a better one."""
        order = self.resting[number]
        if lots == order.lots:
            del self.resting[number]
        return self._fill(order, lots, order.ticks if ticks is None else ticks, is_maker=True)

    def cancel(self, number: int, lots: int | None = None) -> None:
        """Take a resting order off, or some of its lots."""
        order = self.resting[number]
        self.clearing.release(number, lots)
        order.lots -= order.lots if lots is None else lots
        if not order.lots:
            del self.resting[number]

    def fund(self, instrument: str, rate: Fraction) -> int:
        """Pay funding at the present mid; return what we received."""
        mark = Fraction(self.twice_mids()[instrument], 2)
        entry = self.clearing.funding(instrument, rate, mark)
        if entry is None:
            return 0
        self.publish([payment(entry, self.clock.now, self.units.instruments)], self.clock.now, 0)
        self.liquidator.after(self.clock.now)
        self.settle()
        return entry.amount

    def _fill(
        self,
        order: Resting,
        lots: int,
        ticks: int,
        *,
        is_maker: bool = False,
        is_forced: bool = False,
    ) -> Booked:
        now = self.clock.now
        booked = self.clearing.fill(
            order.number,
            order.instrument,
            order.side,
            lots,
            ticks,
            now,
            is_maker=is_maker,
            is_first=order.is_first,
            is_forced=is_forced,
        )
        order.is_first = False
        order.lots -= lots
        self.publish([self._told(order, booked, lots, ticks, is_maker=is_maker)], now, 0)
        self.liquidator.after(now)
        if not is_forced:
            self.settle()
        return booked

    def _told(
        self, order: Resting, booked: Booked, lots: int, ticks: int, *, is_maker: bool
    ) -> Outcome:
        fill = Fill(order.number, order.instrument, order.side, 0.0, 0.0, 0.0, self.clock.now,
                    lots, ticks, booked.fee, is_maker)  # fmt: skip
        return Outcome(ReportKind.FILLED, Reason.NONE, order.number, order.instrument, 0, 0,
                       lots, 0, fill, booked.entry, False)  # fmt: skip

    # -- liquidation ------------------------------------------------------------------------------

    def cancel_held(
        self, instruments: Sequence[str], now: int, reason: Reason
    ) -> Sequence[Outcome]:
        """Cancel every resting order of some instruments."""
        for number in [n for n, order in self.resting.items() if order.instrument in instruments]:
            self.cancel(number)
        return []

    def force_close(self, instrument: str, now: int) -> Sequence[Outcome]:
        """Close a position at the present quote, as far as it goes."""
        held = self.account.position(instrument)
        bid, ask, displayed = self.books[instrument]
        lots = min(abs(held), displayed)
        if lots:
            self.forced -= 1
            side = Side.SELL if held > 0 else Side.BUY
            order = Resting(self.forced, instrument, side, lots, 0)
            self._fill(order, lots, bid if held > 0 else ask, is_forced=True)
            self.books[instrument] = (bid, ask, displayed - lots)
        return []

    # -- reports ----------------------------------------------------------------------------------

    def publish(self, outcomes: Sequence[Outcome], now: int, rank: int) -> None:
        """Put reports on their way."""
        for outcome in outcomes:
            amount = outcome.entry.amount if outcome.entry is not None else 0
            assert (outcome.kind in PAYMENTS) == (outcome.fill is None)
            self.reports.append(
                Report(
                    len(self.reports) + 1,
                    outcome.number,
                    outcome.instrument,
                    outcome.kind,
                    outcome.reason,
                    0.0,
                    now,
                    outcome.fill,
                    outcome.is_last,
                    amount_units=amount,
                )
            )

    def deliver(self, count: int = 1) -> None:
        """Let the next reports reach us, in their order."""
        from backtester import money  # looked up late, so that a defect can be planted in it

        for report in self.reports[self.delivered : self.delivered + count]:
            money.book_report(self.belief, report)
            self.delivered += 1

    @property
    def is_settled(self) -> bool:
        """Whether every report has reached us."""
        return self.delivered == len(self.reports)
