"""Paper runs on a host whose time the test moves: they wait, they hear, and they are repeatable."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtester.paper.pacer import Doorbell
from backtester.paper.run import PaperRun
from backtester.report.paired import matched_orders, paired
from backtester.result import RunResult, load_result
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from clock.wall import WallClock
from inference.backend import Reply
from inference.schedule import Outcome, Reason
from tests.backtester.worlds import (
    ALPHA,
    MIDS,
    MS,
    ON_FEATURE,
    Constant,
    Quote,
    content,
    make_catalog,
    since,
)

HOST_START = 5_000_000
GAPS = np.random.default_rng(5).integers(1, 12, 150)
MARKET = [
    Quote(float(ms), bid=90 + n % 7, ask=92 + n % 7, bid_quantity=5 + n % 3)
    for n, ms in enumerate(np.cumsum(GAPS))
]
GRID = {**MIDS, "sampling": "10ms"}


class Flips(Strategy):
    """Turns around at every other prediction, and notes when it heard it."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        self.heard.append((ctx.now, prediction.emitted_at))
        assert prediction.visible_at <= ctx.now
        if len(self.heard) % 2:
            side = ctx.buy if len(self.heard) % 4 == 1 else ctx.sell
            side(prediction.instrument, 0.1)


class Host:
    """Time that passes while somebody sleeps; *late* ns more than was asked for."""

    def __init__(self, late: int = 0) -> None:
        self.time, self.late = HOST_START, late
        self.pending: list[tuple[int, Future[Reply], Reply]] = []

    def pass_to(self, until: int) -> None:
        """Let replies come that are due, one at a time."""
        due = min((one[0] for one in self.pending), default=until)
        self.time = max(self.time, min(due, until) + self.late)
        self.answer()

    def answer(self) -> None:
        for one in [one for one in self.pending if one[0] <= self.time]:
            self.pending.remove(one)
            if not one[1].cancelled():
                one[1].set_result(one[2]._replace(received_at=self.time))


class Bell(Doorbell):
    """Sleeps by letting the host's time pass."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def wait(self, duration_ns: int) -> None:
        self.host.pass_to(self.host.time + duration_ns)


class Delayed:
    """Answers as the model does, a while later; every `fails`-th request fails."""

    feature_names = ("mid", "imbalance")

    def __init__(self, host: Host, delay: int, fails: int = 0) -> None:
        self.host, self.delay, self.fails, self.asked = host, delay, fails, 0

    def submit(self, values: np.ndarray) -> Future[Reply]:
        future: Future[Reply] = Future()
        now, self.asked = self.host.time, self.asked + 1
        done = now + self.delay
        reply = Reply(Outcome.COMPLETED, float(values[0]), now, done, now, done, "r")
        if self.fails and self.asked % self.fails == 0:
            reply = Reply(Outcome.FAILED, np.nan, now, done, reason=Reason.ERROR, error="broke")
        self.host.pending.append((done, future, reply))
        self.host.answer()
        return future

    def predict(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0]

    def close(self) -> None:
        pass


class Desk:
    """One small market, and runs of it."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.catalog = make_catalog(root / "market", {ALPHA: MARKET})
        chosen = {"until": 900, "featurizer": GRID, "entry": "2ms", "response": "1ms"}
        self.settings = {**chosen, **settings}

    def scenario(self, latency: Any, **settings: Any) -> Scenario:
        given = {**self.settings, **settings}
        loop = {**ON_FEATURE, "num_replicas": 3, "latency": latency, **given.pop("loop", {})}
        made = content(self.catalog.root, [ALPHA], **{**given, "inference": loop})
        return Scenario.model_validate(made)

    def backtest(self, latency: Any, strategy: Strategy | None = None, **more: Any) -> RunResult:
        scenario = self.scenario(latency, **more)
        run = Run(scenario, strategy or Flips(), self.catalog, {"main": Constant()})
        return run.execute()

    def paper(
        self,
        delay: int,
        strategy: Strategy | None = None,
        *,
        late: int = 0,
        speed: float = 1.0,
        fails: int = 0,
        window_rows: int = 40,
        **more: Any,
    ) -> tuple[RunResult, PaperRun]:
        scenario, host = self.scenario(0, **more), Host(late)
        run = PaperRun(
            scenario,
            strategy or Flips(),
            self.catalog,
            {"main": Constant()},
            backends={"main": {"": Delayed(host, delay, fails)}},
            clock=WallClock(lambda: host.time, start=scenario.data.start, speed=speed),
            doorbell=Bell(host),
            max_lag_ns=2 * MS,
        )
        return run.execute(window_rows), run


