"""The venue: its present quotes, what we took from them, and its account of us."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from tests.reference.account import Account, Ledger, round_half_even
from tests.reference.scenario import Instrument, Row, Scenario


@dataclass
class Order:
    """An order as it left us; `arrived_at` stays None while it is on its way."""

    number: int
    instrument: str
    side: int
    lots: int
    limit_ticks: int | None
    sent_at: int
    ordinal: int
    arrived_at: int | None = None


@dataclass(frozen=True)
class Report:
    """One message of the venue. `lots` are those filled, given up or refused, else 0."""

    number: int
    order: int
    instrument: str
    kind: str
    reason: str
    lots: int
    ticks: int
    fee: int
    side: int
    venue_time: int


@dataclass
class Book:
    """The venue's present quote of one instrument, less what we took."""

    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int
    bid_shown: int = 0
    ask_shown: int = 0

    @property
    def mid(self) -> Fraction:
        """Mean of bid and ask, in ticks."""
        return Fraction(self.bid_ticks + self.ask_ticks, 2)


def steps_of(value: float, step: Fraction) -> int:
    """Return a price in ticks or a quantity in lots; a float is as near as it can be."""
    count = Fraction(float(value)) / step
    assert abs(count - round(count)) < Fraction(1, 10**6), f"{value} is no multiple of {step}"
    return round(count)


class Venue:
    """Fills immediate orders from the quote that stands when they arrive."""

    def __init__(self, scenario: Scenario, ledger: Ledger) -> None:
        self.instruments = {i.id: i for i in scenario.instruments}
        self.ledger, self.leverage = ledger, scenario.leverage
        cash = ledger.units(scenario.balance)
        self.account = Account(ledger, scenario.instruments, cash)
        self.books: dict[str, Book] = {}
        self.reports: list[Report] = []

    def quote(self, instrument: str, row: Row) -> None:
        """Show a new quote; what we took from a side is forgotten where the quote is new there."""
        terms = self.instruments[instrument]
        old = self.books.get(instrument)
        new = self.books[instrument] = Book(
            bid_ticks=steps_of(row["bid_price"], terms.tick_size),
            bid_lots=steps_of(row["bid_quantity"], terms.lot_size),
            ask_ticks=steps_of(row["ask_price"], terms.tick_size),
            ask_lots=steps_of(row["ask_quantity"], terms.lot_size),
        )
        new.bid_shown, new.ask_shown = new.bid_lots, new.ask_lots
        if old is not None and (old.bid_ticks, old.bid_shown) == (new.bid_ticks, new.bid_lots):
            new.bid_lots = old.bid_lots
        if old is not None and (old.ask_ticks, old.ask_shown) == (new.ask_ticks, new.ask_lots):
            new.ask_lots = old.ask_lots

    def mids(self) -> dict[str, Fraction | None]:
        """Return the present mid of every instrument in ticks, None before its first quote."""
        return {
            name: self.books[name].mid if name in self.books else None for name in self.instruments
        }

    def execute(self, order: Order, now: int) -> list[Report]:
        """Match an order that arrives now and return the reports about it, in order."""
        first = len(self.reports)
        reason = self._refusal(order)
        if reason:
            self._report(order, "rejected", reason, now, order.lots)
            return self.reports[first:]
        self._report(order, "accepted", "", now)
        filled = self._fill(order, now)
        if filled < order.lots:
            self._report(order, "canceled", "immediate", now, order.lots - filled)
        return self.reports[first:]

    def _report(
        self,
        order: Order,
        kind: str,
        reason: str,
        now: int,
        lots: int = 0,
        ticks: int = 0,
        fee: int = 0,
    ) -> None:
        self.reports.append(
            Report(
                len(self.reports) + 1,
                order.number,
                order.instrument,
                kind,
                reason,
                lots,
                ticks,
                fee,
                order.side,
                now,
            )
        )

    def _fee(self, terms: Instrument, lots: int, ticks: int) -> int:
        return round_half_even(terms.taker * self.ledger.notional(terms.id, lots, ticks))

    def _refusal(self, order: Order) -> str:
        if order.instrument not in self.books:
            return "no_market"
        terms, book = self.instruments[order.instrument], self.books[order.instrument]
        position = self.account.position[order.instrument]
        if terms.contract == "spot":
            if order.side < 0:
                return "" if position >= order.lots else "insufficient_funds"
            price = book.ask_ticks if order.limit_ticks is None else order.limit_ticks
            cost = self.ledger.notional(terms.id, order.lots, price)
            share = max(terms.maker, terms.taker)
            cost += order.lots * ceil(share * self.ledger.notional(terms.id, 1, price))
            free = min(0, self._unrealised()) + self.account.cash - self._exposure() / self.leverage
            return "" if cost <= free else "insufficient_funds"
        after = position + order.side * order.lots
        if abs(after) < abs(position):  # what makes a position smaller is never refused
            return ""
        margin = self.leverage * (self.account.cash + self._unrealised())
        return "" if self._exposure(terms.id, after) <= margin else "insufficient_margin"

    def _unrealised(self) -> Fraction:
        """Return the profit of all perpetual positions at the mids; spot backs nothing."""
        total = Fraction(0)
        for name, lots in self.account.position.items():
            if lots and self.instruments[name].contract != "spot":
                worth = lots * self.books[name].mid - self.account.basis[name]
                total += worth * self.ledger.per_tick_lot[name]
        return total

    def _exposure(self, changed: str = "", after: int = 0) -> Fraction:
        """Return the size of all perpetual positions at mid, one of them as it would become."""
        total = Fraction(0)
        for name, position in self.account.position.items():
            lots = after if name == changed else position
            if lots and self.instruments[name].contract != "spot":
                total += abs(lots) * self.books[name].mid * self.ledger.per_tick_lot[name]
        return total

    def _fill(self, order: Order, now: int) -> int:
        terms, book = self.instruments[order.instrument], self.books[order.instrument]
        buying = order.side > 0
        ticks = book.ask_ticks if buying else book.bid_ticks
        limit = order.limit_ticks
        if limit is not None and (ticks > limit if buying else ticks < limit):
            return 0
        lots = min(order.lots, book.ask_lots if buying else book.bid_lots)
        if lots == 0:
            return 0
        if buying:
            book.ask_lots -= lots
        else:
            book.bid_lots -= lots
        fee = self._fee(terms, lots, ticks)
        self.account.fill(order.instrument, order.side * lots, ticks, fee)
        self._report(order, "filled", "", now, lots, ticks, fee)
        return lots
