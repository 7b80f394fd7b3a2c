"""Entries of a trace, read back from their bytes, and where two traces part."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from backtester.trace import EntryKind, TraceEntry
from clock.rank import Rank

__all__ = ["Difference", "Entry", "first_difference", "read_entry"]

WORDS = {
    EntryKind.FEATURE_ROW: "emitted_at event_time tie instrument",
    EntryKind.REQUEST: "instrument emitted_at tie",
    EntryKind.OUTCOME: "outcome attempts replica sent_at arrived_at started_at completed_at "
    "superseded first_sent_at routed_at batched_at variant source fallback reason value",
    EntryKind.ORDER: "instrument side type lots limit_ticks sent_at time_in_force stop_ticks flags "
    "expires_at role group",
    EntryKind.VENUE_LEDGER: "instrument lots ticks fee realised cash position basis",
    EntryKind.REPORT: "order kind reason venue_time lots ticks fee",
    EntryKind.BELIEF_LEDGER: "instrument lots ticks fee realised cash position basis",
    EntryKind.ATTEMPT: "outcome reason variant replica sent_at arrived_at routed_at batched_at "
    "started_at completed_at visible_at execution batch_size fallback",
    EntryKind.CHANGE: "instrument order sent_at is_cancel lots ticks",
    EntryKind.VENUE_PAYMENT: "instrument booking amount cash",
    EntryKind.BELIEF_PAYMENT: "instrument booking amount cash",
    EntryKind.REFUSAL: "instrument reason",
}
"""Words of each kind after instant, rank, kind and number; a row's values follow them."""

_FLOATS = {"value"}
_ROWS = (EntryKind.FEATURE_ROW,)
_SERVED = (EntryKind.REQUEST, EntryKind.OUTCOME, EntryKind.ATTEMPT)
_TOLD = (EntryKind.REPORT, EntryKind.BELIEF_LEDGER, EntryKind.BELIEF_PAYMENT)
"""What the venue tells us, and what we book of it: a payment's amount stands there alone."""

_DECIDED = (EntryKind.ORDER, EntryKind.CHANGE, EntryKind.REFUSAL)


@dataclass(frozen=True)
class Entry:
    """One entry of a trace.

    Attributes:
        kind: What it tells.
        instant: When it became a fact, ns.
        rank: Where in its instant.
        number: Which one of its kind.
        words: Its named words.
        values: The values of a feature row.
    """

    kind: EntryKind
    instant: int
    rank: int
    number: int
    words: dict[str, Any] = field(default_factory=dict)
    values: tuple[float, ...] = ()


def read_entry(data: bytes) -> Entry:
    """Return an entry from its canonical bytes."""
    words = struct.unpack(f"<{len(data) // 8}q", data)
    kind = EntryKind(words[2])
    names = WORDS[kind].split()
    named: dict[str, Any] = dict(zip(names, words[4:], strict=False))
    for name in _FLOATS & named.keys():
        named[name] = struct.unpack("<d", struct.pack("<q", named[name]))[0]
    rest = data[8 * (4 + len(names)) :] if kind is EntryKind.FEATURE_ROW else b""
    values = struct.unpack(f"<{len(rest) // 8}d", rest)
    return Entry(kind, words[0], words[1], words[3], named, values)


@dataclass(frozen=True)
class Difference:
    """The first place, in the order of time, at which two traces part.

    Attributes:
        real: The entry of the real run, None where it has none.
        other: The entry of the run on another future, None where it has none.
    """

    real: Entry | None
    other: Entry | None

    @property
    def entry(self) -> Entry:
        """The entry that comes first."""
        present = [entry for entry in (self.real, self.other) if entry is not None]
        return min(present, key=lambda entry: (entry.instant, entry.rank, entry.kind))

    @property
    def columns(self) -> list[str]:
        """Names of the words that differ, and a row's values as `#` and their place."""
        if self.real is None or self.other is None or self.real.kind is not self.other.kind:
            return []
        pairs = zip(self.real.values, self.other.values, strict=False)
        named = [n for n, word in self.real.words.items() if _differs(word, self.other.words[n])]
        return named + [f"#{place}" for place, (a, b) in enumerate(pairs) if _differs(a, b)]


def first_difference(
    real: Sequence[TraceEntry],
    other: Sequence[TraceEntry],
    cut: int,
    stamp: str,
    *,
    asks: bool = False,
) -> Difference | None:
    """Return where two traces part at or before a cut, or None.

    Args:
        real: The trace of the real run, in the order of time.
        other: The trace on another future.
        cut: Last instant that both futures share.
        stamp: What lies after the cut in the one and not in the other. `event_time`: everything up
            to the cut must be the same. `receipt_time`: rows, requests and outcomes must be, and
            orders up to the first report that differs, since the venue may have seen it.
        asks: Whether the strategy submits requests of its own. They are decisions as orders are,
            and take the deployment's time from the loop's: what is served may differ where orders
            may.
    """
    mine, theirs = _until(real, cut), _until(other, cut)
    if stamp == "event_time":
        return _part(mine, theirs)
    reports = _part(_of(mine, _TOLD), _of(theirs, _TOLD))
    free = (cut + 1, 0) if reports is None else (reports.entry.instant, int(Rank.ORDER_REPORT))
    found = [_part(_of(mine, _ROWS), _of(theirs, _ROWS))]
    # a request stands at the rank of rows, whatever callback of its instant submitted it
    served_until = (free[0], 0) if asks and reports is not None else (cut + 1, 0)
    for kinds, until in ((_SERVED, served_until), (_DECIDED, free)):
        found.append(_part(*(_before(until, _of(entries, kinds)) for entries in (mine, theirs))))
    parted = [difference for difference in found if difference is not None]
    return min(parted, key=lambda d: (d.entry.instant, d.entry.rank), default=None)


def _until(entries: Sequence[TraceEntry], cut: int) -> Sequence[TraceEntry]:
    return entries[: bisect_right(entries, cut, key=lambda entry: entry[0])]


def _of(entries: Sequence[TraceEntry], kinds: tuple[EntryKind, ...]) -> list[TraceEntry]:
    numbers = {int(kind).to_bytes(8, "little") for kind in kinds}
    return [entry for entry in entries if entry[1][16:24] in numbers]


def _before(place: tuple[int, int], entries: Sequence[TraceEntry]) -> list[TraceEntry]:
    return [entry for entry in entries if _place(entry) < place]


def _place(entry: TraceEntry) -> tuple[int, int]:
    return entry[0], int.from_bytes(entry[1][8:16], "little")


def _part(mine: Sequence[TraceEntry], theirs: Sequence[TraceEntry]) -> Difference | None:
    for one, two in _pairs(mine, theirs):
        if one != two:
            read = [None if entry is None else read_entry(entry[1]) for entry in (one, two)]
            return Difference(*read)
    return None


def _pairs(
    mine: Sequence[TraceEntry], theirs: Sequence[TraceEntry]
) -> Iterator[tuple[TraceEntry | None, TraceEntry | None]]:
    if list(mine) == list(theirs):
        return
    for place in range(max(len(mine), len(theirs))):
        yield (
            mine[place] if place < len(mine) else None,
            theirs[place] if place < len(theirs) else None,
        )


def _differs(one: Any, two: Any) -> bool:
    return bool(one != two) and not (one != one and two != two)