def assert_same_run(paper: RunResult, backtest: RunResult) -> None:
    for name in ("orders", "fills", "reports", "equity"):
        assert getattr(paper, name).equals(getattr(backtest, name)), name
    columns = ["number", "emitted_at", "submitted_at", "sent_at", "visible_at", "outcome", "value"]
    columns += ["superseded", "attempts", "label_before", "label_after"]
    assert paper.predictions.select(columns).equals(backtest.predictions.select(columns))


@pytest.mark.slow
@pytest.mark.parametrize("featurizer", [GRID, MIDS], ids=["grid", "quotes"])
@pytest.mark.parametrize(
    ("loop", "delay"),
    [
        ({}, 0),
        ({}, 6),
        ({"polling": "continuous", "max_in_flight": 1}, 0),
        ({"polling": "continuous", "max_in_flight": 1}, 6),
        # in its turn, the last thing of an instant, a loop cannot be answered in the same instant
        ({"polling": {"every": "7ms"}}, 6),
        ({"max_in_flight": 1, "on_new": "queue"}, 6),
        ({"timeout": "4ms"}, 3),
    ],
    ids=str,
)
def test_on_a_host_that_is_never_late_a_paper_run_is_its_backtest(
    tmp_path: Path, featurizer: Any, loop: Any, delay: int
) -> None:
    desk = Desk(tmp_path, featurizer=featurizer, loop={"max_in_flight": 8, **loop})
    result, run = desk.paper(delay * MS)
    backtest = desk.backtest(f"{delay}ms")
    assert len(backtest.orders) > 20
    assert_same_run(result, backtest)
    assert result.summary["kind"] == "paper"
    assert (run.pacer.lag.late, run.pacer.lag.most_ns) == (0, 0)
    assert result.summary["paper"]["is_reproducible"] is False
    found = paired(result, backtest)
    assert found["orders"]["share"] == found["held"]["share"] == 1
    assert found["profit"]["difference"] == 0


@pytest.mark.slow
def test_scenario_time_may_pass_faster_and_real_latencies_grow_with_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    result, run = desk.paper(2 * MS, speed=4.0)
    assert_same_run(result, desk.backtest("8ms"))
    assert run.pacer.clock.host_now == HOST_START + 900 * MS // 4


class Asks(Flips):
    """Asks on its own at every fifth quote, too."""

    submits_requests = True

    def __init__(self) -> None:
        super().__init__()
        self.quotes = 0

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.quotes += 1
        if self.quotes % 5 == 0:
            ctx.inference.submit((float(self.quotes), 0.0))


@pytest.mark.slow
def test_a_strategy_s_own_requests_are_answered_in_real_time_too(tmp_path: Path) -> None:
    desk = Desk(tmp_path, loop={"max_in_flight": 8})
    result, _ = desk.paper(6 * MS, Asks())
    backtest = desk.backtest("6ms", Asks())
    assert_same_run(result, backtest)
    own = result.predictions.filter(pl.col("own") & (pl.col("outcome") == "completed"))
    assert len(own) > 20


@pytest.mark.slow
def test_a_late_host_is_told_and_nothing_is_known_too_early(tmp_path: Path) -> None:
    strategy = Flips()
    result, run = Desk(tmp_path).paper(6 * MS, strategy, late=3 * MS)
    lag = result.summary["paper"]["lag"]
    assert lag["late"] > 0
    assert lag["max_ms"] >= 3
    assert lag["is_exceeded"] is True
    assert run.pacer.lag.quantile_ns(0.99) <= run.pacer.lag.most_ns
    done = result.predictions.filter(pl.col("outcome") == "completed")
    assert len(done) > 20
    stamps = ("submitted_at", "sent_at", "started_at", "completed_at", "visible_at")
    for earlier, later in pairwise(stamps):
        assert (done[earlier] <= done[later]).all(), (earlier, later)
    assert [now for now, _ in strategy.heard] == sorted(now for now, _ in strategy.heard)


