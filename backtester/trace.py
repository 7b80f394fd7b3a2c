"""Everything that happened, in the order of time, as bytes, and their digest.

An entry is a row of little-endian 64-bit words: instant, rank, kind, number, then the words of its
kind (floats by their bits, any NaN as one NaN). Entries are ordered by those first four words,
whatever made them and in whatever windows, so the digest does not depend on windows or mode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from backtester.codes import Code

__all__ = ["EntryKind", "Trace", "TraceEntry", "block"]

_NAN_BITS = int(np.array([np.nan]).view(np.int64)[0])
_HEADER = b"lightcone trace 1\n"

TraceEntry = tuple[int, bytes]
"""An instant and the canonical bytes of what happened at it."""


class EntryKind(Code):
    """What an entry tells; the order of entries of one instant and rank."""

    FEATURE_ROW = 0
    REQUEST = 1
    OUTCOME = 2
    ORDER = 3
    VENUE_LEDGER = 4
    REPORT = 5
    BELIEF_LEDGER = 6
    CHANGE = 7
    """A cancel, or another change of an order, as the strategy decides on it."""
    VENUE_PAYMENT = 8
    """Funding, or a payment of the insurance fund, in the venue's books."""
    BELIEF_PAYMENT = 9
    REFUSAL = 10
    """An order that a limit of our own kept from leaving."""
    ATTEMPT = 11


def block(
    kind: EntryKind,
    instants: Any,
    ranks: Any,
    numbers: Any,
    *columns: Any,
) -> np.ndarray:
    """Return entries of one kind as words.

    Args:
        kind: Kind of all of them.
        instants: Shape (n,), when each became a fact, ns.
        ranks: Shape (n,) or a number.
        numbers: Shape (n,), unique within an instant, a rank and the kind.
        columns: Further words: shape (n,) or (n, k), of integers or of float64.

    Returns:
        Shape (n, words) of int64.
    """
    instants = np.asarray(instants, dtype=np.int64)
    size = len(instants)
    parts = [instants[:, None]]
    for head in (ranks, int(kind), numbers):
        parts.append(np.broadcast_to(np.asarray(head, dtype=np.int64), size)[:, None])
    parts.extend(_words(np.asarray(column)) for column in columns)
    return np.concatenate(parts, axis=1)


class Trace:
    """Digest of a run, fed window by window.

    Args:
        keep: Keep the entries as well, for the checks that compare them one by one.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._hash = hashlib.sha256(_HEADER)
        self._pending: list[np.ndarray] = []
        self.entries: list[TraceEntry] = []
        self._keep = keep

    def add(self, entries: np.ndarray) -> None:
        """Add entries made by `block`; all belong to the present window."""
        if len(entries):
            self._pending.append(entries)

    def flush(self) -> None:
        """Order the entries of the window and take them into the digest."""
        blocks, self._pending = self._pending, []
        if not blocks:
            return
        words, starts, lengths = _in_order(blocks)
        data = words.astype("<i8", copy=False).tobytes()
        self._hash.update(data)
        if self._keep:
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                entry = data[start * 8 : (start + length) * 8]
                self.entries.append((int(words[start]), entry))

    def digest(self) -> str:
        """Return the SHA-256 of all entries flushed so far, in hexadecimal."""
        return self._hash.hexdigest()


def _in_order(blocks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all words in the order of time, with start and length of each entry."""
    heads = np.concatenate([entries[:, :4] for entries in blocks])
    widths = np.repeat([entries.shape[1] for entries in blocks], [len(e) for e in blocks])
    order = np.lexsort((heads[:, 3], heads[:, 2], heads[:, 1], heads[:, 0]))
    lengths = widths[order]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = starts
    words = np.empty(int(lengths.sum()), dtype=np.int64)
    offset = 0
    for entries in blocks:
        at = place[offset : offset + len(entries)]
        words[at[:, None] + np.arange(entries.shape[1])] = entries
        offset += len(entries)
    return words, starts, lengths


def _words(column: np.ndarray) -> np.ndarray:
    if column.dtype == np.float64:
        bits = np.ascontiguousarray(column).view(np.int64)
        column = np.where(np.isnan(column), _NAN_BITS, bits)
    else:
        column = column.astype(np.int64, copy=False)
    return column if column.ndim == 2 else column[:, None]
