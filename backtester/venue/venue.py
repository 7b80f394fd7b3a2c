"""The venue: one market an instrument, one register, one account of us. See docs/venue.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

from backtester.account import Account, Units
from backtester.orders import (
    CancelRequest,
    Message,
    ModifyRequest,
    Order,
    OrderGroup,
    OrderType,
    Reason,
    ReportKind,
    Side,
)
from backtester.venue.bar_book import BarBook
from backtester.venue.bar_market import BarMarket
from backtester.venue.book import TopOfBook
from backtester.venue.clearing import Clearing
from backtester.venue.depth_book import DepthBook
from backtester.venue.lookahead import Lookahead
from backtester.venue.market import Market
from backtester.venue.outcome import Outcome
from backtester.venue.queue_config import Back, QueueModel, queue_numbers
from backtester.venue.register import Register
from backtester.venue.resting import RestingOrders
from backtester.venue.taking import SelfTrade
from backtester.venue.tape import NO_TAPE, Tape, trade_rows
from clock.base import Clock
from clock.rank import Rank
from featurizer.market import TRADES, Array, Records, StreamKey

__all__ = ["BookKind", "Venue", "VenueRules"]

BookKind = Literal["quotes", "depth", "bars"]
Listener = Callable[[Sequence[Outcome], int, int], None]

_LIQUIDATION_ORDINAL = -(10**6)


class VenueRules(NamedTuple):
    """How a venue matches.

    Attributes:
        books: What each instrument's book is made of.
        queue_model: Who leaves a queue.
        self_trade: What happens when an order meets our own.
    """

    books: Mapping[str, BookKind]
    queue_model: QueueModel = Back()
    self_trade: SelfTrade = "cancel_resting"


class Venue:
    """Matches orders against its own present, from their arrival to their end.

    Args:
        instruments: Ids, in the order of the scenario.
        clearing: The venue's money: accepts, reserves, charges and books.
        clock: The run's clock.
        rules: How it matches; by default on quotes.

    Attributes:
        listener: Takes what happens by itself: `(outcomes, now, rank)`. Set by who listens.
        after: Called with the instant once fills have changed the account.
    """

    def __init__(
        self,
        instruments: Sequence[str],
        clearing: Clearing,
        clock: Clock,
        rules: VenueRules | None = None,
    ) -> None:
        self.rules = rules = rules or VenueRules(dict.fromkeys(instruments, "quotes"))
        self.units: Units = clearing.units
        self.clearing = clearing
        self._clock = clock
        self._register = Register(clearing)
        self._kinds = rules.books
        self.books = {name: self._make_book(name) for name in instruments}
        numbers = queue_numbers(rules.queue_model)
        self.markets = {
            name: self._make_market(name, book, numbers, rules.self_trade)
            for name, book in self.books.items()
        }
        self._lookaheads = {
            name: Lookahead(market, clock, place, partial(self._resolve, market))
            for place, (name, market) in enumerate(self.markets.items())
        }
        self._closings = 0
        self.listener: Listener = lambda outcomes, now, rank: None
        self.after: Callable[[int], None] = lambda now: None

    @property
    def account(self) -> Account:
        """The venue's account of us."""
        return self.clearing.account

    def open_window(self, records: Mapping[StreamKey, Records]) -> None:
        """Go on with the next window of the venue's records, by stream."""
        for name, book in self.books.items():
            book.open_window(records[name, self._kinds[name]])
            market = self.markets[name]
            if isinstance(market, Market):
                market.open_window(self._trades(records.get((name, TRADES.name))))
            self._lookaheads[name].start()

    def resume(self, ranks: int) -> None:
        """Go on with orders that the express lane has given to the markets.

        Args:
            ranks: The newest rank among own orders.
        """
        self._register.resume(ranks)
        for lookahead in self._lookaheads.values():
            lookahead.start()

    def receive(self, message: Message, now: int) -> list[Outcome]:
        """Take in a message that arrives.

        Args:
            message: What was sent.
            now: Instant of its arrival. The venue's records up to and at *now* count.

        Returns:
            What there is to report, in order.
        """
        touched = (message.instrument,) if message.instrument else tuple(self.markets)
        for name in touched:
            self.markets[name].catch_up(now)
        is_cancel = isinstance(message, CancelRequest)
        if isinstance(message, Order):
            self.markets[message.instrument].arrive((message,), now)
        elif isinstance(message, OrderGroup):
            self.markets[message.instrument].arrive(message.orders, now)
        elif isinstance(message, ModifyRequest):
            self._modify(message, now)
        else:
            self._cancel(message)
        for name in touched:
            self._lookaheads[name].start(only_less=is_cancel)
        return self._outcomes(now)

    def publish(self, outcomes: Sequence[Outcome], now: int, rank: int) -> None:
        """Tell of what happened by itself, at a rank of the present instant."""
        self.listener(outcomes, now, rank)

    def twice_mids(self) -> dict[str, int]:
        """Return twice the present mid of each instrument that has been quoted, in ticks."""
        now = self._clock.now
        for book in self.books.values():
            book.advance(now)
        return {name: book.twice_mid for name, book in self.books.items() if book.has_quote}

    def mids(self, now: int) -> dict[str, float]:
        """Return the mid of every instrument at an instant, NaN before its first."""
        mids = {}
        for name, book in self.books.items():
            book.advance(now)
            tick = float(self.units[name].tick_size)
            mids[name] = book.twice_mid * tick / 2 if book.has_quote else float("nan")
        return mids

    def marks(self, instrument: str) -> tuple[Array, Array]:
        """Return instants and twice the mids, in ticks, of the present window. Shape (n,) each."""
        return self.books[instrument].marks()

    def mid_series(self, instrument: str) -> tuple[Array, Array]:
        """Return instants and the mid after each, of the present window. Shape (n,) each."""
        return self.books[instrument].mid_series()

    def open_lots(self) -> Iterator[tuple[str, int, int]]:
        """Yield instrument, order number and open lots of each live order."""
        for name, market in self.markets.items():
            for live in market.live:
                yield name, live.order.number, live.left

    def cancel_held(self, instruments: Sequence[str], now: int, reason: Reason) -> list[Outcome]:
        """Cancel every live order of some instruments, for a reason of the venue's own."""
        for name in instruments:
            self.markets[name].catch_up(now)
            for live in self.markets[name].live:
                if live.order.number in self._register.live:
                    self.markets[name].cancel(live, reason)
            self._lookaheads[name].start()
        return self._register.take_outcomes()

    def force_close(self, instrument: str, now: int) -> list[Outcome]:
        """Close a position by a market order of the venue's own, as far as the book goes."""
        position = self.account.position(instrument)
        self._closings += 1
        order = Order(
            number=-self._closings,
            instrument=instrument,
            side=Side.SELL if position > 0 else Side.BUY,
            type=OrderType.MARKET,
            quantity=float(abs(position) * self.units[instrument].lot_size),
            limit_price=float("nan"),
            sent_at=now,
            ordinal=_LIQUIDATION_ORDINAL + self._closings,
            lots=abs(position),
            limit_ticks=0,
        )
        market = self.markets[instrument]
        market.catch_up(now)
        market.close(order, now)
        self._lookaheads[instrument].start()
        return self._register.take_outcomes()

    def _resolve(self, market: Market | BarMarket, now: int) -> None:
        """Do what is due at a market by itself."""
        market.resolve(now)
        outcomes = self._outcomes(now)
        if outcomes:
            self.publish(outcomes, now, Rank.MATCHING)

    def _outcomes(self, now: int) -> list[Outcome]:
        outcomes = self._register.take_outcomes()
        for outcome in outcomes:
            if outcome.entry is not None:  # money moved
                self.after(now)
                break
        return outcomes

    def _modify(self, request: ModifyRequest, now: int) -> None:
        live = self._register.live.get(request.order)
        if live is None:
            self._register.refuse(ReportKind.MODIFY_REJECTED, Reason.NOT_OPEN, request)
        else:
            self.markets[live.order.instrument].modify(live, request, now)

    def _cancel(self, request: CancelRequest) -> None:
        if not request.order:
            self._cancel_all(request.instrument)
            return
        live = self._register.live.get(request.order)
        if live is None:
            self._register.refuse(ReportKind.CANCEL_REJECTED, Reason.NOT_OPEN, request)
        else:
            self.markets[live.order.instrument].cancel(live)

    def _cancel_all(self, instrument: str) -> None:
        for number in sorted(self._register.live):
            live = self._register.live.get(number)  # a partner may have gone with another
            if live is not None and instrument in ("", live.order.instrument):
                self.markets[live.order.instrument].cancel(live)

    def _make_book(self, name: str) -> TopOfBook | DepthBook | BarBook:
        unit, kind = self.units[name], self._kinds[name]
        if kind == "bars":
            return BarBook(unit)
        return DepthBook(unit) if kind == "depth" else TopOfBook(unit)

    def _make_market(
        self,
        name: str,
        book: TopOfBook | DepthBook | BarBook,
        numbers: Array,
        self_trade: SelfTrade,
    ) -> Market | BarMarket:
        resting = RestingOrders(numbers)
        if isinstance(book, BarBook):
            return BarMarket(name, book, self._register, resting, self.twice_mids)
        return Market(name, book, self._register, resting, self_trade, self.twice_mids)

    def _trades(self, trades: Records | None) -> Callable[[], Tape]:
        if trades is None:
            return lambda: NO_TAPE
        return lambda: trade_rows(trades, self.units[trades.instrument])
