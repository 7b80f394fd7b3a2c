"""The states of an order: what the page draws is what the code allows, and nothing else."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from backtester.errors import OrderStateError
from backtester.order_state import ENDED, TRANSITIONS, OrderState, next_state
from backtester.orders import Order, OrderType, ReportKind, Role, Side

PAGE = Path(__file__).parents[2] / "docs" / "venue.md"
ARROW = re.compile(r"^ +([A-Z_]+) --> ([A-Z_]+) : ([A-Z]+)", re.MULTILINE)
ANSWERS = {ReportKind.CANCEL_REJECTED, ReportKind.MODIFY_REJECTED, ReportKind.MODIFIED}


def order(kind: OrderType = OrderType.LIMIT, role: Role = Role.ALONE) -> Order:
    return Order(1, "SIM.ALPHA", Side.BUY, kind, 1.0, 1.0, 0, 0, 1, 1, role=role)


def test_the_page_draws_every_transition_and_no_other():
    drawn = {
        (OrderState[a], ReportKind[k], OrderState[b]) for a, b, k in ARROW.findall(PAGE.read_text())
    }
    allowed = {
        (state, kind, after)
        for (state, kind), choices in TRANSITIONS.items()
        if kind not in ANSWERS
        for after in choices
    }
    assert drawn == allowed


def test_answers_leave_an_order_in_its_state_and_changes_only_a_live_one():
    for (state, kind), choices in TRANSITIONS.items():
        if kind in ANSWERS:
            assert choices == (state,)
    changed = {state for state, kind in TRANSITIONS if kind is ReportKind.MODIFIED}
    assert changed == set(OrderState) - set(ENDED) - {OrderState.SENT}


@pytest.mark.parametrize(
    ("state", "kind"),
    [pair for pair in product(OrderState, ReportKind) if pair not in TRANSITIONS],
)
def test_every_other_report_is_refused(state, kind):
    with pytest.raises(
        OrderStateError, match=f"`{kind.name}` must not follow in state {state.name}"
    ):
        next_state(order(), state, kind)


def test_nothing_leaves_an_ended_state():
    for (state, kind), choices in TRANSITIONS.items():
        if state in ENDED:
            assert kind in ANSWERS
            assert choices == (state,)


@pytest.mark.parametrize(
    ("kind", "role", "after"),
    [
        (OrderType.MARKET, Role.ALONE, OrderState.OPEN),
        (OrderType.STOP_LIMIT, Role.ENTRY, OrderState.WAITING),
        (OrderType.STOP_MARKET, Role.EXIT, OrderState.HELD),
        (OrderType.LIMIT, Role.PARTNER, OrderState.OPEN),
    ],
)
def test_what_an_accepted_order_does_first_is_its_own_nature(kind, role, after):
    assert next_state(order(kind, role), OrderState.SENT, ReportKind.ACCEPTED) is after


def test_a_released_stop_waits_and_a_released_limit_is_open():
    for kind, after in (
        (OrderType.STOP_MARKET, OrderState.WAITING),
        (OrderType.LIMIT, OrderState.OPEN),
    ):
        exit_ = order(kind, Role.EXIT)
        assert next_state(exit_, OrderState.HELD, ReportKind.RELEASED) is after


def test_the_last_fill_fills():
    for is_filled, after in ((False, OrderState.PARTLY_FILLED), (True, OrderState.FILLED)):
        state = next_state(order(), OrderState.OPEN, ReportKind.FILLED, is_filled=is_filled)
        assert state is after
