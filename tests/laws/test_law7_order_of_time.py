"""Law 7, order of time: never back, in the published order, and no message overtakes another."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.trace import EntryKind
from clock.rank import Rank
from featurizer.catalog import Catalog
from inference.schedule import Reason
from tests.laws.examples import Tally, law
from tests.laws.harness import Played, catalog_of, play
from tests.laws.markets import ZERO, cases, serving
from tests.laws.player import Call
from tests.reference.case import Case

pytestmark = pytest.mark.slow

MISSING = -(2**63)
STAMPS = (
    "first_sent_at",
    "sent_at",
    "arrived_at",
    "routed_at",
    "batched_at",
    "started_at",
    "completed_at",
)
COMPLETED = 0
NO_REPLY = (Reason.LOST, Reason.CANCELLED)


def assert_time_is_in_order(case: Case, catalog: Catalog, *, mode: Any = "ahead") -> Played:
    """Assert law 7 on a case."""
    played = play(case, catalog, mode=mode, window_rows=5)
    assert_clock_never_goes_back(played)
    assert_stamps_are_ordered(played)
    assert_an_instant_runs_in_the_published_order(played)
    assert_no_message_overtakes(played)
    return played


def assert_clock_never_goes_back(played: Played) -> None:
    """Callbacks and the trace's entries are in order of time."""
    instants = [call.now for call in played.calls]
    assert instants == sorted(instants)
    assert instants[0] == played.case.scenario.start
    assert instants[-1] == played.case.until
    assert all(now < played.case.until for now in instants[:-1])
    written = [instant for instant, _ in played.trace]
    assert written == sorted(written)


def assert_stamps_are_ordered(played: Played) -> None:
    """submitted, sent, arrived, started, completed, visible: none before the one before it."""
    asked = {entry.request: entry.instant for entry in played.entries[EntryKind.REQUEST]}
    for entry in played.entries[EntryKind.OUTCOME]:
        stamps = [asked[entry.request], *(getattr(entry, name) for name in STAMPS), entry.instant]
        reached = [stamp for stamp in stamps if stamp != MISSING]
        assert reached == sorted(reached)
        if entry.outcome == COMPLETED and entry.source < 0 and not entry.fallback:
            assert len(reached) == len(stamps)
    for row in played.rows:
        assert row.event_time <= row.emitted_at <= row.visible_at
    sent = {order.number: order.instant for order in played.entries[EntryKind.ORDER]}
    for report in played.entries[EntryKind.REPORT]:
        assert sent[report.order] <= report.venue_time <= report.instant


def assert_an_instant_runs_in_the_published_order(played: Played) -> None:
    """Ranks rise within an instant; only what an order sent at it caused may open one again."""
    sent = {order.number: order.instant for order in played.entries[EntryKind.ORDER]}
    ranks = {
        entry.request[1]: entry.rank
        for entry in played.entries[EntryKind.OUTCOME]
        if entry.outcome == COMPLETED
    }
    ids = [terms.id for terms in played.case.terms]
    keyed = [(call, _order_key(call, ids, ranks)) for call in played.calls[1:-1]]
    for (one, first), (two, second) in pairwise(item for item in keyed if item[1] is not None):
        if one.now == two.now:
            assert first <= second, (one, two)
    for (one, first), (two, second) in pairwise(keyed):
        if one.now == two.now and second is None and first is not None and first[0] == Rank.TIMER:
            assert sent[two.fields["order"]] == two.now, (one, two)
        if one.now == two.now and first is None and second is not None:
            # nothing below the reports may follow one
            assert second[0] == Rank.TIMER, (one, two)


def _order_key(call: Call, ids: list[str], ranks: dict[int, int]) -> tuple[Any, ...] | None:
    """Return rank and key of a callback, None for a report: its rank may open again."""
    fields = call.fields
    if call.event in ("quote", "trade"):
        kind = 0 if call.event == "quote" else 1
        return Rank.RECEIPT, ids.index(fields["instrument"]), kind, fields["sequence"]
    if call.event == "features":
        return Rank.FEATURE_ROW, fields["emitted_at"]
    if call.event == "prediction":
        return ranks[fields["number"]], 0, 0, fields["number"]
    if call.event == "timer":
        return Rank.TIMER, 1
    return None


def assert_no_message_overtakes(played: Played) -> None:
    """On each connection what is sent first arrives first."""
    reports = played.entries[EntryKind.REPORT]
    heard = [report.number for report in reports]
    assert heard == list(range(1, len(heard) + 1))
    orders = [report.order for report in reports]
    assert orders == sorted(orders), "an order arrived before one that was sent before it"
    at_venue = [report.venue_time for report in reports]
    assert at_venue == sorted(at_venue)
    plain = played.run.planes.loops[0].is_plain
    done = played.entries[EntryKind.OUTCOME if plain else EntryKind.ATTEMPT]
    for variant in {entry.variant for entry in done}:
        mine = [entry for entry in done if entry.variant == variant]
        assert_in_order((e.sent_at, e.arrived_at) for e in mine if e.arrived_at != MISSING)
        back = [e for e in mine if e.completed_at != MISSING and e.instant < played.case.until]
        assert_in_order((e.completed_at, e.instant) for e in back if e.reason not in NO_REPLY)


def assert_in_order(messages: Iterable[tuple[int, int]]) -> None:
    """What left earlier arrived no later; among those that left together any order will do."""
    arrivals: dict[int, list[int]] = {}
    for left, arrived in messages:
        arrivals.setdefault(left, []).append(arrived)
    for one, two in pairwise(sorted(arrivals)):
        assert max(arrivals[one]) <= min(arrivals[two])


def test_time_runs_forward_and_in_the_published_order() -> None:
    tally = Tally()

    @law(60)
    @given(cases() | cases(latencies=ZERO), st.sampled_from(["ahead", "ahead", "lockstep"]))
    def check(case: Case, mode: Any) -> None:
        with catalog_of(case) as catalog:
            tally.note(filled=bool(assert_time_is_in_order(case, catalog, mode=mode).fills))

    check()
    tally.assert_half_are_telling()


def test_time_runs_forward_whatever_the_deployments_do() -> None:
    tally = Tally()

    @law(40)
    @given(cases(loops=serving()), st.sampled_from(["ahead", "ahead", "lockstep"]))
    def check(case: Case, mode: Any) -> None:
        with catalog_of(case) as catalog:
            tally.note(filled=bool(assert_time_is_in_order(case, catalog, mode=mode).fills))

    check()
    tally.assert_half_are_telling()
