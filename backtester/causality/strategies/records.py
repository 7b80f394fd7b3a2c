"""Drawn records of every kind of market: quotes, trades, depth, bars, and kinds of the user's own.

Late and reordered, in ties and bursts, with pauses and halts; books of depth are one-sided now and
then, and are told anew by a snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from backtester.causality.strategies.stamps import (
    HALT,
    START,
    STEP,
    TICK,
    Row,
    record_seeds,
    stamps,
)

__all__ = ["CENTRE", "bars", "depth", "fundings", "quotes", "signals", "trades"]

CENTRE = 200
"""Ticks around which prices move."""

_LEAST_TICKS = 150
_BAR_STEPS = (4, 10)


def quotes(seeds: Sequence[tuple[int, ...]], first: int, *, halt: int | None = None) -> list[Row]:
    """Return quotes: the bid wanders, the spread is one or two ticks."""
    rows, bid = stamps(seeds, first, halt=halt), CENTRE
    for row, (_, _, move, spread, bids, asks) in zip(rows, seeds, strict=True):
        bid = max(_LEAST_TICKS, bid + move)
        row.update(
            bid_price=bid * TICK,
            bid_quantity=(bids + 1) * TICK,
            ask_price=(bid + spread) * TICK,
            ask_quantity=(asks + 1) * TICK,
        )
    return rows


def trades(seeds: Sequence[tuple[int, ...]], first: int, *, halt: int | None = None) -> list[Row]:
    """Return trades of either side, at or near the centre."""
    rows = stamps(seeds, first, halt=halt)
    for row, (_, _, move, spread, size, side) in zip(rows, seeds, strict=True):
        price, aggressor = (CENTRE + move) * TICK, 1 if side % 2 else -1
        row.update(price=price, quantity=(size + spread) * TICK, aggressor=aggressor)
    return rows


@st.composite
def depth(draw: st.DrawFn, first: int = 0, *, halt: int | None = None, most: int = 40) -> list[Row]:
    """Draw a snapshot, then changes of levels; the book is never crossed, but may lose a side.

    Args:
        draw: Hypothesis.
        first: Step of the first snapshot.
        halt: As in `stamps`.
        most: Most changes.
    """
    book = _Depth()
    sizes = st.integers(1, 8)
    for side, ticks in ((1, -1), (1, -2), (-1, 1), (-1, 2)):
        book.put(side, CENTRE + ticks, draw(sizes), snapshot=True)
    book.stamp({"event_time": START + first * STEP, "receipt_time": START + first * STEP})
    change = st.tuples(st.sampled_from((1, -1)), st.integers(-4, 4), st.integers(0, 8))
    kinds = st.integers(0, 11)
    small = st.integers(0, 7)
    one = st.tuples(small, small, kinds, change, st.tuples(st.integers(0, 3), sizes, sizes, sizes))
    drawn = draw(st.lists(one, min_size=10, max_size=most))
    made = stamps([(gap, late, 0, 1, 0, 0) for gap, late, *_ in drawn], first, halt=halt)
    for stamp, (_, _, kind, (side, offset, lots), (shift, *total)) in zip(made, drawn, strict=True):
        if kind == 0:
            book.tell_anew(CENTRE - 1 + shift, total)
        elif kind == 1:
            book.empty(side)
        else:
            book.put(side, CENTRE + offset, lots)
        book.stamp(stamp)
    return book.rows


class _Depth:
    """Rows of depth, and the book that they have made."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._new: list[Row] = []
        self._received = 0
        self._levels: dict[int, dict[int, int]] = {1: {}, -1: {}}

    def put(self, side: int, ticks: int, lots: int, *, snapshot: bool = False) -> None:
        """Set a level; what it would cross on the other side is taken away first."""
        if lots:
            for other in [p for p in self._levels[-side] if (ticks - p) * side >= 0]:
                self.put(-side, other, 0)
        row = {"side": side, "price": ticks * TICK, "quantity": lots * TICK}
        self._new.append({**row, "is_snapshot": int(snapshot)})
        self._levels[side][ticks] = lots
        if not lots:
            del self._levels[side][ticks]

    def tell_anew(self, base: int, lots: Sequence[int]) -> None:
        """Forget every level, and set three by a snapshot."""
        self._levels = {1: {}, -1: {}}
        for (side, ticks), size in zip(
            ((1, base), (1, base - 2), (-1, base + 1)), lots, strict=True
        ):
            self.put(side, ticks, size, snapshot=True)

    def empty(self, side: int) -> None:
        """Take every level of a side away."""
        for ticks in list(self._levels[side]):
            self.put(side, ticks, 0)

    def stamp(self, stamp: Row) -> None:
        """Give the rows of one update their stamps: one instant, and sequences that count up."""
        # one update late and the next in time would be a book with a gap: they keep their order
        self._received = max(self._received, stamp["receipt_time"])
        when = {"event_time": stamp["event_time"], "receipt_time": self._received}
        for row in self._new:
            # ten apart, so that another future may insert records between them
            self.rows.append({**when, "sequence": 10 * (len(self.rows) + 1), **row})
        self._new = []


@st.composite
def bars(draw: st.DrawFn, *, steps: int, halt: int | None = None) -> list[Row]:
    """Draw bars of one length that follow one another, some without volume, some received late.

    Args:
        draw: Hypothesis.
        steps: Length of the run in steps of 5 ms.
        halt: No bar closes in the halt that begins at this step.
    """
    length = draw(st.sampled_from(_BAR_STEPS))
    small = st.integers(0, 7)
    rows: list[Row] = []
    last = CENTRE
    for place in range(1, max(3, steps // length)):
        gap, up, down, end, volume, late = (draw(small) for _ in range(6))
        opens, closes = last + gap - 3, last + gap - 3 + end - 3
        close_step = place * length
        last = closes
        if halt is not None and halt <= close_step < halt + HALT:
            continue
        happened = START + close_step * STEP
        rows.append(
            {
                "event_time": happened,
                "receipt_time": happened + (0, 0, 0, 1, 1, 2, 6, 30)[late] * STEP,
                "sequence": 10 * place,
                "open_time": happened - length * STEP,
                "open": opens * TICK,
                "high": (max(opens, closes) + up // 2) * TICK,
                "low": (min(opens, closes) - down // 2) * TICK,
                "close": closes * TICK,
                "volume": (0, 0.5, 1, 2, 4, 8, 16, 64)[volume] * 1.0,
            }
        )
    return rows


@st.composite
def signals(
    draw: st.DrawFn, first: int = 0, *, halt: int | None = None, most: int = 15
) -> list[Row]:
    """Draw records of a kind of the user's own, with revisions: the same key, received later."""
    seeds = draw(record_seeds(3, most))
    rows = stamps(seeds, first, halt=halt)
    received: dict[int, int] = {}
    for row, (_, _, move, _, size, key) in zip(rows, seeds, strict=True):
        key //= 2
        row.update(key=key, value=move + size / 8)
        # a revision comes after what it revises
        row["receipt_time"] = max(row["receipt_time"], received.get(key, 0) + STEP)
        received[key] = row["receipt_time"]
    return rows


@st.composite
def fundings(draw: st.DrawFn, first: int = 0, *, halt: int | None = None) -> list[Row]:
    """Draw payments of funding, each due when it happens: none before the start."""
    seeds = draw(record_seeds(1, 6))
    rows = stamps(seeds, max(first, 0), halt=halt)
    for row, (_, _, move, spread, _, _) in zip(rows, seeds, strict=True):
        row.update(rate=move * spread / 1000)
    return rows
