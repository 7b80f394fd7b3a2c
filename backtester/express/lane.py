"""The express lane: tables of plain orders and their messages, and the loop that works on them.

Most runs send nothing but market and limit orders that stand for themselves, with cancels and
changes of them. Those go from their sending to their reports in compiled code (`core.py`), on the
run's one clock, in its published order. As soon as something else is asked for, or a number might
not fit into 64 bits, or an account might be liquidated, `handover.py` turns everything that the
tables hold into the orders, messages and books of `backtester.venue`, once and for the rest of the
run. What happens is the same, to the last byte of the trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backtester.express import core
from backtester.express import layout as at
from backtester.venue.book import TopOfBook
from backtester.venue.market import Market
from backtester.venue.matching import CURSOR_WIDTH, ORDER_WIDTH
from backtester.venue.queue_config import queue_numbers
from clock.rank import FIRST_RANK, Rank

if TYPE_CHECKING:
    from backtester.engine import Engine
    from backtester.express.trader import ExpressTrader
    from backtester.venue.venue import Venue
    from clock.sampler import Sampler

__all__ = ["ExpressLane"]

Array = NDArray[Any]

_POLICIES = ("cancel_resting", "cancel_incoming", "cancel_both")
_FIRST_MESSAGES = 1024
_FIRST_REPORTS = 2048
_FIRST_ROOM = 16


class ExpressLane:
    """Orders and messages of a run in tables, and when something of theirs is due.

    Args:
        engine: The trading plane.
        hears: Which reports the strategy hears: 0 none, 1 fills, 2 all.

    Attributes:
        due: Instant of the next thing that must not wait.
        rank: Its rank.
        is_running: Whether an event is being dealt with: what was due before it has been heard.
    """

    def __init__(self, engine: Engine, hears: int) -> None:
        self.engine = engine
        self.venue: Venue = engine.venue
        self.names = engine.instruments
        self.books = [book for book in self.venue.books.values() if isinstance(book, TopOfBook)]
        self.places = [own for own in self.venue.markets.values() if isinstance(own, Market)]
        self.sender: ExpressTrader
        self.due, self.rank = at.NEVER, int(Rank.MATCHING)
        self.head = np.zeros(at.HEAD_WIDTH, np.int64)
        self.counts = self.head.data  # a number of it costs half of what NumPy asks
        self.markets = np.zeros((len(self.names), at.MARKET_WIDTH), np.int64)
        currencies = list(engine.belief.wallets)
        self.currencies = currencies
        self.purses = np.zeros((len(currencies), at.PURSE_WIDTH), np.int64)
        self.model = queue_numbers(self.venue.rules.queue_model)
        self.kept: dict[Any, Any] = {}  # what addresses point to
        self.messages = np.zeros((_FIRST_MESSAGES, at.MESSAGE_WIDTH), np.int64)
        self.orders = np.zeros((_FIRST_MESSAGES, at.ORDER_WIDTH), np.int64)
        self.reports = np.zeros((_FIRST_REPORTS, at.REPORT_WIDTH), np.int64)
        self.booked = np.zeros((_FIRST_REPORTS, at.BOOKED_WIDTH), np.int64)
        self.believed = np.zeros((_FIRST_REPORTS, at.BELIEVED_WIDTH), np.int64)
        self.traced = dict.fromkeys(("messages", "arrived", "made", "heard"), 0)
        self._shown = -1
        self.is_running = False
        head = self.head
        head[at.HEARS], head[at.BASE] = hears, 1
        head[at.MARKETS], head[at.PURSES] = len(self.names), len(currencies)
        head[at.SELF_TRADE] = _POLICIES.index(self.venue.rules.self_trade)
        head[at.SCALE] = self.venue.clearing.margin.scale
        self._set_latency(engine.latencies.fill, at.FILL_NS, at.FILL_TERMS, at.AT_FILL_SPEC)
        self._set_latency(
            engine.latencies.acknowledgement, at.ANSWER_NS, at.ANSWER_TERMS, at.AT_ANSWER_SPEC
        )
        self._set_money()
        for place, name in enumerate(self.names):
            self._set_market(place, name)
        self._point()

    # --- making --------------------------------------------------------------------------------

    def _set_latency(self, sampler: Sampler, constant: int, terms: int, spec: int) -> None:
        head = self.head
        head[constant] = -1 if sampler.constant_ns is None else sampler.constant_ns
        head[terms], head[terms + 1] = len(sampler.spec.codes), len(sampler.spec.table)
        for place, column in enumerate(sampler.spec):
            head[spec + place] = self._hold(("spec", spec, place), column)

    def _set_money(self) -> None:
        for account, first in (
            (self.venue.clearing.account, at.VENUE_PURSE),
            (self.engine.belief, at.OUR_PURSE),
        ):
            for place, name in enumerate(self.currencies):
                self.purses[place, first + at.CASH] = account.wallets[name].cash

    def _set_market(self, place: int, name: str) -> None:
        market, unit = self.markets[place], self.venue.units[name]
        clearing = self.venue.clearing
        market[at.PURSE] = self.currencies.index(unit.currency)
        market[at.MULTIPLIER] = unit.multiplier
        market[at.INITIAL], market[at.MAINTENANCE] = clearing.margin.scaled(name)
        rates = clearing.fees.shares(name)
        assert rates is not None
        maker, taker = rates
        market[at.MAKER], market[at.MAKER_OF] = maker.numerator, maker.denominator
        market[at.TAKER], market[at.TAKER_OF] = taker.numerator, taker.denominator
        market[at.MATCH_AT] = at.NEVER
        steps = np.array([float(unit.tick_size), float(unit.lot_size)])
        market[at.AT_STEPS] = self._hold((place, "steps"), steps)
        for column in (at.AT_CURSOR, at.AT_TRIAL_CURSOR):
            market[column] = self._hold((place, column), np.zeros(CURSOR_WIDTH, np.int64))
        self._make_room(place, _FIRST_ROOM)

    def _make_room(self, place: int, room: int) -> None:
        """Make room for so many resting orders."""
        market = self.markets[place]
        size = int(market[at.RESTING])
        for column in (at.AT_RESTING, at.AT_TRIAL):
            self._enlarge(place, column, np.zeros((room, ORDER_WIDTH), np.int64), size)
        for column in (at.AT_AHEAD, at.AT_TRIAL_AHEAD):
            self._enlarge(place, column, np.zeros(room), size)
        self._enlarge(place, at.AT_NUMBERS, np.zeros(room, np.int64), size)
        market[at.ROOM] = room

    def _enlarge(self, place: int, column: int, larger: Array, size: int) -> None:
        if size:
            larger[:size] = self.kept[place, column][:size]
        self.markets[place, column] = self._hold((place, column), larger)

    def _hold(self, key: Any, array: Array) -> int:
        """Keep an array alive; return its address."""
        array = np.ascontiguousarray(array)
        self.kept[key] = array
        return int(array.ctypes.data)

    def _point(self) -> None:
        """Tell the head where the tables lie now."""
        head = self.head
        head[at.AT_MARKETS], head[at.AT_PURSES] = (
            t.ctypes.data for t in (self.markets, self.purses)
        )
        head[at.AT_ORDERS], head[at.AT_MESSAGES] = (
            table.ctypes.data for table in (self.orders, self.messages)
        )
        head[at.AT_REPORTS], head[at.AT_BOOKED], head[at.AT_BELIEVED] = (
            table.ctypes.data for table in (self.reports, self.booked, self.believed)
        )
        head[at.AT_MODEL] = self.model.ctypes.data
        head[at.REPORT_ROOM] = len(self.reports)
        self.outbox = self.messages.data.cast("B")
        self.states = self.orders.data.cast("B").cast("q")
        self.inbox = self.reports.data.cast("B").cast("q")

    # --- the clock's side ----------------------------------------------------------------------

    def run_before(self, instant: int, rank: int) -> None:
        """Do what is due before `(instant, rank)`, as far as the first report to be heard."""
        counts, turn = self.counts, int(rank)  # an enumeration is slow to hand to a kernel
        self.is_running = True
        while True:
            code = core.run(self.head, instant, turn)
            self.due, self.rank = counts[at.DUE_AT], counts[at.DUE_RANK]
            if code == core.DONE:
                self.is_running = False
                return
            if code == core.HEARD:
                self.is_running = False
                self.engine.clock._now = counts[at.NOW]
                self.engine.hear_express(counts[at.HEARD])
                return
            if code == core.MORE_ROOM:
                self.grow()
            elif code == core.WANTS_TAPE:
                self._lay_tape(counts[at.WHICH])
            else:
                self.engine.clock._now = counts[at.NOW]
                self.engine.hand_over(in_danger=code == core.IN_DANGER)
                return

    def hear(self, now: int, rank: int) -> None:
        """Take in what has been sent, and reports that nobody is called for, before a turn."""
        core.hear_until(self.head, now, int(rank))

    def has_news(self, now: int) -> bool:
        """Return whether reports may have come in that our books do not hold yet."""
        counts = self.counts
        heard = counts[at.DELIVERED]
        if counts[at.HEARS] or heard == counts[at.REPORTS]:
            return False
        return self.inbox[heard * at.REPORT_WIDTH + at.R_VISIBLE] <= now

    def is_open(self, number: int) -> bool:
        """Return whether an order has not ended as far as we know."""
        row = number - self.counts[at.BASE]
        if row < 0:
            return False
        if number > self.counts[at.NEWEST]:
            self.hear(0, 0)  # it has just been sent
        state = self.states[row * at.ORDER_WIDTH + at.OUR_STATE]
        return state < 5  # `OrderState.FILLED`, the first of those that nothing leaves

    # --- room ----------------------------------------------------------------------------------

    def grow(self) -> None:
        """Double what is short of room."""
        short = [p for p, m in enumerate(self.markets) if m[at.RESTING] + 2 > m[at.ROOM]]
        for place in short:
            self._make_room(place, 2 * int(self.markets[place, at.ROOM]))
        if short:
            return
        more = len(self.reports)
        self.reports = _longer(self.reports, more)
        self.booked = _longer(self.booked, more)
        self.believed = _longer(self.believed, more)
        self._point()

    def grow_messages(self) -> None:
        """Double the room for messages and their orders."""
        more = len(self.messages)
        self.messages = _longer(self.messages, more)
        self.orders = _longer(self.orders, more)
        self._point()

    # --- windows -------------------------------------------------------------------------------

    def open_window(self) -> bool:
        """Go on with the venue's next window; return whether the account may be liquidated in it.

        The venue has opened it already.
        """
        core.let_pass(self.head, at.NEVER)
        for place, market in enumerate(self.markets):
            columns = self.books[place].columns()
            for offset, column in enumerate(columns):
                market[at.AT_TIMES + offset] = self._hold((place, at.AT_TIMES + offset), column)
            market[at.QUOTES], market[at.QUOTE] = len(columns[0]), 0
            market[at.HAS_TAPE] = 0
            low, high = self.books[place].range_of_marks()
            market[at.LOWEST], market[at.HIGHEST] = low, high
            if market[at.RESTING]:
                self._lay_tape(place)
        in_danger = bool(core.open_window(self.head))
        self.due, self.rank = self.counts[at.DUE_AT], self.counts[at.DUE_RANK]
        return in_danger

    def _lay_tape(self, place: int) -> None:
        market = self.markets[place]
        tape = self.places[place].tape
        market[at.AT_TAPE_TIMES] = self._hold((place, "times"), tape.times)
        market[at.AT_TAPE] = self._hold((place, "rows"), tape.rows)
        market[at.ROWS], market[at.HAS_TAPE] = len(tape.times), 1
        self.kept[place, at.AT_CURSOR][:] = 0

    def close_window(self) -> None:
        """Forget what has ended and is in the trace; the rest moves to the front."""
        head, counts = self.head, self.counts
        core.hear_until(head, self.engine.clock.now, int(FIRST_RANK))
        arrived, sent = counts[at.ARRIVED], counts[at.MESSAGES]
        _forget(self.messages, arrived, sent)
        counts[at.MESSAGES] = counts[at.TAKEN_IN] = sent - arrived
        counts[at.ARRIVED] = 0
        heard, made = counts[at.DELIVERED], counts[at.REPORTS]
        _forget(self.reports, heard, made)
        counts[at.REPORTS], counts[at.DELIVERED] = made - heard, 0
        counts[at.BOOKED] = counts[at.BELIEVED] = 0
        self.traced.update(messages=sent - arrived, arrived=0, made=made - heard, heard=0)
        self._forget_ended()

    def _forget_ended(self) -> None:
        size = self.sender.count - self.counts[at.BASE] + 1
        alive = np.flatnonzero(self.orders[:size, at.OUR_STATE] < 5)
        first = int(alive[0]) if len(alive) else size
        _forget(self.orders, first, size)
        self.counts[at.BASE] += first
        short = size - first + len(self.messages) - len(self.orders)
        if short > 0:
            self.orders = _longer(self.orders, short)
            self._point()

    # --- showing -------------------------------------------------------------------------------

    def show_belief(self) -> None:
        """Bring our account up to what has been reported."""
        if self._shown != self.counts[at.BELIEVED_COUNT]:
            self._shown = self.counts[at.BELIEVED_COUNT]
            self.show(self.engine.money.belief, at.OUR_ACCOUNT, at.OUR_PURSE)

    def show(self, account: Any, first: int, purse: int) -> None:
        """Write one of the two books into an account."""
        for place, name in enumerate(self.currencies):
            wallet, row = account.wallets[name], self.purses[place].tolist()
            wallet.cash, wallet.realised = row[purse + at.CASH], row[purse + at.REALISED]
            wallet.maker_fees = row[purse + at.MAKER_FEES]
            wallet.taker_fees = row[purse + at.TAKER_FEES]
        for place, name in enumerate(self.names):
            position, basis, fees, bought, sold = self.markets[place, first : first + 5].tolist()
            if bought or sold:
                account.restore(name, position, basis, fees, (bought, sold))


def _longer(table: Array, more: int) -> Array:
    return np.concatenate([table, np.zeros((more, table.shape[1]), table.dtype)])


def _forget(table: Array, first: int, size: int) -> None:
    """Move the rows from *first* on to the front."""
    table[: size - first] = table[first:size].copy()
