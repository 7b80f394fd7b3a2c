"""Plain orders, made into rows of the express lane; what else is asked for hands the run over."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from backtester.errors import OrderError
from backtester.express import layout as at
from backtester.orders import Order, OrderRequest, TimeInForce
from backtester.trader import Trader
from clock.rank import Rank

if TYPE_CHECKING:
    from backtester.engine import Engine
    from backtester.express.lane import ExpressLane

__all__ = ["ExpressTrader"]

_ROW = Struct("18q")
_GIVEN = Struct("15qd2q")
"""A row whose mid and staleness are given, not looked up at the end of the window."""
_SIZE, _REPORT = _ROW.size, at.REPORT_WIDTH
_ARRIVAL = int(Rank.VENUE_ARRIVAL)
_NOTHING = float("nan")
_MOST_KNOWN = 1024
_MOST = 10**12
_SLACK = 1e-6


class ExpressTrader(Trader):
    """A trader that writes messages into the lane's tables; see `Trader`.

    Args:
        engine: The trading plane.
        lane: The express lane.

    Attributes:
        count: Orders sent.
        changes: Cancels and other changes sent.
        last_arrival: When the last message will arrive.
    """

    def __init__(self, engine: Engine, lane: ExpressLane) -> None:
        super().__init__(engine)
        self._lane = lane
        self._clock = engine.clock
        self._samplers = engine.latencies
        self._new_ns = engine.latencies.new.constant_ns
        self._cancel_ns = engine.latencies.cancel.constant_ns
        self._is_instant = engine.desk.is_instant
        self._hears = lane.counts[at.HEARS]
        self._steps: dict[Any, tuple[int, float, float, dict[float, int]]] = {
            name: (
                place,
                float(engine.units[name].tick_size),
                float(engine.units[name].lot_size),
                {},
            )
            for place, name in enumerate(engine.instruments)
        }
        self._last_sent = self._ordinal = -1
        self.last_arrival = self.changes = self.count = 0

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self.count + self.changes

    # --- orders --------------------------------------------------------------------------------

    def order(self, *asked: Any) -> int:
        """Send an order given by the fields of a request; return its number."""
        (
            instrument, side, quantity, limit_price, time_in_force, stop_price, post_only,
            reduce_only, expires_at,
        ) = asked  # fmt: skip
        try:
            place, tick, lot, known = self._steps[instrument]
            lots = known.get(quantity) or self._lots_of(quantity, lot, known)
            if limit_price is None:
                ticks, near = 0, not post_only
            else:
                steps = limit_price / tick
                ticks = round(steps)
                near = 0 < ticks <= _MOST and -_SLACK < steps - ticks < _SLACK
        except (KeyError, TypeError, ValueError, OverflowError):
            near, lots = False, 0
        is_plain = (
            near
            and lots > 0
            and stop_price is None
            and expires_at is None
            and not reduce_only
            and time_in_force is None
        )
        if not is_plain:
            return self.submit(OrderRequest(*asked))
        force = 0 if ticks else 2
        return self._write(place, side, 1 if ticks else 0, lots, ticks, force, post_only)

    def submit(self, request: OrderRequest) -> int:
        """Send an order given as a request; return its number."""
        request = self._checked(request)
        try:
            order = self._entry.make(request, self._clock.now)  # says what is wrong with it
        except OrderError:
            # what is refused counts among the messages of its instant
            self._next_ordinal(self._leaves_at())
            raise
        plain = (TimeInForce.GTC, TimeInForce.IOC)
        if order.stop_ticks or order.is_reduce_only or order.time_in_force not in plain:
            self._engine.hand_over()
            return self._engine.trader.submit(request)
        place = self._steps[order.instrument][0]
        kind, force = int(order.type), int(order.time_in_force)
        flags = int(order.is_post_only)
        side = int(order.side)
        return self._write(place, side, kind, order.lots, order.limit_ticks, force, flags)

    def _lots_of(self, quantity: float, lot: float, known: dict[float, int]) -> int:
        steps = quantity / lot
        lots = round(steps)
        if not 0 < lots <= _MOST or not -_SLACK < steps - lots < _SLACK:
            return 0
        if len(known) < _MOST_KNOWN:
            known[quantity] = lots
        return lots

    def _write(
        self, place: int, side: int, kind: int, lots: int, ticks: int, force: int, flags: int
    ) -> int:
        """Write down a new order and send it."""
        lane, engine, now = self._lane, self._engine, self._clock._now
        sent_at = now if self._is_instant else engine.desk.leaves_at
        ordinal = self._next_ordinal(sent_at)
        wait = self._new_ns
        if wait is None:
            wait = self._samplers.new.draw(sent_at, sent_at, ordinal)
        arrives = self._arrives(sent_at + wait)
        row = lane.counts[at.MESSAGES]
        if row == len(lane.messages):
            lane.grow_messages()
        self.count = number = self.count + 1
        if engine.decides_later and engine._action is None:
            rank, source, index = engine._timeline.turn()
            _ROW.pack_into(
                lane.outbox, row * _SIZE,
                arrives, 0, number, place, side, kind, lots, ticks, force, flags, sent_at, ordinal,
                now, rank, source, index, 0, 0,
            )  # fmt: skip
        else:
            rank, mid, staleness = self._given(engine.instruments[place])
            _GIVEN.pack_into(
                lane.outbox, row * _SIZE,
                arrives, 0, number, place, side, kind, lots, ticks, force, flags, sent_at, ordinal,
                now, rank, -1, mid, staleness, 0,
            )  # fmt: skip
        lane.counts[at.MESSAGES] = row + 1
        return number

    def _next_ordinal(self, sent_at: int) -> int:
        """Return the place of the next message among those that leave at an instant."""
        if sent_at == self._last_sent:
            self._ordinal += 1
        else:
            self._last_sent, self._ordinal = sent_at, 0
        return self._ordinal

    def _given(self, name: str) -> tuple[int, float, int]:
        """Return rank, mid and staleness of a decision that is measured at once."""
        place = self._engine.place()
        mid, staleness = self._engine.decision(name, place)
        return place.rank, mid, staleness

    def _arrives(self, due: int) -> int:
        """Return when a message arrives: not before the one sent before it."""
        if due < self.last_arrival:
            due = self.last_arrival
        else:
            self.last_arrival = due
        lane = self._lane
        if due <= lane.due and (due, _ARRIVAL) < (lane.due, lane.rank):
            lane.due, lane.rank = due, _ARRIVAL
            if due < self._clock.due:
                self._clock.due = due
        return due

    # --- changes -------------------------------------------------------------------------------

    def cancel(self, number: int) -> bool:
        """Send a cancel; return False, and send nothing, where we know that the order has ended."""
        if not 1 <= number <= self.count:
            self._open_order(number)
        rank = self._catch_up()
        if not self._lane.is_open(number):
            return False
        row = (number - self._lane.counts[at.BASE]) * at.ORDER_WIDTH + at.MARKET
        self._write_change(at.CANCEL, number, self._lane.states[row], rank)
        return True

    def cancel_all(self, instrument: str | None) -> None:
        """Send one cancel for every order of an instrument, or of all."""
        place = -1
        if instrument is not None:
            place = self._engine.instruments.index(self._engine.instrument_name(instrument))
        self._write_change(at.CANCEL, 0, place, self._catch_up(), staleness=self.count)

    def modify(self, number: int, quantity: float | None, limit_price: float | None) -> bool:
        """Send a change; return False, and send nothing, where the order has ended."""
        rank = self._catch_up()
        order = self._open_order(number)
        if order is None:
            return False
        request = self._entry.modify(order, quantity, limit_price, self._clock.now)
        place = self._steps[order.instrument][0]
        mid, _ = self._engine.decision(order.instrument, self._engine.place())
        change = (request.lots, request.limit_ticks)
        self._write_change(at.MODIFY, number, place, rank, change, mid)
        return True

    def _write_change(
        self,
        kind: int,
        number: int,
        place: int,
        rank: int,
        change: tuple[int, int] = (0, 0),
        mid: float = _NOTHING,
        staleness: int = 0,
    ) -> None:
        lane, now = self._lane, self._clock._now
        sent_at = now if self._is_instant else self._engine.desk.leaves_at
        ordinal = self._next_ordinal(sent_at)
        wait = self._cancel_ns if kind == at.CANCEL else None
        if wait is None:
            sampler = self._samplers.cancel if kind == at.CANCEL else self._samplers.modify
            wait = sampler.draw(sent_at, sent_at, ordinal)
        arrives = self._arrives(sent_at + wait)
        row = lane.counts[at.MESSAGES]
        if row == len(lane.messages):
            lane.grow_messages()
        self.changes += 1
        lots, ticks = change
        _GIVEN.pack_into(
            lane.outbox,
            row * _SIZE,
            arrives, kind, number, place, 0, 0, lots, ticks, 0, 0, sent_at, ordinal, now, rank,
            -1, mid, staleness, self.changes,
        )  # fmt: skip
        lane.counts[at.MESSAGES] = row + 1

    def _catch_up(self) -> int:
        """Hear what has been reported by now; return the rank of the present turn."""
        engine, lane = self._engine, self._lane
        rank = engine._timeline.rank() if engine._action is None else engine.place().rank
        if not self._hears:
            counts = lane.counts
            heard, now = counts[at.DELIVERED], self._clock._now
            if heard < counts[at.REPORTS] and lane.inbox[heard * _REPORT + at.R_VISIBLE] <= now:
                lane.hear(now, rank)
        return rank

    def _open_order(self, number: int) -> Order | None:
        self._entry.count = self.count
        return super()._open_order(number)

    # --- what is not plain ---------------------------------------------------------------------

    def submit_partners(self, first: OrderRequest, second: OrderRequest) -> tuple[int, int]:
        """Send two orders that cancel each other; return their numbers."""
        self._engine.hand_over()
        return self._engine.trader.submit_partners(first, second)

    def submit_bracket(
        self, entry: OrderRequest, take_profit: float, stop_loss: float
    ) -> tuple[int, int, int]:
        """Send an entry and its exits; return the numbers of entry, take-profit and stop-loss."""
        self._engine.hand_over()
        return self._engine.trader.submit_bracket(entry, take_profit, stop_loss)

    def hand_over(self) -> Trader:
        """Return a trader that goes on counting where this one ends."""
        trader = Trader(self._engine)
        trader.resume(self.count, (self._last_sent, self._ordinal))
        return trader
