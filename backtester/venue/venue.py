"""A venue on quotes: market orders and immediate-or-cancel limits, for as much as is displayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from backtester.account import Account, LedgerEntry, Units
from backtester.orders import Fill, Order, OrderType, Reason, ReportKind, Side
from backtester.venue.book import TopOfBook
from featurizer.market import Records

__all__ = ["Outcome", "Venue"]


class Outcome(NamedTuple):
    """One thing the venue has to say about an order, before it is sent to us."""

    kind: ReportKind
    reason: Reason
    lots: int
    fill: Fill | None
    entry: LedgerEntry | None


class Venue:
    """Matches orders at the instant of their arrival against its own present.

    Args:
        instruments: Ids, in the order of the scenario.
        units: Integers of the instruments.
        account: The venue's account of us; decides what is accepted.
        leverage: Largest notional of all positions together, as a multiple of equity. Applies to
            perpetuals; spot is always paid in full.
    """

    def __init__(
        self, instruments: Sequence[str], units: Units, account: Account, leverage: Fraction
    ) -> None:
        self.units = units
        self.account = account
        self.books = {name: TopOfBook(units[name]) for name in instruments}
        self._leverage = leverage

    def open_window(self, quotes: Mapping[str, Records]) -> None:
        """Go on with the next window of the venue's quotes, by instrument."""
        for name, book in self.books.items():
            book.open_window(quotes[name])

    def mids(self, now: int) -> dict[str, float]:
        """Return the venue's mid of every instrument at an instant not before the last one."""
        for book in self.books.values():
            book.advance(now)
        return {name: book.mid for name, book in self.books.items()}

    def execute(self, order: Order, now: int) -> list[Outcome]:
        """Match an order that arrives at *now*; what is not filled at once is canceled.

        Args:
            order: The order.
            now: Instant of its arrival. The venue's quotes up to and at *now* count.

        Returns:
            What there is to report, in order: accepted and filled and canceled, or rejected.
        """
        for book in self.books.values():
            book.advance(now)
        book = self.books[order.instrument]
        reason = self._refusal(order, book)
        if reason:
            return [Outcome(ReportKind.REJECTED, reason, order.lots, None, None)]
        outcomes = [Outcome(ReportKind.ACCEPTED, Reason.NONE, 0, None, None)]
        lots = self._take(order, book)
        if lots:
            outcomes.append(self._fill(order, book, lots, now))
        if lots < order.lots:
            rest = order.lots - lots
            outcomes.append(
                Outcome(ReportKind.CANCELED, Reason.UNFILLED_REMAINDER, rest, None, None)
            )
        return outcomes

    def _take(self, order: Order, book: TopOfBook) -> int:
        is_limit = order.type is OrderType.LIMIT
        if order.side is Side.BUY:
            if is_limit and book.ask_ticks > order.limit_ticks:
                return 0
            lots = min(order.lots, book.ask_lots)
            book.ask_lots -= lots
        else:
            if is_limit and book.bid_ticks < order.limit_ticks:
                return 0
            lots = min(order.lots, book.bid_lots)
            book.bid_lots -= lots
        return lots

    def _fill(self, order: Order, book: TopOfBook, lots: int, now: int) -> Outcome:
        ticks = book.ask_ticks if order.side is Side.BUY else book.bid_ticks
        fee = self.units.taker_fee(order.instrument, lots, ticks)
        entry = self.account.apply_fill(order.instrument, order.side * lots, ticks, fee)
        unit = self.units[order.instrument]
        fill = Fill(
            order=order.number,
            instrument=order.instrument,
            side=order.side,
            quantity=float(lots * unit.lot_size),
            price=float(ticks * unit.tick_size),
            fee=self.units.to_float(fee),
            venue_time=now,
            lots=lots,
            ticks=ticks,
            fee_units=fee,
        )
        return Outcome(ReportKind.FILLED, Reason.NONE, lots, fill, entry)

    def _refusal(self, order: Order, book: TopOfBook) -> Reason:
        if not book.has_quote:
            return Reason.NO_MARKET
        if self.units[order.instrument].is_spot:
            return self._spot_refusal(order, book)
        return self._margin_refusal(order)

    def _spot_refusal(self, order: Order, book: TopOfBook) -> Reason:
        name = order.instrument
        if order.side is Side.SELL:
            enough = order.lots <= self.account.positions.get(name, 0)
        else:
            is_limit = order.type is OrderType.LIMIT
            ticks = order.limit_ticks if is_limit else book.ask_ticks
            cost = self.units.notional(name, order.lots, ticks)
            fee = self.units.taker_fee(name, order.lots, ticks)
            enough = cost + fee <= self.account.cash
        return Reason.NONE if enough else Reason.INSUFFICIENT_FUNDS

    def _margin_refusal(self, order: Order) -> Reason:
        before = self.account.positions.get(order.instrument, 0)
        after = before + order.side * order.lots
        if abs(after) < abs(before):  # less at risk than before is never refused
            return Reason.NONE
        # Twice everything, so that a mid between two ticks stays a whole number.
        equity = 2 * self.account.cash
        notional = 0
        for name, book in self.books.items():
            unit = self.units[name]
            held = self.account.positions.get(name, 0)
            twice_mid = book.bid_ticks + book.ask_ticks
            basis = 0 if unit.is_spot else 2 * self.account.bases.get(name, 0)
            equity += (held * twice_mid - basis) * unit.multiplier
            if not unit.is_spot:
                planned = after if name == order.instrument else held
                notional += abs(planned) * twice_mid * unit.multiplier
        enough = notional <= self._leverage * equity
        return Reason.NONE if enough else Reason.INSUFFICIENT_MARGIN
