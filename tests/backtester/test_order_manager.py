"""Our belief about open orders follows the reports, and nothing but the reports."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.account_units import Units
from backtester.errors import OrderStateError
from backtester.order_manager import OrderManager
from backtester.order_state import ENDED, OrderState
from backtester.orders import (
    CancelRequest,
    Fill,
    ModifyRequest,
    Order,
    OrderGroup,
    OrderType,
    Reason,
    Report,
    ReportKind,
    Role,
    Side,
    TimeInForce,
)
from tests.backtester.worlds import ALPHA, BETA, instrument

K = ReportKind


def order(number: int, lots: int = 10, side: Side = Side.BUY, **others: Any) -> Order:
    """Return a resting limit order at 100.0, a tick being 0.5 and a lot 0.1."""
    content: dict[str, Any] = {
        "number": number,
        "instrument": ALPHA,
        "side": side,
        "type": OrderType.LIMIT,
        "quantity": lots / 10,
        "limit_price": 100.0,
        "sent_at": 5,
        "ordinal": 0,
        "lots": lots,
        "limit_ticks": 200,
        "time_in_force": TimeInForce.GTC,
    }
    return Order(**content | others)


def report(number: int, kind: ReportKind, lots: int = 0, **others: Any) -> Report:
    """Return a report about an order; a fill where the kind says so."""
    fill = None
    if kind is K.FILLED:
        fill = Fill(number, ALPHA, Side.BUY, lots / 10, 100.0, 0.0, 7, lots, 200, 0)
    content: dict[str, Any] = {
        "number": 1,
        "order": number,
        "instrument": ALPHA,
        "kind": kind,
        "reason": Reason.NONE,
        "quantity": lots / 10,
        "venue_time": 7,
        "fill": fill,
        "is_last": False,
        "lots": lots,
    }
    return Report(**content | others)


@pytest.fixture
def manager() -> OrderManager:
    return OrderManager(Units([instrument(ALPHA), instrument(BETA)]))


def test_an_order_is_open_from_the_instant_it_is_sent_until_its_last_report(manager):
    manager.sent(order(1))
    states = [manager.open_orders()[0].state]
    for kind, lots in ((K.ACCEPTED, 0), (K.FILLED, 4)):
        manager.hear(report(1, kind, lots))
        states.append(manager.open_orders()[0].state)
    (shown,) = manager.open_orders()
    assert states == [OrderState.SENT, OrderState.OPEN, OrderState.PARTLY_FILLED]
    assert (shown.quantity, shown.filled, shown.limit_price) == (1.0, 0.4, 100.0)
    assert math.isnan(shown.stop_price)
    manager.hear(report(1, K.FILLED, 6))
    assert manager.open_orders() == ()


@pytest.mark.parametrize(
    "kinds",
    [(K.REJECTED,), (K.ACCEPTED, K.CANCELED), (K.ACCEPTED, K.EXPIRED)],
)
def test_an_order_that_ended_is_no_longer_open(manager, kinds):
    manager.sent(order(1))
    for kind in kinds:
        manager.hear(report(1, kind))
    assert manager.open_orders() == ()


def test_a_cancel_is_pending_until_it_is_refused_or_the_order_is_gone(manager):
    manager.sent(order(1))
    manager.hear(report(1, K.ACCEPTED))
    manager.sent(CancelRequest(1, ALPHA, 8, 0))
    assert [o.is_canceling for o in manager.open_orders()] == [True]
    manager.hear(report(1, K.CANCEL_REJECTED, reason=Reason.NOT_OPEN))
    assert [o.is_canceling for o in manager.open_orders()] == [False]
    manager.sent(CancelRequest(1, ALPHA, 9, 0))
    manager.hear(report(1, K.CANCELED, 10, reason=Reason.REQUESTED))
    assert manager.open_orders() == ()


def test_a_refused_cancel_of_an_order_that_has_ended_says_nothing_new(manager):
    manager.sent(order(1))
    manager.hear(report(1, K.ACCEPTED))
    manager.sent(CancelRequest(1, ALPHA, 8, 0))
    manager.hear(report(1, K.FILLED, 10))
    manager.hear(report(1, K.CANCEL_REJECTED, reason=Reason.NOT_OPEN))
    assert manager.open_orders() == ()


def test_cancel_all_is_about_one_instrument_or_about_all(manager):
    manager.sent(order(1))
    manager.sent(order(2, instrument=BETA))
    manager.sent(CancelRequest(0, BETA, 8, 0))
    assert [o.is_canceling for o in manager.open_orders()] == [False, True]
    manager.sent(CancelRequest(0, "", 8, 1))
    assert [o.is_canceling for o in manager.open_orders()] == [True, True]


def test_a_change_takes_effect_when_the_venue_says_so(manager):
    manager.sent(order(1))
    manager.hear(report(1, K.ACCEPTED))
    manager.sent(ModifyRequest(1, ALPHA, 8, 0, 6, 202))
    before = manager.open_orders()[0]
    assert (before.quantity, before.limit_price, before.is_modifying) == (1.0, 100.0, True)
    manager.hear(report(1, K.MODIFIED, 6, limit_ticks=202, reason=Reason.REQUESTED))
    after = manager.open_orders()[0]
    assert (after.quantity, after.limit_price, after.is_modifying) == (0.6, 101.0, False)
    manager.hear(report(1, K.FILLED, 6))
    assert manager.open_orders() == ()


def test_a_change_that_nobody_asked_for_leaves_the_one_on_its_way_pending(manager):
    manager.sent(order(1))
    manager.hear(report(1, K.ACCEPTED))
    manager.sent(ModifyRequest(1, ALPHA, 8, 0, 6, 0))
    manager.hear(report(1, K.MODIFIED, 7, limit_ticks=200, reason=Reason.PARTNER))
    assert [(o.quantity, o.is_modifying) for o in manager.open_orders()] == [(0.7, True)]
    manager.hear(report(1, K.MODIFY_REJECTED, reason=Reason.NOT_OPEN))
    assert [o.is_modifying for o in manager.open_orders()] == [False]


def test_what_was_handed_over_does_not_change_afterwards(manager):
    manager.sent(order(1))
    before = manager.open_orders()
    manager.hear(report(1, K.ACCEPTED))
    assert before[0].state is OrderState.SENT
    assert manager.open_orders() is not before


def test_orders_are_listed_by_instrument_and_number(manager):
    for number, name in enumerate((ALPHA, BETA, ALPHA), start=1):
        manager.sent(order(number, instrument=name))
    assert [o.number for o in manager.open_orders(ALPHA)] == [1, 3]
    assert [o.number for o in manager.open_orders()] == [1, 2, 3]


def test_open_lots_count_what_may_still_add_to_a_position(manager):
    held = order(4, role=Role.EXIT, side=Side.SELL, group=3)
    manager.sent(order(1))  # on its way
    manager.sent(order(2, lots=7, side=Side.SELL))
    manager.sent(OrderGroup((order(3, lots=3, role=Role.ENTRY, group=3), held), ALPHA, 5, 0))
    manager.sent(order(5, lots=50, is_reduce_only=True))
    manager.sent(order(6, lots=90, instrument=BETA))
    for number in (2, 3, 4):
        manager.hear(report(number, K.ACCEPTED))
    manager.hear(report(2, K.FILLED, 5))
    assert manager.open_lots(ALPHA) == (13, 2)


def test_orders_of_a_bracket_are_held_until_they_are_released(manager):
    manager.sent(OrderGroup((order(1, role=Role.ENTRY), order(2, role=Role.EXIT)), ALPHA, 5, 0))
    for number in (1, 2):
        manager.hear(report(number, K.ACCEPTED))
    assert [o.state for o in manager.open_orders()] == [OrderState.OPEN, OrderState.HELD]
    manager.hear(report(1, K.FILLED, 4))
    manager.hear(report(2, K.RELEASED, 4))
    assert [(o.number, o.quantity, o.state) for o in manager.open_orders()] == [
        (1, 1.0, OrderState.PARTLY_FILLED),
        (2, 0.4, OrderState.OPEN),
    ]


@pytest.mark.parametrize("kind", [K.ACCEPTED, K.FILLED, K.CANCELED, K.MODIFIED])
def test_a_report_about_an_order_that_has_ended_is_our_bug(manager, kind):
    manager.sent(order(1))
    manager.hear(report(1, K.REJECTED))
    with pytest.raises(OrderStateError, match="order 1 has ended, or was never sent"):
        manager.hear(report(1, kind, 1))


def test_a_report_out_of_order_is_our_bug(manager):
    manager.sent(order(1))
    with pytest.raises(OrderStateError, match="`FILLED` must not follow in state SENT"):
        manager.hear(report(1, K.FILLED, 1))


def test_payments_and_orders_of_the_venues_own_are_no_orders_of_ours(manager):
    manager.hear(report(0, K.FUNDING))
    manager.hear(report(-1, K.FILLED, 3))
    assert manager.open_orders() == ()


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), max_size=30))
def test_the_belief_is_what_a_plain_replay_of_the_reports_gives(steps):
    """Fills of several orders, in any order; the oracle is a sum over all that was heard."""
    manager = OrderManager(Units([instrument(ALPHA)]))
    rest = dict.fromkeys(range(1, 5), 20)
    for number in rest:
        manager.sent(order(number, lots=20))
        manager.hear(report(number, K.ACCEPTED))
    for number, lots in steps:
        lots = min(lots, rest[number])
        if lots:
            rest[number] -= lots
            manager.hear(report(number, K.FILLED, lots))
    shown = {o.number: round(10 * (o.quantity - o.filled)) for o in manager.open_orders()}
    assert shown == {number: lots for number, lots in rest.items() if lots}
    assert manager.open_lots(ALPHA) == (sum(rest.values()), 0)
    assert all(o.state not in ENDED for o in manager.open_orders())
