"""Plants in the express lane: its tables are changed between the calls of its kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from backtester.express import layout as at
from backtester.express.lane import ExpressLane
from backtester.express.trader import ExpressTrader
from backtester.gateway import Gateway
from backtester.venue.matching import SIDE, TICKS, TRADE
from backtester.venue.queue_config import FRONT
from tests.mutants.planting import Patch, wrap


def _before_each_run(patch: Patch, change: Any) -> None:
    def make(real: Any) -> Any:
        def run_before(self: ExpressLane, instant: int, rank: int) -> None:
            change(self)
            real(self, instant, rank)

        return run_before

    wrap(patch, ExpressLane, "run_before", make)


def _after_each_tape(patch: Patch, change: Any) -> None:
    def make(real: Any) -> Any:
        def lay(self: ExpressLane, place: int) -> None:
            real(self, place)
            change(self, place)

        return lay

    wrap(patch, ExpressLane, "_lay_tape", make)


def everyone_leaves_in_front(patch: Patch) -> None:
    """Every queue model is the optimistic one."""

    def make(real: Any) -> Any:
        def init(self: ExpressLane, *args: Any) -> None:
            real(self, *args)
            self.model[:] = float(FRONT)

        return init

    wrap(patch, ExpressLane, "__init__", make)


def the_last_to_arrive_is_first(patch: Patch) -> None:
    """Own orders at one price are visited against their order, every other time."""

    def swap(lane: ExpressLane) -> None:
        for place, market in enumerate(lane.markets):
            queue = lane.kept[place, at.AT_RESTING]
            for k in range(int(market[at.RESTING]) - 1):
                if (queue[k, [SIDE, TICKS]] == queue[k + 1, [SIDE, TICKS]]).all():
                    for column in (at.AT_RESTING, at.AT_AHEAD, at.AT_NUMBERS):
                        table = lane.kept[place, column]
                        table[[k, k + 1]] = table[[k + 1, k]]

    _before_each_run(patch, swap)


def the_queue_is_lost_between_windows(patch: Patch) -> None:
    """A new window begins with nobody ahead of us."""

    def forget(lane: ExpressLane, place: int) -> None:
        lane.kept[place, at.AT_AHEAD][:] = 0.0

    _after_each_tape(patch, forget)


def a_cancel_beats_the_records_of_its_instant(patch: Patch) -> None:
    """What happens at the instant of a message is resolved after it."""

    def late(lane: ExpressLane, place: int) -> None:
        times = lane.kept[place, "times"] + 1
        lane.markets[place, at.AT_TAPE_TIMES] = lane._hold((place, "times"), times)

    _after_each_tape(patch, late)


def a_cancel_overtakes_its_order(patch: Patch) -> None:
    """Messages arrive after their own latency, whatever was sent before."""

    def make(real: Any) -> Any:
        def arrives(self: ExpressTrader, due: int) -> int:
            self.last_arrival = 0
            return int(real(self, due))

        return arrives

    wrap(patch, ExpressTrader, "_arrives", make)


def what_we_took_is_there_again(patch: Patch) -> None:
    """Displayed quantity is endless."""

    def forget(lane: ExpressLane) -> None:
        lane.markets[:, [at.BID_TAKEN, at.ASK_TAKEN]] = 0

    _before_each_run(patch, forget)


def the_wrong_one_of_two_own_orders_gives_way(patch: Patch) -> None:
    """Where own orders meet, the arriving one is canceled instead of the resting one, or so."""

    def make(real: Any) -> Any:
        def init(self: ExpressLane, *args: Any) -> None:
            real(self, *args)
            self.head[at.SELF_TRADE] = (1, 0, 0)[self.head[at.SELF_TRADE]]

        return init

    wrap(patch, ExpressLane, "__init__", make)


def own_orders_at_one_price_need_not_share_a_trade(patch: Patch) -> None:
    """What a trade brings is there twice for two own orders, and once for one alone."""

    def keep(lane: ExpressLane, place: int) -> None:
        lane.kept[place, "told"] = lane.kept[place, "rows"]
        rows = np.array(lane.kept[place, "told"])
        lane.markets[place, at.AT_TAPE] = lane._hold((place, "rows"), rows)

    def double(lane: ExpressLane) -> None:
        for place, market in enumerate(lane.markets):
            if (place, "told") in lane.kept:
                told, rows = lane.kept[place, "told"], lane.kept[place, "rows"]
                queue = lane.kept[place, at.AT_RESTING][: int(market[at.RESTING])]
                prices = {tuple(order) for order in queue[:, [SIDE, TICKS]]}
                trades = told[:, 0] == TRADE
                rows[trades, 2] = told[trades, 2] * (2 if len(prices) < len(queue) else 1)

    _after_each_tape(patch, keep)
    _before_each_run(patch, double)


def what_rests_is_filled_by_arrivals_alone(patch: Patch) -> None:
    """Nobody looks ahead."""

    def forget(lane: ExpressLane) -> None:
        lane.markets[:, at.MATCH_AT] = at.NEVER

    _before_each_run(patch, forget)


def _written(patch: Patch, change: Any) -> None:
    def make(real: Any) -> Any:
        def write(self: ExpressTrader, *row: Any) -> int:
            return int(real(self, *change(*row)))

        return write

    wrap(patch, ExpressTrader, "_write", make)


def post_only_orders_take(patch: Patch) -> None:
    """A post-only order is any other."""
    _written(patch, lambda *row: (*row[:6], 0))


def what_is_immediate_rests(patch: Patch) -> None:
    """What an immediate-or-cancel order does not find, it waits for."""
    _written(patch, lambda *row: (*row[:5], 0, row[6]))


def what_is_on_its_way_is_lost(patch: Patch) -> None:
    """Messages under way when the venue in Python takes over never arrive."""
    patch.setattr(Gateway, "resume_message", lambda *args: None)


PLANTS = (
    everyone_leaves_in_front,
    the_last_to_arrive_is_first,
    the_queue_is_lost_between_windows,
    a_cancel_beats_the_records_of_its_instant,
    a_cancel_overtakes_its_order,
    what_we_took_is_there_again,
    the_wrong_one_of_two_own_orders_gives_way,
    own_orders_at_one_price_need_not_share_a_trade,
    what_rests_is_filled_by_arrivals_alone,
    post_only_orders_take,
    what_is_immediate_rests,
    what_is_on_its_way_is_lost,
)
