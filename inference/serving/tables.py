"""The tables of a whole serving stack, and how they grow when there is no room left."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.serving import layout as f

__all__ = ["Memory", "more_events", "more_room", "more_rows"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Memory(NamedTuple):
    """The arrays of a stack, all its own and mutable; see `layout`."""

    m: Ints
    h: Ints
    """The heap: shape (room, EVENT_FIELDS)."""
    w: Ints
    """Work between two events: shape (room, WORK_FIELDS)."""
    o: Ints
    """Records of a push: shape (room, RECORD_FIELDS)."""
    e: Ints
    """Entries of the cache, shape (room, ENTRY_FIELDS + n_features)."""
    p: Floats
    """Numbers of the policies that are not whole."""
    values: Floats
    """What each row asks about, by its slot: shape (room, n_features); slot 0: the newest row."""
    y: Floats
    """The features behind each outcome, and behind each one served: shape (room, 2 n_features)."""


def more_rows(memory: Memory, count: int | None = None) -> Memory:
    """Return the same stack with more rows: twice as many, or so many more."""
    m = memory.m
    rows = (len(m) - int(m[f.ROWS])) // f.ROW_SIZE
    added = rows if count is None else count
    block = np.zeros((added, f.ROW_SIZE), np.int64)
    addresses = len(m) + np.arange(added) * f.ROW_SIZE
    block[:, f.SLOT] = rows + 1 + np.arange(added)
    block[:-1, f.NEXT] = addresses[1:]
    block[-1, f.NEXT] = m[f.FREE]
    longer = np.concatenate((m, block.ravel()))
    longer[f.FREE] = addresses[0]
    values = np.zeros((rows + added + 1, memory.values.shape[1]))
    values[: rows + 1] = memory.values
    work = np.zeros((2 * (rows + added), f.WORK_FIELDS), np.int64)
    return memory._replace(m=longer, values=values, w=work)


def more_events(memory: Memory) -> Memory:
    """Return the same stack with room for twice as many events."""
    return memory._replace(h=_twice(memory.h))


def more_room(memory: Memory) -> Memory:
    """Return the same stack with room for twice as many records in one push."""
    return memory._replace(o=_twice(memory.o), y=_twice(memory.y))


def _twice(array: Any) -> Any:
    return np.concatenate((array, np.zeros_like(array)))
