"""Law 7 on a trace: time never goes back, and the stamps of everything are in order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from backtester.causality.entries import Entry, read_entry
from backtester.trace import EntryKind, TraceEntry
from inference.rows import MISSING

__all__ = ["check_order"]

_STAMPS = (
    "first_sent_at",
    "sent_at",
    "arrived_at",
    "routed_at",
    "batched_at",
    "started_at",
    "completed_at",
)


def check_order(trace: Sequence[TraceEntry]) -> None:
    """Assert that a whole trace is in order.

    Raises:
        AssertionError: Naming what is not.
    """
    entries = [read_entry(data) for _, data in trace]
    for one, two in pairwise(entries):
        before = (one.instant, one.rank, one.kind, one.number)
        assert before < (two.instant, two.rank, two.kind, two.number), f"{two} comes before {one}"
    asked: dict[int, int] = {}
    sent: dict[int, int] = {}
    heard = 0
    for entry in entries:
        words = entry.words
        if entry.kind is EntryKind.REQUEST:
            asked[entry.number] = entry.instant
        elif entry.kind is EntryKind.OUTCOME:
            _in_order(entry, [asked[entry.number], *_stamps(entry), entry.instant])
        elif entry.kind is EntryKind.FEATURE_ROW:
            _in_order(entry, [words["event_time"], words["emitted_at"], entry.instant])
        elif entry.kind is EntryKind.ORDER:
            sent[entry.number] = words["sent_at"]
            _in_order(entry, [entry.instant, words["sent_at"]])
        elif entry.kind is EntryKind.REPORT:
            _in_order(entry, [sent.get(words["order"], 0), words["venue_time"], entry.instant])
            assert entry.number == heard + 1, f"report {entry.number} follows report {heard}"
            heard = entry.number


def _stamps(entry: Entry) -> list[int]:
    return [entry.words[name] for name in _STAMPS]


def _in_order(entry: Entry, stamps: Sequence[int]) -> None:
    reached = [stamp for stamp in stamps if stamp != MISSING]
    assert reached == sorted(reached), f"the stamps of {entry} are not in order: {reached}"
