"""What a run comes to: frames, curves and summary, against plain sums over what happened."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtester.errors import ScenarioError
from backtester.result import RunResult, load_result
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from featurizer.catalog import Catalog
from tests.backtester.worlds import (
    ALPHA,
    BETA,
    MIDS,
    MS,
    START,
    Constant,
    Quote,
    Recorder,
    at,
    content,
    instrument,
    make_catalog,
    play,
    since,
)

GRID = {"report": {"sampling": "10ms"}}


class Trader(Recorder):
    """Sends (ms, instrument, signed lots) from timers."""

    def __init__(self, *orders: tuple[float, str, int]) -> None:
        super().__init__()
        self.orders = orders

    def on_start(self, ctx: Any) -> None:
        for place, (ms, _, _) in enumerate(self.orders):
            ctx.call_at(at(ms), str(place))

    def on_timer(self, ctx: Any, name: str) -> None:
        _, instrument_, lots = self.orders[int(name)]
        (ctx.buy if lots > 0 else ctx.sell)(instrument_, abs(lots) / 10)

    def on_stop(self, ctx: Any) -> None:
        self.note(ctx, "believed", (ctx.portfolio.cash, ctx.portfolio.realised, ctx.portfolio.fees))
        self.note(ctx, "held", {name: ctx.portfolio.position(name) for name in ctx.instruments})


def naive_equity(
    result: RunResult, quotes: dict[str, Sequence[Quote]], instants: Sequence[int], cash: float
) -> list[float]:
    """Return cash flows so far plus what is held at the venue's mid, instant by instant."""
    curve = []
    for instant in instants:
        worth = cash
        for fill in result.fills.iter_rows(named=True):
            if int(fill["venue_time"].timestamp() * 1e6) * 1000 <= instant:
                worth -= fill["side"] * fill["quantity"] * fill["price"] + fill["fee"]
                shown = [q for q in quotes[fill["instrument"]] if at(q.happened) <= instant]
                mid = (shown[-1].bid + shown[-1].ask) / 2
                worth += fill["side"] * fill["quantity"] * mid
        curve.append(worth)
    return curve


@pytest.mark.parametrize("contract", ["linear", "spot"])
@pytest.mark.parametrize("window_rows", [2, 8192])
def test_the_curve_is_cash_flows_plus_holdings_at_the_venues_mid(tmp_path, contract, window_rows):
    quotes = {
        ALPHA: [
            Quote(n * 7, bid=90 + n % 5, ask=92 + n % 5, received=n * 7 + 30) for n in range(30)
        ],
        BETA: [Quote(n * 9, bid=50 - n % 4, ask=51 - n % 4) for n in range(24)],
    }
    trader = Trader(
        *((20, ALPHA, 5), (30, BETA, 7), (60.5, ALPHA, 3), (90, ALPHA, -6), (100, BETA, -7)),
        (140, ALPHA, 4),
    )
    result = play(
        tmp_path,
        trader,
        quotes,
        instruments=[instrument(ALPHA, contract), instrument(BETA)],
        until=205,
        window_rows=window_rows,
        **GRID,
    )
    assert len(result.fills) == 6
    times = result.equity["time"].to_physical().to_list()
    assert times == [at(ms) for ms in [*range(0, 205, 10), 205]]
    expected = naive_equity(result, quotes, times[:-1], 100_000)
    assert result.equity["equity"].to_list()[:-1] == pytest.approx(expected)


def test_the_summary_adds_up(tmp_path):
    quotes = [Quote(0, bid=99, ask=101), Quote(50, bid=119, ask=121), Quote(80, bid=89, ask=91)]
    trader = Trader((10, ALPHA, 10), (60, ALPHA, -10), (70, ALPHA, 10), (90, ALPHA, -5))
    result = play(tmp_path, trader, quotes, until=100, **GRID)
    summary = result.summary
    # +18 on ten lots, -16 on five lots of 0.1; a thousandth of each notional
    assert summary["realised"] == pytest.approx(18 - 16)
    assert summary["turnover"] == pytest.approx(101 + 119 + 121 + 44.5)
    assert summary["fees"] == pytest.approx(summary["turnover"] / 1000)
    assert summary["hit_rate"] == pytest.approx(1 / 2)
    assert (summary["orders"], summary["fills"], summary["events"]) == (4, 4, 3)
    assert summary["open_positions"][ALPHA]["position"] == 0.5
    curve = result.equity["equity"].to_list()
    falls = [max(curve[: n + 1]) - value for n, value in enumerate(curve)]
    assert summary["max_drawdown"] == pytest.approx(max(falls))
    assert summary["profit"] == pytest.approx(curve[-1] - 100_000)
    assert summary["return"] == pytest.approx(summary["profit"] / 100_000)


