"""Law 2, future blindness: another future changes nothing that comes before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.trace import EntryKind
from clock.rank import Rank
from tests.laws.examples import Tally, law
from tests.laws.harness import Played, catalog_of, play, read_entry
from tests.laws.markets import cases, cuts, other_futures
from tests.reference.case import Case, Records

pytestmark = pytest.mark.slow

EXOGENOUS = (EntryKind.FEATURE_ROW, EntryKind.REQUEST, EntryKind.OUTCOME)
NEVER_AFTER_A_REPORT = ("quote", "trade", "features")  # within an instant
FOREVER = (2**63, 0)


def with_two_futures(case: Case, other: Records, **how: Any) -> tuple[Played, Played]:
    """Run a case, and the same case with other records."""
    changed = replace(case, records=other)
    with catalog_of(case) as one, catalog_of(changed) as two:
        return play(case, one, watch=True, **how), play(changed, two, watch=True, **how)


def assert_blind_to_what_has_not_happened(one: Played, two: Played, cut: int) -> None:
    """Law 2a: the futures differ in what happens after the cut, the traces only after it."""
    assert _until(one, cut) == _until(two, cut)
    assert _told(one, (cut + 1, 0)) == _told(two, (cut + 1, 0))


def assert_blind_to_what_has_not_reached_us(one: Played, two: Played, cut: int) -> None:
    """Law 2b: the futures differ in what reaches us after the cut.

    Rows, requests and outcomes are the same up to it. Decisions are the same until the venue, which
    may have seen the difference, says something else.
    """
    assert _until(one, cut, EXOGENOUS) == _until(two, cut, EXOGENOUS)
    free = min(_first_other_report(one, two), (cut + 1, 0))
    orders = [
        [e for e in p.entries[EntryKind.ORDER] if (e.instant, e.rank) < free] for p in (one, two)
    ]
    assert orders[0] == orders[1]
    assert _told(one, free) == _told(two, free)


def changed_after(one: Played, two: Played, cut: int) -> bool:
    """Whether the perturbation shows at all."""
    later = [[item for item in p.trace if item[0] > cut] for p in (one, two)]
    return later[0] != later[1]


def _until(
    played: Played, cut: int, kinds: tuple[EntryKind, ...] = tuple(EntryKind)
) -> list[tuple[int, bytes]]:
    return [item for item in played.trace if item[0] <= cut and read_entry(item[1])[0] in kinds]


def _first_other_report(one: Played, two: Played) -> tuple[int, int]:
    """Return instant and rank of the first order report that the two runs do not share."""
    reports = [played.entries[EntryKind.REPORT] for played in (one, two)]
    for mine, theirs in zip(*reports, strict=False):
        if mine != theirs:
            return min(mine.instant, theirs.instant), Rank.ORDER_REPORT
    longer = max(reports, key=len)[min(map(len, reports)) :]
    return (longer[0].instant, Rank.ORDER_REPORT) if longer else FOREVER


def _told(played: Played, free: tuple[int, int]) -> list[str]:
    """Return the callbacks before an instant and a rank, with all that was visible from them."""
    told = []
    for call in played.calls:
        before_reports = free[1] == Rank.ORDER_REPORT and call.event in NEVER_AFTER_A_REPORT
        if call.now < free[0] or (call.now == free[0] and before_reports):
            told.append(call.told)
    return told


@st.composite
def perturbed(draw: st.DrawFn, stamp: str, **how: Any) -> tuple[Case, int, Records, Played]:
    """Draw a case, a cut, and the case with another future, having run it once to place the cut."""
    case = draw(cases(**how))
    with catalog_of(case) as catalog:
        played = play(case, catalog)
    cut = draw(cuts(case, [fill.instant for fill in played.fills]))
    return case, cut, draw(other_futures(case.records, cut, stamp)), played


MODES = st.sampled_from(["ahead", "ahead", "lockstep"])


def test_what_has_not_happened_yet_changes_nothing() -> None:
    tally = Tally()

    @law(60)
    @given(perturbed("event_time"), MODES)
    def check(example: tuple[Case, int, Records, Played], mode: Any) -> None:
        case, cut, other, _ = example
        one, two = with_two_futures(case, other, mode=mode)
        assert_blind_to_what_has_not_happened(one, two, cut)
        filled = any(fill.instant <= cut for fill in one.fills)
        tally.note(filled=filled, changed=changed_after(one, two, cut))

    check()
    tally.assert_half_are_telling()


def test_what_has_not_reached_us_yet_changes_no_decision() -> None:
    tally = Tally()

    @law(60)
    @given(perturbed("receipt_time"), MODES)
    def check(example: tuple[Case, int, Records, Played], mode: Any) -> None:
        case, cut, other, _ = example
        one, two = with_two_futures(case, other, mode=mode)
        assert_blind_to_what_has_not_reached_us(one, two, cut)
        filled = any(fill.instant <= cut for fill in one.fills)
        tally.note(filled=filled, changed=changed_after(one, two, cut))

    check()
    tally.assert_half_are_telling()
