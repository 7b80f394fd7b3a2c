"""The feature row as it crosses into the inference plane: plain arrays with their stamps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MISSING = -(2**63)
"""A stamp that was never reached."""

NEVER = 2**63 - 1
"""An instant after every other."""


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
    joined = Rows(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
    for column in joined:
        column.flags.writeable = False
    return joined


def rows_after(rows: Rows, count: int) -> Rows:
    """Return the rows from position *count* on, as views."""
    return Rows(*(column[count:] for column in rows))