class Stops(Flips):
    """Ends the run from within, as Ctrl-C does from without."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.run: Any = None

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        super().on_prediction(ctx, prediction)
        if len(self.heard) == self.after:
            self.stop()

    def stop(self) -> None:
        raise NotImplementedError


@pytest.mark.slow
def test_a_stopped_run_holds_what_a_backtest_up_to_then_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, loop={"max_in_flight": 8})
    strategy = Stops(after=30)
    execute = PaperRun.execute

    def stoppable(run: PaperRun, *given: Any) -> RunResult:
        monkeypatch.setattr(strategy, "stop", run.pacer.stop)
        return execute(run, *given)

    monkeypatch.setattr(PaperRun, "execute", stoppable)
    result, run = desk.paper(17 * MS, strategy)
    assert result.summary["paper"]["stopped"] == "interrupted"
    assert 0 < since(run.until) < 900
    until = since(run.until)
    same = desk.backtest("17ms", until=until)
    assert_same_run(result, same)
    for name in ("until", "profit", "events", "orders", "open_positions", "in_flight"):
        assert result.summary[name] == same.summary[name], name
    assert result.summary["predictions"]["in_flight"] > 0
    result.save(tmp_path / "saved", picture=False)
    saved = load_result(tmp_path / "saved")
    assert saved.measured is not None
    assert saved.measured.equals(result.measured)


@pytest.mark.slow
def test_failures_of_the_deployment_are_counted_and_told(tmp_path: Path) -> None:
    result, _ = Desk(tmp_path).paper(6 * MS, fails=3)
    counts = result.summary["predictions"]
    assert counts["failed"] == counts["submitted"] // 3 > 10
    errors = result.summary["paper"]["errors"]["main"]
    assert errors["count"] == counts["failed"]
    assert set(errors["newest"]) == {"broke"}
    assert counts["completed"] + counts["failed"] + counts["in_flight"] == counts["submitted"]


@pytest.mark.slow
def test_a_backtest_can_take_what_a_paper_run_measured(tmp_path: Path) -> None:
    desk = Desk(tmp_path, loop={"max_in_flight": 8})
    result, _ = desk.paper(6 * MS)
    result.save(tmp_path / "saved", picture=False)
    path = str(tmp_path / "saved" / "measured.parquet")
    assert result.measured is not None
    assert set(result.measured["service_time"].dt.total_nanoseconds()) == {6 * MS}
    assert set(result.measured["back"].dt.total_nanoseconds()) == {0}
    profile = {"kind": "profile", "path": path}
    times: list[Any] = [
        {"service_time": profile},
        {"service_time": {"kind": "empirical", "path": path, "column": "service_time"}},
        {"service_time": {"kind": "interpolated", "path": path}},
    ]
    for time in times:
        assert_same_run(result, desk.backtest(0, loop={"max_in_flight": 8, **time}))


@pytest.mark.slow
def test_two_runs_are_compared_order_by_order_and_row_by_row(tmp_path: Path) -> None:
    desk = Desk(tmp_path, loop={"max_in_flight": 8})
    result, _ = desk.paper(6 * MS)
    other = desk.backtest("17ms")
    found = paired(result, other)
    table = matched_orders(result, other)
    assert table["paper"].sum() == len(result.orders)
    assert table["backtest"].sum() == len(other.orders)
    # a row comes every 10 ms: at each, the newest answer is 10 ms old here, 20 ms old there
    assert found["held"]["share"] == 0
    assert found["held"]["rows"] > 80
    # but each answer makes the same order, as long as it comes before the end
    assert found["orders"]["matched"] == len(other.orders) == len(result.orders) - 1
    assert found["orders"]["share"] == round(len(other.orders) / len(result.orders), 6)
    short = desk.backtest("6ms", until=500)
    with pytest.raises(ValueError, match="must cover the same range: got `until`"):
        paired(result, short)
