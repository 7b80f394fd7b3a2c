"""The naive venue on examples computed by hand, one rule of `docs/venue.md` each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.reference.exchange import Exchange
from tests.reference.exchange_orders import Ask, Bracket, Cancel, Event, Message, Modify, Pair
from tests.reference.exchange_run import Depth, Latencies, Quote, Row, Sent, Trade, run

BUYER, SELLER = 1, -1
A = "A"


def ask(number: int, side: int, lots: int, limit: int | None = None, **options: Any) -> Ask:
    force = {} if limit is not None or "force" in options else {"force": "ioc"}
    return Ask(number, A, side, lots, limit, **force, **options)


def quote(instant: int, bid: int = 99, bid_lots: int = 10, ask: int = 101, ask_lots: int = 10):
    return Quote(instant, instant, bid, bid_lots, ask, ask_lots)


def play(
    rows: Sequence[Row],
    script: Sequence[tuple[int, Message]],
    queue: Any = "back",
    self_trade: str = "cancel_resting",
) -> list[Event]:
    depth = any(isinstance(row, Depth) for row in rows)
    exchange = Exchange([A], queue, self_trade, quotes_only=not depth)
    return run(exchange, {A: rows}, [Sent(*sent) for sent in script], Latencies(), 10**6)


def fills(events: Sequence[Event]) -> list[tuple[int, int, int, int]]:
    return [(e.instant, e.order, e.lots, e.ticks) for e in events if e.kind == "filled"]


def told(events: Sequence[Event], order: int) -> list[str]:
    return [f"{e.kind} {e.reason}".strip() for e in events if e.order == order]


# -- taking ----------------------------------------------------------------------------------------


def levels(instant: int, *rows: tuple[int, int, int], snapshot: bool = False) -> list[Depth]:
    return [Depth(instant, instant * 100 + n, *row, snapshot) for n, row in enumerate(rows)]


BOOK = levels(0, (1, 99, 5), (1, 98, 5), (-1, 101, 3), (-1, 103, 4))


def test_a_market_order_walks_the_levels_and_gives_up_what_they_do_not_hold():
    events = play(BOOK, [(5, ask(1, BUYER, 9))])
    assert fills(events) == [(5, 1, 3, 101), (5, 1, 4, 103)]
    assert told(events, 1)[-1] == "canceled unfilled_remainder"
    assert events[-1].lots == 2


def test_a_limit_order_walks_to_its_limit_and_rests_there():
    rows = [*BOOK, Trade(9, 1, 102, 5, SELLER)]
    assert fills(play(rows, [(5, ask(1, BUYER, 9, 102))])) == [(5, 1, 3, 101), (9, 1, 5, 102)]


def test_what_we_took_is_there_again_when_the_venue_says_another_quantity():
    script = [(5, ask(1, BUYER, 3)), (6, ask(2, BUYER, 1)), (8, ask(3, BUYER, 1))]
    events = play([*BOOK, *levels(7, (-1, 101, 3)), *levels(8, (-1, 101, 2))], script)
    assert fills(events) == [(5, 1, 3, 101), (6, 2, 1, 103), (8, 3, 1, 101)]


def test_fill_or_kill_takes_everything_or_nothing():
    script = [(5, ask(1, BUYER, 8, 103, force="fok")), (6, ask(2, BUYER, 7, 103, force="fok"))]
    events = play(BOOK, script)
    assert told(events, 1) == ["accepted", "canceled fill_or_kill"]
    assert fills(events) == [(6, 2, 3, 101), (6, 2, 4, 103)]


def test_a_post_only_order_that_would_take_is_refused():
    events = play([quote(0)], [(1, ask(1, BUYER, 1, 101, post_only=True))])
    assert told(events, 1) == ["rejected post_only"]


# -- resting ---------------------------------------------------------------------------------------


def test_trades_at_the_price_pass_over_those_in_front_first():
    rows = [quote(0), *(Trade(n, n, 99, 6, SELLER) for n in (2, 3)), Trade(4, 4, 99, 1, BUYER)]
    events = play(rows, [(1, ask(1, BUYER, 5, 99))])
    assert fills(events) == [(3, 1, 2, 99)]


def test_two_own_orders_at_one_price_share_what_trades_there():
    rows = [quote(0), Trade(3, 3, 99, 16, SELLER)]
    events = play(rows, [(1, ask(1, BUYER, 4, 99)), (2, ask(2, BUYER, 4, 99))])
    assert fills(events) == [(3, 1, 4, 99), (3, 2, 2, 99)]


def test_a_trade_through_the_price_fills_whole_at_the_price():
    events = play([quote(0), Trade(2, 2, 98, 1, SELLER)], [(1, ask(1, BUYER, 5, 99))])
    assert fills(events) == [(2, 1, 5, 99)]


def test_a_quote_that_crosses_the_price_fills_whole_at_the_price():
    events = play([quote(0), quote(2, 96, 1, 98, 1)], [(1, ask(1, BUYER, 5, 99))])
    assert fills(events) == [(2, 1, 5, 99)]


def test_a_place_behind_the_best_is_unknown_until_it_is_shown():
    rows = [quote(0), Trade(2, 2, 98, 4, SELLER), quote(3, bid=98, bid_lots=2),
            Trade(4, 4, 98, 3, SELLER)]  # fmt: skip
    assert fills(play(rows, [(1, ask(1, BUYER, 5, 98))])) == [(4, 1, 1, 98)]


# 10 lots ahead of us, 10 join behind, 8 leave: who of them? Then 6 trade, then one.
@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ("back", []),
        ("front", [(4, 1, 4, 99), (5, 1, 1, 99)]),
        ({"kind": "power", "exponent": 1}, [(5, 1, 1, 99)]),
        ({"kind": "power", "exponent": 0.5}, [(5, 1, 1, 99)]),
        ("log", [(5, 1, 1, 99)]),
    ],
)
def test_the_queue_model_says_who_left(queue, expected):
    rows = [quote(0), quote(2, bid_lots=20), quote(3, bid_lots=12),
            Trade(4, 4, 99, 6, SELLER), Trade(5, 5, 99, 1, SELLER)]  # fmt: skip
    assert fills(play(rows, [(1, ask(1, BUYER, 9, 99))], queue)) == expected


# -- cancel, modify, expire ------------------------------------------------------------------------


def test_a_fill_and_a_cancel_due_together_the_fill_wins():
    rows = [quote(0), Trade(2, 2, 98, 9, SELLER)]
    events = play(rows, [(1, ask(1, BUYER, 5, 99)), (2, Cancel(1))])
    assert told(events, 1) == ["accepted", "filled", "cancel_rejected not_open"]


def test_a_smaller_quantity_keeps_the_place_and_a_larger_one_loses_it():
    rows = [quote(0), Trade(2, 2, 99, 10, SELLER), Trade(5, 5, 99, 1, SELLER)]
    order = (1, ask(1, BUYER, 5, 99))
    assert fills(play(rows, [order, (3, Modify(1, lots=4))])) == [(5, 1, 1, 99)]
    assert fills(play(rows, [order, (3, Modify(1, lots=6))])) == []


def test_a_modification_to_what_is_filled_cancels():
    events = play([quote(0), Trade(2, 2, 99, 12, SELLER)],
                  [(1, ask(1, BUYER, 5, 99)), (3, Modify(1, lots=2))])  # fmt: skip
    assert told(events, 1) == ["accepted", "filled", "canceled requested"]
    assert events[-1].lots == 3


def test_an_order_expires_after_the_fills_of_its_instant():
    rows = [quote(0), Trade(4, 4, 99, 11, SELLER)]
    order = ask(1, BUYER, 5, 99, force="gtd", expires_at=4)
    events = play(rows, [(1, order)])
    assert told(events, 1) == ["accepted", "filled", "expired expired"]
    assert events[-1].lots == 4


# -- stops, reduce-only, own orders in the way -----------------------------------------------------


def test_a_stop_is_triggered_by_one_record_and_acts_after_the_instant():
    up, down = quote(3, 104, 1, 106, 9), Quote(3, 4, 99, 5, 101, 7)
    events = play([quote(0), up, down], [(1, ask(1, BUYER, 5, stop=105))])
    assert told(events, 1) == ["accepted", "triggered", "filled"]
    assert fills(events) == [(3, 1, 5, 101)]


def test_reduce_only_fills_at_most_the_position_and_ends_with_it():
    script = [(1, ask(1, BUYER, 3)), (2, ask(2, SELLER, 5, 98, reduce_only=True))]
    events = play([quote(0)], script)
    assert fills(events) == [(1, 1, 3, 101), (2, 2, 3, 99)]
    assert told(events, 2)[-1] == "canceled reduce_only"


@pytest.mark.parametrize(
    ("rule", "resting", "arriving"),
    [
        ("cancel_resting", "canceled self_trade", "filled"),
        ("cancel_incoming", "accepted", "canceled self_trade"),
        ("cancel_both", "canceled self_trade", "canceled self_trade"),
    ],
)
def test_own_orders_never_trade_with_each_other(rule, resting, arriving):
    script = [(1, ask(1, SELLER, 2, 102)), (2, ask(2, BUYER, 5, 103))]
    events = play(BOOK, script, self_trade=rule)
    assert told(events, 1)[-1] == resting
    assert told(events, 2)[-1] == arriving
    assert fills(events)[0] == (2, 2, 3, 101)


# -- brackets and partners -------------------------------------------------------------------------


def test_a_fill_takes_as_much_off_the_partner():
    rows = [quote(0), Trade(2, 2, 101, 12, BUYER), Trade(3, 3, 101, 9, BUYER)]
    pair = Pair(ask(1, SELLER, 5, 101), ask(2, SELLER, 5, stop=90))
    events = play(rows, [(1, pair)])
    assert told(events, 1) == ["accepted", "filled", "filled"]
    assert told(events, 2) == ["accepted", "modified partner", "canceled partner"]


def test_a_bracket_releases_its_exits_for_what_its_entry_filled():
    rows = [quote(0), quote(3, 103, 5, 105, 5)]
    bracket = Bracket(
        ask(1, BUYER, 4), ask(2, SELLER, 4, 103), ask(3, SELLER, 4, stop=95)
    )  # fmt: skip
    events = play(rows, [(1, bracket)])
    assert told(events, 1) == ["accepted", "filled"]
    assert told(events, 2) == ["accepted", "released", "filled"]
    assert told(events, 3) == ["accepted", "released", "canceled partner"]
    assert fills(events) == [(1, 1, 4, 101), (3, 2, 4, 103)]


def test_a_snapshot_empties_the_levels_that_it_does_not_hold():
    fresh = levels(4, (1, 99, 5), (-1, 101, 3), snapshot=True)
    events = play([*BOOK, *fresh], [(5, ask(1, BUYER, 5, 104))])
    assert fills(events) == [(5, 1, 3, 101)]
