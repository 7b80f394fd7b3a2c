"""Where to cut time: at decisions first, where a leak shows, and at ties; then all over the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from backtester.causality.entries import read_entry
from backtester.trace import EntryKind, TraceEntry

__all__ = ["Cuts", "choose_cuts"]

_KIND = {int(kind).to_bytes(8, "little"): kind for kind in EntryKind}


class Cuts:
    """Instants at which a run may be cut, the most telling first, without end.

    Attributes:
        decisions: Instants at which the strategy sent orders, in order.
    """

    def __init__(
        self, decisions: Sequence[int], others: Sequence[int], span: tuple[int, int], seed: int
    ) -> None:
        self.decisions = sorted(set(decisions))
        self._others = sorted(set(others))
        self._span = span
        self._random = np.random.Generator(np.random.Philox([seed, 1]))

    def __iter__(self) -> Iterator[int]:
        taken: set[int] = set()
        rounds = [
            _spread(self.decisions),
            _spread(self._others),
        ]
        for place in range(max(len(self.decisions), len(self._others))):
            # two decisions for every other instant
            for instants, share in ((rounds[0], 2), (rounds[1], 1)):
                for instant in instants[place * share : (place + 1) * share]:
                    if instant not in taken:
                        taken.add(instant)
                        yield instant
        start, until = self._span
        while until - start > len(taken):
            instant = int(self._random.integers(start, until))
            if instant not in taken:
                taken.add(instant)
                yield instant


def choose_cuts(entries: Sequence[TraceEntry], span: tuple[int, int], seed: int) -> Cuts:
    """Return the cuts of a run.

    Args:
        entries: Its trace.
        span: Its start and end.
        seed: Of the random instants that follow when the telling ones are used up.
    """
    start, until = span
    orders, others = [], []
    for instant, data in entries:
        kind = _KIND[data[16:24]]
        if kind is EntryKind.ORDER:
            orders.append(instant)
        elif kind is EntryKind.FEATURE_ROW:
            others.append(read_entry(data).words["emitted_at"])
        elif kind in (EntryKind.VENUE_LEDGER, EntryKind.OUTCOME):
            others.append(instant)
    inside = [instant for instant in others if start <= instant < until - 1]
    # the end of a run has no future: a cut there could show nothing
    return Cuts([i for i in orders if i < until - 1], inside or [start], span, seed)


def _spread(instants: Sequence[int]) -> list[int]:
    """Return instants in an order that covers the run evenly however soon one stops."""
    size = len(instants)
    if not size:
        return []
    bits = max(1, (size - 1).bit_length())
    order = [int(f"{place:0{bits}b}"[::-1], 2) for place in range(1 << bits)]
    # the middle first: at either end there is little before or little after
    return [instants[(place + size // 2) % size] for place in order if place < size]
