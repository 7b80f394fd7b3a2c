"""What the express lane's tables hold, as the orders, messages and books of the venue in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backtester.express import core
from backtester.express import layout as at
from backtester.order_manager import OrderManager
from backtester.order_state import OrderState
from backtester.orders import (
    CancelRequest,
    Fill,
    Message,
    ModifyRequest,
    Order,
    OrderType,
    Reason,
    Report,
    ReportKind,
    Side,
    TimeInForce,
)
from backtester.venue.live import LiveOrder

if TYPE_CHECKING:
    from backtester.express.lane import ExpressLane

__all__ = ["ExpressOrders", "hand_over", "report_of"]

_LIVES = (int(OrderState.OPEN), int(OrderState.PARTLY_FILLED))


def order_of(lane: ExpressLane, number: int) -> Order:
    """Return an order as it left us."""
    row = lane.orders[number - lane.counts[at.BASE]].tolist()
    name = lane.names[row[at.MARKET]]
    unit = lane.venue.units[name]
    lots, ticks = row[at.LOTS], row[at.LIMIT_SENT]
    return Order(
        number,
        name,
        Side(row[at.SIDE]),
        OrderType.LIMIT if ticks else OrderType.MARKET,
        float(lots * unit.lot_size),
        float(ticks * unit.tick_size) if ticks else float("nan"),
        row[at.SENT_AT],
        row[at.ORDINAL],
        lots,
        ticks,
        TimeInForce.IOC if row[at.IS_IMMEDIATE] else TimeInForce.GTC,
        is_post_only=bool(row[at.IS_POST_ONLY]),
    )


def report_of(lane: ExpressLane, row: int) -> Report:
    """Return a report as the strategy hears it."""
    told = lane.reports[row].tolist()
    name = lane.names[told[at.R_MARKET]]
    unit, lots, number = lane.venue.units[name], told[at.R_LOTS], told[at.R_ORDER]
    quantity, fill = float(lots * unit.lot_size) if lots else 0.0, None
    if told[at.R_KIND] == ReportKind.FILLED:
        fill = Fill(
            number,
            name,
            Side(told[at.R_SIDE]),
            quantity,
            float(told[at.R_TICKS] * unit.tick_size),
            lane.venue.units.to_float(told[at.R_FEE]),
            told[at.R_VENUE_TIME],
            lots,
            told[at.R_TICKS],
            told[at.R_FEE],
            bool(told[at.R_IS_MAKER]),
        )
    return Report(
        told[at.R_NUMBER],
        number,
        name,
        ReportKind(told[at.R_KIND]),
        Reason(told[at.R_REASON]),
        quantity,
        told[at.R_VENUE_TIME],
        fill,
        bool(told[at.R_IS_LAST]),
        lots,
        told[at.R_LIMIT],
    )


class ExpressOrders(OrderManager):
    """Our belief about the open orders, read from the lane's tables; see `OrderManager`.

    Args:
        lane: The express lane.
    """

    def __init__(self, lane: ExpressLane) -> None:
        super().__init__(lane.venue.units)
        self._lane = lane
        self._version: tuple[int, int] = (-1, -1)

    def find(self, number: int) -> Order | None:
        """Return an order that is open as far as we know, None where it has ended."""
        return order_of(self._lane, number) if self._lane.is_open(number) else None

    def open_orders(self, instrument: str | None = None) -> Any:
        """Return the orders that are open as far as we know, by number."""
        self._lane.engine.catch_up()
        self._read()
        return super().open_orders(instrument)

    def _read(self) -> None:
        """Take over what the tables say, where they say something new."""
        lane = self._lane
        counts = lane.counts
        if counts[at.TAKEN_IN] < counts[at.MESSAGES]:
            lane.hear(0, 0)
        version = (counts[at.HEARD_COUNT], lane.sender.sent)
        if version == self._version:
            return
        self._version = version
        base, known = counts[at.BASE], self._open
        states = lane.orders[: counts[at.NEWEST] - base + 1, at.OUR_STATE]
        numbers = (np.flatnonzero(states < OrderState.FILLED) + base).tolist()
        self._open = {}
        for number in numbers:
            own = known.get(number)
            order = order_of(lane, number) if own is None else own.order
            self._open[number] = self.believe(order, *self._told(number, base))

    def _told(self, number: int, base: int) -> tuple[OrderState, tuple[int, ...]]:
        row = self._lane.orders[number - base].tolist()
        return OrderState(row[at.OUR_STATE]), (
            row[at.OUR_TOTAL],
            row[at.OUR_LIMIT],
            row[at.OUR_FILLED],
            row[at.CANCELS],
            row[at.CHANGES],
            row[at.ASKED],
        )

    def hand_over(self) -> OrderManager:
        """Return a manager that goes on from here."""
        self._version = (-1, -1)
        self._read()
        manager = OrderManager(self._units)
        manager._open = self._open
        return manager


def hand_over(lane: ExpressLane) -> None:
    """Give everything that the tables hold to the venue, the gateway and the ledger."""
    counts, engine, venue = lane.counts, lane.engine, lane.venue
    core.let_pass(lane.head, engine.clock.now - 1)
    lane.show(venue.clearing.account, at.VENUE_ACCOUNT, at.VENUE_PURSE)
    lane.show(engine.money.belief, at.OUR_ACCOUNT, at.OUR_PURSE)
    venue.clearing.bookings = counts[at.BOOKED_COUNT]
    engine.ledger.resume(counts[at.BOOKED_COUNT], counts[at.BELIEVED_COUNT], lane.sender.changes)
    for place in range(len(lane.names)):
        _give_market(lane, place)
    venue.resume(counts[at.RANKS])
    _give_messages(lane)
    _give_reports(lane)


def _give_market(lane: ExpressLane, place: int) -> None:
    row, market = lane.markets[place].tolist(), lane.places[place]
    lane.books[place].resume(row[at.QUOTE], (row[at.BID_TAKEN], row[at.ASK_TAKEN]))
    size, base = row[at.RESTING], lane.counts[at.BASE]
    if not size:
        return
    resting = []
    for number in lane.kept[place, at.AT_NUMBERS][:size].tolist():
        told = lane.orders[number - base].tolist()
        live = LiveOrder(order_of(lane, number), told[at.ARRIVED_AT])
        live.state, live.rank = OrderState(told[at.STATE]), told[at.RANK]
        live.total, live.filled = told[at.TOTAL], told[at.FILLED]
        live.limit_ticks = told[at.LIMIT]
        live.is_resting = live.is_listed = True
        resting.append(live)
    kept = lane.kept
    queue, ahead = kept[place, at.AT_RESTING][:size], kept[place, at.AT_AHEAD][:size]
    market.resume(resting, queue, ahead, int(kept[place, at.AT_CURSOR][0]))


def _give_messages(lane: ExpressLane) -> None:
    counts, gateway = lane.counts, lane.engine.gateway
    waiting = lane.messages[counts[at.ARRIVED] : counts[at.MESSAGES]].tolist()
    for row in waiting:
        gateway.resume_message(_message_of(lane, row), row[at.M_ARRIVES])
    gateway.resume(lane.sender.last_arrival, counts[at.REPORT_NUMBER], counts[at.LAST_REPORT])


def _message_of(lane: ExpressLane, row: list[int]) -> Message:
    number, name = row[at.M_ORDER], "" if row[at.M_MARKET] < 0 else lane.names[row[at.M_MARKET]]
    if row[at.M_KIND] == at.NEW:
        return order_of(lane, number)
    stamps = (row[at.M_SENT], row[at.M_ORDINAL])
    if row[at.M_KIND] == at.CANCEL:
        return CancelRequest(number, name, *stamps)
    return ModifyRequest(number, name, *stamps, row[at.M_LOTS], row[at.M_TICKS])


def _give_reports(lane: ExpressLane) -> None:
    counts, gateway = lane.counts, lane.engine.gateway
    for row in range(counts[at.DELIVERED], counts[at.REPORTS]):
        gateway.resume_report(report_of(lane, row), int(lane.reports[row, at.R_VISIBLE]))
