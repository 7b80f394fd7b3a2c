"""Lineage on the laws' examples: both modes tell the same, an oracle agrees, plants are caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given

from backtester.lineage.rows import TracedGraph
from backtester.run import Mode, Run
from featurizer.catalog import Catalog
from featurizer.emission import Due
from featurizer.errors import LookaheadError
from tests.laws.examples import hunt, law
from tests.laws.harness import Formula, Played, catalog_of, scenario_of
from tests.laws.markets import cases
from tests.laws.player import EagerPlayer
from tests.mutants import looking_ahead
from tests.reference.case import Case

pytestmark = pytest.mark.slow


def play(
    case: Case, catalog: Catalog, mode: Mode = "ahead", rows: int = 7, *, lineage: bool = True
) -> Played:
    scenario = scenario_of(case, catalog)
    strategy = EagerPlayer(case, watch=True)
    predictors: dict[str, Any] = {
        name: Formula(config.features or (), case.model)
        for name, config in scenario.inference_config.items()
    }
    run = Run(scenario, strategy, catalog, predictors, mode=mode, keep_trace=True, lineage=lineage)
    run.complete(rows)
    return Played(case, run, strategy.calls)


def frame_of(played: Played) -> pl.DataFrame:
    assert played.result.lineage is not None
    return played.result.lineage


@law(30)
@given(cases())
def test_lineage_changes_nothing_and_tells_the_same_in_both_modes_and_any_windows(case):
    with catalog_of(case) as catalog:
        bare = play(case, catalog, lineage=False)
        ahead = play(case, catalog)
        assert bare.result.lineage is None
        assert [call.told for call in bare.calls] == [call.told for call in ahead.calls]
        assert bare.trace == ahead.trace
        for other in (play(case, catalog, "lockstep"), play(case, catalog, rows=1000)):
            assert other.digest == ahead.digest
            assert frame_of(other).equals(frame_of(ahead))


@law(30)
@given(cases())
def test_every_link_was_there_before_what_stands_on_it(case):
    with catalog_of(case) as catalog:
        frame = frame_of(play(case, catalog))
    stamps = ["receipt_time", "visible_at", "emitted_at", "submitted_at", "decided_at"]
    parents = frame.select("order", "change", behind="step", **{f"of_{n}": n for n in stamps})
    joined = frame.join(parents, on=["order", "change", "behind"], how="inner")
    first = pl.max_horizontal("receipt_time", "visible_at")
    used = {
        "decision": "of_decided_at",
        "row": "of_emitted_at",
        "request": "of_submitted_at",
        "prediction": "of_visible_at",
    }
    links = frame.select("order", "change", behind="step", of_link="link")
    joined = joined.join(links, on=["order", "change", "behind"])
    for link, instant in used.items():
        late = joined.filter((pl.col("of_link") == link) & (first > pl.col(instant)))
        assert not len(late), late


def assert_found_by_a_plain_search(case: Case) -> int:
    """Assert what is behind each row of a chain; return how many records that are."""
    with catalog_of(case) as catalog:
        played = play(case, catalog)
    frame, names = frame_of(played), [terms.id for terms in case.terms]
    assert set(frame["order"].unique()) == set(played.result.orders["order"])
    exact = frame.with_columns(pl.col(pl.Datetime("ns", "UTC")).dt.epoch("ns"))
    emitted = {entry.number: entry for entry in played.rows}
    for row in exact.filter(pl.col("link") == "row").iter_rows(named=True):
        mine = emitted[row["number"]]
        assert (row["emitted_at"], row["visible_at"]) == (mine.emitted_at, mine.visible_at)
        assert row["instrument"] == names[mine.instrument]
        own = (pl.col("order") == row["order"]) & (pl.col("change") == row["change"])
        records = exact.filter(own & (pl.col("behind") == row["step"]))
        for record in records.iter_rows(named=True):
            rows = case.records[record["instrument"], record["name"]]
            one = next(r for r in rows if r["sequence"] == record["number"])
            assert one["receipt_time"] == record["receipt_time"] <= row["emitted_at"]
            # nothing newer of the stream had come before the row's instant
            newer = [
                r
                for r in rows
                if (one["receipt_time"], one["sequence"]) < (r["receipt_time"], r["sequence"])
            ]
            assert all(r["receipt_time"] >= row["emitted_at"] for r in newer)
    return len(exact.filter(pl.col("how") == "included"))


def test_each_chain_is_what_a_plain_search_of_the_catalog_finds():
    found = []

    @law(30)
    @given(cases())
    def search(case: Case) -> None:
        found.append(assert_found_by_a_plain_search(case))

    search()
    assert 2 * sum(count > 0 for count in found) > len(found)


def test_a_plain_search_notices_a_chain_that_is_one_record_behind(monkeypatch):
    def late(self: TracedGraph, records: Any, due: Due) -> Any:
        counts = [np.maximum(count - 1, 0) for count in due.counts]
        return real(self, records, due._replace(counts=counts))

    real = TracedGraph._behind_rows
    monkeypatch.setattr(TracedGraph, "_behind_rows", late)

    @hunt(30)
    @given(cases())
    def search(case: Case) -> None:
        assert_found_by_a_plain_search(case)

    with pytest.raises(AssertionError):
        search()


READS: list[Callable[[pytest.MonkeyPatch], None]] = [
    looking_ahead.quotes_of_the_whole_window,
    looking_ahead.latest_one_rank_early,
    looking_ahead.features_one_step_ahead,
]


@pytest.mark.parametrize("plant", READS, ids=lambda plant: plant.__name__)
def test_a_planted_defect_breaks_law_1_in_a_run_with_lineage_alone(monkeypatch, plant):
    plant(monkeypatch)

    @hunt(60)
    @given(cases())
    def look(case: Case) -> None:
        with catalog_of(case) as catalog:
            play(case, catalog, lineage=False)  # which nobody notices without
            play(case, catalog)

    with pytest.raises(LookaheadError, match=r"must show only what is visible \(law 1\)"):
        look()
