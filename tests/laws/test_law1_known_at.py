"""Law 1, known-at: whatever we compute or decide uses only what was visible to us by then."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.orders import ReportKind
from backtester.trace import EntryKind
from clock.rank import Rank
from featurizer.catalog import Catalog
from tests.laws.examples import Tally, law
from tests.laws.harness import Entry, Played, catalog_of, play, same_number
from tests.laws.markets import START, STEP, ZERO, cases
from tests.laws.player import LOT, TICK, Call
from tests.laws.raw import Place, feature_rows, least, least_inference, received, venue_quote
from tests.reference.case import Case

pytestmark = pytest.mark.slow

COMPLETED = 0
LOOKS = tuple(START + step * STEP for step in range(0, 70, 3))
BEFORE_EVERYTHING = -1


def assert_known_at(
    case: Case, catalog: Catalog, *, mode: Any = "ahead", window_rows: int = 7
) -> Played:
    """Assert law 1 on a case, told everything and told little."""
    eager = play(case, catalog, mode=mode, window_rows=window_rows, watch=True)
    assert_rows_are_made_of_what_was_visible(eager)
    assert_answers_come_from_visible_rows_and_take_their_time(eager)
    assert_records_are_handed_over_at_their_receipt(eager)
    assert_lookups_show_what_was_visible(eager)
    assert_fills_are_made_of_what_had_happened(eager)
    woken = play(
        case, catalog, mode=mode, window_rows=window_rows, watch=True, eager=False, looks=LOOKS
    )
    assert_lookups_show_what_was_visible(woken)
    return eager


def assert_rows_are_made_of_what_was_visible(played: Played) -> None:
    """Each row equals the one recomputed from the raw records received by its emission."""
    for row, raw in zip_longest(played.rows, feature_rows(played.case)):
        assert row is not None, f"a row is missing: {raw}"
        assert raw is not None, f"a row that nothing emits: {row}"
        stamps = (row.emitted_at, row.visible_at, row.event_time, row.tie)
        assert stamps == tuple(raw[:4])
        pairs = zip(row.values, raw.values, strict=True)
        assert all(same_number(a, b) for a, b in pairs), (row, raw)


def assert_answers_come_from_visible_rows_and_take_their_time(played: Played) -> None:
    """A request asks about a row visible by then; its answer is the model's, and not early."""
    case = played.case
    loop = case.scenario.loops[0]
    features = case.scenario.features
    assert features is not None
    names = [column.name for column in features.columns]
    columns = [names.index(name) for name in loop.features or names]
    rows = {(row.emitted_at, row.tie): row for row in played.rows}
    requests = {entry.request: entry for entry in played.entries[EntryKind.REQUEST]}
    for request in requests.values():
        assert rows[request.emitted_at, request.tie].visible_at <= request.instant
    for outcome in played.entries[EntryKind.OUTCOME]:
        if outcome.outcome == COMPLETED:
            request = requests[outcome.request]
            row = rows[request.emitted_at, request.tie]
            assert outcome.value == case.model([row.values[column] for column in columns])
            assert outcome.sent_at >= request.instant
            assert outcome.instant >= outcome.sent_at + least_inference(case)


def assert_records_are_handed_over_at_their_receipt(played: Played) -> None:
    """Records are handed over one by one as they are received, each with its own columns."""
    told = [call for call in played.calls if call.event in ("quote", "trade")]
    for call, item in zip_longest(told, received(played.case)):
        assert call is not None, f"never handed over: {item}"
        assert item is not None, f"handed over without being received: {call}"
        (instant, _, _), record = item
        assert (call.now, call.event) == (instant, record.kind.rstrip("s"))
        assert call.fields == {"instrument": record.instrument, **record.row}


def assert_fills_are_made_of_what_had_happened(played: Played) -> None:
    """An order meets the venue's last quote by its arrival, for what that quote displays."""
    case = played.case
    ids = [terms.id for terms in case.terms]
    execution = case.mapping["execution"]
    orders = {order.number: order for order in played.entries[EntryKind.ORDER]}
    taken: Counter[tuple[str, int, int]] = Counter()
    for report in sorted(played.entries[EntryKind.REPORT], key=lambda entry: entry.number):
        order = orders[report.order]
        assert report.venue_time >= order.instant + least(execution["entry_latency"])
        assert report.instant >= report.venue_time + least(execution["response_latency"])
        if report.kind == ReportKind.FILLED:
            name, side = ids[order.instrument], "ask" if order.side > 0 else "bid"
            quote = venue_quote(case, name, report.venue_time)
            assert quote is not None, "filled before the venue had a quote"
            assert report.ticks == round(quote[f"{side}_price"] / TICK)
            taken[name, quote["sequence"], order.side] += report.lots
            displayed = round(quote[f"{side}_quantity"] / LOT)
            assert taken[name, quote["sequence"], order.side] <= displayed


