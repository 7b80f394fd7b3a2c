"""Law 9, zero-latency limit: where nothing takes time, a plain synchronous backtest agrees."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.trace import EntryKind
from featurizer.catalog import Catalog
from tests.laws.examples import Tally, law
from tests.laws.harness import Played, catalog_of, play
from tests.laws.markets import ZERO, cases
from tests.laws.synchronous import Synchronous
from tests.laws.test_law1_known_at import assert_rows_are_made_of_what_was_visible
from tests.laws.test_law4_ahead_equals_lockstep import comparable
from tests.reference.case import Case

pytestmark = pytest.mark.slow


def at_once(case: Case) -> Case:
    """Return a case in which records reach us as they happen, and no request waits for a slot."""
    records = {
        stream: [dict(row, receipt_time=row["event_time"]) for row in rows]
        for stream, rows in case.records.items()
    }
    inference = {**case.mapping["inference_config"], "max_in_flight": 1000}
    return replace(case, records=records, mapping={**case.mapping, "inference_config": inference})


def assert_equals_a_synchronous_backtest(
    case: Case, catalog: Catalog, *, mode: Any = "ahead"
) -> Played:
    """Assert law 9 on a case without any latency."""
    played = play(case, catalog, mode=mode)
    assert_rows_are_made_of_what_was_visible(played)
    plain = Synchronous(case, played.rows).run()
    for call, other in zip_longest(played.calls, plain.calls):
        assert call is not None, f"never called: {other}"
        assert other is not None, f"called though nothing happened: {call}"
        assert comparable(call) == comparable(other)
    values = {e.request[1]: e.value for e in played.entries[EntryKind.OUTCOME]}
    assert values == {answer.number: answer.value for answer in plain.answers}
    fills = [(fill.venue_time, fill.side * fill.lots, fill.ticks, fill.fee) for fill in plain.fills]
    assert [(f.instant, f.lots, f.ticks, f.fee) for f in played.fills] == fills
    for mine, theirs in (
        (played.run.venue.account, plain.venue.account),
        (played.run.engine.belief, plain.belief),
    ):
        assert (mine.cash, mine.fees, mine.realised) == (theirs.cash, theirs.fees, theirs.realised)
        assert {name: lots for name, lots in mine.positions.items() if lots} == {
            name: lots for name, lots in theirs.position.items() if lots
        }
    return played


instant_cases = cases(latencies=ZERO).map(at_once)


def test_without_latencies_the_result_is_that_of_a_plain_loop() -> None:
    tally = Tally()

    @law(60)
    @given(instant_cases, st.sampled_from(["ahead", "ahead", "lockstep"]))
    def check(case: Case, mode: Any) -> None:
        with catalog_of(case) as catalog:
            played = assert_equals_a_synchronous_backtest(case, catalog, mode=mode)
        tally.note(filled=bool(played.fills))

    check()
    tally.assert_half_are_telling()
