"""Law 6, conservation: every request ends once, and both books balance to the last unit."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given

from backtester.orders import ReportKind
from backtester.trace import EntryKind
from featurizer.catalog import Catalog
from inference.schedule import Outcome
from tests.laws.examples import Tally, law
from tests.laws.harness import Entry, Played, catalog_of, play
from tests.laws.markets import cases, serving
from tests.reference.case import Case

pytestmark = pytest.mark.slow

MISSING = -(2**63)


def assert_conserved(case: Case, catalog: Catalog) -> Played:
    """Assert law 6 on a case."""
    played = play(case, catalog)
    assert_every_request_ends_once(played)
    assert_every_lot_of_every_order_is_accounted_for(played)
    assert_books_balance(played, EntryKind.VENUE_LEDGER)
    assert_books_balance(played, EntryKind.BELIEF_LEDGER)
    assert_books_agree_once_reports_are_in(played)
    return played


def assert_every_request_ends_once(played: Played) -> None:
    """Requests are numbered without a gap, end in one outcome each, and attempts are apart."""
    asked = [entry.request for entry in played.entries[EntryKind.REQUEST]]
    ended = played.entries[EntryKind.OUTCOME]
    assert sorted(asked) == [(0, number) for number in range(len(asked))]
    assert sorted(entry.request for entry in ended) == sorted(asked)
    counts = Counter(Outcome(entry.outcome).name.lower() for entry in ended)
    summary = dict(played.result.summary["predictions"])
    assert summary.pop("submitted") == len(asked)
    assert {name: number for name, number in summary.items() if number} == counts
    frame = played.result.predictions
    assert sorted(frame["number"].to_list()) == [number for _, number in sorted(asked)]
    assert_attempts_are_counted_apart(played)
    for entry in ended:
        assert (entry.attempts > 0) == (entry.sent_at != MISSING)
        assert (entry.value == entry.value) == (entry.outcome == Outcome.COMPLETED)


def assert_attempts_are_counted_apart(played: Played) -> None:
    """Each attempt is told once, under the number of its request and its own."""
    if played.run.planes.loops[0].is_plain:
        assert not played.entries[EntryKind.ATTEMPT]
        return
    told = [
        (entry.number >> 16, entry.number & 0xFFFF) for entry in played.entries[EntryKind.ATTEMPT]
    ]
    assert sorted(told) == [
        (entry.number, attempt)
        for entry in sorted(played.entries[EntryKind.OUTCOME], key=lambda entry: entry.number)
        for attempt in range(entry.attempts)
    ]


def assert_every_lot_of_every_order_is_accounted_for(played: Played) -> None:
    """What was asked is filled, given up or refused; the first two only once accepted."""
    orders = {order.number: order for order in played.entries[EntryKind.ORDER]}
    assert sorted(orders) == list(range(1, len(orders) + 1))
    filled: Counter[int] = Counter()
    for number, entry in enumerate(played.fills, start=1):
        assert entry.number == number
    told: dict[int, list[Entry]] = {number: [] for number in orders}
    for report in sorted(played.entries[EntryKind.REPORT], key=lambda entry: entry.number):
        told[report.order].append(report)
        filled[report.order] += report.lots
    for number, reports in told.items():
        kinds = [ReportKind(report.kind) for report in reports]
        assert len(set(kinds)) == len(kinds)
        if kinds and kinds[0] is ReportKind.REJECTED:
            assert kinds == [ReportKind.REJECTED]
        elif kinds:
            assert kinds[0] is ReportKind.ACCEPTED
        assert filled[number] <= orders[number].lots
        if ReportKind.FILLED in kinds and ReportKind.CANCELED not in kinds and len(kinds) == 2:
            by_venue = played.result.orders.filter(order=number)["status"].item()
            # the cancellation of the rest may still be on its way to us
            assert by_venue == "canceled" or filled[number] == orders[number].lots


def assert_books_balance(played: Played, kind: EntryKind) -> None:
    """Recompute a book from its fills in exact fractions of the quote currency."""
    terms = [terms.reference() for terms in played.case.terms]
    unit = Fraction(1, 10**8)  # ticks and lots of a half need no finer one
    opening = played.case.scenario.balance
    paid = Fraction(0)  # for what we hold, at the prices of the fills
    fees, realised = Fraction(0), Fraction(0)
    position: Counter[int] = Counter()
    basis: dict[int, Fraction] = {}
    for entry in played.entries[kind]:
        instrument = terms[entry.instrument]
        step = instrument.tick_size * instrument.lot_size * instrument.contract_size
        notional = entry.lots * entry.ticks * step
        fee = Fraction(round(instrument.taker * abs(notional) / unit)) * unit
        assert entry.fee * unit == fee, "the fee is the taker's share, rounded half to even"
        before = position[entry.instrument]
        position[entry.instrument] += entry.lots
        paid += notional
        fees += fee
        realised += entry.realised * unit
        assert entry.position == position[entry.instrument]
        basis[entry.instrument] = entry.basis * step
        assert entry.position or not entry.basis, "nothing held costs nothing"
        assert entry.basis * entry.position >= 0
        if before * entry.lots >= 0:
            assert entry.realised == 0, "only what closes realises"
        # every unit paid is either still in the cost of what is held, or has been realised
        assert realised == sum(basis.values()) - paid
        spot = sum(b for i, b in basis.items() if terms[i].contract == "spot")
        assert entry.cash * unit == opening + realised - fees - spot


def assert_books_agree_once_reports_are_in(played: Played) -> None:
    """Our books repeat the venue's, entry by entry, as far as its reports have reached us."""
    venue, belief = played.fills, played.entries[EntryKind.BELIEF_LEDGER]
    assert [entry.words for entry in belief] == [e.words for e in venue[: len(belief)]]
    on_their_way = played.run.venue.account, played.run.engine.belief
    if len(belief) == len(venue):
        one, two = on_their_way
        assert (one.cash, one.fees, one.realised) == (two.cash, two.fees, two.realised)
        assert one.positions == two.positions
        assert one.bases == two.bases


def test_nothing_is_lost_whatever_the_deployments_do() -> None:
    tally = Tally()

    @law(40)
    @given(cases(loops=serving()))
    def check(case: Case) -> None:
        with catalog_of(case) as catalog:
            tally.note(filled=bool(assert_conserved(case, catalog).fills))

    check()
    tally.assert_half_are_telling()


def test_nothing_is_lost_and_nothing_is_counted_twice() -> None:
    tally = Tally()

    @law(60)
    @given(cases())
    def check(case: Case) -> None:
        with catalog_of(case) as catalog:
            tally.note(filled=bool(assert_conserved(case, catalog).fills))

    check()
    tally.assert_half_are_telling()
