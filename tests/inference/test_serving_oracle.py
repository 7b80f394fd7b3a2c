"""The whole serving stack against the reference simulator, on drawn deployments of every kind."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.rows import Rows, no_rows
from inference.schedule import LoopOutput, Outcomes, Reason
from inference.serving.explain import legs_of
from tests.inference.cases import same
from tests.inference.serving_cases import (
    COLUMNS,
    END,
    MS,
    Block,
    as_config,
    blocks,
    pressed,
    row_streams,
)
from tests.inference.serving_oracle import Naive, assert_equal_runs, models_of, stack_of
from tests.laws.examples import law

pytestmark = pytest.mark.slow

NOTHING = no_rows(len(COLUMNS))
LAST_RANK = 9

Asks = list[tuple[int, int, bool]]
asks = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([0, 4, 6, 7, 8, 9]), st.booleans()), max_size=6
)
"""Millisecond and rank of a watermark, and whether something is done there."""


def assert_stack_equals_reference(block: Block, rows: Rows, *, nan: bool = False) -> Naive:
    models = models_of(block, nan)
    naive = Naive(block, models, rows)
    naive.agenda.run(END)
    loop = stack_of(block, models)
    assert_equal_runs([loop.push(rows, END)], loop, naive, END)
    return naive


def acted(naive: Naive) -> Counter[str]:
    """Count what policies did in an example."""
    counts: Counter[str] = Counter()
    for request in naive.loop.requests:
        counts[request.outcome] += 1
        counts[request.reason] += 1
        counts["hit"] += request.source >= 0 and not request.fallback
        counts["fallback"] += request.fallback
        counts["retried"] += request.attempts > 1
        counts["batched"] += request.batch_size > 1
    for attempt in naive.loop.attempts:
        counts[attempt.reason] += attempt.outcome == "timed_out"
        counts["placed_again"] += attempt.placements > 1
    for deployment in naive.loop.deployments:
        counts["scaled"] += bool(deployment.autoscaler and deployment.autoscaler.decisions)
    return counts


POLICIES = (
    *("timed_out", "rejected", "failed", "replaced", "queue_full", "breaker_open", "no_variant"),
    *("error", "crashed", "cancelled", "lost", "late", "hit", "fallback", "retried", "batched"),
    *("placed_again", "scaled"),
)


def test_every_stamp_of_requests_and_attempts_is_that_of_the_reference() -> None:
    total: Counter[str] = Counter()

    @law(250)
    @given(blocks() | pressed(), row_streams())
    def check(block: Block, rows: Rows) -> None:
        total.update(acted(assert_stack_equals_reference(block, rows)))

    check()
    idle = [policy for policy in POLICIES if total[policy] < 5]
    assert not idle, f"these policies hardly ever acted: {idle}"


@law(100)
@given(blocks(nan=True), row_streams())
def test_a_stack_that_reads_its_answers_is_that_of_the_reference(block: Block, rows: Rows) -> None:
    assert_stack_equals_reference(block, rows, nan=True)


def play_in_pieces(block: Block, rows: Rows, cuts: Asks, *, own: bool) -> tuple[Any, list[Any]]:
    """Push up to each watermark; there ask on a strategy's behalf, or go on in a copy."""
    models = models_of(block)
    naive, loop = Naive(block, models, rows), stack_of(block, models)
    outputs = [loop.push(rows, 0)]
    for step, rank, does in sorted(cuts):
        now = step * MS
        naive.agenda.run(now, rank)
        outputs.append(loop.push(NOTHING, now, rank))
        if does and own and rank > 5:
            values = [1.0, float(rank)]
            number = naive.submit(now, values, 1, now - 2)
            given = {"instrument": 1, "emitted_at": now - 2}
            assert loop.submit(now, np.array(values), **given) == number
        elif does:
            loop = pickle.loads(pickle.dumps(loop))
    naive.agenda.run(END)
    outputs.append(loop.push(NOTHING, END))
    return (loop, naive), outputs


@law(60)
@given(blocks(), row_streams(), asks)
def test_however_time_is_cut_the_stack_is_that_of_the_reference(
    block: Block, rows: Rows, cuts: Asks
) -> None:
    (loop, naive), outputs = play_in_pieces(block, rows, cuts, own=False)
    assert_equal_runs(outputs, loop, naive, END)


@law(60)
@given(blocks(), row_streams(), asks)
def test_a_strategys_own_requests_are_served_as_in_the_reference(
    block: Block, rows: Rows, cuts: Asks
) -> None:
    (loop, naive), outputs = play_in_pieces(block, rows, cuts, own=True)
    assert_equal_runs(outputs, loop, naive, END)


def joined(outputs: list[LoopOutput]) -> LoopOutput:
    parts = [
        type(first)(*map(np.concatenate, zip(first, *others, strict=True)))
        for first, *others in zip(*outputs, strict=True)
    ]
    return LoopOutput(*parts)


