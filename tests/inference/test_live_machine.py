"""A live loop under any interleaving of rows, replies, losses and redeployments: law 6 and law 7.

What the loop decides is compared with the simulated one elsewhere; here nothing is simulated, and
the model is a list of what the test itself did.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from backtester.causality.strategies.deployments import breakers
from backtester.causality.strategies.serving import ANSWERS, POLLINGS, RETRIES, TIMEOUTS, caches
from clock.rank import Rank
from inference.rows import MISSING, Rows, no_rows
from inference.schedule import LoopOutput, Outcome, Reason
from tests.inference.live_cases import Host, ScriptedBackend, Sent, live_loop
from tests.inference.serving_cases import COLUMNS, MS, READ, Block, as_config

NOTHING = no_rows(len(COLUMNS))
STAMPS = ("submitted_at", "first_sent_at", "sent_at", "started_at", "completed_at", "visible_at")

configurations = st.fixed_dictionaries(
    {
        "polling": POLLINGS,
        "max_in_flight": st.integers(1, 3),
        "on_new": st.sampled_from(["replace", "queue"]),
    },
    optional={
        "timeout": TIMEOUTS,
        "retry": RETRIES,
        "cache": caches(READ),
        "circuit_breaker": breakers(ANSWERS, nan=True),
    },
)


class LiveMachine(RuleBasedStateMachine):
    """Whatever happens, each request ends once, and nothing is known before it could be."""

    def __init__(self) -> None:
        super().__init__()
        self.host = Host()
        self.now, self.rank = 0, 0
        self.rows = 0
        self.told_by_owner = False
        self.ended: dict[int, int] = {}
        self.submitted: list[int] = []
        self.attempts: set[tuple[int, int]] = set()
        self.newest: dict[int, int] = {}
        self.values: set[float] = {7.5}
        self.last_visible = (0, 0)

    @initialize(block=configurations)
    def build(self, block: Block) -> None:
        try:
            self.config = as_config(block)
        except ValueError:
            block.pop("retry", None)
            self.config = as_config(block)
        self.backends = [ScriptedBackend(self.host)]
        self.loop = live_loop(self.config, self.host.clock(), self.backends[0])
        self._push(NOTHING, 0, 0)

    def _push(self, rows: Rows, until: int, rank: int) -> None:
        before = (self.now, self.rank)
        self.host.time = max(self.host.time, until)
        output = self.loop.push(rows, until, rank)
        self.now, self.rank = until, max(rank, self.rank) if until == before[0] else rank
        self._check(output, before, (until, rank))

    def _check(self, output: LoopOutput, before: tuple[int, int], reached: tuple[int, int]) -> None:
        self.submitted += output.submissions.number.tolist()
        outcomes = output.outcomes
        for place, number in enumerate(outcomes.number.tolist()):
            assert number not in self.ended, f"request {number} ended twice"
            one = {name: getattr(outcomes, name)[place] for name in outcomes._fields}
            self.ended[number] = int(one["outcome"])
            self._check_stamps(one)
            assert before[0] <= one["visible_at"] <= reached[0]
            assert self.last_visible[0] <= one["visible_at"]
            self.last_visible = (int(one["visible_at"]), 0)
            if one["outcome"] == Outcome.COMPLETED:
                self._check_answer(one)
            else:
                assert np.isnan(one["value"])
        for key in zip(
            output.attempts.number.tolist(), output.attempts.attempt.tolist(), strict=True
        ):
            assert key not in self.attempts, f"attempt {key} ended twice"
            self.attempts.add(key)
        assert (output.attempts.ended_at >= output.attempts.visible_at).all()

    def _check_stamps(self, one: dict[str, Any]) -> None:
        reached = [int(one[name]) for name in STAMPS if one[name] != MISSING]
        assert reached == sorted(reached), one

    def _check_answer(self, one: dict[str, Any]) -> None:
        assert np.isnan(one["value"]) or float(one["value"]) in self.values
        if one["own"]:
            return
        instrument, row = int(one["instrument"]), int(one["emitted_at"])
        newest = self.newest.get(instrument, -1)
        assert bool(one["superseded"]) == (row < newest)
        self.newest[instrument] = max(newest, row)

    # --- rules -----------------------------------------------------------------------------------

    @rule(gap=st.integers(1, 9), of=st.integers(0, 1), value=st.sampled_from([0.0, 1.0, np.nan]))
    def a_row_becomes_visible(self, gap: int, of: int, value: float) -> None:
        at = self.now + gap * MS
        stamps = np.array([at], np.int64)
        tie = np.zeros(1, np.int64)
        values = np.full((1, len(COLUMNS)), value)
        row = Rows(stamps, stamps, stamps - 1, tie, tie + of, values)
        for column in row:
            column.flags.writeable = False
        self.rows += 1
        self._push(row, at, Rank.FEATURE_ROW + 1)

    @rule(gap=st.integers(0, 30), rank=st.sampled_from([0, 6, 7, 9]))
    def time_passes(self, gap: int, rank: int) -> None:
        self._push(NOTHING, self.now + gap * MS, rank)

    @rule(lag=st.integers(0, 15))
    def the_host_runs_ahead_of_whoever_looks(self, lag: int) -> None:
        self.host.time += lag * MS

    @rule()
    def the_next_thing_happens(self) -> None:
        instant, rank = self.loop.next_due
        if instant < self.now + 10_000 * MS:
            self._push(NOTHING, max(instant, self.now), rank + 1)

    def _waiting(self) -> list[Sent]:
        return [sent for backend in self.backends for sent in backend.waiting]

    @rule(which=st.integers(0, 9), how=st.sampled_from(["value", "value", "nan", "fail", "full"]))
    def a_reply_comes(self, which: int, how: str) -> None:
        waiting = self._waiting()
        if not waiting:
            return
        sent = waiting[which % len(waiting)]
        if how == "fail":
            sent.fail()
        elif how == "full":
            sent.answer(np.nan, Outcome.REJECTED, Reason.QUEUE_FULL)
        else:
            value = np.nan if how == "nan" else float(len(self.values))
            self.values.add(value)
            began = self.host.time - 2 * MS  # by a clock that may be off
            sent.answer(value, started_at=began, completed_at=began + MS, replica=f"r{which}")

    @rule(which=st.integers(0, 9))
    def a_request_is_lost_with_its_replica(self, which: int) -> None:
        waiting = self._waiting()
        if waiting:
            waiting[which % len(waiting)].future.cancel()

    @rule()
    def it_is_deployed_anew(self) -> None:
        self.backends.append(ScriptedBackend(self.host))
        assert self.loop.live is not None
        self.loop.live.redeploy(self.backends[-1])

    @rule()
    def the_deployment_is_closed_and_another_takes_its_place(self) -> None:
        self.backends[-1].close()
        self.it_is_deployed_anew()

    @rule(ahead=st.integers(0, 3))
    def the_owner_looks_for_replies(self, ahead: int) -> None:
        assert self.loop.live is not None
        self._push(NOTHING, self.now + ahead * MS, 0)
        self.loop.live.take_replies(self.now)
        self.told_by_owner = True

    @rule(value=st.sampled_from([0.0, 1.0]))
    def the_strategy_asks(self, value: float) -> None:
        self._push(NOTHING, self.now, 9)
        self.loop.submit(self.now, np.full(2, value), instrument=0, emitted_at=self.now)

    # --- what holds always -----------------------------------------------------------------------

    @invariant()
    def every_request_is_in_one_state(self) -> None:
        if not hasattr(self, "loop"):
            return
        counts = self.loop.counts
        assert sum(counts[kind.name.lower()] for kind in Outcome) == counts["submitted"]
        for kind in Outcome:
            if kind != Outcome.IN_FLIGHT:
                ended = sum(outcome == kind for outcome in self.ended.values())
                assert counts[kind.name.lower()] == ended

    @invariant()
    def no_more_is_out_than_may_be(self) -> None:
        if hasattr(self, "loop"):
            rest = self.loop.finish(self.now)
            out = (rest.sent_at != MISSING) & (rest.own == 0)
            assert out.sum() <= self.config.in_flight_limit

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        assert self.loop.live is not None
        for sent in self._waiting():
            sent.answer(7.5)
        self._push(NOTHING, self.now + MS, 0)
        self.loop.live.take_replies(self.now)
        for _ in range(3):  # what was sent while these were heard goes on for ever
            self._push(NOTHING, self.now + 500 * MS, 0)
        rest = self.loop.finish(self.now)
        self.submitted = sorted(self.submitted)
        assert sorted([*self.ended, *rest.number.tolist()]) == self.submitted
        assert self.submitted == list(range(len(self.submitted)))
        assert self.loop.counts["rows"] == self.rows
        self.loop.live.close()


LiveMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, derandomize=True
)
TestLiveMachine = pytest.mark.slow(LiveMachine.TestCase)
