"""Each action has a latency of its own, and nothing overtakes on one connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.execution_config import ExecutionConfig
from backtester.gateway import Gateway
from backtester.latencies import action_samplers
from clock.latency import Lognormal
from clock.sampler import Sampler
from tests.backtester.worlds import ALPHA, Quote, Recorder, Trade, at, play, since
from tests.mutants.planting import without_express

ACTIONS = ("new", "cancel", "modify", "acknowledgement", "fill")


class Plan(Recorder):
    """Does given things at given milliseconds: `buy`, `rest`, `cancel`, `modify`."""

    def __init__(self, *steps: tuple[float, str]) -> None:
        super().__init__()
        self.steps = dict(steps)
        self.resting = 0

    def on_start(self, ctx: Any) -> None:
        for ms, name in self.steps.items():
            ctx.call_at(at(ms), name)

    def on_timer(self, ctx: Any, name: str) -> None:
        if name == "buy":
            ctx.buy(ALPHA, 0.1)
        elif name == "rest":
            self.resting = ctx.buy(ALPHA, 1.0, 99.5)  # nobody is ahead of us there
        elif name == "cancel":
            ctx.cancel(self.resting)
        else:
            ctx.modify(self.resting, quantity=0.5)

    def on_order(self, ctx: Any, report: Any) -> None:
        sent = (report.kind.name.lower(), since(report.venue_time))
        self.note(ctx, "order", sent)


def told(strategy: Recorder) -> list[tuple[str, float, float]]:
    """Return (kind, ms at the venue, ms at which we heard) of each report."""
    return [(kind, made, ms) for ms, _, (kind, made) in strategy.heard]


def execution(**given: Any) -> dict[str, Any]:
    """Return an execution; actions are named apart, other settings replace the default ones."""
    latency = {name: given.pop(name) for name in ACTIONS if name in given}
    defaults = {"entry_latency": "4ms", "response_latency": "6ms"}
    return {"execution": defaults | given | {"latency": latency}}


def test_each_action_takes_its_own_latency(tmp_path):
    plan = Plan((10, "rest"), (50, "modify"), (90, "cancel"))
    latencies = execution(new="1ms", modify="2ms", cancel="3ms", acknowledgement="5ms", fill="7ms")
    trades = {ALPHA: [Trade(70, price=99.5, quantity=0.1, aggressor=-1)]}
    play(tmp_path, plan, [Quote(0)], trades=trades, **latencies)
    assert told(plan) == [
        ("accepted", 11.0, 16.0),
        ("modified", 52.0, 57.0),
        ("filled", 70.0, 77.0),
        ("canceled", 93.0, 98.0),
    ]


def test_what_is_not_named_has_the_latency_of_its_direction(tmp_path):
    plan = Plan((10, "rest"), (50, "cancel"))
    play(tmp_path, plan, [Quote(0)], **execution(cancel="1ms"))
    assert told(plan) == [("accepted", 14.0, 20.0), ("canceled", 51.0, 57.0)]


def test_a_cancel_faster_than_its_order_waits_behind_it(tmp_path):
    plan = Plan((10, "rest"), (11, "cancel"))
    result = play(tmp_path, plan, [Quote(0)], **execution(new="20ms", cancel="1ms"))
    assert told(plan) == [("accepted", 30.0, 36.0), ("canceled", 30.0, 36.0)]
    assert result.order_changes["arrived_at"].to_physical().to_list() == [at(30)]


def test_a_fast_fill_report_waits_behind_a_slow_acknowledgement(tmp_path):
    plan = Plan((10, "buy"))
    play(tmp_path, plan, [Quote(0)], **execution(acknowledgement="30ms", fill="1ms"))
    assert told(plan) == [("accepted", 14.0, 44.0), ("filled", 14.0, 44.0)]


def test_a_slow_fill_report_does_not_hold_up_what_was_said_before(tmp_path):
    plan = Plan((10, "buy"))
    play(tmp_path, plan, [Quote(0)], **execution(acknowledgement="1ms", fill="30ms"))
    assert told(plan) == [("accepted", 14.0, 15.0), ("filled", 14.0, 44.0)]


def test_a_setting_for_one_action_changes_no_draw_of_another(tmp_path):
    wild = {"kind": "uniform", "low": "1ms", "high": "9ms"}
    steps = [(10.0 * n, "buy") for n in range(1, 30)]
    plain, other = Plan(*steps), Plan(*steps)
    quotes = [Quote(0, ask_quantity=100)]
    both = {"entry_latency": wild, "response_latency": wild}
    first = play(tmp_path, plain, quotes, **execution(**both))
    second = play(tmp_path, other, quotes, **execution(**both, cancel="1ms", fill="500ms"))
    for name in ("sent_at", "arrived_at"):
        assert first.orders[name].to_list() == second.orders[name].to_list()
    accepted = [
        [ms for kind, _, ms in told(strategy) if kind == "accepted"] for strategy in (plain, other)
    ]
    # one at a time: before any fill report is heard, nothing holds the acknowledgements up
    assert accepted[0][0] == accepted[1][0]
    assert len(set(first.orders["arrived_at"] - first.orders["sent_at"])) > 20


def test_a_recorded_latency_is_read_at_the_instant_at_which_the_message_leaves(tmp_path):
    recording = tmp_path / "recorded.parquet"
    stamps = [at(0), at(100), at(200)]
    pl.DataFrame({"at": stamps, "took": [0, 10_000_000, 10_000_000]}).write_parquet(recording)
    model = {
        "kind": "interpolated",
        "path": str(recording),
        "instant_column": "at",
        "latency_column": "took",
    }
    plan = Plan((50, "buy"), (150, "buy"))
    latencies = execution(new=model, acknowledgement="0ms", fill="0ms", decision_latency="10ms")
    result = play(tmp_path, plan, [Quote(0)], **latencies)
    # the timer of 50 leaves at 60, when the recording says 6 ms
    assert [since(t) for t in result.orders["arrived_at"].to_physical()] == [66.0, 170.0]


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["buy", "rest", "cancel", "modify"])),
             min_size=2, max_size=25, unique_by=lambda step: step[0]),
    st.integers(0, 5),
)  # fmt: skip
@pytest.mark.slow
def test_no_message_overtakes_another_whatever_they_are_about(tmp_path_factory, steps, seed):
    """The oracle is the rule itself: arrival = max(own draw, arrival of the one sent before)."""
    slow = {"kind": "lognormal", "median": "3ms", "p99": "60ms"}
    fast = {"kind": "uniform", "low": "0ms", "high": "2ms"}
    plan = Plan((0.0, "rest"), *((float(ms), name) for ms, name in sorted(steps)))
    folder: Path = tmp_path_factory.mktemp("overtaking")
    result = play(folder, plan, [Quote(0)], seed=seed, **execution(new=slow, cancel=fast))
    sent = [
        (row["sent_at"], row["arrived_at"], kind)
        for frame in (result.orders, result.order_changes)
        for row in frame.with_columns(pl.col("sent_at", "arrived_at").to_physical()).to_dicts()
        for kind in [row.get("kind", "new")]
    ]
    config = ExecutionConfig.model_validate(execution(new=slow, cancel=fast)["execution"])
    samplers = action_samplers(config, seed)
    before = 0
    for leaves, arrived, kind in sorted(sent):
        own = leaves + getattr(samplers, kind).draw(leaves, leaves, 0)
        before = max(before, own)
        assert arrived == before
    made = result.reports.sort("report")["visible_at"].to_physical().to_numpy()
    assert (np.diff(made) >= 0).all()


def test_without_the_queue_of_a_connection_a_cancel_would_overtake_its_order(tmp_path, monkeypatch):
    """The mutant: every message for itself. The rule above would be broken, and the test fail."""
    real = Gateway.send

    def send(self: Gateway, message: Any) -> int:
        self._last_arrival = 0
        return real(self, message)

    monkeypatch.setattr(Gateway, "send", send)
    without_express(monkeypatch)
    plan = Plan((10, "rest"), (11, "cancel"))
    result = play(tmp_path, plan, [Quote(0)], **execution(new="20ms", cancel="1ms"))
    assert result.order_changes["arrived_at"].to_physical().to_list() == [at(12)]
    assert [kind for kind, _, _ in told(plan)] == ["cancel_rejected", "accepted"]


def test_all_of_a_direction_share_one_stream_of_draws():
    spread = {"kind": "lognormal", "median": "3ms", "p99": "60ms"}
    config = ExecutionConfig.model_validate(
        {"entry_latency": spread, "response_latency": spread, "decision_latency": spread}
    )
    samplers = action_samplers(config, seed=9)
    streams = ("order_entry",) * 3 + ("order_response",) * 2 + ("decision",)
    model = Lognormal(median="3ms", p99="60ms")
    for sampler, stream in zip(samplers, streams, strict=True):
        assert sampler.draw(5, 5, 1) == Sampler(model, 9, stream).draw(5, 5, 1)


def test_a_fill_is_measured_against_our_mid_when_its_price_was_decided_on(tmp_path):
    class Moves(Recorder):
        def on_start(self, ctx: Any) -> None:
            for ms, name in ((10, "rest"), (30, "move"), (50, "across")):
                ctx.call_at(at(ms), name)

        def on_timer(self, ctx: Any, name: str) -> None:
            if name == "rest":
                ctx.buy(ALPHA, 1.0, 99.5)
            elif name == "move":
                ctx.modify(1, limit_price=109.5)
            else:
                ctx.modify(1, limit_price=200.0, quantity=0.9)  # arrives when all is filled

    quotes = [Quote(0), Quote(20, bid=109, ask=111), Quote(40, bid=129, ask=131)]
    trades = {
        ALPHA: [
            Trade(15, price=99.5, quantity=0.2, aggressor=-1),
            Trade(35, price=109.5, quantity=0.3, aggressor=-1),
            Trade(52, price=109.5, quantity=0.5, aggressor=-1),
        ]
    }
    result = play(tmp_path, Moves(), quotes, trades=trades, **execution(new="1ms", modify="3ms"))
    assert result.fills["price"].to_list() == [99.5, 109.5, 109.5]
    assert result.fills["decision_mid"].to_list() == [100.0, 110.0, 110.0]
    assert result.fills["slippage_bps"].to_list() == pytest.approx(
        [-50.0, (109.5 / 110 - 1) * 1e4, (109.5 / 110 - 1) * 1e4]
    )
    assert result.order_changes["decision_mid"].to_list() == [110.0, 130.0]
