"""Orders and reports on the clock: when they arrive, and what is believed in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from backtester.errors import StrategyError
from backtester.orders import TimeInForce
from backtester.strategy import Strategy
from clock.latency import Uniform
from clock.sampler import Sampler
from tests.backtester.worlds import ALPHA, BETA, MS, Quote, Recorder, at, instrument, play, since

Ask = tuple[str, float, float | None]


class Script(Recorder):
    """Sends given orders at given milliseconds, from timers, and notes what comes back."""

    def __init__(self, orders: Mapping[float, Sequence[Any] | Any], name: str = ALPHA) -> None:
        super().__init__()
        self.instrument = name
        self.orders = {
            ms: asked if isinstance(asked, list) else [asked] for ms, asked in orders.items()
        }

    def on_start(self, ctx: Any) -> None:
        for ms in self.orders:
            ctx.call_at(at(ms), str(ms))

    def on_timer(self, ctx: Any, name: str) -> None:
        for lots, *limit in self.orders[float(name)]:
            send = ctx.buy if lots > 0 else ctx.sell
            at_once = TimeInForce.IOC if limit else None
            send(self.instrument, abs(lots) / 10, *limit, time_in_force=at_once)

    def on_order(self, ctx: Any, report: Any) -> None:
        self.note(ctx, "order", (report.order, report.kind.name.lower()))

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self.note(ctx, "fill", (fill.lots * fill.side, fill.price, since(fill.venue_time)))


def buys(*times: float, lots: int = 1) -> dict[float, Any]:
    return dict.fromkeys(times, (lots,))


def test_an_order_due_in_a_gap_fills_at_its_due_instant_and_not_at_the_next_quote(tmp_path):
    script = Script({2.0: (5,)})
    result = play(tmp_path, script, [Quote(0, ask=101), Quote(900, ask=150)], entry="7ms")
    assert script.details("fill") == [(5, 101.0, 9.0)]
    assert result.orders["arrived_at"].to_physical().to_list() == [at(9)]


def test_a_report_takes_the_response_latency_to_arrive(tmp_path):
    script = Script({2.0: (5,)})
    play(tmp_path, script, [Quote(0)], entry="7ms", response="11ms")
    assert script.times("fill") == [20.0]
    assert script.details("order") == [(1, "accepted"), (1, "filled")]


def test_an_order_fills_on_a_quote_that_has_not_reached_us(tmp_path):
    script = Script({2.0: (5,)})
    quotes = [Quote(0, ask=101), Quote(4, ask=107, received=60)]
    play(tmp_path, script, quotes, entry="2ms")
    assert script.details("fill") == [(5, 107.0, 4.0)]


def test_an_order_does_not_fill_on_a_quote_that_happens_later_but_is_seen_now(tmp_path):
    class Eager(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            ctx.buy(ALPHA, 0.1)

        def on_fill(self, ctx: Any, fill: Any) -> None:
            self.note(ctx, "fill", fill.price)

    eager = Eager()
    # received together at 50: the venue's present is the quote of 40, not that of 10
    quotes = [Quote(10, ask=101, received=50), Quote(40, ask=105, received=50)]
    play(tmp_path, eager, quotes)
    assert eager.details("fill") == [105.0, 105.0]


def test_a_quote_before_the_start_that_arrives_late_is_ours_and_not_the_venues(tmp_path):
    class Once(Script):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", quote.ask_price)

    once = Once({5.0: (1,), 25.0: (1,)})
    quotes = [Quote(-10, ask=105, received=3), Quote(20, ask=101)]
    result = play(tmp_path, once, quotes)
    assert once.details("quote") == [105.0, 101.0]
    assert result.orders["reason"].to_list() == ["no_market", ""]


@pytest.mark.parametrize("window_rows", [1, 2, 3, 8192])
def test_windows_change_nothing(tmp_path, window_rows):
    quotes = [Quote(n * 3, bid=99 + n % 4, ask=101 + n % 4, received=n * 3 + 5) for n in range(60)]
    digests = set()
    for rows in (window_rows, 7):
        script = Script({n * 4.0: (1 if n % 2 else -1,) for n in range(40)})
        result = play(tmp_path, script, quotes, window_rows=rows, entry="4ms", response="13ms")
        assert len(script.details("fill")) == 40
        digests.add(result.trace_digest)
    assert len(digests) == 1


@pytest.mark.slow
def test_an_unrelated_timer_changes_no_fill(tmp_path):
    class Restless(Script):
        def on_start(self, ctx: Any) -> None:
            for ms in range(0, 1000, 3):
                ctx.call_at(at(ms), "nothing")
            super().on_start(ctx)

        def on_timer(self, ctx: Any, name: str) -> None:
            if name != "nothing":
                super().on_timer(ctx, name)

    quotes = [Quote(n * 10, bid=99 + n % 3, ask=101 + n % 3) for n in range(50)]
    settings = {"entry": {"kind": "lognormal", "median": "5ms", "p99": "60ms"}, "response": "3ms"}
    plain, restless = Script(buys(*range(1, 300, 11))), Restless(buys(*range(1, 300, 11)))
    first = play(tmp_path, plain, quotes, **settings)
    second = play(tmp_path, restless, quotes, **settings)
    assert plain.details("fill")
    assert plain.heard == restless.heard
    assert first.trace_digest == second.trace_digest


def test_a_second_instrument_changes_no_fill(tmp_path):
    quotes = [Quote(n * 10, bid=99 + n % 3, ask=101 + n % 3) for n in range(50)]
    others = [Quote(n * 7, bid=9, ask=9.5) for n in range(100)]
    alone, beside = Script(buys(*range(1, 300, 11))), Script(buys(*range(1, 300, 11)))
    settings = {"entry": {"kind": "lognormal", "median": "5ms", "p99": "60ms"}, "response": "3ms"}
    play(tmp_path, alone, {ALPHA: quotes}, **settings)
    play(tmp_path, beside, {ALPHA: quotes, BETA: others}, **settings)
    assert alone.details("fill")
    assert alone.heard == beside.heard


def test_orders_never_overtake_each_other(tmp_path):
    script = Script(buys(*range(0, 400, 2)))
    latency = {"kind": "lognormal", "median": "5ms", "p99": "200ms"}
    result = play(tmp_path, script, [Quote(0, ask_quantity=1000)], entry=latency, until=3000)
    sent = result.orders["sent_at"].to_physical().to_numpy()
    arrived = result.orders["arrived_at"].to_physical().to_numpy()
    assert (arrived >= sent).all()
    assert (arrived[1:] >= arrived[:-1]).all()
    assert (arrived[1:] == arrived[:-1]).any(), "no order was held up: the test shows nothing"
    assert result.fills["order"].to_list() == list(range(1, 201))


def test_reports_never_overtake_each_other(tmp_path):
    script = Script(buys(*range(0, 400, 2)))
    latency = {"kind": "lognormal", "median": "5ms", "p99": "200ms"}
    result = play(tmp_path, script, [Quote(0, ask_quantity=1000)], response=latency, until=3000)
    heard = result.reports["visible_at"].to_physical().to_numpy()
    assert result.reports["report"].to_list() == list(range(1, 401))
    assert (heard[1:] >= heard[:-1]).all()
    assert (heard >= result.reports["venue_time"].to_physical().to_numpy()).all()
    assert script.details("order") == [
        (n, kind) for n in range(1, 201) for kind in ("accepted", "filled")
    ]


def test_latencies_are_drawn_by_what_an_order_is_and_not_by_when_it_was_drawn(tmp_path):
    latency = {"kind": "uniform", "low": "1ms", "high": "90ms"}
    script = Script({5.0: [(1,), (2,), (3,)], 400.0: [(4,)]})
    quotes = [Quote(0, ask_quantity=1000)]
    result = play(tmp_path, script, quotes, entry=latency, response=latency, seed=4)
    model = Uniform.model_validate(latency)
    entry, response = (Sampler(model, 4, name) for name in ("order_entry", "order_response"))
    arrived, heard, arrival, report = [], [], 0, 0
    for ms, ordinal in ((5, 0), (5, 1), (5, 2), (400, 0)):
        arrival = max(arrival, at(ms) + entry.draw(at(ms), at(ms), ordinal))
        arrived.append(arrival)
        for _ in ("accepted", "filled"):  # said at once: one draw for both
            drawn = response.draw(arrival, arrival, at(ms), ordinal)
            report = max(report, arrival + drawn)
            heard.append(report)
    assert result.orders["arrived_at"].to_physical().to_list() == arrived
    assert result.reports["visible_at"].to_physical().to_list() == heard
    assert len({entry.draw(at(5), at(5), ordinal) for ordinal in range(3)}) == 3


def test_belief_differs_from_the_venue_until_the_report_arrives(tmp_path):
    class Watch(Script):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", (ctx.portfolio.position(), ctx.portfolio.cash))

    watch = Watch({5.0: (10,)})
    quotes = [Quote(ms) for ms in (0, 10, 20, 30, 40)]
    result = play(tmp_path, watch, quotes, entry="10ms", response="10ms")
    fee = 0.101
    # filled at 15, known at 25
    believed = [position for position, _ in watch.details("quote")]
    assert believed == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert watch.details("quote")[2][1] == 100_000
    assert watch.details("quote")[3][1] == pytest.approx(100_000 - fee)
    assert result.fills["venue_time"].to_physical().to_list() == [at(15)]


def test_our_own_report_is_known_to_on_order_of_that_report(tmp_path):
    class Watch(Script):
        def on_order(self, ctx: Any, report: Any) -> None:
            self.note(ctx, "order", (report.kind.name, ctx.portfolio.position()))

    watch = Watch({5.0: (10,)})
    play(tmp_path, watch, [Quote(0)])
    assert watch.details("order") == [("ACCEPTED", 0.0), ("FILLED", 1.0)]


def test_only_the_last_report_of_an_order_says_so(tmp_path):
    class Watch(Script):
        def on_order(self, ctx: Any, report: Any) -> None:
            self.note(ctx, "order", (report.kind.name, report.is_last))

    watch = Watch({1.0: (2,), 2.0: (5,), 3.0: (5, 50)})
    play(tmp_path, watch, [Quote(0, ask_quantity=0.4)], instruments=[instrument()])
    assert watch.details("order") == [
        *(("ACCEPTED", False), ("FILLED", True)),
        *(("ACCEPTED", False), ("FILLED", False), ("CANCELED", True)),
        *(("ACCEPTED", False), ("CANCELED", True)),
    ]


def test_with_zero_latency_a_report_comes_within_the_instant_of_its_order(tmp_path):
    class Chain(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", ctx.buy(ALPHA, 0.1))

        def on_order(self, ctx: Any, report: Any) -> None:
            self.note(ctx, "order", report.order)

        def on_fill(self, ctx: Any, fill: Any) -> None:
            self.note(ctx, "fill", fill.order)
            if fill.order == 1:
                ctx.buy(ALPHA, 0.1)

    chain = Chain()
    play(tmp_path, chain, [Quote(10, received=20), Quote(15, received=20)], until=100)
    # receipts rank before reports: both quotes of the instant come first
    assert [(name, detail) for _, name, detail in chain.heard] == [
        ("quote", 1),
        ("quote", 2),
        *(("order", 1), ("order", 1), ("fill", 1)),
        *(("order", 2), ("order", 2), ("fill", 2)),
        *(("order", 3), ("order", 3), ("fill", 3)),
    ]
    assert {ms for ms, _, _ in chain.heard} == {20.0}


def test_two_timers_of_one_instant_come_in_the_order_of_asking(tmp_path):
    class Timers(Recorder):
        def on_start(self, ctx: Any) -> None:
            for name in ("second", "first", "third"):
                ctx.call_at(at(10), name)

        def on_timer(self, ctx: Any, name: str) -> None:
            self.note(ctx, "timer", name)

    timers = Timers()
    play(tmp_path, timers, [Quote(0)])
    assert timers.details("timer") == ["second", "first", "third"]


def test_what_is_due_at_until_does_not_happen(tmp_path):
    script = Script({9.0: (1,), 10.0: (1,)})
    result = play(tmp_path, script, [Quote(0), Quote(20)], until=10, entry="1ms")
    assert result.summary["in_flight"] == {"orders": 1, "changes": 0, "reports": 0}
    assert result.orders["status"].to_list() == ["in_flight"]
    assert script.heard == []


def test_positions_are_marked_at_the_venues_last_mid_at_the_end(tmp_path):
    script = Script({1.0: (10,)})
    quotes = [Quote(0, bid=99, ask=101), Quote(50, bid=109, ask=111, received=200)]
    result = play(tmp_path, script, quotes, until=100)
    assert result.summary["open_positions"] == {ALPHA: {"position": 1.0, "marked_at": 110.0}}
    assert result.summary["profit"] == pytest.approx(110 - 101 - 0.101)
    assert result.equity["equity"].to_list()[-1] == pytest.approx(100_000 + 8.899)


def test_the_slippage_is_measured_against_our_mid_at_the_decision(tmp_path):
    script = Script({5.0: (1,), 6.0: (-1,)})
    result = play(tmp_path, script, [Quote(0, bid=99, ask=101)])
    assert result.fills["slippage_bps"].to_list() == pytest.approx([100.0, 100.0])


# --- refusals -----------------------------------------------------------------------------------


class Asks(Strategy):
    """Calls one thing on the door to the world, at 5 ms."""

    def __init__(self, ask: Any) -> None:
        self.ask = ask

    def on_start(self, ctx: Any) -> None:
        ctx.call_at(at(5), "ask")

    def on_timer(self, ctx: Any, name: str) -> None:
        self.ask(ctx)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda ctx: ctx.buy(ALPHA, 0.15), "`quantity` of SIM.ALPHA must be a positive whole"),
        (lambda ctx: ctx.buy(ALPHA, 0), "`quantity` of SIM.ALPHA must be a positive whole"),
        (lambda ctx: ctx.sell(ALPHA, -0.1), "`quantity` of SIM.ALPHA must be a positive whole"),
        (lambda ctx: ctx.buy(ALPHA, float("nan")), "`quantity` must be a number"),
        (lambda ctx: ctx.buy(ALPHA, float("inf")), "`quantity` must be a number"),
        (lambda ctx: ctx.buy(ALPHA, "1"), "`quantity` must be a number"),
        (lambda ctx: ctx.buy(ALPHA, 0.1, 100.25), "`limit_price` of SIM.ALPHA must be a positive"),
        (lambda ctx: ctx.buy(ALPHA, 0.1, -100), "`limit_price` of SIM.ALPHA must be a positive"),
        (lambda ctx: ctx.buy("SIM.ALPHB", 0.1), "Did you mean 'SIM.ALPHA'"),
        (lambda ctx: ctx.quote("SIM.GAMMA"), "`instrument` must be one of the scenario's"),
        (lambda ctx: ctx.portfolio.position("SIM.GAMMA"), "one of the scenario's"),
        (lambda ctx: ctx.inference.latest(), "`loop` must name an inference loop"),
        (lambda ctx: ctx.inference.submit((1.0,)), "submits_requests = False"),
    ],
)
def test_what_no_venue_would_understand_ends_the_run_where_it_was_asked(tmp_path, ask, message):
    with pytest.raises(StrategyError, match=message) as caught:
        play(tmp_path, Asks(ask), [Quote(0)])
    assert caught.value.callback == "on_timer"
    assert caught.value.instant == at(5)


@pytest.mark.parametrize(
    "ask",
    [lambda ctx: ctx.buy(ALPHA, 100_000.03), lambda ctx: ctx.buy(ALPHA, 0.1, 500_000.25)],
    ids=["quantity", "price"],
)
def test_a_large_number_that_is_not_whole_is_refused_too(tmp_path, ask):
    with pytest.raises(StrategyError, match="must be a positive whole number"):
        play(tmp_path, Asks(ask), [Quote(0)])


def test_a_timer_in_the_past_ends_the_run_as_an_error_of_the_strategy(tmp_path):
    with pytest.raises(StrategyError, match=r"Asks.on_timer.* must not be due before the present"):
        play(tmp_path, Asks(lambda ctx: ctx.call_at(ctx.now - 1)), [Quote(0)])


def test_a_timer_at_a_float_is_refused(tmp_path):
    with pytest.raises(StrategyError):
        play(tmp_path, Asks(lambda ctx: ctx.call_at(ctx.now + 1e6)), [Quote(0)])


def test_an_order_from_on_stop_is_refused(tmp_path):
    class Late(Strategy):
        def on_stop(self, ctx: Any) -> None:
            ctx.buy(ALPHA, 0.1)

    with pytest.raises(StrategyError, match="`on_stop` must not send orders") as caught:
        play(tmp_path, Late(), [Quote(0)], until=100)
    assert (caught.value.callback, caught.value.instant) == ("on_stop", at(100))


def test_one_nanosecond_of_latency_counts(tmp_path):
    script = Script({5.0: (1,)})
    play(tmp_path, script, [Quote(0, ask=101), Quote(5 + 1 / MS, ask=107)], entry="1ns")
    assert script.details("fill")[0][1] == 107.0
