"""What other backtesters were found to get wrong, each as a test of ours.

The probes: an order that is due between two records waits for the next one; an unrelated timer
changes a fill; a cancel that is due runs late; fills come in the order of a hash; the last record
wakes nobody; an exception in a callback is swallowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from backtester.errors import StrategyError
from backtester.orders import TimeInForce
from tests.backtester.worlds import ALPHA, BETA, Quote, Recorder, Trade, at, play, since

Step = Callable[[Any], Any]
BUYER, SELLER = 1, -1


class Script(Recorder):
    """Does given things at given milliseconds, and notes every report."""

    def __init__(self, steps: Mapping[float, Step | Sequence[Step]]) -> None:
        super().__init__()
        self.steps = {ms: do if isinstance(do, Sequence) else [do] for ms, do in steps.items()}

    def on_start(self, ctx: Any) -> None:
        for ms in self.steps:
            ctx.call_at(at(ms), str(ms))

    def on_timer(self, ctx: Any, name: str) -> None:
        if float(name) in self.steps:
            for do in self.steps[float(name)]:
                do(ctx)

    def on_order(self, ctx: Any, report: Any) -> None:
        kind = report.kind.name.lower()
        self.note(ctx, "order", (report.order, kind, since(report.venue_time)))

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self.note(ctx, "fill", (fill.order, fill.lots, fill.price, since(fill.venue_time)))


def buy(lots: int, limit: float | None = None, name: str = ALPHA, **options: Any) -> Step:
    return lambda ctx: ctx.buy(name, lots / 10, limit, **options)


def sell(lots: int, limit: float | None = None, name: str = ALPHA, **options: Any) -> Step:
    return lambda ctx: ctx.sell(name, lots / 10, limit, **options)


def cancel(number: int) -> Step:
    return lambda ctx: ctx.cancel(number)


def by_seller(ms: float, price: float, lots: int) -> Trade:
    return Trade(ms, price, lots / 10, SELLER)


# -- 1: an arrival is an event of its own ----------------------------------------------------------

# ten milliseconds of latency, a market that is silent for five seconds
GAP = [Quote(0, bid=99, ask=101), Quote(5000, bid=149, ask=151)]


@pytest.mark.parametrize("send", [buy(5), buy(5, 120), buy(5, 101, time_in_force=TimeInForce.FOK)])
def test_an_order_due_in_a_gap_fills_at_its_due_instant(tmp_path, send):
    script = Script({100: send})
    play(tmp_path, script, GAP, entry="10ms", until=6000)
    assert script.details("fill") == [(1, 5, 101.0, 110.0)]
    assert script.times("fill") == [110.0]


def test_a_cancel_due_in_a_gap_is_done_at_its_due_instant(tmp_path):
    script = Script({100: buy(5, 99), 200: cancel(1)})
    trades = {ALPHA: [by_seller(211, 98, 50)]}
    play(tmp_path, script, GAP, trades=trades, entry="10ms", until=6000)
    assert script.details("order") == [(1, "accepted", 110.0), (1, "canceled", 210.0)]


def test_a_change_due_in_a_gap_is_done_at_its_due_instant(tmp_path):
    script = Script({100: buy(5, 99), 200: lambda ctx: ctx.modify(1, limit_price=98.0)})
    trades = {ALPHA: [by_seller(211, 98.5, 50)]}
    play(tmp_path, script, GAP, trades=trades, entry="10ms", until=6000)
    assert script.details("order") == [(1, "accepted", 110.0), (1, "modified", 210.0)]


def test_an_order_expires_in_a_gap(tmp_path):
    script = Script({100: buy(5, 99, expires_at=at(300))})
    play(tmp_path, script, GAP, trades={ALPHA: [by_seller(301, 98, 50)]}, until=6000)
    assert script.details("order") == [(1, "accepted", 100.0), (1, "expired", 300.0)]


# -- unrelated things change nothing ---------------------------------------------------------------


def making(changed: int = 4) -> dict[float, Any]:
    """Return what a maker does; *changed* is the number of the order that it moves at the end."""
    return {
        10: [buy(4, 99), sell(4, 101)],
        33: [buy(3, 98.5), buy(3, 99)],
        71: cancel(1),
        90: [buy(4, 100), sell(2)],
        140: lambda ctx: ctx.modify(changed, limit_price=99.5),
    }


WANDERING = [
    Quote(n * 5, bid=99 + n % 3 / 2, ask=101 + n % 2 / 2, bid_quantity=0.4, ask_quantity=0.3)
    for n in range(60)
]
PRINTS = {
    ALPHA: [
        Trade(n * 7 + 1, 99 + n % 5 / 2, 0.2 + n % 3 / 10, SELLER if n % 2 else BUYER)
        for n in range(40)
    ]
}
NOISY = {
    "entry": {"kind": "lognormal", "median": "5ms", "p99": "40ms"},
    "response": {"kind": "lognormal", "median": "3ms", "p99": "40ms"},
}


def made(script: Script) -> list[Any]:
    assert any(what == "fill" for _, what, _ in script.heard)
    return script.heard


@pytest.mark.slow
def test_an_unrelated_timer_changes_no_resting_fill(tmp_path):
    class Restless(Script):
        def on_start(self, ctx: Any) -> None:
            for ms in range(300):
                ctx.call_at(at(ms + 0.5), "0.123")
            super().on_start(ctx)

    plain, restless = Script(making()), Restless(making())
    for script in (plain, restless):
        play(tmp_path, script, {ALPHA: WANDERING}, trades=PRINTS, **NOISY)
    assert made(plain) == made(restless)


@pytest.mark.slow
def test_an_unrelated_instrument_changes_no_resting_fill(tmp_path):
    others = [Quote(n * 3, bid=9, ask=9.5) for n in range(100)]
    alone, beside = Script(making()), Script(making(5) | {20.5: buy(1, 8, BETA)})
    play(tmp_path, alone, {ALPHA: WANDERING}, trades=PRINTS, entry="4ms", response="3ms")
    play(
        tmp_path, beside, {ALPHA: WANDERING, BETA: others}, trades=PRINTS, entry="4ms",
        response="3ms",
    )  # fmt: skip
    renumber = {1: 1, 2: 2, 4: 3, 5: 4, 6: 5, 7: 6}
    kept = [
        (ms, what, (renumber.get(detail[0]), *detail[1:]))
        for ms, what, detail in beside.heard
        if detail[0] != 3
    ]
    assert kept == made(alone)


# -- 3: accept, fill and cancel each have a latency of their own -----------------------------------


def test_every_action_and_every_report_has_a_latency_of_its_own(tmp_path):
    script = Script({100: buy(5, 99), 200: buy(5, 98), 300: cancel(2)})
    latency = {"new": "10ms", "cancel": "3ms", "acknowledgement": "2ms", "fill": "40ms"}
    play(
        tmp_path, script, GAP, trades={ALPHA: [by_seller(250, 98.5, 9)]}, until=6000,
        execution={"latency": latency},
    )  # fmt: skip
    assert script.details("order") == [
        (1, "accepted", 110.0), (2, "accepted", 210.0), (1, "filled", 250.0), (2, "canceled", 303.0)
    ]  # fmt: skip
    assert script.times("order") == [112.0, 212.0, 290.0, 305.0]


# -- 5: a cancel is done when it is due, and never before its order --------------------------------


def test_a_cancel_that_is_faster_than_its_order_waits_for_it(tmp_path):
    script = Script({100: buy(5, 99), 101: cancel(1)})
    latency = {"new": "30ms", "cancel": "1ms"}
    play(tmp_path, script, GAP, execution={"latency": latency}, until=6000)
    assert script.details("order") == [(1, "accepted", 130.0), (1, "canceled", 130.0)]


@pytest.mark.slow
def test_no_order_fills_after_its_cancel_has_arrived(tmp_path):
    # thirty orders, canceled in another order than they were sent, under a trade every 2 ms
    sends = {float(n): buy(1, 99) for n in range(10, 40)}
    cancels = {50.25 + (n * 7) % 30: cancel(n) for n in range(1, 31)}
    script = Script({**sends, **cancels})
    prints = {ALPHA: [by_seller(45 + 2 * n, 99, 1) for n in range(30)]}
    quotes = [Quote(0, bid=99, ask=101, bid_quantity=0.5)]
    play(tmp_path, script, quotes, trades=prints, entry="9ms", response="1ms")
    reports = script.details("order")
    ended = {order: ms for order, kind, ms in reports if kind == "canceled"}
    filled = {order: ms for order, kind, ms in reports if kind == "filled"}
    due = {n: 59.25 + (n * 7) % 30 for n in range(1, 31)}
    assert len(ended) > 5
    assert len(filled) > 5
    assert not set(ended) & set(filled)
    assert all(ms == due[order] for order, ms in ended.items())
    assert all(ms <= due[order] for order, ms in filled.items())


# -- 6: the order of fills is published ------------------------------------------------------------


def test_fills_of_one_record_come_by_price_and_then_by_arrival(tmp_path):
    wishes = [buy(1, 98.5), buy(2, 99), buy(3, 98), buy(4, 99), buy(5, 98.5)]
    script = Script({10: wishes})
    play(tmp_path, script, [Quote(0, bid=99, ask=101)], trades={ALPHA: [by_seller(20, 97, 1)]})
    assert [detail[:2] for detail in script.details("fill")] == [
        (2, 2), (4, 4), (1, 1), (5, 5), (3, 3)
    ]  # fmt: skip


# -- 7: nothing is lost, nothing is swallowed ------------------------------------------------------


@pytest.mark.parametrize("window_rows", [1, 3, 8192])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_n_quotes_give_n_wake_ups(tmp_path, count, window_rows):
    class Counter(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote")

    counter = Counter()
    quotes = [Quote(n * 4, received=n * 4 + 3) for n in range(count)]
    play(tmp_path, counter, quotes, until=quotes[-1].received + 1e-6, window_rows=window_rows)
    assert counter.times("quote") == [n * 4.0 + 3 for n in range(count)]


@pytest.mark.parametrize(
    "callback", ["on_start", "on_quote", "on_trade", "on_order", "on_fill", "on_timer", "on_stop"]
)
def test_an_exception_in_a_callback_stops_the_run_and_says_where(tmp_path, callback):
    def fail(self: Any, *args: Any) -> None:
        raise ZeroDivisionError("the strategy divided by nothing")

    after: list[str] = []
    script = type("Failing", (Script,), {callback: fail})
    if callback != "on_stop":
        script.on_stop = lambda self, ctx: after.append("stop")  # type: ignore[method-assign]
    with pytest.raises(StrategyError, match="the strategy divided by nothing") as caught:
        play(tmp_path, script({10: buy(1)}), [Quote(0)], trades={ALPHA: [by_seller(20, 99, 1)]})
    assert caught.value.callback == callback
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert after == []
