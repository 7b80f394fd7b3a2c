"""Each rule of conservation and of order fails where it is broken; a whole run keeps them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backtester.causality.conservation import check_lots, check_requests
from backtester.causality.entries import Entry
from backtester.causality.ordering import check_order
from backtester.orders import ReportKind, Role
from backtester.trace import EntryKind, Trace, TraceEntry, block
from clock.rank import Rank

NAN = float("nan")
REQUEST, OUTCOME, ATTEMPT = EntryKind.REQUEST, EntryKind.OUTCOME, EntryKind.ATTEMPT


def entries(*made: Entry) -> dict[EntryKind, list[Entry]]:
    return {kind: [entry for entry in made if entry.kind is kind] for kind in EntryKind}


def entry(kind: EntryKind, number: int, /, **words: Any) -> Entry:
    return Entry(kind, 0, 0, number, words)


def outcome(number: int, attempts: int = 1, outcome: int = 0, value: float = 1.0) -> Entry:
    return entry(OUTCOME, number, attempts=attempts, outcome=outcome, value=value)


SERVED = (entry(REQUEST, 7), outcome(7), entry(ATTEMPT, 7 << 16))


def test_a_request_that_is_served_once_is_in_order() -> None:
    check_requests(entries(*SERVED))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ((entry(REQUEST, 7),), "ended 0 times"),
        ((*SERVED, outcome(7)), "ended 2 times"),
        ((*SERVED, entry(REQUEST, 7)), "was asked 2 times"),
        ((entry(REQUEST, 7), outcome(7)), "says 1 attempts: 0 are told"),
        ((*SERVED, entry(ATTEMPT, (7 << 16) + 1)), "says 1 attempts: 2 are told"),
        ((entry(REQUEST, 7), outcome(7, 0, 1, value=2.0)), "has a value and no answer"),
    ],
)
def test_a_request_that_is_not_is_named(made: tuple[Entry, ...], told: str) -> None:
    with pytest.raises(AssertionError, match=rf"request 7 of loop 0 .*{told}"):
        check_requests(entries(*made))


def order(number: int, lots: int = 5, role: Role = Role.ALONE, group: int = 0) -> Entry:
    return entry(EntryKind.ORDER, number, lots=lots, role=int(role), group=group)


def report(number: int, kind: ReportKind, order: int = 1, lots: int = 0) -> Entry:
    return entry(EntryKind.REPORT, number, order=order, kind=int(kind), lots=lots)


K = ReportKind
ACCEPTED = report(1, K.ACCEPTED)


def test_an_order_may_be_filled_in_parts_and_then_canceled() -> None:
    told = (report(2, K.FILLED, lots=2), report(3, K.FILLED, lots=2), report(4, K.CANCELED))
    check_lots(entries(order(1), ACCEPTED, *told))


def test_an_order_that_was_made_larger_may_be_filled_beyond_what_it_was() -> None:
    change = entry(EntryKind.CHANGE, 1, order=1, lots=9)
    check_lots(entries(order(1), change, ACCEPTED, report(2, K.FILLED, lots=8)))


BRACKET = (order(1, role=Role.ENTRY, group=1), order(2, role=Role.EXIT, group=1))
LARGER = entry(EntryKind.CHANGE, 1, order=1, lots=9)
ENTERED = (report(1, K.ACCEPTED), report(2, K.ACCEPTED, 2), report(3, K.FILLED, lots=8))


def test_the_exit_of_a_bracket_may_be_filled_for_what_its_entry_was() -> None:
    check_lots(entries(*BRACKET, LARGER, *ENTERED, report(4, K.FILLED, 2, lots=8)))


@pytest.mark.parametrize("entered", [(), (report(3, K.FILLED, lots=2),)])
def test_the_exit_of_a_bracket_may_not_be_filled_for_more(entered: tuple[Entry, ...]) -> None:
    told = (*ENTERED[:2], *entered, report(4, K.FILLED, 2, lots=3))
    with pytest.raises(AssertionError, match=r"order 2: 3 lots of \d filled"):
        check_lots(entries(*BRACKET, *told))


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        ((ACCEPTED, report(2, K.FILLED, lots=6)), "6 lots of 5 filled"),
        ((report(1, K.FILLED, lots=1),), "the first report of order 1 is FILLED"),
        ((ACCEPTED, report(2, K.ACCEPTED)), "was accepted or rejected 2 times"),
        ((ACCEPTED, report(2, K.CANCELED), report(3, K.EXPIRED)), "ended 2 times"),
        ((ACCEPTED, report(2, K.CANCELED), report(3, K.FILLED, lots=1)), "filled after its end"),
        ((entry(EntryKind.REFUSAL, 1), ACCEPTED), "was kept back, and reported on"),
    ],
)
def test_an_order_that_loses_or_makes_lots_is_named(told: tuple[Entry, ...], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        check_lots(entries(order(1), *told))


def test_orders_are_numbered_without_a_gap() -> None:
    with pytest.raises(AssertionError, match="without a gap"):
        check_lots(entries(order(1), order(3)))


# -- order of time ---------------------------------------------------------------------------------

START = 1_700_000_000_000_000_000


def trace(kind: EntryKind, rank: Rank, number: int, *words: int, at: int = 0) -> list[TraceEntry]:
    made = Trace(keep=True)
    columns = [np.array([word]) for word in words]
    made.add(block(kind, np.array([START + at]), int(rank), np.array([number]), *columns))
    made.flush()
    return made.entries


def heard(number: int, at: int, venue_at: int) -> list[TraceEntry]:
    words = (1, 0, 0, START + venue_at, 0, 0, 0)
    return trace(EntryKind.REPORT, Rank.ORDER_REPORT, number, *words, at=at)


def test_stamps_in_order_pass() -> None:
    check_order([*heard(1, 5, 3), *heard(2, 5, 4)])


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([*heard(2, 5, 4), *heard(1, 5, 3)], "comes before"),
        ([*heard(1, 9, 3), *heard(2, 5, 4)], "comes before"),
        (heard(1, 5, 6), "are not in order"),
        ([*heard(1, 5, 3), *heard(3, 6, 4)], "report 3 follows report 1"),
        (
            trace(EntryKind.FEATURE_ROW, Rank.FEATURE_ROW, 0, START + 4, START + 9, 0, 0, at=5),
            "are not in order",
        ),
    ],
)
def test_a_trace_out_of_order_is_told(entries: list[TraceEntry], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check_order(entries)
