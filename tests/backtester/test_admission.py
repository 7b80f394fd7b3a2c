"""The venue's door: a limit on orders, and refusals while it is overloaded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.admission import Admission, OverloadWatch, RateLimiter
from backtester.execution_config import (
    ActivityOverload,
    DeclaredOverload,
    ExecutionConfig,
    RateLimit,
)
from backtester.orders import OrderRequest, Reason, Side
from featurizer.market import Records
from tests.backtester.worlds import ALPHA, BETA, Quote, Recorder, at, play

ACTIVITY = {"kind": "activity", "quotes": 2, "per": "10ms"}


def quotes(*instants: int) -> Records:
    times = np.array(instants, dtype=np.int64)
    stamps = {"event_time": times, "receipt_time": times, "sequence": np.arange(len(times))}
    return Records(ALPHA, "quotes", stamps)


def watch(**settings: Any) -> OverloadWatch:
    return OverloadWatch(ActivityOverload.model_validate(ACTIVITY | settings), seed=3)


@given(
    arrivals=st.lists(st.integers(0, 40), max_size=40).map(sorted),
    most=st.integers(1, 4),
    per=st.integers(1, 15),
)
def test_the_limiter_lets_in_what_a_count_over_the_window_leaves_room_for(arrivals, most, per):
    limiter = RateLimiter(RateLimit(orders=most, per=f"{per}ns"))
    let_in: list[int] = []
    for now in arrivals:
        has_room = sum(now - per < before <= now for before in let_in) < most
        assert limiter.lets_in(now) == has_room
        if has_room:
            let_in.append(now)


def test_the_venue_is_overloaded_by_more_quotes_than_it_bears_within_the_window():
    busy = watch()
    busy.open_window({ALPHA: quotes(*map(at, (0, 4, 9, 12)))})
    asked = {ms: busy.refuses(ALPHA, at(ms), at(ms), 0) for ms in (8.9, 9, 9.9, 10, 12, 13.9, 14)}
    # (0, 10] holds two quotes only: its first instant is left out
    assert asked == {8.9: False, 9: True, 9.9: True, 10: False, 12: True, 13.9: True, 14: False}


def test_an_instrument_without_quotes_of_its_own_is_not_overloaded():
    busy = watch()
    busy.open_window({ALPHA: quotes(*map(at, (0, 1, 2)))})
    assert busy.refuses(ALPHA, at(2), at(2), 0)
    assert not busy.refuses(BETA, at(2), at(2), 0)


@given(
    times=st.lists(st.integers(0, 60), min_size=1, max_size=30).map(sorted),
    cuts=st.lists(st.integers(0, 30), max_size=6).map(sorted),
    per=st.integers(1, 20),
)
def test_windows_of_any_size_give_the_same_refusals(times, cuts, per):
    """The oracle counts over all quotes; windows end at instants of quotes, as a run's do."""
    edges = [0, *(times[min(cut, len(times) - 1)] for cut in cuts), 61]
    busy = watch(per=f"{per}ns")
    for begin, end in itertools.pairwise(edges):
        busy.open_window({ALPHA: quotes(*(t for t in times if begin <= t < end))})
        for now in range(begin, end):
            expected = sum(now - per < t <= now for t in times) > 2
            assert busy.refuses(ALPHA, now, now, 0) == expected


def test_an_overload_that_the_scenario_declares_ends_at_its_end():
    config = DeclaredOverload.model_validate(
        {"during": [{"start": "2024-01-02T00:00:01Z", "until": "2024-01-02T00:00:02Z"}]}
    )
    declared = OverloadWatch(config, seed=3)
    asked = [declared.refuses(ALPHA, at(ms), at(ms), 0) for ms in (999, 1000, 1999, 2000)]
    assert asked == [False, True, True, False]


def test_a_share_is_refused_by_what_an_order_is_and_not_by_when_it_is_asked_about():
    busy = watch(refuses=0.3)
    busy.open_window({ALPHA: quotes(*map(at, (0, 1, 2)))})
    orders = [(at(2), ordinal) for ordinal in range(1000)]
    forth = {order: busy.refuses(ALPHA, at(2), *order) for order in orders}
    back = {order: busy.refuses(ALPHA, at(2), *order) for order in reversed(orders)}
    assert forth == back
    assert sum(forth.values()) == pytest.approx(300, abs=45)  # three standard deviations
    other = OverloadWatch(ActivityOverload.model_validate(ACTIVITY | {"refuses": 0.3}), seed=4)
    other.open_window({ALPHA: quotes(*map(at, (0, 1, 2)))})
    assert forth != {order: other.refuses(ALPHA, at(2), *order) for order in orders}


