"""A callback that nothing could ever wake is refused before the run, by name."""

from __future__ import annotations

from typing import Any

import pytest

from backtester.errors import ScenarioError
from backtester.loading import load_strategy
from backtester.strategies import MLStrategy
from backtester.strategy import Strategy
from tests.backtester.worlds import ALPHA, MIDS, ON_FEATURE, Quote, Recorder, play


class ReadsRows(Recorder):
    def on_features(self, ctx: Any, row: Any) -> None:
        self.note(ctx, "row")


class ReadsData(Recorder):
    def on_data(self, ctx: Any, record: Any) -> None:
        self.note(ctx, "data")


class Misspelt(Strategy):
    def on_quotes(self, ctx: Any, quote: Any) -> None:
        ctx.buy(quote.instrument, 1)


class InheritsTheMistake(Misspelt):
    def on_quote(self, ctx: Any, quote: Any) -> None:
        pass


class OptionalMistake(Strategy):
    optional_callbacks = ("on_bars",)


class OnTheObject(Strategy):
    def __init__(self) -> None:
        self.on_quote = lambda ctx, quote: None  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (MLStrategy(), r"`MLStrategy.on_prediction` needs an `inference_config`.*got none"),
        (ReadsRows(), r"`ReadsRows.on_features` needs a `featurizer`.*got none"),
        (ReadsData(), r"`ReadsData.on_data` needs the class to name the kinds.*`data_fields`"),
        (Misspelt(), r"`Misspelt.on_quotes` must be a callback.*Did you mean 'on_quote'\?"),
        (InheritsTheMistake(), r"`InheritsTheMistake.on_quotes` must be a callback"),
        (OptionalMistake(), r"`OptionalMistake.optional_callbacks` must name callbacks.*on_bar"),
        (OnTheObject(), r"`OnTheObject.on_quote` must be a method of the class"),
    ],
)
def test_a_callback_that_nothing_can_wake_is_refused(tmp_path, strategy, message):
    with pytest.raises(ScenarioError, match=message):
        play(tmp_path, strategy, [Quote(0)])


def test_a_strategy_may_say_which_callbacks_it_can_do_without(tmp_path):
    class Either(ReadsRows):
        optional_callbacks = ("on_features", "on_bar")

        def on_bar(self, ctx: Any, bar: Any) -> None:
            self.note(ctx, "bar")

        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote")

    strategy = Either()
    play(tmp_path, strategy, [Quote(1)])
    assert [name for _, name, _ in strategy.heard] == ["quote"]


def test_callbacks_that_the_scenario_can_wake_are_woken(tmp_path):
    class All(ReadsRows):
        def on_prediction(self, ctx: Any, prediction: Any) -> None:
            self.note(ctx, "answer")

    strategy = All()
    play(tmp_path, strategy, [Quote(1), Quote(2)], featurizer=MIDS, inference=ON_FEATURE)
    assert strategy.times("row") == [1.0, 2.0]
    assert strategy.times("answer") == [1.0, 2.0]


def test_a_helper_without_on_in_front_is_nobodys_business(tmp_path):
    class Helps(Recorder):
        def handle_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote", quote.instrument)

        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.handle_quote(ctx, quote)

    strategy = Helps()
    play(tmp_path, strategy, [Quote(1)])
    assert strategy.details("quote") == [ALPHA]


BROKEN = """
from backtester.strategy import Strategy

class Divides(Strategy):
    def __init__(self, parts: int = 0) -> None:
        self.share = self.of(parts)

    def of(self, parts):
        return 1 / parts
"""


def test_what_init_raises_becomes_one_message_with_its_place(tmp_path, monkeypatch):
    (tmp_path / "broken_strategies.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError) as caught:
        load_strategy("broken_strategies.Divides", {})
    text = str(caught.value)
    assert "broken_strategies.Divides.__init__" in text
    assert "ZeroDivisionError, division by zero" in text
    assert "broken_strategies.py:9)" in text
    assert "\n" not in text
