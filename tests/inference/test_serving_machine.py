"""A deployment that is asked, killed, scaled, given another model and cancelled, in any order.

What goes wrong is scheduled in the configuration, as in a scenario; everything else is a rule.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from inference.rows import Rows, no_rows
from inference.schedule import LoopOutput, Outcome
from tests.inference.serving_cases import COLUMNS, END, MS, Block, as_config, latencies, ms
from tests.inference.serving_oracle import Naive, assert_equal_runs, models_of, stack_of

NOTHING = no_rows(len(COLUMNS))
LAST = 200 * MS


def milliseconds(at: str) -> int:
    """Return the number before the unit."""
    return int(at.removesuffix("ms"))


deployments = st.fixed_dictionaries(
    {
        "service_time": latencies(15),
        "router": st.sampled_from(["round_robin", "least_loaded", "power_of_two"]),
        "cold_start": ms(0, 5),
        "autoscaling_config": st.fixed_dictionaries(
            {
                "min_replicas": st.integers(0, 1),
                "max_replicas": st.integers(1, 3),
                "target_ongoing_requests": st.sampled_from([0.5, 1.0]),
                "look_back_period": st.just("20ms"),
                "metrics_interval": st.just("4ms"),
                "record_interval": st.just("2ms"),
                "control_interval": st.just("2ms"),
                "upscale_delay": ms(0, 4),
                "downscale_delay": ms(0, 12),
            }
        ),
        "faults": st.lists(ms(1, 100), min_size=1, max_size=4, unique=True).map(
            lambda kills: [
                {
                    "kind": "crash",
                    "at": sorted(kills, key=lambda at: int(at[:-2])),
                    "restart": "6ms",
                }
            ]
        ),
    },
    optional={
        "batching": st.just({"kind": "ray", "max_batch_size": 2, "batch_wait_timeout": "3ms"}),
        "max_ongoing_requests": st.integers(1, 3),
        "circuit_breaker": st.just({"failure_threshold": 2, "open_for": "9ms"}),
    },
)
blocks = st.builds(
    lambda big, small, **loop: {
        "variants": {
            "big": {**big, "accuracy": 0.9, "expected_latency": "4ms"},
            "small": {**small, "accuracy": 0.5, "expected_latency": "2ms"},
        },
        "routing": {"kind": "latency_budget", "budget": "12ms", "explore_every": 5},
        "timeout": {"after": "40ms", "cancel": True},
        **loop,
    },
    deployments,
    deployments,
    retry=st.just({"attempt_timeout": "18ms", "backoff": "1ms"}),
    polling=st.sampled_from(["on_feature", "continuous"]),
    max_in_flight=st.integers(1, 6),
    on_new=st.sampled_from(["replace", "queue"]),
)


class ServingMachine(RuleBasedStateMachine):
    """The stack and the reference go through the same steps, and have done the same in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.sent = 0

    @initialize(block=blocks)
    def build(self, block: Block) -> None:
        """Set both up."""
        try:
            as_config(block)
        except ValueError:
            block["timeout"]["after"], block["retry"]["attempt_timeout"] = "90ms", "80ms"
        models = models_of(block)
        self.naive = Naive(block, models, NOTHING)
        self.loop = stack_of(block, models)
        self.outputs: list[LoopOutput] = [self.loop.push(NOTHING, 0)]

    def _advance(self, instant: int, rank: int = 0) -> None:
        self.naive.agenda.run(instant, rank)
        self.outputs.append(self.loop.push(NOTHING, instant, rank))
        self.now = instant

    @rule(gap=st.integers(1, 6), crowd=st.integers(1, 4), value=st.sampled_from([0.0, 1.0, 2.0]))
    def rows_become_visible(self, gap: int, crowd: int, value: float) -> None:
        """Let rows of one instant come."""
        instant = self.now + gap * MS
        if instant >= LAST:
            return
        stamps = np.full(crowd, instant, np.int64)
        tie = np.arange(crowd, dtype=np.int64)
        values = np.full((crowd, len(COLUMNS)), value)
        rows = Rows(stamps, stamps, stamps, tie, tie % 2, values)
        for column in rows:
            column.flags.writeable = False
        self.naive.add(rows)
        self.naive.agenda.run(instant)
        self.outputs.append(self.loop.push(rows, instant))
        self._advance(instant, 6)

    @rule(gap=st.integers(0, 20))
    def time_passes(self, gap: int) -> None:
        """Let time pass."""
        self._advance(min(self.now + gap * MS, LAST), 0 if gap else 9)

    @rule()
    def the_next_thing_happens(self) -> None:
        """Run just what is due first."""
        instant, rank = self.loop.next_due
        if instant < LAST:
            self._advance(instant, rank + 1)

    @rule(value=st.sampled_from([0.0, 1.0]))
    def the_strategy_asks(self, value: float) -> None:
        """Ask on a strategy's behalf, as the last thing of an instant."""
        self._advance(self.now, 9)
        values = [value, 1.0]
        number = self.naive.submit(self.now, values, 0, self.now)
        given: dict[str, Any] = {"instrument": 0, "emitted_at": self.now}
        assert self.loop.submit(self.now, np.array(values), **given) == number

    @rule()
    def it_goes_on_in_a_copy(self) -> None:
        """Go on where the loop was pickled."""
        self.loop = pickle.loads(pickle.dumps(self.loop))

    @invariant()
    def every_request_is_in_one_state(self) -> None:
        """Count them."""
        if hasattr(self, "loop"):
            counts = self.loop.counts
            assert sum(counts[kind.name.lower()] for kind in Outcome) == counts["submitted"]
            assert counts["submitted"] == len(self.naive.loop.requests)

    def teardown(self) -> None:
        """Compare all that happened, to the end."""
        if hasattr(self, "loop"):
            self._advance(END)
            assert_equal_runs(self.outputs, self.loop, self.naive, END)


ServingMachine.TestCase.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, derandomize=True
)
TestServingMachine = pytest.mark.slow(ServingMachine.TestCase)
