"""When drawn records happen and reach us: on a grid, so that things keep meeting at one instant.

Instants lie on a grid of 5 ms, as do grid rows, timers, polls and constant latencies, so that
records, rows, predictions, orders and reports meet. Prices are whole ticks of 0.5 and quantities
whole lots of 0.5: sums of them are exact in floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st

from clock.units import parse_instant

__all__ = ["FEEDS", "GAPS", "HALT", "MS", "START", "STEP", "TICK", "Row", "record_seeds", "stamps"]

MS: Final = 1_000_000
STEP: Final = 5 * MS
START: Final = parse_instant("2024-01-02T00:00:00Z")
TICK: Final = 0.5
"""Step of drawn prices and of drawn quantities."""

GAPS: Final = (0, 0, 1, 1, 1, 2, 3, 20)
"""Steps from one record to the next: ties, a burst's pace, a pause."""

FEEDS: Final = (0, 0, 1, 1, 2, 2, 5, 30)
"""Steps from event to receipt: at once, usual, late enough to be overtaken."""

HALT: Final = 40
"""Steps in which nothing happens anywhere, where a market has a halt."""

Row = dict[str, Any]
"""One record: its stamps and its columns."""


def record_seeds(least: int, most: int) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """Draw what records are made of: gap, lateness, move, spread and two sizes each."""
    small = st.integers(0, 7)
    seed = st.tuples(small, small, st.integers(-2, 2), st.integers(1, 2), small, small)
    return st.lists(seed, min_size=least, max_size=most)


def stamps(
    seeds: Sequence[tuple[int, ...]], first: int, *, halt: int | None = None, earliest: int = 0
) -> list[Row]:
    """Return rows with their stamps alone.

    Args:
        seeds: Drawn by `record_seeds`.
        first: Step of the start of the first record's gap; may lie before the start.
        halt: Step from which on nothing happens for a while; None for no halt.
        earliest: No record but the first three happens before this step of the run.
    """
    happened, rows = START + first * STEP, []
    for place, seed in enumerate(seeds, start=1):
        happened += GAPS[seed[0]] * STEP
        if place > 3:
            # a catalog without records in the run is refused
            happened = max(happened, START + earliest * STEP)
        if halt is not None and halt <= (happened - START) // STEP < halt + HALT:
            happened = START + (halt + HALT) * STEP
        receipt = happened + FEEDS[seed[1]] * STEP
        rows.append({"event_time": happened, "receipt_time": receipt, "sequence": 10 * place})
    return rows
