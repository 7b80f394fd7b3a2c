"""The feature row as it crosses into the inference plane: plain arrays with their stamps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.base import NEVER
from clock.errors import TimeWentBackwardsError
from clock.rank import Rank

__all__ = [
    "MISSING",
    "NEVER",
    "Rows",
    "check_order",
    "join_rows",
    "no_rows",
    "rows_after",
    "went_back",
]

MISSING = -(2**63)
"""A stamp that was never reached."""


class Rows(NamedTuple):
    """Feature rows sorted by `visible_at`; field for field what a feature graph returns.

    Instants are int64 nanoseconds. `values` has shape (n_rows, n_columns), float64, NaN while a
    feature warms up. Every array is read-only and C-contiguous. `tie` counts the rows of one
    emission instant; with `instrument` and `emitted_at` it names a row whatever the chunking.
    """

    emitted_at: NDArray[np.int64]
    visible_at: NDArray[np.int64]
    event_time: NDArray[np.int64]
    tie: NDArray[np.int64]
    instrument: NDArray[np.int64]
    values: NDArray[np.float64]


def no_rows(columns: int) -> Rows:
    """Return a chunk of no rows, for a push that only moves the watermark."""
    stamps = np.empty(0, np.int64)
    values = np.empty((0, columns), np.float64)
    stamps.flags.writeable = False
    values.flags.writeable = False
    return Rows(stamps, stamps, stamps, stamps, stamps, values)


def join_rows(first: Rows, second: Rows) -> Rows:
    """Return two chunks as one, read-only; a chunk without rows costs nothing."""
    if not len(first.visible_at):
        return second
    if not len(second.visible_at):
        return first
    columns: list[Any] = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    for column in columns:
        column.flags.writeable = False
    return Rows(*columns)


def rows_after(rows: Rows, count: int) -> Rows:
    """Return the rows from position *count* on, as views."""
    columns: list[Any] = [column[count:] for column in rows]
    return Rows(*columns)


def check_order(rows: Rows, until: int, held: Rows, watermark: tuple[int, int]) -> None:
    """Refuse rows that are unsorted, or lie before those *held* or before the watermark.

    Raises:
        TimeWentBackwardsError: Then, and when *until* lies before the watermark.
    """
    last, rank = watermark
    if until < last:
        raise went_back("the watermark", until, last)
    visible = rows.visible_at
    if not len(visible):
        return
    first = int(visible[0])
    if len(held.visible_at) and first < held.visible_at[-1]:
        raise went_back("a row", first, int(held.visible_at[-1]))
    # in lockstep rows of one instant come one by one, each with a watermark just after it
    if first < last or (first == last and rank > Rank.FEATURE_ROW + 1):
        raise went_back("a row", first, last)
    if len(visible) > 1 and (visible[1:] < visible[:-1]).any():
        raise TimeWentBackwardsError("rows must be sorted by `visible_at`: got some that fall.")


def went_back(what: str, instant: int, present: int) -> TimeWentBackwardsError:
    """Return the error for something that lies before the loop's present."""
    return TimeWentBackwardsError(
        f"{what} must not lie before the loop's watermark: got {instant}, which is "
        f"{present - instant} ns before {present}."
    )