# -- lookups ---------------------------------------------------------------------------------------


def assert_lookups_show_what_was_visible(played: Played) -> None:
    """At every callback `ctx` shows the newest of what comes before its place in time."""
    answers = _news(played)
    rows = [((row.visible_at, Rank.FEATURE_ROW, (row.number,)), row) for row in played.rows]
    quotes: dict[str, list[tuple[Place, Any]]] = {terms.id: [] for terms in played.case.terms}
    for place, record in received(played.case):
        if record.kind == "quotes":
            quotes[record.instrument].append((place, record.row))
    counters: Counter[str] = Counter()
    positions = dict.fromkeys(quotes, 0)
    place: Place = (0, BEFORE_EVERYTHING, ())
    for call in played.calls:
        counters[call.event] += 1
        # a report that opens an instant again sees what was seen before it
        place = max(place, _place(played, call, counters))
        if call.event == "order" and call.fields["kind"] == "filled":
            positions[call.fields["instrument"]] += call.fields["side"] * call.fields["lots"]
        view = call.view
        for name, list_of in quotes.items():
            quote, found = _newest(list_of, place), view["quotes"][name]
            assert (found and found._asdict()) == quote, (call, quote)
        row, found = _newest(rows, place), view["row"]
        assert (row and (row.visible_at, repr(row.values))) == (
            found and (found.visible_at, repr(found.values))
        ), (call, row)
        answer, found = _newest(answers, place), view["answer"]
        assert (answer and (answer.request[1], answer.value)) == (
            found and (found.number, found.value)
        ), (call, answer)
        assert view["positions"] == {name: lots * LOT for name, lots in positions.items()}


def _news(played: Played) -> list[tuple[Place, Entry]]:
    """Return the answers that were about a newer row than every earlier one, as we find."""
    order = {(row.emitted_at, row.tie): row.number for row in played.rows}
    asked = {e.request: order[e.emitted_at, e.tie] for e in played.entries[EntryKind.REQUEST]}
    newest, news = -1, []
    for entry in played.entries[EntryKind.OUTCOME]:
        if entry.outcome == COMPLETED and asked[entry.request] >= newest:
            newest = asked[entry.request]
            news.append((_answer_place(entry), entry))
    return news


def _answer_place(entry: Entry) -> Place:
    loop, number = entry.request
    key = (0, loop, number) if entry.rank == Rank.TIMER else (loop, number)
    return entry.instant, entry.rank, key


def _place(played: Played, call: Call, counters: Counter[str]) -> Place:
    """Return where in the order of time a callback runs, from what it is about."""
    ids = [terms.id for terms in played.case.terms]
    if call.event in ("start", "stop"):
        return call.now, BEFORE_EVERYTHING, ()
    if call.event in ("quote", "trade"):
        number = 0 if call.event == "quote" else 1
        key = (ids.index(call.fields["instrument"]), number, call.fields["sequence"])
        return call.now, Rank.RECEIPT, key
    if call.event == "features":
        return call.now, Rank.FEATURE_ROW, (counters["features"] - 1,)
    if call.event == "prediction":
        number = call.fields["number"]
        outcomes = played.entries[EntryKind.OUTCOME]
        return next(_answer_place(entry) for entry in outcomes if entry.request == (0, number))
    if call.event == "timer":
        return call.now, Rank.TIMER, (1,)
    return call.now, Rank.ORDER_REPORT, (counters["order"],)


def _newest(items: list[tuple[Place, Any]], place: Place) -> Any:
    count = bisect_right(items, place, key=lambda item: item[0])
    return items[count - 1][1] if count else None


MODES = st.sampled_from(["ahead", "ahead", "lockstep"])
WINDOWS = st.sampled_from([2, 7, 7, 50])


def test_everything_uses_only_what_was_visible_by_then() -> None:
    tally = Tally()

    @law(60)
    @given(cases() | cases(latencies=ZERO), MODES, WINDOWS)
    def check(case: Case, mode: Any, window_rows: int) -> None:
        with catalog_of(case) as catalog:
            played = assert_known_at(case, catalog, mode=mode, window_rows=window_rows)
        tally.note(filled=bool(played.fills))

    check()
    tally.assert_half_are_telling()
