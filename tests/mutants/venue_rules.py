"""Plants that break one rule of the venue each: queues, sharing, races, stops, brackets."""

from __future__ import annotations

from typing import Any

import numpy as np

import backtester.venue.resting as resting
from backtester.gateway import Gateway
from backtester.orders import Reason, TimeInForce
from backtester.venue.book import TopOfBook
from backtester.venue.consequences import Consequences
from backtester.venue.depth_book import DepthBook
from backtester.venue.groups import Groups
from backtester.venue.market import Market
from backtester.venue.queue_config import FRONT
from backtester.venue.resting import RestingOrders
from backtester.venue.taking import Taking
from backtester.venue.tape import Tape
from tests.mutants.planting import Patch, wrap


def everyone_leaves_in_front(patch: Patch) -> None:
    """Every queue model is the optimistic one."""
    wrap(
        patch,
        RestingOrders,
        "__init__",
        lambda real: lambda self, model: real(self, np.full_like(model, float(FRONT))),
    )


def trades_are_counted_twice(patch: Patch) -> None:
    """What traded at a level is not taken off its decrease."""

    def make(real: Any) -> Any:
        def scan(rows: Any, end: int, orders: Any, *others: Any) -> Any:
            orders[:, 4] = 0
            return real(rows, end, orders, *others)

        return scan

    for name in ("scan", "peek"):
        patch.setattr(resting, name, make(getattr(resting, name)))


def every_own_order_has_the_trade_to_itself(patch: Patch) -> None:
    """What fills one own order fills the next one too."""

    def make(real: Any) -> Any:
        def filled(self: RestingOrders, live: Any, lots: int) -> None:
            before = self._cursor.copy()
            real(self, live, lots)
            for place in (resting.LEFT, resting.LEFT_SELL):
                self._cursor[place] = before[place]

        return filled

    wrap(patch, RestingOrders, "filled", make)


def the_last_to_arrive_is_first(patch: Patch) -> None:
    """Own orders at one price are visited against their order."""
    real = resting._key
    patch.setattr(resting, "_key", lambda live: (*real(live)[:2], -live.rank))


def the_queue_is_lost_between_windows(patch: Patch) -> None:
    """A new window begins with nobody ahead of us."""

    def make(real: Any) -> Any:
        def open_window(self: RestingOrders, *args: Any) -> None:
            real(self, *args)
            self._ahead[:] = 0.0

        return open_window

    wrap(patch, RestingOrders, "open_window", make)


def a_cancel_beats_the_records_of_its_instant(patch: Patch) -> None:
    """What happens at the instant of a message is resolved after it."""
    wrap(patch, Tape, "end", lambda real: lambda self, now: real(self, now - 1))


def a_cancel_overtakes_its_order(patch: Patch) -> None:
    """Messages arrive after their own latency, whatever was sent before."""

    def make(real: Any) -> Any:
        def send(self: Gateway, message: Any) -> Any:
            self._last_arrival = 0
            return real(self, message)

        return send

    wrap(patch, Gateway, "send", make)


def what_we_took_is_there_again(patch: Patch) -> None:
    """Displayed quantity is endless."""
    for book in (TopOfBook, DepthBook):
        patch.setattr(book, "take", lambda *args: None)


def a_smaller_order_goes_to_the_end(patch: Patch) -> None:
    """Every change loses the place in the queue."""

    def make(real: Any) -> Any:
        def change(self: Market, live: Any, wanted: Any, why: Any, now: int) -> Any:
            reason = real(self, live, wanted, why, now)
            if live.is_resting and why is Reason.REQUESTED:
                displayed = self.book.displayed(live.side, live.limit_ticks)
                self.resting.remove(live)
                self.resting.add(live, displayed, float(max(displayed, 0)))
            return reason

        return change

    wrap(patch, Market, "_change", make)


def own_orders_are_passed_over(patch: Patch) -> None:
    """A walk does not see our own orders."""
    patch.setattr(Taking, "_opposing", lambda self, live: [])


def fill_or_kill_takes_parts(patch: Patch) -> None:
    """Fill or kill is immediate or cancel."""
    patch.setattr(Taking, "_has_enough", lambda self, live: True)


def post_only_orders_take(patch: Patch) -> None:
    """A post-only order is any other."""

    def make(real: Any) -> Any:
        def refusal(self: Taking, live: Any, now: int) -> Reason:
            reason = real(self, live, now)
            return Reason.NONE if reason is Reason.POST_ONLY else reason

        return refusal

    wrap(patch, Taking, "_taking_refusal", make)


def what_is_immediate_rests(patch: Patch) -> None:
    """What an immediate-or-cancel order does not find, it waits for."""

    def make(real: Any) -> Any:
        def execute(self: Taking, live: Any, now: int) -> None:
            if live.order.time_in_force is TimeInForce.IOC and live.limit_ticks:
                live.order = live.order._replace(time_in_force=TimeInForce.GTC)
            real(self, live, now)

        return execute

    wrap(patch, Taking, "_execute", make)


def reduce_only_opens(patch: Patch) -> None:
    """Reduce-only orders open positions."""
    patch.setattr(Consequences, "_reducible", lambda self, live: 10**9)


def partners_live_on(patch: Patch) -> None:
    """One does not cancel the other."""
    patch.setattr(Groups, "partners", lambda self, live: iter(()))


def exits_are_released_whole(patch: Patch) -> None:
    """The exits of a bracket are for all of its entry, whatever of it is filled."""

    def make(real: Any) -> Any:
        def released(self: Consequences) -> Any:
            fresh = real(self)
            for live in fresh:
                live.total = max(live.total, live.order.lots)
            return fresh

        return released

    wrap(patch, Consequences, "_released", make)


def nothing_expires_between_arrivals(patch: Patch) -> None:
    """An order expires with the next thing that happens, not at its instant."""
    patch.setattr(Market, "next_expiry", property(lambda self: 2**63 - 1))


PLANTS = (
    everyone_leaves_in_front,
    trades_are_counted_twice,
    every_own_order_has_the_trade_to_itself,
    the_last_to_arrive_is_first,
    the_queue_is_lost_between_windows,
    a_cancel_beats_the_records_of_its_instant,
    a_cancel_overtakes_its_order,
    what_we_took_is_there_again,
    a_smaller_order_goes_to_the_end,
    own_orders_are_passed_over,
    fill_or_kill_takes_parts,
    post_only_orders_take,
    what_is_immediate_rests,
    reduce_only_opens,
    partners_live_on,
    exits_are_released_whole,
    nothing_expires_between_arrivals,
)
