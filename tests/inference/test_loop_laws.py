"""Chunking, conservation and the order of time, on generated loops and rows."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clock.errors import TimeWentBackwardsError
from inference.config import InferenceConfig
from inference.loop import InferenceLoop
from inference.rows import MISSING, Rows, no_rows
from inference.schedule import LoopOutput, Outcome
from tests.inference.cases import (
    COLUMNS,
    Formula,
    build,
    configuration,
    configurations,
    joined,
    make_rows,
    part,
    row_chunks,
    same,
)

pytestmark = pytest.mark.slow

END = 60
STAMPS = ("submitted_at", "sent_at", "arrived_at", "started_at", "completed_at", "visible_at")


def whole(config: InferenceConfig, rows: Rows) -> tuple[LoopOutput, InferenceLoop]:
    loop = build(config)
    return loop.push(rows, END), loop


def assert_same_run(
    outputs: list[LoopOutput], loop: InferenceLoop, expected: tuple[LoopOutput, InferenceLoop]
) -> None:
    found = joined(outputs)
    assert same(found.submissions, expected[0].submissions)
    assert same(found.outcomes, expected[0].outcomes)
    assert same(loop.finish(END), expected[1].finish(END))
    assert loop.counts == expected[1].counts
    assert loop.utilisation(END) == expected[1].utilisation(END)


@settings(max_examples=120, deadline=None)
@given(configurations, row_chunks(), st.data())
def test_two_pushes_give_the_records_of_one_at_every_cut(
    config: InferenceConfig, rows: Rows, data: st.DataObject
) -> None:
    expected = whole(config, rows)
    visible = rows.visible_at.tolist()
    for cut in range(len(visible) + 1):
        low = visible[cut - 1] if cut else 0
        high = visible[cut] if cut < len(visible) else END
        for until in {low, high, (low + high) // 2}:
            highest = 6 if until == high else 9  # a row due at the watermark is still to come
            loop, rank = build(config), data.draw(st.integers(0, highest))
            outputs = [loop.push(part(rows, 0, cut), until, rank)]
            outputs.append(loop.push(part(rows, cut, len(visible)), END))
            assert_same_run(outputs, loop, expected)


@settings(max_examples=120, deadline=None)
@given(configurations, row_chunks(), st.lists(st.integers(0, END - 1), max_size=8))
def test_rows_one_by_one_and_empty_pushes_between_them_give_the_same_records(
    config: InferenceConfig, rows: Rows, watermarks: list[int]
) -> None:
    expected = whole(config, rows)
    loop, outputs = build(config), []
    ticks = [(instant, i) for i, instant in enumerate(rows.visible_at.tolist())]
    for instant, i in sorted([*ticks, *((mark, -1) for mark in watermarks)]):
        given_rows = no_rows(len(COLUMNS)) if i < 0 else part(rows, i, i + 1)
        outputs.append(loop.push(given_rows, instant))
    outputs.append(loop.push(no_rows(len(COLUMNS)), END))
    assert_same_run(outputs, loop, expected)


@settings(max_examples=60, deadline=None)
@given(configurations, row_chunks(), st.integers(0, 20))
def test_nothing_due_before_the_watermark_is_held_back(
    config: InferenceConfig, rows: Rows, until: int
) -> None:
    expected, _ = whole(config, rows)
    found = build(config).push(rows, until)
    assert len(found.submissions.number) == (expected.submissions.submitted_at < until).sum()
    assert len(found.outcomes.number) == (expected.outcomes.visible_at < until).sum()


@settings(max_examples=60, deadline=None)
@given(configurations, row_chunks(), st.integers(0, 20))
def test_a_loop_goes_on_where_it_was_pickled(
    config: InferenceConfig, rows: Rows, until: int
) -> None:
    loop = build(config)
    first = loop.push(rows, until)
    other = pickle.loads(pickle.dumps(loop))
    third = copy.deepcopy(loop)
    nothing = no_rows(len(COLUMNS))
    expected = whole(config, rows)
    for going_on in (loop, other, third):
        assert_same_run([first, going_on.push(nothing, END)], going_on, expected)


@settings(max_examples=150, deadline=None)
@given(configurations, row_chunks(), st.integers(0, 30))
def test_every_request_ends_in_exactly_one_outcome(
    config: InferenceConfig, rows: Rows, until: int
) -> None:
    loop = build(config)
    output = loop.push(rows, until)
    left = loop.finish(until)
    ended = np.concatenate((output.outcomes.number, left.number))
    assert sorted(ended.tolist()) == output.submissions.number.tolist()
    assert output.submissions.number.tolist() == list(range(len(ended)))
    counts = loop.counts
    by_kind = [counts[kind.name.lower()] for kind in Outcome]
    assert sum(by_kind) == counts["submitted"] == len(ended)
    assert counts["in_flight"] == len(left.number)
    assert set(output.outcomes.outcome.tolist()) <= {Outcome.COMPLETED, Outcome.REPLACED}
    assert set(left.outcome.tolist()) <= {Outcome.IN_FLIGHT}


@settings(max_examples=150, deadline=None)
@given(configurations, row_chunks())
def test_stamps_are_ordered_and_answers_never_overtake(config: InferenceConfig, rows: Rows) -> None:
    output, loop = whole(config, rows)
    for outcomes in (output.outcomes, loop.finish(END)):
        stamps = np.array([getattr(outcomes, name) for name in STAMPS])
        for column in stamps.T:
            reached = column[column != MISSING]
            assert (np.diff(reached) >= 0).all()
        assert (outcomes.event_time <= outcomes.submitted_at).all()
    outcomes = output.outcomes
    keys = list(zip(outcomes.visible_at, outcomes.rank, outcomes.number, strict=True))
    assert keys == sorted(keys)
    # a service never overlaps another on its replica
    for replica in range(config.num_replicas):
        mine = outcomes.replica == replica
        spans = sorted(zip(outcomes.started_at[mine], outcomes.completed_at[mine], strict=True))
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
    # at most so many are out at once
    sent = outcomes.sent_at[outcomes.outcome == Outcome.COMPLETED]
    for instant in set(sent.tolist()):
        out = (sent <= instant) & (
            outcomes.visible_at[outcomes.outcome == Outcome.COMPLETED] > instant
        )
        assert out.sum() <= config.in_flight_limit


@settings(max_examples=60, deadline=None)
@given(configurations, row_chunks())
def test_changing_one_latency_keeps_the_other_draws(config: InferenceConfig, rows: Rows) -> None:
    config = config.model_copy(
        update={"polling": configuration(polling="on_feature").polling, "max_in_flight": 99}
    )
    one, _ = whole(config, rows)
    slower = configuration(
        **{**config.model_dump(mode="json", exclude={"features"}), "latency": "1ns"}
    )
    other, _ = whole(slower, rows)
    by_number = [
        dict(zip(o.number.tolist(), (o.completed_at - o.started_at).tolist(), strict=True))
        for o in (one.outcomes, other.outcomes)
    ]
    both = by_number[0].keys() & by_number[1].keys()
    assert [by_number[0][n] for n in both] == [by_number[1][n] for n in both]


def test_many_live_requests_and_many_records_make_room_without_changing_anything() -> None:
    config = configuration(polling="on_feature", max_in_flight=500, service_time="3ns")
    rows = make_rows(list(range(400)))
    loop = build(config)
    output = loop.push(rows, 2_000)
    assert output.outcomes.visible_at.tolist() == [3 * (n + 1) for n in range(400)]
    queued = build(configuration(polling="on_feature", on_new="queue", latency="2ns"))
    output = queued.push(rows, 2_000)
    assert output.outcomes.visible_at.tolist() == [2 * (n + 1) for n in range(400)]


def test_a_model_that_depends_on_its_batch_is_asked_row_by_row() -> None:
    config = configuration(polling="on_feature")
    rows = make_rows([1, 2, 3])
    predictors = Formula(), Formula(invariant=False)
    outputs = [build(config, predictor=one).push(rows, 9) for one in predictors]
    assert predictors[0].batches == [3]
    assert predictors[1].batches == [1, 1, 1]
    assert same(outputs[0].outcomes, outputs[1].outcomes)


def test_records_and_rows_cannot_be_written_to() -> None:
    rows = make_rows([1, 2])
    before = [column.copy() for column in rows]
    output = build(configuration(polling="on_feature")).push(rows, 9)
    for column in (*output.outcomes, *output.submissions):
        assert not column.flags.writeable
        assert column.flags.c_contiguous
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(rows, before, strict=True))


def test_time_going_back_is_refused() -> None:
    loop = build(configuration())
    loop.push(make_rows([5]), 10)
    with pytest.raises(TimeWentBackwardsError, match="watermark"):
        loop.push(no_rows(3), 9)
    with pytest.raises(TimeWentBackwardsError, match="a row"):
        loop.push(make_rows([9]), 20)
    with pytest.raises(TimeWentBackwardsError, match="sorted"):
        loop.push(make_rows([12, 11]), 20)
    with pytest.raises(TimeWentBackwardsError, match="last watermark"):
        loop.finish(11)
    with pytest.raises(TimeWentBackwardsError, match="a request"):
        loop.submit(9, np.zeros(2), instrument=0, emitted_at=9)
    with pytest.raises(ValueError, match="shape"):
        loop.submit(10, np.zeros(3), instrument=0, emitted_at=9)
    loop.push(no_rows(3), 10, 7)
    with pytest.raises(TimeWentBackwardsError, match="a row"):
        loop.push(make_rows([10]), 20)
