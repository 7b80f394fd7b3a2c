"""The express lane does what the venue in Python does, to the last byte of the trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.engine import Engine
from backtester.result import RunResult
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from backtester.venue.resting import RestingOrders
from featurizer.catalog import Catalog
from featurizer.synthetic import SyntheticMarket, write_synthetic
from tests.mutants.planting import without_express

NAME = "SIM.ALPHA"
START = 1_704_067_200_000_000_000
MARKET = SyntheticMarket.model_validate(
    {
        "seed": 3,
        "start": START,
        "duration": "3s",
        "quote_interval": "1ms",
        "trade_share": 0.25,
        "kinds": ["quotes", "trades"],
        "feed_latency": {"kind": "uniform", "low": "1ms", "high": "5ms"},
    }
)


class Maker(Strategy):
    """Keeps an order at the best price of each side; asks for a stop after so many quotes."""

    def __init__(self, stop_after: int = 0) -> None:
        self.bid = self.ask = 0.0
        self.buy = self.sell = self.count = 0
        self.stop_after = stop_after

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.count += 1
        bid, ask = quote
        if bid != self.bid:
            self.bid = bid
            if self.buy and not self.count % 3:
                ctx.modify(self.buy, quantity=0.003)
            elif self.buy:
                ctx.cancel(self.buy)
            self.buy = ctx.buy(NAME, 0.002, bid, post_only=self.count % 2 == 0)
        if ask != self.ask:
            self.ask = ask
            if self.sell:
                ctx.modify(self.sell, limit_price=ask)
            if self.sell not in {order.number for order in ctx.orders()}:
                self.sell = ctx.sell(NAME, 0.002, ask)
        if not self.count % 200:
            ctx.cancel_all()
            ctx.record("held", ctx.portfolio.position())
        if self.count == self.stop_after:
            ctx.buy(NAME, 0.001, stop_price=2 * ask)


class Hearing(Maker):
    """Hears of everything, and answers some of it."""

    def __init__(self, stop_after: int = 0) -> None:
        super().__init__(stop_after)
        self.heard = 0

    def on_order(self, ctx: Any, report: Any) -> None:
        self.heard += 1
        if not self.heard % 5:
            ctx.record("open", len(ctx.orders()))

    def on_fill(self, ctx: Any, fill: Any) -> None:
        ctx.record("cash", ctx.portfolio.cash)
        if not self.heard % 7:
            (ctx.buy if fill.side < 0 else ctx.sell)(NAME, 0.001)
        if not self.heard % 11:
            ctx.call_at(ctx.now + 700_000)

    def on_timer(self, ctx: Any, name: str) -> None:
        ctx.sell(NAME, 0.001)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder: Path = tmp_path_factory.mktemp("express")
    write_synthetic(MARKET, folder)
    return Catalog(folder)


def play(catalog: Catalog, strategy: Strategy, rows: int = 500, **more: Any) -> RunResult:
    content: dict[str, Any] = {
        "name": "express",
        "data": {
            "catalog": str(catalog.root),
            "instruments": [NAME],
            "start": START,
            "until": START + 3_000_000_000,
        },
        "strategy": {"class": "backtester.strategies.BuyAndHold", "params": {"quantity": 1}},
        "execution": {"entry_latency": "2ms", "response_latency": "2ms"},
        "portfolio": {"quote": "USD", "balances": {"USD": 1000}},
    }
    for name, value in more.items():
        content[name] = content[name] | value
    return Run(Scenario.model_validate(content), strategy, catalog, {}).execute(rows)


DRAWN = {
    "entry_latency": {"kind": "lognormal", "median": "2ms", "p99": "9ms"},
    "response_latency": {"kind": "uniform", "low": "1ms", "high": "5ms"},
}
CASES: dict[str, tuple[type[Maker], dict[str, Any]]] = {
    "unheard": (Maker, {}),
    "heard": (Hearing, {}),
    "drawn": (Hearing, {"execution": DRAWN}),
    "busy": (Maker, {"execution": {"decision_latency": "300us"}}),
    "at-once": (Hearing, {"execution": {"entry_latency": 0}}),
    "both-canceled": (Hearing, {"execution": {"self_trade": "cancel_both", "queue_model": "log"}}),
    "poor": (
        Hearing,
        {
            "portfolio": {"balances": {"USD": 0.02}, "leverage": 20},
            "execution": {"margin": {"maintenance": 0.0499}},
        },
    ),
    "rich": (Maker, {"portfolio": {"balances": {"USD": 20_000_000_000}}}),
}


def assert_same(one: RunResult, other: RunResult) -> None:
    """Assert that two runs did the same, in the trace and in every frame."""
    assert one.trace_digest == other.trace_digest
    for name in ("orders", "order_changes", "fills", "reports", "equity", "records"):
        assert getattr(one, name).equals(getattr(other, name)), name
    numbers = [dict(result.summary) for result in (one, other)]
    assert numbers[0] == numbers[1]


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [0, 1, 1234])
@pytest.mark.parametrize("case", CASES)
def test_a_run_is_the_same_by_the_lane_in_python_and_from_one_to_the_other(
    catalog: Catalog, case: str, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, more = CASES[case]
    fast = play(catalog, maker(stop_after), **more)
    without_express(monkeypatch)
    plain = play(catalog, maker(stop_after), rows=3000, **more)
    assert_same(fast, plain)
    assert len(fast.fills) > 20


@pytest.mark.slow
def test_that_would_fail_if_the_queue_were_lost_on_the_way(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = play(catalog, Maker(1234))
    real = RestingOrders.resume
    monkeypatch.setattr(
        RestingOrders,
        "resume",
        lambda self, resting, queue, ahead: real(self, resting, queue, np.zeros_like(ahead)),
    )
    assert play(catalog, Maker(1234)).trace_digest != result.trace_digest


@pytest.mark.slow
def test_only_a_run_that_asks_for_more_leaves_the_lane_before_its_end(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[tuple[int, bool]] = []
    real = Engine.hand_over

    def hand_over(self: Engine, *, in_danger: bool = False) -> None:
        if self.express is not None:
            left.append((self.clock.now, in_danger))
        real(self, in_danger=in_danger)

    monkeypatch.setattr(Engine, "hand_over", hand_over)
    for stop_after, more in ((0, "unheard"), (1234, "unheard"), (0, "poor")):
        play(catalog, CASES[more][0](stop_after), **CASES[more][1])
    end = START + 3_000_000_000
    assert left[0] == (end, False)
    assert left[1][0] < end
    assert left[2][0] < end
    assert left[2][1]
