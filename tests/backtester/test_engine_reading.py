"""What a strategy is called with, and what it can see from there."""

from __future__ import annotations

import types
from typing import Any

import pytest

from backtester.errors import StrategyError
from backtester.strategy import Strategy
from tests.backtester.worlds import (
    ALPHA,
    BETA,
    MIDS,
    ON_FEATURE,
    Quote,
    Recorder,
    Trade,
    at,
    play,
    since,
)

MODES = pytest.mark.parametrize("mode", ["ahead", "lockstep"])


@pytest.mark.parametrize("window_rows", [1, 5, 8192])
def test_n_quotes_give_n_calls_in_the_order_of_receipt(tmp_path, window_rows):
    class Quotes(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", quote.bid_price)

    quotes = [Quote(n, bid=10 + n, ask=900, received=n + (37 * n) % 11) for n in range(50)]
    strategy = Quotes()
    play(tmp_path, strategy, quotes, window_rows=window_rows)
    expected = sorted((n + (37 * n) % 11, n) for n in range(50))
    assert [(ms, bid) for ms, _, bid in strategy.heard] == [(ms, 10 + n) for ms, n in expected]


def test_a_quote_is_a_tuple_of_the_fields_declared(tmp_path):
    class Fields(Recorder):
        quote_fields = ("ask_quantity", "event_time", "bid_price")

        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", (tuple(quote), quote._fields, quote.instrument))

    fields = Fields()
    play(tmp_path, fields, [Quote(4, received=9, ask_quantity=2.5)])
    names = ("ask_quantity", "event_time", "bid_price")
    assert fields.details("quote") == [((2.5, at(4), 99.0), names, ALPHA)]
    assert type(fields.details("quote")[0][0][1]) is int


@pytest.mark.parametrize("names", [(ALPHA, BETA), (BETA, ALPHA)])
@MODES
def test_quotes_of_one_instant_come_in_the_scenarios_order_and_see_each_other_so(
    tmp_path, names, mode
):
    class Both(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            other = BETA if quote.instrument == ALPHA else ALPHA
            seen = ctx.quote(other)
            self.note(ctx, quote.instrument, None if seen is None else seen.bid_price)

    both = Both()
    quotes = {name: [Quote(5, bid=40), Quote(10, bid=50)] for name in names}
    play(tmp_path, both, quotes, mode=mode)
    first, second = names
    # the first one's quote does not see the other of its instant, the second one's does
    assert both.heard == [
        *((5.0, first, None), (5.0, second, 40.0)),
        *((10.0, first, 40.0), (10.0, second, 50.0)),
    ]


@MODES
def test_a_trade_sees_the_quote_of_its_instant_and_the_quote_does_not_see_the_next(tmp_path, mode):
    class Tape(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", (quote.bid_price, ctx.quote().bid_price))

        def on_trade(self, ctx: Any, trade: Any) -> None:
            self.note(ctx, "trade", ctx.quote().bid_price)

    tape = Tape()
    quotes = [Quote(5, bid=50, sequence=1), Quote(5, bid=60, sequence=2)]
    trades = {ALPHA: [Trade(5, sequence=0)]}  # an earlier sequence, a later kind
    play(tmp_path, tape, quotes, trades=trades, mode=mode)
    assert [(name, detail) for _, name, detail in tape.heard] == [
        ("quote", (50.0, 50.0)),
        ("quote", (60.0, 60.0)),
        ("trade", 60.0),
    ]


@MODES
def test_records_of_one_instant_come_by_instrument_then_kind_then_sequence(tmp_path, mode):
    class Tape(Recorder):
        quote_fields = ("bid_price", "ask_price", "sequence")
        trade_fields = ("sequence",)

        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", (quote.instrument, quote.sequence))

        def on_trade(self, ctx: Any, trade: Any) -> None:
            self.note(ctx, "trade", (trade.instrument, trade.sequence))

    tape = Tape()
    # what happened first is received with the rest, and has no say in their order
    quotes = {
        BETA: [Quote(1, received=9, sequence=5), Quote(2, received=9, sequence=7)],
        ALPHA: [Quote(3, received=9, sequence=1)],
    }
    trades = {ALPHA: [Trade(1, received=9, sequence=3)], BETA: [Trade(0, received=9, sequence=2)]}
    play(tmp_path, tape, quotes, trades=trades, mode=mode)
    assert [(name, *detail) for _, name, detail in tape.heard] == [
        *(("quote", BETA, 5), ("quote", BETA, 7), ("trade", BETA, 2)),
        *(("quote", ALPHA, 1), ("trade", ALPHA, 3)),
    ]


@pytest.mark.parametrize("window_rows", [1, 2, 3, 4, 8192])
def test_a_row_visible_at_the_edge_of_a_window_belongs_to_the_next_and_is_seen_once(
    tmp_path, window_rows
):
    class Rows(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            seen = ctx.features
            self.note(ctx, "quote", None if seen is None else since(seen.emitted_at))

        def on_features(self, ctx: Any, row: Any) -> None:
            self.note(ctx, "row", since(row.emitted_at))

    rows = Rows()
    quotes = [Quote(n * 5) for n in range(20)]  # each row becomes visible with the next quote
    features = MIDS | {"compute_latency": "5ms"}
    play(tmp_path, rows, quotes, featurizer=features, window_rows=window_rows, until=97)
    assert [detail for _, name, detail in rows.heard if name == "row"] == [
        n * 5.0 for n in range(19)
    ]
    assert rows.times("row") == [n * 5.0 + 5 for n in range(19)]
    # the receipt of an instant ranks before its rows
    assert rows.details("quote") == [None, None, *(n * 5.0 for n in range(18))]


def test_reading_a_quote_does_not_need_a_subscription(tmp_path):
    class Timer(Recorder):
        def on_start(self, ctx: Any) -> None:
            assert ctx.quote() is None
            for ms in (4, 5, 6, 600):
                ctx.call_at(at(ms))

        def on_timer(self, ctx: Any, name: str) -> None:
            quote = ctx.quote()
            self.note(ctx, "timer", None if quote is None else quote.bid_price)

        def on_stop(self, ctx: Any) -> None:
            self.note(ctx, "stop", ctx.quote().bid_price)

    timer = Timer()
    play(tmp_path, timer, [Quote(1, bid=50, received=5), Quote(2, bid=60, received=6)])
    assert timer.heard == [
        *((4.0, "timer", None), (5.0, "timer", 50.0), (6.0, "timer", 60.0)),
        *((600.0, "timer", 60.0), (1000.0, "stop", 60.0)),
    ]


@MODES
def test_features_and_predictions_are_seen_from_their_visible_instant_on(tmp_path, mode):
    class Seen(Recorder):
        def on_start(self, ctx: Any) -> None:
            assert ctx.features is None
            assert ctx.inference.latest() is None
            for ms in range(60):
                ctx.call_at(at(ms))

        def on_timer(self, ctx: Any, name: str) -> None:
            row, answer = ctx.features, ctx.inference.latest()
            self.note(ctx, "row", None if row is None else since(row.emitted_at))
            self.note(ctx, "answer", None if answer is None else since(answer.emitted_at))

        def on_prediction(self, ctx: Any, prediction: Any) -> None:
            self.note(ctx, "prediction", ctx.inference.latest() == prediction)

    seen = Seen()
    quotes = [Quote(10), Quote(30)]
    inference = ON_FEATURE | {"latency": "9ms", "service_time": "2ms"}
    features = MIDS | {"compute_latency": "4ms"}
    play(tmp_path, seen, quotes, featurizer=features, inference=inference, mode=mode, until=60)
    rows = dict(zip(range(60), seen.details("row"), strict=True))
    answers = dict(zip(range(60), seen.details("answer"), strict=True))
    assert rows == {
        ms: None if ms < 14 else (10.0 if ms < 34 else 30.0) for ms in range(60)
    }  # emitted at 10 and 30, computed 4 ms later
    assert answers == {ms: None if ms < 25 else (10.0 if ms < 45 else 30.0) for ms in range(60)}
    assert seen.times("prediction") == [25.0, 45.0]
    assert all(seen.details("prediction"))


@MODES
def test_a_quote_does_not_see_the_row_that_it_makes(tmp_path, mode):
    class Seen(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", None if ctx.features is None else ctx.features.value("mid"))

        def on_features(self, ctx: Any, row: Any) -> None:
            answer = ctx.inference.latest()
            self.note(ctx, "row", (row.value("mid"), None if answer is None else answer.value))

        def on_prediction(self, ctx: Any, prediction: Any) -> None:
            self.note(ctx, "prediction", (prediction.value, ctx.features.value("mid")))

    seen = Seen()
    quotes = [Quote(10, bid=99, ask=101), Quote(20, bid=109, ask=111)]
    play(tmp_path, seen, quotes, featurizer=MIDS, inference=ON_FEATURE, mode=mode)
    assert [(name, detail) for _, name, detail in seen.heard] == [
        *(("quote", None), ("row", (100.0, None)), ("prediction", (100.0, 100.0))),
        *(("quote", 100.0), ("row", (110.0, 100.0)), ("prediction", (110.0, 110.0))),
    ]


@MODES
def test_an_answer_about_an_older_row_that_comes_late_wakes_nobody(tmp_path, mode):
    class Seen(Recorder):
        def on_prediction(self, ctx: Any, prediction: Any) -> None:
            self.note(ctx, "prediction", (prediction.number, since(prediction.emitted_at)))

        def on_stop(self, ctx: Any) -> None:
            self.note(ctx, "stop", ctx.inference.latest().number)

    seen = Seen()
    quotes = [Quote(n * 2, bid=50 + n, ask=900) for n in range(100)]
    inference = ON_FEATURE | {
        "num_replicas": 8,
        "service_time": {"kind": "uniform", "low": "1ms", "high": "15ms"},
    }
    result = play(tmp_path, seen, quotes, featurizer=MIDS, inference=inference, mode=mode)
    numbers = [number for number, _ in seen.details("prediction")]
    assert numbers == sorted(numbers)
    late = result.predictions.filter(result.predictions["superseded"])
    assert len(late) > 5, "nothing was overtaken: the test shows nothing"
    assert not set(late["number"]) & set(numbers)
    assert seen.details("stop") == [numbers[-1]]


@MODES
def test_both_modes_give_one_digest(tmp_path, mode):
    quotes = [Quote(n * 2, bid=50 + n % 5, ask=60 + n % 5, received=n * 2 + 3) for n in range(99)]
    digests = {
        play(
            tmp_path,
            Flipper(),
            quotes,
            featurizer=MIDS | {"sampling": "7ms"},
            inference=ON_FEATURE | {"service_time": "3ms", "network": {"out": "1ms"}},
            entry="2ms",
            response="1ms",
            mode=one,
            window_rows=rows,
        ).trace_digest
        for one, rows in ((mode, 10), ("ahead", 8192))
    }
    assert len(digests) == 1


class Flipper(Strategy):
    """Buys on even mids, sells on others."""

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        send = ctx.buy if int(prediction.value) % 2 else ctx.sell
        send(prediction.instrument, 0.1)


# --- exceptions ---------------------------------------------------------------------------------

CALLBACKS = {
    "on_start": 0.0,
    "on_quote": 1.0,
    "on_trade": 12.0,
    "on_features": 1.0,
    "on_prediction": 4.0,
    "on_order": 5.0,
    "on_fill": 5.0,
    "on_timer": 5.0,
    "on_stop": 50.0,
}


@pytest.mark.parametrize(("callback", "ms"), CALLBACKS.items())
@MODES
def test_an_exception_names_its_callback_and_its_instant(tmp_path, callback, ms, mode):
    def fail(self: Any, ctx: Any, *args: Any) -> None:
        raise ZeroDivisionError("the strategy's own")

    def on_start(self: Any, ctx: Any) -> None:
        ctx.call_at(at(5))

    def on_timer(self: Any, ctx: Any, name: str) -> None:
        ctx.buy(ALPHA, 0.1)

    fail.__name__ = callback
    defined = {"on_start": on_start, "on_timer": on_timer, callback: fail}
    failing = types.new_class("Failing", (Strategy,), {}, lambda body: body.update(defined))
    with pytest.raises(StrategyError) as caught:
        play(
            tmp_path,
            failing(),
            [Quote(1), Quote(10)],
            trades={ALPHA: [Trade(12)]},
            featurizer=MIDS,
            inference=ON_FEATURE | {"service_time": "3ms"},
            until=50,
            mode=mode,
        )
    error = caught.value
    assert (error.callback, since(error.instant)) == (callback, ms)
    assert f"`Failing.{callback}` raised ZeroDivisionError at 2024-01-02T00:00:00" in str(error)
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_an_exception_in_a_decorated_callback_names_the_callback_too(tmp_path):
    def decorated(run: Any) -> Any:
        def wrapper(self: Any, ctx: Any, quote: Any) -> None:
            run(self, ctx, quote)

        return wrapper

    class Failing(Strategy):
        @decorated
        def on_quote(self, ctx: Any, quote: Any) -> None:
            raise ZeroDivisionError

    with pytest.raises(StrategyError) as caught:
        play(tmp_path, Failing(), [Quote(1)])
    assert caught.value.callback == "on_quote"


def test_a_lookup_of_an_unknown_feature_is_the_strategys_error(tmp_path):
    class Wrong(Strategy):
        def on_features(self, ctx: Any, row: Any) -> None:
            row.value("mad")

    with pytest.raises(StrategyError, match=r"`mad` must be a feature of the scenario: mid"):
        play(tmp_path, Wrong(), [Quote(1)], featurizer=MIDS)


def test_the_strategys_random_numbers_are_the_scenarios(tmp_path):
    class Draws(Recorder):
        def on_start(self, ctx: Any) -> None:
            self.note(ctx, "draw", ctx.random.integers(0, 10**9))

    draws = []
    for seed in (1, 1, 2):
        strategy = Draws()
        play(tmp_path, strategy, [Quote(0)], seed=seed)
        draws += strategy.details("draw")
    assert draws[0] == draws[1] != draws[2]


def test_what_is_recorded_comes_back_with_its_instant(tmp_path):
    class Notes(Strategy):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            ctx.record("bid", quote.bid_price)

    result = play(tmp_path, Notes(), [Quote(1, bid=90), Quote(7, bid=91)])
    assert result.records["name"].to_list() == ["bid", "bid"]
    assert result.records["value"].to_list() == [90.0, 91.0]
    assert result.records["time"].to_physical().to_list() == [at(1), at(7)]
