"""The reference venue and accounts, by hand. Ticks and lots are 1, the taker fee 1 in 1000."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tests.reference.account import Account, Ledger, decimals, round_half_even
from tests.reference.examples import COIN, MS, first_value, instrument, quote, scenario, trade
from tests.reference.scenario import Instrument, Loop
from tests.reference.simulator import ReferenceTrace, simulate
from tests.reference.strategies import Action, Decide, Order, Timer

UNIT = 10**8


def at(plan: Mapping[int, Sequence[tuple[int, int | None]]]) -> Decide:
    """Send orders (signed lots, limit) from timers at instants in ms."""

    def decide(event: str, now: int, fields: Mapping[str, Any]) -> list[Action]:
        if event == "start":
            return [Timer(ms * MS, "") for ms in plan]
        if event != "timer":
            return []
        wishes = plan[now // MS]
        return [Order(COIN, 1 if lots > 0 else -1, abs(lots), limit) for lots, limit in wishes]

    return decide


def run(plan: Mapping[int, Any], quotes: Any, **settings: Any) -> ReferenceTrace:
    settings = {"features": None} | settings
    return simulate(scenario(**settings), {(COIN, "quotes"): quotes}, at(plan))


def said(trace: ReferenceTrace) -> list[tuple[Any, ...]]:
    return [(r.order, r.kind, r.lots, r.venue_time // MS) for r in trace.reports]


def test_an_order_meets_the_quote_that_stands_when_it_arrives_not_when_it_was_sent() -> None:
    quotes = [quote(10, 99, 100), quote(25, 109, 110), quote(31, 119, 120)]
    trace = run({20: [(2, None)]}, quotes, entry_latency="10ms", response_latency="7ms")
    assert [(f.ticks, f.lots, f.venue_time // MS) for f in trace.fills] == [(110, 2, 30)]
    assert said(trace) == [(1, "accepted", 0, 30), (1, "filled", 2, 30)]
    assert trace.arrivals == [(37 * MS, 1), (37 * MS, 2)]


def test_the_venue_lives_in_event_time_and_we_in_receipt_time() -> None:
    quotes = [quote(10, 99, 100, seen=12), quote(30, 109, 110, seen=90)]
    trace = run({20: [(1, None)]}, quotes, entry_latency="10ms")
    # The quote of 30 stands when the order arrives at 30, long before it reaches us.
    assert [f.ticks for f in trace.fills] == [110]
    assert [c.now // MS for c in trace.calls if c.event == "quote"] == [12, 90]


def test_an_order_takes_what_is_shown_and_the_rest_is_canceled() -> None:
    trace = run({20: [(7, None)]}, [quote(10, 99, 100, shown=4)])
    assert said(trace) == [(1, "accepted", 0, 20), (1, "filled", 4, 20), (1, "canceled", 3, 20)]


def test_what_we_took_stays_taken_until_a_quote_says_something_new() -> None:
    quotes = [quote(10, 99, 100, shown=4), quote(33, 99, 100, shown=4), quote(40, 99, 100, shown=5)]
    orders = {20: [(3, None)], 30: [(3, None)], 35: [(2, None), (-1, None)], 40: [(3, None)]}
    trace = run(orders, quotes)
    assert [(f.order, f.side * f.lots) for f in trace.fills] == [(1, 3), (2, 1), (4, -1), (5, 3)]
    assert [r.kind for r in trace.reports if r.order == 3] == ["accepted", "canceled"]


def test_a_limit_fills_at_the_displayed_price_or_not_at_all() -> None:
    orders = {20: [(1, 99), (1, 100), (1, 105), (-1, 100), (-1, 99), (-1, 90)]}
    trace = run(orders, [quote(10, 99, 100)])
    assert [(f.order, f.ticks) for f in trace.fills] == [(2, 100), (3, 100), (5, 99), (6, 99)]


def test_an_order_without_a_market_is_rejected_even_if_a_quote_came_before_the_start() -> None:
    trace = run({20: [(1, None)]}, [quote(-10, 99, 100), quote(21, 99, 100)])
    assert [(r.kind, r.reason, r.lots) for r in trace.reports] == [("rejected", "no_market", 1)]


def test_orders_and_reports_never_overtake_one_another() -> None:
    entry, response = iter((30, 1)), iter((50, 1, 1, 1))
    trace = run(
        {10: [(1, None)], 20: [(1, None)]},
        [quote(5, 99, 100)],
        entry_latency=lambda *identity: next(entry) * MS,
        response_latency=lambda *identity: next(response) * MS,
    )
    assert [order.arrived_at for order in trace.orders] == [40 * MS, 40 * MS]
    assert [said_at // MS for said_at, _ in trace.arrivals] == [90, 90, 90, 90]


def test_draws_are_keyed_by_instants_and_ordinals_alone() -> None:
    asked: list[tuple[str, tuple[int, ...]]] = []

    def draw(name: str) -> Any:
        def latency(*identity: int) -> int:
            asked.append((name, tuple(part // MS if part >= MS else part for part in identity)))
            return MS

        return latency

    run(
        {20: [(1, None), (9, 1)]},
        [quote(10, 99, 100)],
        entry_latency=draw("entry"),
        response_latency=draw("response"),
    )
    assert asked == [
        ("entry", (20, 20, 0, 0, 0)),
        ("entry", (20, 20, 1, 0, 0)),
        ("response", (21, 21, 20, 0, 0)),
        ("response", (21, 21, 20, 0, 0)),
        ("response", (21, 21, 20, 1, 0)),
        ("response", (21, 21, 20, 1, 0)),
    ]


def test_an_order_from_a_timer_without_latency_arrives_and_is_reported_before_the_next() -> None:
    plan = {20: [(1, None)]}
    inner, seen = at(plan), []

    def decide(event: str, now: int, fields: Mapping[str, Any]) -> Sequence[Action]:
        seen.append((event, fields.get("kind", fields.get("name"))))
        more = [Timer(20 * MS, "second")] if event == "start" else []
        return [*inner(event, now, fields), *more] if fields.get("name") != "second" else []

    simulate(scenario(features=None), {(COIN, "quotes"): [quote(10, 99, 100)]}, decide)
    assert seen == [
        ("start", None),
        ("quote", None),
        ("timer", ""),
        ("order", "accepted"),
        ("order", "filled"),
        ("fill", "filled"),
        ("timer", "second"),
        ("stop", None),
    ]


def test_everything_due_at_one_instant_runs_in_the_published_order() -> None:
    calls: list[str] = []

    def decide(event: str, now: int, fields: Mapping[str, Any]) -> list[Action]:
        if now == 10 * MS:
            calls.append(event)
        if event == "start":
            return [Timer(10 * MS, "t")]
        if event == "quote" and now == 5 * MS:
            return [Order(COIN, 1, 1)]
        return []

    records = {
        (COIN, "trades"): [trade(10, 1.0, 1)],
        (COIN, "quotes"): [quote(5, 99, 100), quote(10, 99, 100)],
    }
    loop = Loop(polling="on_feature")
    simulate(scenario(loop, response_latency="5ms"), records, decide, first_value)
    # Trades are no input of the mid, so there is one row and one prediction.
    assert calls == [
        "quote",
        "trade",
        "features",
        "prediction",
        "order",
        "order",
        "fill",
        "timer",
    ]


def test_what_is_due_at_the_end_does_not_happen() -> None:
    trace = run({990: [(1, None)]}, [quote(5, 99, 100)], entry_latency="10ms")
    assert [order.arrived_at for order in trace.orders] == [None]
    late = run({990: [(1, None)]}, [quote(5, 99, 100)], response_latency="10ms")
    assert len(late.fills) == 1
    assert late.arrivals == []
    assert (late.venue.position[COIN], late.belief.position[COIN]) == (1, 0)


# -- money -----------------------------------------------------------------------------------------


def test_a_linear_round_trip_earns_the_difference_less_fees() -> None:
    trace = run({20: [(5, None)], 60: [(-5, None)]}, [quote(10, 99, 100), quote(50, 120, 121)])
    assert trace.venue.realised == 100 * UNIT
    assert trace.venue.fees == (5 * 100 + 5 * 120) * UNIT // 1000
    assert trace.venue.cash == 1_000_000 * UNIT + trace.venue.realised - trace.venue.fees
    assert trace.equity == Fraction(1_000_000 + 100) - Fraction("1.1")
    assert trace.belief.entries == trace.venue.entries


def test_an_open_position_is_marked_at_the_venues_last_mid() -> None:
    trace = run({20: [(5, None)]}, [quote(10, 99, 100), quote(50, 110, 120, seen=5000)])
    assert trace.equity == 1_000_000 + 5 * (115 - 100) - Fraction("0.5")


def test_a_flip_through_zero_closes_everything_and_opens_the_rest() -> None:
    trace = run({20: [(3, None)], 60: [(-5, None)]}, [quote(10, 99, 100), quote(50, 130, 131)])
    last = trace.venue.entries[-1]
    assert (last.realised, last.position, last.basis) == (90 * UNIT, -2, -260)


def test_a_partial_close_releases_its_share_rounded_down_and_loses_nothing() -> None:
    account = Account(Ledger([instrument()]), [instrument()], 0)
    for lots, ticks in ((1, 100), (2, 101), (-1, 110), (-1, 110), (-1, 110)):
        account.fill(COIN, lots, ticks, fee=0)
    assert [entry.basis for entry in account.entries] == [100, 302, 202, 101, 0]
    assert account.realised == account.cash == (330 - 302) * UNIT


def test_a_short_is_the_mirror_of_a_long() -> None:
    account = Account(Ledger([instrument()]), [instrument()], 0)
    for lots, ticks in ((-1, 100), (-2, 101), (1, 90), (2, 90)):
        account.fill(COIN, lots, ticks, fee=0)
    assert [entry.basis for entry in account.entries] == [-100, -302, -202, 0]
    assert account.realised == (302 - 270) * UNIT


def test_fees_are_rounded_half_to_even_in_ledger_units() -> None:
    assert [round_half_even(Fraction(n, 2)) for n in (1, 3, 5, -1)] == [0, 2, 2, 0]
    terms = instrument(tick_size=Fraction("1e-8"), taker=Fraction(1, 2))
    fees = []
    for price in (1, 3, 5):
        row = quote(10, 1, 1) | {"bid_price": price * 1e-8, "ask_price": price * 1e-8}
        trace = run({20: [(1, None)]}, [row], instruments=(terms,))
        fees.append(trace.fills[0].fee)
    assert fees == [0, 2, 2]


def test_the_ledger_has_room_for_one_tick_of_one_lot() -> None:
    fine = instrument(tick_size=Fraction("0.0001"), lot_size=Fraction("0.000001"))
    assert Ledger([instrument()]).places == 8
    assert Ledger([fine, Instrument("SIM.OTHER", Fraction(1), Fraction(1))]).places == 10
    assert Ledger([fine]).notional(COIN, 3, 7) == 21
    assert decimals(Fraction("0.1") * Fraction("0.001")) == 4


def test_spot_pays_in_full_and_sells_only_what_it_has() -> None:
    spot = (instrument("spot"),)
    orders = {20: [(-1, None), (10, None), (9, None), (1, None), (-9, None)]}
    # Ten cost 1000 and a fee of 1; nine leave 99.1, too little for one more at 100.
    trace = run(orders, [quote(10, 99, 100, shown=50)], instruments=spot, balance=Fraction(1000))
    outcome = {r.order: r.reason or r.kind for r in trace.reports}
    assert outcome == {
        1: "insufficient_funds",
        2: "insufficient_funds",
        3: "filled",
        4: "insufficient_funds",
        5: "filled",
    }
    assert trace.venue.cash == (1000 - 9) * UNIT - 9 * 199 * UNIT // 1000
    assert trace.venue.realised == -9 * UNIT


def test_a_spot_limit_needs_funds_for_its_limit() -> None:
    spot = (instrument("spot"),)
    quotes = [quote(10, 99, 100)]
    trace = run({20: [(9, 120), (9, 100)]}, quotes, instruments=spot, balance=Fraction(1000))
    assert [r.reason or r.kind for r in trace.reports] == [
        "insufficient_funds",
        "accepted",
        "filled",
    ]


def test_margin_limits_the_position_by_equity_and_never_refuses_to_reduce() -> None:
    quotes = [quote(10, 99, 101, shown=50), quote(50, 49, 51, shown=50)]
    orders = {20: [(11, None), (10, None), (1, None)], 60: [(1, None), (-5, None)]}
    trace = run(orders, quotes, balance=Fraction(1000))
    outcome = {r.order: r.reason or r.kind for r in trace.reports}
    # After the fall equity is about 490 against a position of 500: only reducing is possible.
    assert outcome == {
        1: "insufficient_margin",
        2: "filled",
        3: "insufficient_margin",
        4: "insufficient_margin",
        5: "filled",
    }
    assert trace.venue.position[COIN] == 5


def test_leverage_multiplies_what_equity_allows() -> None:
    quotes = [quote(10, 100, 100, shown=50)]
    orders = {20: [(20, None)], 21: [(1, None)]}
    trace = run(orders, quotes, balance=Fraction(1000), leverage=Fraction(2))
    outcome = {r.order: r.reason or r.kind for r in trace.reports}
    assert outcome == {1: "filled", 2: "insufficient_margin"}