def test_an_overloaded_venue_does_not_count_what_it_turns_away():
    config = ExecutionConfig.model_validate(
        {"overload": ACTIVITY, "rate_limit": {"orders": 1, "per": "1s"}}
    )
    door = Admission(config, seed=0)
    door.open_window({ALPHA: quotes(*map(at, (0, 1, 2)))})
    asked = [door.refusal(ALPHA, at(ms), at(ms), 0) for ms in (2, 20, 21)]
    assert asked == [Reason.OVERLOAD, Reason.NONE, Reason.RATE_LIMIT]


def test_a_door_without_conditions_is_open():
    assert Admission(ExecutionConfig(), seed=0).is_open
    assert not Admission(ExecutionConfig(rate_limit=RateLimit(orders=1, per="1s")), 0).is_open


# --- in a run -----------------------------------------------------------------------------------


class Knocks(Recorder):
    """Rests an order, then sends what it is told, and notes the answers."""

    def __init__(self, *steps: tuple[float, str]) -> None:
        super().__init__()
        self.steps = steps

    def on_start(self, ctx: Any) -> None:
        for ms, name in self.steps:
            ctx.call_at(at(ms), name)

    def on_timer(self, ctx: Any, name: str) -> None:
        match name:
            case "rest":
                ctx.buy(ALPHA, 1.0, 90.0)
            case "change":
                ctx.modify(1, quantity=0.5)
            case "cancel":
                ctx.cancel(1)
            case "pair":
                ask = OrderRequest(ALPHA, Side.BUY, 0.1, 91.0)
                ctx.oco(ask, ask._replace(limit_price=92.0))

    def on_order(self, ctx: Any, report: Any) -> None:
        told = (report.order, report.kind.name, report.reason.name)
        self.note(ctx, "order", told)


def test_the_door_answers_with_reports_and_lets_cancels_pass(tmp_path):
    steps = ((1, "rest"), (2, "rest"), (3, "change"), (4, "pair"), (5, "cancel"), (102, "rest"))
    knocks = Knocks(*steps)
    execution = {
        "entry_latency": "1ms",
        "response_latency": "10ms",
        "rate_limit": {"orders": 1, "per": "100ms"},
    }
    result = play(tmp_path, knocks, [Quote(0)], execution=execution)
    assert [(ms, *told) for ms, _, told in knocks.heard] == [
        (12.0, 1, "ACCEPTED", "NONE"),
        (13.0, 2, "REJECTED", "RATE_LIMIT"),
        (14.0, 1, "MODIFY_REJECTED", "RATE_LIMIT"),
        (15.0, 3, "REJECTED", "RATE_LIMIT"),
        (15.0, 4, "REJECTED", "RATE_LIMIT"),
        (16.0, 1, "CANCELED", "REQUESTED"),
        (113.0, 5, "ACCEPTED", "NONE"),
    ]
    assert result.orders["status"].to_list() == ["canceled", *["rejected"] * 3, "open"]
    assert result.orders["reason"].to_list() == ["requested", *["rate_limit"] * 3, ""]


@pytest.mark.parametrize("window_rows", [2, 8192])
def test_a_busy_market_refuses_orders_in_the_venues_own_time(tmp_path, window_rows):
    knocks = Knocks((12, "rest"), (40, "rest"))
    # the quotes reach us late: the venue is overloaded before we could know
    quotes = [Quote(0), *(Quote(n, received=100 + n) for n in (9, 10, 11)), Quote(30)]
    execution = {"overload": {"kind": "activity", "quotes": 2, "per": "10ms"}}
    play(tmp_path, knocks, quotes, execution=execution, window_rows=window_rows)
    assert [told for _, _, told in knocks.heard] == [
        (1, "REJECTED", "OVERLOAD"),
        (2, "ACCEPTED", "NONE"),
    ]
