"""The compiled loop against a heap of events and plain lists, stamp by stamp.

Plain deployments have a kernel of their own; the whole stack must give the same records for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.config import InferenceConfig
from inference.rows import MISSING, Rows, no_rows
from inference.schedule import Outcomes
from tests.inference.cases import (
    COLUMNS,
    READ,
    build,
    configuration,
    configurations,
    formula,
    joined,
    make_rows,
    row_chunks,
)
from tests.inference.naive import NaiveLoop

pytestmark = pytest.mark.slow

stacks = st.sampled_from(["auto", "full"])
FIELDS = [field for field in Outcomes._fields if field != "value"]


def naive(config: InferenceConfig, rows: Rows, **given: Any) -> NaiveLoop:
    loop = NaiveLoop(config, formula, columns=READ, **{"start": 0, "seed": 7, **given})
    loop.add_rows(rows)
    return loop


def in_full(one: dict[str, Any]) -> dict[str, Any]:
    """Add the columns that follow from the others where each request has one attempt, alone."""
    sent, started = one["sent_at"] != MISSING, one["started_at"] != MISSING
    return {
        **one,
        "first_sent_at": one["sent_at"],
        "routed_at": one["arrived_at"],
        "batched_at": one["started_at"],
        "execution": one["number"] << 16 if started else -1,
        "batch_size": int(started),
        "variant": 0 if sent else -1,
        "source": -1,
        "fallback": 0,
        "reason": 0,
    }


def assert_same(found: Outcomes, expected: list[dict[str, Any]]) -> None:
    expected = [in_full(one) for one in expected]
    for field in FIELDS:
        assert getattr(found, field).tolist() == [one[field] for one in expected], field
    np.testing.assert_array_equal(found.value, [one["value"] for one in expected])


@settings(max_examples=400, deadline=None)
@given(configurations, row_chunks(), st.integers(0, 40), st.integers(0, 9), stacks)
def test_every_stamp_and_outcome_is_that_of_the_naive_model(
    config: InferenceConfig, rows: Rows, until: int, rank: int, stack: str
) -> None:
    expected = naive(config, rows)
    expected.run(until, rank)
    loop = build(config, stack=stack)
    found = loop.push(rows, until, rank)

    assert_same(found.outcomes, expected.ended)
    asked = found.submissions
    for field in asked._fields:
        assert getattr(asked, field).tolist() == [r[field] for r in expected.requests], field
    counts = loop.counts
    assert counts["submitted"] == len(expected.requests)
    assert (counts["rows"], counts["skipped"]) == (expected.rows_seen, expected.skipped)
    due = expected.heap[0][:2] if expected.heap else None
    if due is not None:
        assert loop.next_due == due


@settings(max_examples=200, deadline=None)
@given(configurations, row_chunks(), st.integers(0, 30), stacks)
def test_what_is_under_way_at_the_end_has_the_stamps_it_reached(
    config: InferenceConfig, rows: Rows, until: int, stack: str
) -> None:
    expected = naive(config, rows)
    expected.run(until)
    loop = build(config, stack=stack)
    loop.push(rows, until)
    assert_same(loop.finish(until), expected.finish())


@settings(max_examples=200, deadline=None)
@given(
    configurations,
    row_chunks(),
    st.lists(st.tuples(st.integers(0, 25), st.sampled_from([6, 7, 8, 9])), max_size=5),
    stacks,
)
def test_a_strategys_own_requests_are_served_like_in_the_naive_model(
    config: InferenceConfig, rows: Rows, asks: list[tuple[int, int]], stack: str
) -> None:
    expected, loop = naive(config, rows), build(config, stack=stack)
    outputs, nothing = [loop.push(rows, 0)], no_rows(len(COLUMNS))
    for instant, rank in sorted(asks):
        row = {"instrument": 1, "emitted_at": instant - 2, "tie": 0, "event_time": MISSING}
        expected.run(instant, rank)
        expected.now, expected.rank = instant, rank
        number = expected.submit({**row, "values": [1.5, float(rank)]})
        outputs.append(loop.push(nothing, instant, rank))
        assert loop.submit(instant, np.array([1.5, float(rank)]), **row) == number
    expected.run(60)
    outputs.append(loop.push(nothing, 60))
    assert_same(joined(outputs).outcomes, expected.ended)
    assert_same(loop.finish(60), expected.finish())


@pytest.mark.parametrize("polling", ["continuous", "on_feature", {"every": "3ns"}])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_stepping_from_one_due_event_to_the_next_gives_the_same_records(
    polling: Any, data: st.DataObject
) -> None:
    given_ = data.draw(configurations)
    config = given_.model_copy(update={"polling": configuration(polling=polling).polling})
    rows = data.draw(row_chunks())
    loop, outputs = build(config, stack=data.draw(stacks)), []
    outputs.append(loop.push(rows, 0))
    while loop.next_due < (40, 0):
        instant, rank = loop.next_due
        outputs.append(loop.push(no_rows(len(COLUMNS)), instant, rank + 1))
    expected = naive(config, rows)
    expected.run(40)
    assert_same(joined(outputs).outcomes, expected.ended)


def test_the_comparison_fails_for_a_model_that_starts_one_nanosecond_late() -> None:
    class Late(NaiveLoop):
        def begin(self, replica: int) -> None:
            super().begin(replica)
            serving = self.serving[replica]
            assert serving is not None
            serving["started_at"] += 1

    config = configuration(polling="on_feature", service_time="2ns")
    rows = make_rows([1, 1, 4])
    expected = Late(config, formula, start=0, columns=READ, seed=7)
    expected.add_rows(rows)
    expected.run(20)
    with pytest.raises(AssertionError, match="started_at"):
        assert_same(build(config).push(rows, 20).outcomes, expected.ended)


def test_busy_time_is_what_the_replicas_served() -> None:
    loop = build(configuration(polling="on_feature", service_time="4ns", num_replicas=2))
    loop.push(make_rows([0, 1]), 6)
    # replica 0 serves [0, 4), replica 1 serves [1, 5)
    assert loop.utilisation(6) == pytest.approx(8 / 12)
    assert build(configuration()).utilisation(0) == 0.0
    half = build(configuration(polling="on_feature", service_time="8ns"))
    half.push(make_rows([2]), 6)
    assert half.utilisation(6) == pytest.approx(4 / 6)