@pytest.mark.slow
@given(
    orders=st.lists(
        st.tuples(
            st.integers(0, 180), st.sampled_from([ALPHA, BETA]), st.integers(-9, 9).filter(bool)
        ),
        min_size=1,
        max_size=12,
    ),
    latency=st.sampled_from([0, "3ms", "40ms", {"kind": "uniform", "low": "0s", "high": "30ms"}]),
    until=st.sampled_from([100, 200, 1000]),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_belief_and_venue_agree_when_no_report_is_on_its_way(tmp_path, orders, latency, until):
    if not (tmp_path / "market").exists():
        quotes = [
            Quote(n * 7, bid=90 + n % 5, ask=92 + n % 5, bid_quantity=0.6, ask_quantity=0.4)
            for n in range(30)
        ]
        terms = [instrument(ALPHA), instrument(BETA, "spot")]
        make_catalog(tmp_path / "market", {ALPHA: quotes, BETA: quotes}, instruments=terms)
    mapping = content(
        tmp_path / "market", [ALPHA, BETA], until=until, entry=latency, response=latency, cash=200
    )
    trader = Trader(*orders)
    run = Run(Scenario.model_validate(mapping), trader, Catalog(tmp_path / "market"), {})
    result = run.execute()
    sent = [order for order in orders if order[0] < until]
    assert len(result.orders) == len(sent)
    flying = result.summary["in_flight"]
    assert (result.orders["status"] == "in_flight").sum() == flying["orders"]
    held = dict.fromkeys([ALPHA, BETA], 0.0)
    for fill in result.fills.iter_rows(named=True):
        held[fill["instrument"]] += fill["side"] * fill["quantity"]
    known = {ALPHA: 0.0, BETA: 0.0}
    for fill in result.fills.filter(result.fills["visible_at"].is_not_null()).iter_rows(named=True):
        known[fill["instrument"]] += fill["side"] * fill["quantity"]
    [believed] = trader.details("held")
    assert believed == pytest.approx(known)
    assert held[BETA] >= -1e-9
    if not flying["reports"]:
        assert believed == pytest.approx(held)
        account = run.venue.account
        money = tuple(map(account.units.to_float, (account.cash, account.realised, account.fees)))
        assert trader.details("believed") == [money]
    for status, filled, asked in result.orders.select(
        "status", "filled_quantity", "quantity"
    ).iter_rows():
        assert (status == "filled") == (filled == pytest.approx(asked))


def test_a_run_covers_its_start_and_not_its_end(tmp_path):
    class Quotes(Recorder):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            self.note(ctx, "quote")

    quotes = Quotes()
    rows = [Quote(-1), Quote(0), Quote(99), Quote(100 - 1 / MS), Quote(100), Quote(101)]
    result = play(tmp_path, quotes, rows, until=100)
    assert quotes.times("quote") == [0.0, 99.0, since(at(100) - 1)]
    assert result.summary["events"] == 3


def test_the_staleness_of_a_decision_is_the_age_of_the_newest_event_behind_it(tmp_path):
    class Both(Strategy):
        def on_start(self, ctx: Any) -> None:
            ctx.call_at(at(12))

        def on_timer(self, ctx: Any, name: str) -> None:
            ctx.buy(ALPHA, 0.1)

        def on_prediction(self, ctx: Any, prediction: Any) -> None:
            ctx.buy(ALPHA, 0.1)

    quotes = [Quote(5, received=8), Quote(15, received=18)]
    loop = {"model_uri": "models:/m/1", "polling": "on_feature", "service_time": "6ms"}
    result = play(tmp_path, Both(), quotes, featurizer=MIDS, inference=loop)
    # at 12 on the quote of 5; at 14 on the answer about it; at 24 on the answer about that of 15
    assert result.orders["staleness_ns"].to_list() == [7 * MS, 9 * MS, 9 * MS]
    assert result.orders["decision_mid"].to_list() == [100.0] * 3


def test_an_order_before_any_quote_has_no_mid_and_no_staleness(tmp_path):
    result = play(tmp_path, Trader((1, ALPHA, 1)), [Quote(5)])
    assert np.isnan(result.orders["decision_mid"][0])
    assert result.orders["staleness_ns"].to_list() == [-1]
    assert result.summary["staleness_ms"]["p50"] is None
    assert result.orders["status"].to_list() == ["rejected"]


def test_the_trace_is_in_the_order_of_time(tmp_path):
    quotes = [Quote(n * 7, bid=90 + n % 5, ask=92 + n % 5) for n in range(30)]
    loop = {"model_uri": "models:/m/1", "polling": "on_feature", "service_time": "6ms"}
    trader = Trader(*((n * 5, ALPHA, 1 if n % 2 else -1) for n in range(30)))
    result = play(
        tmp_path, trader, quotes, featurizer=MIDS, inference=loop, entry="2ms", window_rows=4
    )
    heads = [np.frombuffer(entry, "<i8", 4).tolist() for _, entry in result.trace]
    assert len(heads) > 200
    assert all(earlier < later for earlier, later in itertools.pairwise(heads))
    assert [instant for instant, _ in result.trace] == [head[0] for head in heads]


def test_one_bit_of_one_prediction_changes_the_digest(tmp_path):
    class Nudged(Constant):
        def predict(self, values: np.ndarray) -> np.ndarray:
            answers = values[:, 0].copy()
            answers[answers == 95.0] = np.nextafter(95.0, 96.0)
            return answers

    quotes = [Quote(n * 7, bid=90 + n, ask=92 + n) for n in range(9)]
    make_catalog(tmp_path / "market", {ALPHA: quotes})
    loop = {"model_uri": "models:/m/1", "polling": "on_feature"}
    mapping = content(tmp_path / "market", [ALPHA], featurizer=MIDS, inference=loop)
    digests = [
        Run(Scenario.model_validate(mapping), Strategy(), Catalog(tmp_path / "market"), {"main": m})
        .execute()
        .trace_digest
        for m in (Constant(), Constant(), Nudged())
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_strategys_own_request_is_answered_after_its_latency(tmp_path):
    class Asks(Recorder):
        submits_requests = True

        def on_start(self, ctx: Any) -> None:
            ctx.call_at(at(50))

        def on_timer(self, ctx: Any, name: str) -> None:
            self.note(ctx, "asked", ctx.inference.submit((7.0, 0.5)))

        def on_prediction(self, ctx: Any, prediction: Any) -> None:
            self.note(ctx, "answer", (prediction.number, prediction.value))

    asks = Asks()
    loop = {"model_uri": "models:/m/1", "polling": "on_feature", "service_time": "3ms"}
    result = play(tmp_path, asks, [Quote(1), Quote(80)], featurizer=MIDS, inference=loop)
    assert asks.heard == [
        *((4.0, "answer", (0, 100.0)), (50.0, "asked", 1), (53.0, "answer", (1, 7.0))),
        (83.0, "answer", (2, 100.0)),
    ]
    assert result.summary["mode"] == "lockstep"
    assert result.predictions["own"].to_list() == [False, True, False]


def test_a_bar_is_heard_of_when_it_is_received(tmp_path):
    class Bars(Recorder):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            self.note(ctx, "bar", (bar.close, since(bar.open_time), bar.instrument))

    bars = {
        "event_time": [at(100), at(200)],
        "receipt_time": [at(103), at(203)],
        "sequence": [0, 1],
        "open_time": [at(0), at(100)],
        **{name: [100.0, 101.0] for name in ("open", "high", "low", "close")},
        "volume": [5.0, 6.0],
    }
    folder = tmp_path / "bars"
    catalog = make_catalog(folder, {ALPHA: [Quote(0)]})
    catalog.write(ALPHA, "bars", {name: np.array(values) for name, values in bars.items()})
    strategy = Bars()
    Run(Scenario.model_validate(content(folder, [ALPHA])), strategy, catalog, {}).execute()
    assert strategy.heard == [
        (103.0, "bar", (100.0, 0.0, ALPHA)),
        (203.0, "bar", (101.0, 100.0, ALPHA)),
    ]


def test_loading_a_folder_without_a_result_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match=r"it has no summary\.json"):
        load_result(tmp_path)


def test_latencies_come_from_the_seed_and_from_nothing_else(tmp_path: Path):
    quotes = [Quote(0, ask_quantity=1000)]
    latency = {"kind": "lognormal", "median": "5ms", "p99": "30ms"}
    arrivals = []
    for seed, entry in ((1, latency), (1, latency), (2, latency)):
        trader = Trader(*((n * 50, ALPHA, 1) for n in range(10)))
        result = play(tmp_path, trader, quotes, entry=entry, seed=seed)
        arrivals.append(result.orders["arrived_at"].to_physical().to_list())
    assert arrivals[0] == arrivals[1] != arrivals[2]
    assert min(arrivals[0]) >= START
