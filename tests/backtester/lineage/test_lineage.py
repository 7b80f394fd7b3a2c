"""What lineage tells of an order, on markets made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backtester.result import load_result
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.sources import MarketSource
from backtester.strategy import Strategy
from featurizer.errors import LookaheadError
from tests.backtester.worlds import (
    ALPHA,
    BETA,
    MIDS,
    ON_FEATURE,
    Constant,
    Quote,
    at,
    content,
    make_catalog,
)

MODES = pytest.mark.parametrize("mode", ["ahead", "lockstep"])
SLOWLY = {
    "featurizer": {**MIDS, "compute_latency": "1ms"},
    "inference": {**ON_FEATURE, "service_time": "4ms", "network": {"out": "2ms", "back": "3ms"}},
    "entry": "5ms",
    "response": "5ms",
}
QUOTES = [Quote(10, received=12), Quote(50, bid=98, received=53), Quote(90, received=91)]


def run(
    root: Path, strategy: Strategy, quotes: Any = None, mode: Any = None, **settings: Any
) -> Any:
    by_name = quotes if isinstance(quotes, dict) else {ALPHA: quotes or QUOTES}
    catalog = make_catalog(root / f"catalog-{mode}", by_name)
    scenario = Scenario.model_validate(content(catalog.root, list(by_name), **settings))
    predictors: dict[str, Any] = {name: Constant() for name in scenario.inference_config}
    return Run(scenario, strategy, catalog, predictors, mode=mode, lineage=True).execute(2)


def told(frame: Any) -> list[tuple[Any, ...]]:
    """Return order, change, step behind, link, how and number of each link."""
    return frame.select("order", "change", "behind", "link", "how", "number").rows()


def stamp(frame: Any, link: str, name: str) -> float:
    """Return a stamp of the first link of a kind, in ms after the start."""
    instant = frame.filter(frame["link"] == link)[name].dt.epoch("ns")[0]
    return (instant - at(0)) / 1e6


class OnAnswer(Strategy):
    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        if prediction.number == 1:
            ctx.buy(ALPHA, 1)


@MODES
def test_an_order_leads_back_through_prediction_request_and_row_to_the_market(tmp_path, mode):
    frame = run(tmp_path, OnAnswer(), mode=mode, **SLOWLY).lineage
    assert told(frame) == [
        (1, 0, None, "decision", "", None),
        (1, 0, 0, "prediction", "woke", 1),
        (1, 0, 1, "request", "asked", 1),
        (1, 0, 2, "row", "asked", 1),
        (1, 0, 3, "record", "included", 1),
    ]
    assert (stamp(frame, "record", "event_time"), stamp(frame, "record", "receipt_time")) == (
        50,
        53,
    )
    assert (stamp(frame, "row", "emitted_at"), stamp(frame, "row", "visible_at")) == (53, 54)
    names = ("submitted_at", "sent_at", "started_at", "completed_at", "visible_at")
    assert [stamp(frame, "request", name) for name in names] == [54, 54, 56, 60, 63]
    assert stamp(frame, "prediction", "visible_at") == stamp(frame, "decision", "decided_at") == 63
    request = frame.row(2, named=True)
    assert (request["replica"], request["attempt"]) == (0, 1)
    assert (frame["name"][0], frame["rank"][0], frame["value"][1]) == (
        "on_prediction",
        "prediction",
        99.5,
    )


class OnQuote(Strategy):
    """Looks at this and that before each message."""

    def on_quote(self, ctx: Any, quote: Any) -> None:
        if quote.instrument != ALPHA:
            return
        if ctx.now == at(12):
            self.first = ctx.buy(ALPHA, 1, limit_price=90)
            ctx.inference.latest()  # there is none yet
        elif ctx.now == at(53):
            ctx.features_of(BETA)
            ctx.modify(self.first, limit_price=91)
            ctx.quote(BETA)
            ctx.cancel(self.first)
            ctx.cancel_all()


@MODES
def test_each_change_has_what_was_read_by_then_and_not_what_was_read_after(tmp_path, mode):
    quotes = {ALPHA: QUOTES, BETA: [Quote(5), Quote(53, received=54)]}
    settings = {**SLOWLY, "featurizer": {**SLOWLY["featurizer"], "per_instrument": True}}
    frame = run(tmp_path, OnQuote(), quotes, mode, **settings).lineage
    links = [row for row in told(frame) if row[3] != "decision" and row[2] == 0]
    row, beta = (0, "row", "read", 0), (0, "record", "read", 0)
    this = (0, "record", "woke", 1)
    assert links == [
        (0, 3, *this),
        (0, 3, *row),
        (0, 3, *beta),
        (1, 0, 0, "record", "woke", 0),
        (1, 1, *this),
        (1, 1, *row),
        (1, 2, *this),
        (1, 2, *row),
        (1, 2, *beta),
    ]
    assert set(frame.filter(frame["how"] == "read")["instrument"]) == {BETA}


class Later(Strategy):
    def on_start(self, ctx: Any) -> None:
        ctx.buy(ALPHA, 1, limit_price=80)
        ctx.call_at(at(60), "later")

    def on_timer(self, ctx: Any, name: str) -> None:
        if ctx.portfolio.equity > 0:
            ctx.buy(ALPHA, 1)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        if fill.order == 2:
            ctx.sell(ALPHA, 1)


@MODES
def test_orders_of_the_start_of_timers_and_of_reports_say_so(tmp_path, mode):
    frame = run(tmp_path, Later(), mode=mode, **SLOWLY).lineage
    assert [(row[0], *row[3:]) for row in told(frame)] == [
        (1, "decision", "", None),
        (2, "decision", "", None),
        (2, "timer", "woke", None),
        (2, "record", "read", 1),
        (3, "decision", "", None),
        (3, "report", "woke", 3),
    ]
    decisions = frame.filter(frame["link"] == "decision")
    assert decisions["name"].to_list() == ["on_start", "on_timer", "on_fill"]
    assert decisions["rank"].to_list() == ["first", "timer", "order_report"]
    assert (stamp(frame, "report", "event_time"), stamp(frame, "report", "visible_at")) == (65, 70)


class Asks(Strategy):
    submits_requests = True

    def on_quote(self, ctx: Any, quote: Any) -> None:
        if ctx.now == at(53):
            self.mine = ctx.inference.submit((1.0, 2.0))

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        if ctx.now > at(53) and prediction.number == self.mine:
            ctx.buy(ALPHA, 1)


def test_a_request_of_the_strategys_own_leads_back_to_the_callback_that_made_it(tmp_path):
    frame = run(tmp_path, Asks(), **SLOWLY).lineage
    links = [(row[2], row[3], row[4]) for row in told(frame)]
    assert links == [
        (None, "decision", ""),
        (0, "prediction", "woke"),
        (1, "request", "asked"),
        (2, "decision", "asked"),
        (3, "record", "woke"),
    ]
    assert frame["name"].to_list()[-2:] == ["on_quote", "quotes"]


class OnSecond(Strategy):
    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        if prediction.number == 2:
            ctx.buy(ALPHA, 1)


@MODES
def test_an_answer_out_of_the_cache_leads_to_the_request_that_it_was_first_given_to(tmp_path, mode):
    inference = {**SLOWLY["inference"], "cache": {"ttl": "1s"}}
    same = [Quote(10), Quote(50, bid=98), Quote(90)]  # the third is as the first
    frame = run(tmp_path, OnSecond(), same, mode, **{**SLOWLY, "inference": inference}).lineage
    assert told(frame)[1:] == [
        (1, 0, 0, "prediction", "woke", 2),
        (1, 0, 1, "request", "asked", 2),
        (1, 0, 2, "row", "asked", 2),
        (1, 0, 3, "record", "included", 2),
        (1, 0, 2, "request", "cached", 0),
        (1, 0, 5, "row", "asked", 0),
        (1, 0, 6, "record", "included", 0),
    ]


class Careless(Strategy):
    """Catches whatever goes wrong."""

    def on_quote(self, ctx: Any, quote: Any) -> None:
        try:
            ctx.quote()
        except Exception:
            self.caught = True


@MODES
def test_a_read_before_its_time_ends_the_run_even_where_the_strategy_catches_it(
    tmp_path, monkeypatch, mode
):
    monkeypatch.setattr(MarketSource, "seen", lambda self, place: len(self.times))
    strategy = Careless()
    with pytest.raises(
        LookaheadError,
        match=r"`ctx\.quote` must show only what is visible \(law 1\): got record 1 of quotes of "
        r"SIM\.ALPHA, visible from .*00\.053Z, at .*00\.012Z, 41ms before that",
    ):
        run(tmp_path, strategy, mode=mode)
    assert strategy.caught


def test_a_record_handed_over_in_the_place_of_another_is_noticed(tmp_path, monkeypatch):
    def newest(self: Any, place: Any) -> Any:
        return self.item(len(self.times) - 1)

    monkeypatch.setattr(MarketSource, "latest", newest, raising=False)
    with pytest.raises(LookaheadError, match="another one than record 0 of quotes"):
        run(tmp_path, Careless())


def test_lineage_is_saved_and_read_back_and_replaced_by_a_run_without(tmp_path):
    result = run(tmp_path, OnAnswer(), **SLOWLY)
    folder = result.save(tmp_path / "run", picture=False)
    assert load_result(folder).lineage.equals(result.lineage)
    (folder / "order-1.png").write_bytes(b"")
    again = load_result(folder)
    object.__setattr__(again, "lineage", None)
    again.save(folder, picture=False)
    assert load_result(folder).lineage is None
    assert not (folder / "order-1.png").exists()
