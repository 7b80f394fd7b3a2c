"""Two traces are compared up to a cut, and cuts cover a run evenly."""

from __future__ import annotations

import numpy as np
import pytest

from backtester.causality.cuts import choose_cuts
from backtester.causality.entries import first_difference, read_entry
from backtester.causality.futures import Future, Part
from backtester.causality.tell import future_of, name_of
from backtester.errors import ScenarioError
from backtester.trace import EntryKind, Trace, TraceEntry, block
from clock.rank import Rank

START = 1_700_000_000_000_000_000


def trace(*blocks: np.ndarray) -> list[TraceEntry]:
    made = Trace(keep=True)
    for entries in blocks:
        made.add(entries)
    made.flush()
    return made.entries


def rows(values: list[float]) -> np.ndarray:
    """Return feature rows of one column, a nanosecond apart."""
    size = len(values)
    instants = START + np.arange(size)
    zeros = np.zeros(size, np.int64)
    return block(
        EntryKind.FEATURE_ROW, instants, int(Rank.FEATURE_ROW), np.arange(size),
        instants, instants, zeros, zeros, np.array(values)[:, None],
    )  # fmt: skip


def reports(instants: list[int], lots: int) -> np.ndarray:
    size = len(instants)
    words = [np.full(size, lots)] * 7
    return block(
        EntryKind.REPORT,
        START + np.array(instants),
        int(Rank.ORDER_REPORT),
        np.arange(size),
        *words,
    )


def test_a_difference_after_the_cut_is_none() -> None:
    one, two = trace(rows([1.0, 2.0, 3.0])), trace(rows([1.0, 2.0, 4.0]))
    assert first_difference(one, two, START + 1, "event_time") is None
    found = first_difference(one, two, START + 2, "event_time")
    assert found is not None
    assert found.columns == ["#0"]
    assert found.entry.instant == START + 2


def test_a_missing_entry_is_a_difference() -> None:
    one, two = trace(rows([1.0, 2.0])), trace(rows([1.0]))
    found = first_difference(one, two, START + 9, "event_time")
    assert found is not None
    assert found.other is None
    assert found.entry is found.real


def test_a_value_that_is_not_a_number_equals_itself() -> None:
    one, two = trace(rows([np.nan])), trace(rows([np.nan]))
    assert first_difference(one, two, START, "event_time") is None


def test_what_has_only_not_reached_us_may_be_reported_by_the_venue() -> None:
    one, two = trace(reports([5], 1)), trace(reports([5], 2))
    assert first_difference(one, two, START + 9, "event_time") is not None
    assert first_difference(one, two, START + 9, "receipt_time") is None


def payments(amount: int) -> np.ndarray:
    """Return a payment in our books, a report of it, and then an order, a nanosecond apart."""
    words = [np.array([word]) for word in (0, 1, amount, amount)]
    rank = int(Rank.ORDER_REPORT)
    return block(EntryKind.BELIEF_PAYMENT, START + np.array([5]), rank, np.array([1]), *words)


def orders(instant: int, side: int) -> np.ndarray:
    words = [np.array([word]) for word in (0, side, *[0] * 10)]
    where = START + np.array([instant])
    return block(EntryKind.ORDER, where, int(Rank.TIMER), np.array([1]), *words)


def test_a_payment_of_another_amount_may_change_what_is_decided_after_it() -> None:
    told = reports([5], 0)  # the report itself has no place for the amount
    one = trace(told, payments(3), orders(6, 1))
    two = trace(told, payments(4), orders(6, -1))
    assert first_difference(one, two, START + 9, "receipt_time") is None
    before = trace(orders(4, 1), told, payments(3)), trace(orders(4, -1), told, payments(4))
    assert first_difference(*before, START + 9, "receipt_time") is not None


def requests(instant: int, instrument: int) -> np.ndarray:
    words = [np.array([word]) for word in (instrument, START + instant, 0)]
    where = START + np.array([instant])
    return block(EntryKind.REQUEST, where, int(Rank.FEATURE_ROW), np.array([1]), *words)


def test_requests_of_the_strategys_own_are_decided_and_may_follow_another_report() -> None:
    one, two = reports([5], 1), reports([5], 2)
    told = trace(one, requests(5, 0)), trace(two, requests(5, 1))
    assert first_difference(*told, START + 9, "receipt_time", asks=True) is None
    assert first_difference(*told, START + 9, "receipt_time") is not None
    assert first_difference(*told, START + 9, "event_time", asks=True) is not None
    before = trace(requests(4, 0), one), trace(requests(4, 1), two)
    assert first_difference(*before, START + 9, "receipt_time", asks=True) is not None
    untold = trace(requests(5, 0)), trace(requests(5, 1))
    assert first_difference(*untold, START + 9, "receipt_time", asks=True) is not None


def test_an_entry_is_read_back_from_its_bytes() -> None:
    entry = read_entry(trace(rows([1.5]))[0][1])
    assert (entry.kind, entry.instant, entry.values) == (EntryKind.FEATURE_ROW, START, (1.5,))


def test_cuts_never_repeat_and_stay_inside_the_run() -> None:
    cuts = iter(choose_cuts(trace(rows([0.0] * 50)), (START, START + 60), 3))
    seen = list(cuts)
    assert len(set(seen)) == len(seen) >= 50
    assert min(seen) >= START
    assert max(seen) < START + 60


def test_the_first_cuts_cover_the_run() -> None:
    cuts = iter(choose_cuts(trace(rows([0.0] * 64)), (START, START + 64), 3))
    first = sorted(next(cuts) - START for _ in range(8))
    assert np.diff([0, *first, 64]).max() <= 16


def test_a_future_is_named_by_one_word_that_makes_it_again() -> None:
    future = Future(START, "receipt_time", "deletion", 7, Part(("A.B", "quotes"), 3, 4))
    assert future_of(name_of(future)) == future
    assert " " not in name_of(future)


@pytest.mark.parametrize("text", ["", "now", "2024-01-01T00:00:00Z,event_time,values", "1,2,3,4"])
def test_what_names_no_future_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match="--replay"):
        future_of(text)