@law(60)
@given(blocks(nan=True), row_streams(16), st.lists(st.integers(0, 80), max_size=5))
def test_pushes_give_the_bytes_of_one_wherever_rows_and_time_are_cut(
    block: Block, rows: Rows, watermarks: list[int]
) -> None:
    models = models_of(block, nan=True)
    whole = stack_of(block, models)
    expected = whole.push(rows, END)
    loop, outputs = stack_of(block, models), []
    visible = rows.visible_at.tolist()
    taken = 0
    for watermark in sorted(step * MS for step in watermarks):
        count = int(np.searchsorted(visible, watermark, side="left"))
        part = Rows(*(column[taken:count] for column in rows))
        outputs.append(loop.push(part, watermark))
        taken = count
    outputs.append(loop.push(Rows(*(column[taken:] for column in rows)), END))
    found = joined(outputs)
    for one, other in zip(found, expected, strict=True):
        assert same(one, other)
    assert same(loop.finish(END), whole.finish(END))
    assert same(loop.finish_attempts(END), whole.finish_attempts(END))
    assert loop.statistics(END) == whole.statistics(END)
    assert_legs_add_up(expected.outcomes)


def assert_legs_add_up(ended: Outcomes) -> None:
    """The explanation of every request is its whole latency, and no leg is negative."""
    legs = np.array(list(legs_of(ended).values()))
    assert (legs >= 0).all()
    assert legs.sum(axis=0).tolist() == (ended.visible_at - ended.submitted_at).tolist()


@law(60)
@given(blocks(), row_streams(12))
def test_stepping_from_one_due_event_to_the_next_gives_the_reference(
    block: Block, rows: Rows
) -> None:
    models = models_of(block)
    naive, loop = Naive(block, models, rows), stack_of(block, models)
    outputs = [loop.push(rows, 0)]
    while loop.next_due < (END, 0):
        instant, rank = loop.next_due
        outputs.append(loop.push(NOTHING, instant, rank + 1))
    outputs.append(loop.push(NOTHING, END))
    naive.agenda.run(END)
    assert_equal_runs(outputs, loop, naive, END)


DRAWN = {
    "service_time": {"kind": "uniform", "low": "1ms", "high": "12ms"},
    "network": {"out": {"kind": "uniform", "low": "0ms", "high": "3ms"}},
    "num_replicas": 2,
    "polling": "on_feature",
    "max_in_flight": 99,
}
UP_TO_ONE = {"kind": "uniform", "low": 0, "high": "1ms"}
SMALL_CHANGES: list[Block] = [
    {"timeout": {"after": "14ms", "cancel": True}},
    {"retry": {"attempt_timeout": "9ms", "backoff": "1ms", "jitter": 0.5}},
    {"router": "least_loaded"},
    {
        "router": {
            "kind": "power_of_two",
            "hop_latency": {"kind": "uniform", "low": 0, "high": "1ms"},
        }
    },
    {"queue": "newest_first"},
    {"max_queued_requests": 1},
    {"max_ongoing_requests": 3},
    {"circuit_breaker": {"failure_threshold": 1}, "timeout": "13ms"},
    {"faults": [{"kind": "crash", "every": "20ms", "restart": "5ms"}]},
    {"faults": [{"kind": "error_rate", "at": 0, "for": "30ms", "probability": 0.5}]},
    {"faults": [{"kind": "network_pause", "at": "5ms", "for": "9ms"}]},
    {"faults": [{"kind": "lost_reply", "at": "2ms", "for": "30ms", "probability": 0.5}]},
    {"cache": {"ttl": "50ms", "hit_latency": UP_TO_ONE}},
]


def service_times(block: Block, rows: Rows) -> dict[tuple[int, int], int]:
    """Return how long each attempt was served that was served to its end."""
    made = stack_of(block, models_of(block)).push(rows, END).attempts
    lasted = made.completed_at - made.started_at
    whole = (made.started_at > 0) & (made.completed_at > 0) & (made.reason != Reason.CRASHED)
    keys = zip(made.number[whole].tolist(), made.attempt[whole].tolist(), strict=True)
    return dict(zip(keys, lasted[whole].tolist(), strict=True))


@pytest.mark.parametrize("change", SMALL_CHANGES, ids=lambda change: "-".join(change))
def test_changing_one_policy_leaves_the_draws_of_the_others(change: Block) -> None:
    compared = []

    @law(25)
    @given(row_streams())
    def check(rows: Rows) -> None:
        one, other = service_times(DRAWN, rows), service_times({**DRAWN, **change}, rows)
        both = one.keys() & other.keys()
        assert {key: one[key] for key in both} == {key: other[key] for key in both}
        compared.append(len(both))

    check()
    assert sum(compared) > 50


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks())
def test_what_is_drawn_is_a_configuration_with_its_remarks(block: Block) -> None:
    config = as_config(block)
    assert all(isinstance(remark, str) for remark in config.remarks)
