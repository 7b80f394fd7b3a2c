"""Law 3, chunking: however the input is cut, the output is the same, and nothing due is late."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.rank import FIRST_RANK, Rank
from featurizer.config import FeaturizerConfig
from featurizer.graph import FeatureGraph
from featurizer.market import KINDS, Records, StreamKey
from inference.config import InferenceConfig
from inference.loop import InferenceLoop
from inference.rows import Rows
from tests.laws.examples import law
from tests.laws.harness import Formula, same_number
from tests.laws.markets import STEP, cases
from tests.laws.raw import feature_rows, received
from tests.reference.case import Case
from tests.reference.features import FeatureRow, Seen
from tests.reference.simulator import simulate

pytestmark = pytest.mark.slow

# -- the graph -------------------------------------------------------------------------------------


def make_graph(case: Case) -> FeatureGraph:
    """Return the graph of a case, before its first record."""
    config = FeaturizerConfig.model_validate(case.mapping["featurizer"])
    return FeatureGraph(config, [terms.id for terms in case.terms], start=case.scenario.start)


def records_in_order(case: Case) -> list[Seen]:
    """Return the records that reach us, in their total order."""
    return [record for _, record in received(case)]


def as_records(case: Case, some: Sequence[Seen]) -> dict[StreamKey, Records]:
    """Return records as columns, an empty stream included."""
    chunk = {}
    for name, kind in case.records:
        rows = [s.row for s in some if (s.instrument, s.kind) == (name, kind)]
        empty = Records.empty(name, KINDS[kind], tuple(KINDS[kind].all_columns))
        columns = {
            column: np.array([row[column] for row in rows], values.dtype)
            for column, values in empty.columns.items()
        }
        for values in columns.values():
            values.flags.writeable = False
        chunk[name, kind] = Records(name, kind, columns)
    return chunk


def assert_graph_does_not_see_a_cut(case: Case, cut: int) -> None:
    """Two pushes around a cut of the total order give the bytes of one, for any watermark."""
    order = records_in_order(case)
    until = case.until
    whole = make_graph(case).push(as_records(case, order), until)
    low = order[cut - 1].receipt_time if cut else case.scenario.start
    high = order[cut].receipt_time if cut < len(order) else until
    for watermark in sorted({low, (low + high) // 2, high}):
        graph = make_graph(case)
        first = graph.push(as_records(case, order[:cut]), watermark)
        second = graph.push(as_records(case, order[cut:]), until)
        assert_same_bytes(joined([first, second]), whole)


def assert_graph_does_not_see_chunks(case: Case, cuts: Sequence[int]) -> None:
    """Any sequence of chunks gives the bytes of one: empty ones, and records one by one."""
    order = records_in_order(case)
    until = case.until
    whole = make_graph(case).push(as_records(case, order), until)
    graph, parts = make_graph(case), []
    edges = [0, *sorted(min(cut, len(order)) for cut in cuts), len(order)]
    for first, last in pairwise(edges):
        end = order[last].receipt_time if last < len(order) else until
        parts.append(graph.push(as_records(case, order[first:last]), end))
    assert_same_bytes(joined(parts), whole)


def assert_graph_gives_what_is_due(case: Case, watermark: int) -> None:
    """What the raw records before a watermark make due has been emitted when it is reached."""
    order = [record for record in records_in_order(case) if record.receipt_time < watermark]
    graph = make_graph(case)
    rows = graph.push(as_records(case, order), watermark)
    shorter = graph.push(as_records(case, []), watermark)
    assert len(shorter.emitted_at) == 0
    latency = case.scenario.features.compute_latency  # type: ignore[union-attr]
    due = [row for row in feature_rows(case) if row.emitted_at < watermark]
    assert rows.emitted_at.tolist()[: len(due)] == [row.emitted_at for row in due]
    # rows that are visible only after the run are the only ones which the raw list leaves out
    assert all(at + latency >= case.until for at in rows.emitted_at.tolist()[len(due) :])
    for values, row in zip(rows.values.tolist(), due, strict=False):
        assert all(same_number(a, b) for a, b in zip(values, row.values, strict=True))


# -- the loop --------------------------------------------------------------------------------------


def make_loop(case: Case) -> InferenceLoop:
    """Return the inference loop of a case, idle."""
    config = InferenceConfig.model_validate(case.mapping["inference_config"])
    scenario = case.scenario
    features = scenario.features
    assert features is not None
    return InferenceLoop(
        config,
        Formula(config.features or (), case.model),  # type: ignore[arg-type]
        seed=scenario.seed,
        start=scenario.start,
        column_names=tuple(column.name for column in features.columns),
    )


def visible_rows(case: Case) -> Rows:
    """Return the feature rows of a case that become visible, as the loop takes them."""
    made = make_graph(case).push(as_records(case, records_in_order(case)), case.until)
    return part(Rows(*made), 0, int((made.visible_at < case.until).sum()))


def assert_loop_does_not_see_a_cut(case: Case, cut: int, rank: int) -> None:
    """Two pushes around a cut of the rows give the bytes of one, for any watermark and rank."""
    rows, until = visible_rows(case), case.until
    whole = make_loop(case)
    expected = whole.push(rows, until)
    cut = min(cut, len(rows.visible_at))
    visible = rows.visible_at.tolist()
    low = visible[cut - 1] if cut else case.scenario.start
    high = visible[cut] if cut < len(visible) else until
    for watermark in sorted({low, (low + high) // 2, high}):
        loop = make_loop(case)
        # a row due at the watermark is still to come: the instant is not yet past its rank
        reached = min(rank, Rank.FEATURE_ROW + 1) if watermark == high < until else rank
        reached = FIRST_RANK if watermark == until else reached
        first = loop.push(part(rows, 0, cut), watermark, reached)
        second = loop.push(part(rows, cut, len(visible)), until)
        for one, two, all_of in zip(first, second, expected, strict=True):
            assert_same_bytes(joined([one, two]), all_of)
        assert_same_bytes(loop.finish(until), whole.finish(until))


def assert_loop_gives_what_is_due(case: Case, watermark: int) -> None:
    """What ended, by the reference, before a watermark has been told when it is reached."""
    rows = visible_rows(case)
    count = int((rows.visible_at < watermark).sum())
    made = make_loop(case).push(part(rows, 0, count), watermark)
    stamps = zip(*(column.tolist() for column in rows[:5]), rows.values.tolist(), strict=True)
    given_rows = [FeatureRow(n, *row[:5], tuple(row[5])) for n, row in enumerate(stamps)]
    trace = simulate(case.scenario, case.records, predict=case.model, rows=given_rows)
    ended = [r for r in trace.requests if r.outcome != "in_flight" and r.visible_at < watermark]
    assert made.outcomes.number.tolist() == [request.number for request in ended]
    asked = sorted(r.number for r in trace.requests if r.submitted_at < watermark)
    assert made.submissions.number.tolist() == asked


# -- helpers ---------------------------------------------------------------------------------------


def part(rows: Rows, first: int, last: int) -> Rows:
    return Rows(*(column[first:last] for column in rows))


def joined(parts: Sequence[Any]) -> Any:
    return type(parts[0])(*map(np.concatenate, zip(*parts, strict=True)))


def assert_same_bytes(one: Any, other: Any) -> None:
    for name, mine, theirs in zip(one._fields, one, other, strict=True):
        assert mine.shape == theirs.shape, name
        assert mine.tobytes() == theirs.tobytes(), name


small = cases(quotes=14, trades=10)


@law(40)
@given(small)
def test_the_graph_gives_the_same_bytes_around_every_cut(case: Case) -> None:
    for cut in range(len(records_in_order(case)) + 1):
        assert_graph_does_not_see_a_cut(case, cut)


@law(60)
@given(cases(), st.lists(st.integers(0, 90), max_size=12))
def test_the_graph_gives_the_same_bytes_in_any_chunks(case: Case, cuts: list[int]) -> None:
    assert_graph_does_not_see_chunks(case, cuts)
    assert_graph_does_not_see_chunks(case, range(90))  # record by record, then empty ones


@law(60)
@given(cases(), st.integers(0, 60))
def test_the_graph_holds_back_nothing_that_is_due(case: Case, step: int) -> None:
    assert_graph_gives_what_is_due(case, case.scenario.start + step * STEP)


@law(40)
@given(small, st.integers(0, Rank.TIMER + 1))
def test_the_loop_gives_the_same_bytes_around_every_cut(case: Case, rank: int) -> None:
    for cut in range(0, len(visible_rows(case).visible_at) + 1, 3):
        assert_loop_does_not_see_a_cut(case, cut, rank)


@law(60)
@given(cases(), st.integers(0, 60))
def test_the_loop_holds_back_nothing_that_is_due(case: Case, step: int) -> None:
    assert_loop_gives_what_is_due(case, case.scenario.start + step * STEP)
