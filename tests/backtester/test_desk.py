"""A strategy that takes its time: its orders leave at the end of the callback that sends them."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.callbacks import CALLBACKS
from backtester.desk import Desk
from backtester.errors import ScenarioError
from clock.latency import Constant, Uniform
from clock.sampler import Sampler
from clock.simulated import SimulatedClock
from tests.backtester.worlds import (
    ALPHA,
    MIDS,
    MS,
    ON_FEATURE,
    Quote,
    Recorder,
    Trade,
    at,
    play,
    since,
)


def execution(decision: Any, entry: Any = 0, response: Any = 0) -> dict[str, Any]:
    return {
        "execution": {
            "entry_latency": entry,
            "response_latency": response,
            "decision_latency": decision,
        }
    }


def stamps(result: Any, name: str) -> list[float]:
    return [since(instant) for instant in result.orders[name].to_physical().to_list()]


class BuysOnQuotes(Recorder):
    """Buys at each quote whose ask is even, and notes what it knew."""

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.note(ctx, "quote", ctx.quote().ask_price)
        if quote.ask_price % 2 == 0:
            ctx.buy(ALPHA, 0.1)


def test_an_order_leaves_when_its_callback_ends(tmp_path):
    strategy = BuysOnQuotes()
    result = play(tmp_path, strategy, [Quote(10, ask=102)], **execution("3ms", "2ms"))
    assert strategy.times("quote") == [10.0]
    assert stamps(result, "decided_at") == [10.0]
    assert stamps(result, "sent_at") == [13.0]
    assert stamps(result, "arrived_at") == [15.0]


def test_what_arrives_while_the_strategy_is_busy_waits_its_turn(tmp_path):
    strategy = BuysOnQuotes()
    quotes = [Quote(10, ask=102), Quote(11, ask=104), Quote(12, ask=106), Quote(40, ask=108)]
    result = play(tmp_path, strategy, quotes, **execution("5ms"))
    assert stamps(result, "sent_at") == [15.0, 20.0, 25.0, 45.0]


def test_a_callback_knows_what_was_known_when_its_event_arrived_not_when_it_began(tmp_path):
    strategy = BuysOnQuotes()
    quotes = [Quote(10, ask=102), Quote(11, ask=104), Quote(12, ask=106)]
    play(tmp_path, strategy, quotes, **execution("5ms"))
    # the second begins at 15, when the quote of 12 waits behind it
    assert strategy.details("quote") == [102.0, 104.0, 106.0]
    assert strategy.times("quote") == [10.0, 11.0, 12.0]


def test_the_venue_has_moved_on_by_the_time_a_late_order_arrives(tmp_path):
    class Fills(BuysOnQuotes):
        def on_fill(self, ctx: Any, fill: Any) -> None:
            self.note(ctx, "fill", (fill.price, since(fill.venue_time)))

    strategy = Fills()
    play(tmp_path, strategy, [Quote(10, ask=102), Quote(12, ask=107)], **execution("5ms"))
    assert strategy.details("fill") == [(107.0, 15.0)]


def test_a_callback_that_sends_nothing_takes_its_time_too(tmp_path):
    class AlsoTrades(BuysOnQuotes):
        def on_trade(self, ctx: Any, trade: Any) -> None:
            self.note(ctx, "trade")

    quotes, trades = [Quote(10, ask=102)], {ALPHA: [Trade(8)]}
    alone = play(tmp_path, BuysOnQuotes(), quotes, trades=trades, **execution("5ms"))
    both = play(tmp_path, AlsoTrades(), quotes, trades=trades, **execution("5ms"))
    # what a strategy does not override keeps it from nothing
    assert (stamps(alone, "sent_at"), stamps(both, "sent_at")) == ([15.0], [18.0])


def test_reports_and_timers_keep_the_strategy_busy_as_well(tmp_path):
    class Hears(Recorder):
        def on_start(self, ctx: Any) -> None:
            ctx.call_at(at(10), "first")
            ctx.call_at(at(11), "second")

        def on_timer(self, ctx: Any, name: str) -> None:
            ctx.buy(ALPHA, 0.1)

        def on_fill(self, ctx: Any, fill: Any) -> None:
            if fill.order < 3:
                ctx.buy(ALPHA, 0.1)

    result = play(tmp_path, Hears(), [Quote(0)], until=60, **execution("5ms"))
    # timers 10-15 and 11, from 15 to 20; the fills of 15 and 20 wait from 15 and 20 on
    assert stamps(result, "sent_at") == [15.0, 20.0, 25.0, 30.0]


def test_on_start_takes_no_time(tmp_path):
    class AtStart(Recorder):
        def on_start(self, ctx: Any) -> None:
            ctx.buy(ALPHA, 0.1)

        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote")

    result = play(tmp_path, AtStart(), [Quote(0)], **execution("5ms", "1ms"))
    assert stamps(result, "sent_at") == [0.0]


def test_an_order_that_has_not_left_by_the_end_of_the_run_is_in_flight(tmp_path):
    result = play(tmp_path, BuysOnQuotes(), [Quote(10, ask=102)], until=12, **execution("5ms"))
    assert result.orders["status"].to_list() == ["in_flight"]
    assert result.summary["in_flight"]["orders"] == 1


class Busy(Recorder):
    """Buys on every kind of event."""

    def __init__(self) -> None:
        super().__init__()
        self.bought = 0

    def act(self, ctx: Any, callback: str) -> None:
        self.note(ctx, callback)
        if self.bought < 60:
            self.bought += 1
            ctx.buy(ALPHA, 0.1)

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.act(ctx, "quote")

    def on_features(self, ctx: Any, row: Any) -> None:
        self.act(ctx, "row")

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        self.act(ctx, "answer")

    def on_order(self, ctx: Any, report: Any) -> None:
        self.act(ctx, "order")


@pytest.mark.slow
@pytest.mark.parametrize("decision", ["3ms", {"kind": "uniform", "low": "1ms", "high": "9ms"}])
def test_neither_windows_nor_lockstep_change_when_orders_leave(tmp_path, decision):
    quotes = [Quote(n * 2, bid=90 + n % 5, ask=110, received=n * 2 + n % 3) for n in range(60)]
    digests = set()
    for mode, rows in (("ahead", 8192), ("ahead", 7), ("lockstep", 8192), ("lockstep", 5)):
        busy = Busy()
        result = play(
            tmp_path,
            busy,
            quotes,
            featurizer=MIDS,
            inference=ON_FEATURE | {"service_time": "4ms"},
            mode=mode,
            window_rows=rows,
            **execution(decision, "2ms", "1ms"),
        )
        assert len(result.fills) > 20
        digests.add(result.trace_digest)
    assert len(digests) == 1


def test_a_strategy_that_submits_requests_must_decide_at_once(tmp_path):
    class Submits(Recorder):
        submits_requests = True

    with pytest.raises(ScenarioError, match=r"`execution.decision_latency` must be 0 for a strat"):
        play(tmp_path, Submits(), [Quote(0)], **execution("1ms"))


# --- the desk alone -----------------------------------------------------------------------------

EVENTS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["on_quote", "on_trade"])))


def inbox(events: list[tuple[int, str]], durations: list[int]) -> list[int]:
    """Return when each callback ends: a loop that looks into its inbox nanosecond by nanosecond."""
    ends: list[int] = []
    waiting: deque[int] = deque()
    rest, now, place = 0, 0, 0
    while len(ends) < len(events):
        while place < len(events) and events[place][0] == now:
            waiting.append(durations[place])
            place += 1
        while rest == 0 and waiting:
            rest = waiting.popleft()
            if rest == 0:
                ends.append(now)
        now += 1
        if rest:
            rest -= 1
            if rest == 0:
                ends.append(now)
    return ends


@given(EVENTS.map(lambda events: sorted(events, key=lambda event: event[0])), st.integers(0, 9))
def test_callbacks_end_when_a_loop_over_an_inbox_would_end_them(events, seed):
    clock = SimulatedClock(0)
    sampler = Sampler(Uniform(low="0ns", high="9ns"), seed, "decision")
    desk = Desk(clock, sampler)
    ends: list[int] = []
    durations: list[int] = []
    run = {name: desk.timed(name, lambda: ends.append(desk.leaves_at)) for _, name in events}
    for place, (instant, name) in enumerate(events):
        clock.advance_to(instant)
        run[name]()
        ordinal = events[:place].count((instant, name))
        durations.append(sampler.draw(instant, instant, CALLBACKS.index(name), ordinal))
    assert ends == inbox(events, durations)


def test_a_decision_is_drawn_by_callback_instant_and_place_and_never_by_call_order():
    model = Uniform(low="1ms", high="9ms")

    def takes(names: list[str]) -> list[int]:
        clock = SimulatedClock(at(5))
        desk = Desk(clock, Sampler(model, 4, "decision"))
        taken = []
        for name in names:
            before = max(desk.busy_until, clock.now)
            desk.timed(name, lambda: None)()
            taken.append(desk.busy_until - before)
        return taken

    drawn = Sampler(model, 4, "decision")
    quote, trade = CALLBACKS.index("on_quote"), CALLBACKS.index("on_trade")
    first, second = (drawn.draw(at(5), at(5), quote, place) for place in range(2))
    other = drawn.draw(at(5), at(5), trade, 0)
    assert takes(["on_quote", "on_quote", "on_trade"]) == [first, second, other]
    assert takes(["on_trade", "on_quote", "on_quote"]) == [other, first, second]
    assert len({first, second, other}) == 3
    assert all(MS <= each <= 9 * MS for each in (first, second, other))


def test_a_desk_without_latency_leaves_callbacks_alone():
    desk = Desk(SimulatedClock(0), Sampler(Constant(latency="0s"), 1, "decision"))

    def callback() -> None: ...

    assert desk.timed("on_quote", callback) is callback
