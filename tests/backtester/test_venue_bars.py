"""A venue of bars, rule by rule; lots of 0.1 and ticks of 0.5."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.account import Account, Units
from backtester.orders import (
    CancelRequest,
    ModifyRequest,
    Order,
    OrderGroup,
    OrderType,
    Role,
    Side,
    TimeInForce,
)
from backtester.venue.clearing import Clearing
from backtester.venue.outcome import Outcome
from backtester.venue.venue import Venue, VenueRules
from clock.rank import Rank
from clock.simulated import SimulatedClock
from featurizer.market import Records
from tests.backtester.worlds import ALPHA, at, instrument

BUY, SELL = Side.BUY, Side.SELL
GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK


class Bar(NamedTuple):
    """A bar of ten milliseconds from `ms` on; prices in ticks."""

    ms: int
    open: int = 200
    high: int = 202
    low: int = 198
    close: int = 200
    lots: int = 100


class Exchange:
    """A venue told its orders in words; everything it says is kept, with its instant in ms."""

    def __init__(self, *windows: Sequence[Bar], cash: str = "1000000") -> None:
        units = Units([instrument()])
        self.account = Account(units, units.from_decimal(Decimal(cash)))
        self.clock = SimulatedClock(at(0))
        self.venue = Venue([ALPHA], Clearing(self.account), self.clock, VenueRules({ALPHA: "bars"}))
        self.venue.listener = lambda outcomes, now, rank: self._keep(outcomes)
        self.said: list[tuple[float, int, str, int, int]] = []
        self.windows = [list(window) for window in windows]
        self.number = 0
        self.next_window()

    def next_window(self) -> None:
        bars = self.windows.pop(0)
        self.venue.open_window({(ALPHA, "bars"): records(bars)})

    def order(
        self, side: Side, lots: int, limit: int | None = None, stop: int | None = None, **more: Any
    ) -> Order:
        self.number += 1
        kind = OrderType((limit is not None) + 2 * (stop is not None))
        defaults = {"time_in_force": IOC if limit is None else GTC}
        return Order(
            self.number, ALPHA, side, kind, lots / 10, (limit or 0) / 2, 0, self.number, lots,
            limit or 0, stop_ticks=stop or 0, **(defaults | more),
        )  # fmt: skip

    def send(self, ms: float, message: Any) -> Exchange:
        self.until(ms)
        self._keep(self.venue.receive(message, self.clock.now))
        return self

    def until(self, ms: float) -> Exchange:
        self.clock.advance_to(at(ms), Rank.VENUE_ARRIVAL)
        return self

    def fills(self) -> list[tuple[float, int, int, int]]:
        """Return (ms, order, lots, ticks) of each fill."""
        return [(ms, n, lots, ticks) for ms, n, kind, lots, ticks in self.said if kind == "filled"]

    def fates(self) -> list[tuple[int, str]]:
        return [(n, kind) for _, n, kind, _, _ in self.said]

    def _keep(self, outcomes: Sequence[Outcome]) -> None:
        ms = (self.clock.now - at(0)) / 1e6
        for o in outcomes:
            word = o.kind.word + (f":{o.reason.word}" if o.reason else "")
            self.said.append((ms, o.number, word, o.lots, o.fill.ticks if o.fill else 0))


def records(bars: Sequence[Bar]) -> Records:
    table = np.array([bar[1:] for bar in bars], dtype=float).reshape(-1, 5)
    opens = np.array([at(bar.ms) for bar in bars], dtype=np.int64)
    closes = opens + 10_000_000
    columns: dict[str, Any] = {
        "event_time": closes,
        "receipt_time": closes,
        "sequence": np.arange(len(bars)),
        "open_time": opens,
        "volume": table[:, 4] / 10,
    }
    for place, name in enumerate(("open", "high", "low", "close")):
        columns[name] = table[:, place] / 2
    return Records(ALPHA, "bars", columns)


def bars(*more: Bar) -> list[Bar]:
    return [Bar(0), *more]


def test_a_market_order_fills_at_the_open_of_the_first_bar_that_begins_after_it():
    exchange = Exchange(bars(Bar(10, open=190, low=180), Bar(20, open=203, high=204)))
    exchange.send(11, exchange.order(BUY, 3)).until(99)
    assert exchange.fills() == [(30.0, 1, 3, 203)]


def test_an_order_that_arrives_at_the_open_is_in_time_for_it():
    exchange = Exchange(bars(Bar(10, open=203, high=204)))
    exchange.send(10, exchange.order(SELL, 3)).until(99)
    assert exchange.fills() == [(20.0, 1, 3, 203)]


def test_all_our_orders_together_get_no_more_than_the_volume():
    exchange = Exchange(bars(Bar(10, lots=5), Bar(20)))
    exchange.send(10, exchange.order(BUY, 4)).send(10, exchange.order(BUY, 4)).until(99)
    assert exchange.fills() == [(20.0, 1, 4, 200), (20.0, 2, 1, 200)]
    assert exchange.fates()[-1] == (2, "canceled:unfilled_remainder")


def test_a_bar_without_volume_fills_nobody_and_a_market_order_waits_for_the_next():
    exchange = Exchange(bars(Bar(10, lots=0), Bar(20, open=201)))
    exchange.send(10, exchange.order(BUY, 4)).until(99)
    assert exchange.fills() == [(30.0, 1, 4, 201)]


@pytest.mark.parametrize(("low", "filled"), [(196, False), (195, True)])
def test_a_limit_order_fills_at_its_price_when_the_bar_goes_through_it(low, filled):
    exchange = Exchange(bars(Bar(10, low=low)))
    exchange.send(10, exchange.order(BUY, 4, 196)).until(99)
    assert exchange.fills() == ([(20.0, 1, 4, 196)] if filled else [])


def test_a_limit_order_takes_the_open_of_its_first_bar_and_is_at_its_price_in_later_ones():
    exchange = Exchange(bars(Bar(10, open=199), Bar(20, open=190, low=189)))
    exchange.send(10, exchange.order(BUY, 4, 200)).send(10, exchange.order(BUY, 4, 195)).until(99)
    assert exchange.fills() == [(20.0, 1, 4, 199), (30.0, 2, 4, 195)]


def test_a_post_only_order_does_not_take_the_open():
    exchange = Exchange(bars(Bar(10, open=199)))
    exchange.send(10, exchange.order(BUY, 4, 200, is_post_only=True)).until(99)
    assert exchange.fates() == [(1, "accepted"), (1, "canceled:post_only")]


@pytest.mark.parametrize(("opening", "price"), [(200, 204), (206, 206)])
def test_a_stop_fills_at_its_price_or_at_an_open_beyond_it(opening, price):
    exchange = Exchange(bars(Bar(10, open=opening, high=207)))
    exchange.send(10, exchange.order(BUY, 4, stop=204)).until(99)
    assert exchange.fills() == [(20.0, 1, 4, price)]


def test_a_stop_limit_order_is_open_from_the_next_bar():
    exchange = Exchange(bars(Bar(10, high=206), Bar(20, open=203, high=204)))
    exchange.send(10, exchange.order(BUY, 4, 205, stop=204)).until(99)
    assert exchange.fills() == [(30.0, 1, 4, 203)]


def test_where_a_bar_reaches_both_exits_the_stop_counts():
    exchange = Exchange(bars(Bar(10), Bar(20, high=220, low=180)))
    roles = ({"role": r, "group": 1} for r in (Role.ENTRY, Role.EXIT, Role.EXIT))
    entry, profit, loss = (
        exchange.order(BUY, 4, **next(roles)),
        exchange.order(SELL, 4, 210, **next(roles)),
        exchange.order(SELL, 4, stop=190, **next(roles)),
    )
    exchange.send(10, OrderGroup((entry, profit, loss), ALPHA, 0, 1)).until(99)
    assert exchange.fills() == [(20.0, 1, 4, 200), (30.0, 3, 4, 190)]
    assert (2, "canceled:partner") in exchange.fates()


def test_exits_are_open_from_the_bar_after_the_entrys():
    exchange = Exchange(bars(Bar(10, high=220, low=180), Bar(20, high=212)))
    entry = exchange.order(BUY, 4, role=Role.ENTRY, group=1)
    profit = exchange.order(SELL, 4, 210, role=Role.EXIT, group=1)
    loss = exchange.order(SELL, 4, stop=170, role=Role.EXIT, group=1)
    exchange.send(10, OrderGroup((entry, profit, loss), ALPHA, 0, 1)).until(99)
    assert exchange.fills() == [(20.0, 1, 4, 200), (30.0, 2, 4, 210)]


def test_all_or_nothing_at_the_open():
    exchange = Exchange(bars(Bar(10, lots=3), Bar(20)))
    exchange.send(10, exchange.order(BUY, 4, 210, time_in_force=FOK)).until(99)
    assert exchange.fates() == [(1, "accepted"), (1, "canceled:fill_or_kill")]


def test_an_order_that_expires_inside_a_bar_has_no_part_in_it():
    exchange = Exchange(bars(Bar(10, low=180)))
    exchange.send(10, exchange.order(BUY, 4, 190, expires_at=at(15))).until(99)
    assert exchange.said[-1] == (15.0, 1, "expired:expired", 4, 0)


def test_an_order_that_expires_at_the_close_fills_first():
    exchange = Exchange(bars(Bar(10, low=180, lots=3)))
    exchange.send(10, exchange.order(BUY, 4, 190, expires_at=at(20))).until(99)
    assert exchange.fates()[1:] == [(1, "filled"), (1, "expired:expired")]


def test_a_new_limit_counts_from_the_next_bar_and_a_cancel_at_once():
    exchange = Exchange(bars(Bar(10, low=180), Bar(20, open=195, low=180)))
    exchange.send(10, exchange.order(BUY, 4, 190)).send(10, exchange.order(BUY, 4, 190))
    exchange.send(15, ModifyRequest(1, ALPHA, 0, 8, 0, 192))
    exchange.send(15, CancelRequest(2, ALPHA, 0, 9)).until(99)
    assert exchange.fills() == [(30.0, 1, 4, 192)]


def test_before_the_first_bar_there_is_no_market():
    exchange = Exchange([Bar(0)])
    exchange.send(5, exchange.order(BUY, 4))
    assert exchange.fates() == [(1, "rejected:no_market")]


ticks = st.integers(190, 210)
made_bars = st.lists(
    st.tuples(ticks, ticks, ticks, ticks, st.integers(0, 6)), min_size=3, max_size=9
)
wishes = st.lists(
    st.tuples(
        st.integers(10, 70),
        st.sampled_from([BUY, SELL]),
        st.integers(1, 5),
        st.none() | ticks,
        st.none() | ticks,
        st.booleans(),
    ),
    max_size=8,
)


@given(made_bars, wishes, st.integers(0, 9))
def test_windows_change_no_fill_and_no_fill_lies_outside_its_bar(rows, asked, cut):
    whole = [
        Bar(10 * i, o, max(o, a, b, c), min(o, a, b, c), c, lots)
        for i, (o, a, b, c, lots) in enumerate(rows)
    ]
    one = told(whole, asked, len(whole))
    assert one.said == told(whole, asked, min(cut, len(whole))).said
    for ms, number, lots, price in one.fills():
        bar = next(bar for bar in whole if bar.ms + 10 == ms)
        arrived = sorted(asked, key=lambda ask: ask[0])[number - 1][0]
        assert bar.low <= price <= bar.high
        assert arrived <= bar.ms, "filled inside the bar during which it was on its way"
        assert lots <= bar.lots


def told(whole: Sequence[Bar], asked: Sequence[Any], cut: int) -> Exchange:
    exchange = Exchange(whole[:cut], whole[cut:])
    border = 10 * cut + 10 if cut < len(whole) else None
    for ms, side, lots, limit, stop, now_or_never in sorted(asked, key=lambda ask: ask[0]):
        if border is not None and ms >= border:
            exchange = cross(exchange, border)
            border = None
        more = {"time_in_force": IOC} if now_or_never else {}
        exchange.send(ms, exchange.order(side, lots, limit, stop, **more))
    if border is not None:
        exchange = cross(exchange, border)
    return exchange.until(1000)


def cross(exchange: Exchange, border: int) -> Exchange:
    """Go over the border between two windows, as a run does."""
    exchange.clock.advance_to(at(border))
    exchange.next_window()
    return exchange
