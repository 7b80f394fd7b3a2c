"""Walks along two sorted columns at once: cheaper than a search for each of many instants."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import inlined_kernel, kernel, readonly

__all__ = ["around", "counted", "first_from", "largest_counted", "ordinals"]

Array = NDArray[Any]


def counted(stream: Array, instants: Array, inclusive: bool) -> Array:
    """Return how many records come before each instant, or by it where *inclusive*. Shape (n,).

    Args:
        stream: When each record came, never decreasing. Read-only.
        instants: Never decreasing. Shape (n,), read-only.
        inclusive: Whether a record at an instant comes by it.

    Example:
        >>> stream, instants = readonly(np.array([1, 3, 3])), readonly(np.array([3, 4]))
        >>> counted(stream, instants, False).tolist(), counted(stream, instants, True).tolist()
        ([1, 3], [3, 3])
    """
    counts = np.empty(len(instants), np.int64)
    _count(stream, instants, inclusive, counts)
    return readonly(counts)


def around(stream: Array, instants: Array) -> tuple[Array, Array]:
    """Return the place of the last record by each instant, and when the first from it on came.

    Args:
        stream: When each record came, never decreasing; the last at or after the last instant.
            Read-only.
        instants: Never decreasing. Shape (n,), read-only.

    Returns:
        Places, -1 where no record came by the instant, and times. Each: shape (n,).

    Example:
        >>> stream, instants = readonly(np.array([1, 3, 3])), readonly(np.array([0, 2, 3]))
        >>> [found.tolist() for found in around(stream, instants)]
        [[-1, 0, 2], [1, 3, 3]]
    """
    places, after = np.empty(len(instants), np.int64), np.empty(len(instants), np.int64)
    if len(instants):
        middle = int(stream.searchsorted(instants[len(instants) // 2], "right"))
        _around(stream, instants, middle, places, after)
    return places, after


def largest_counted(values: Array, counts: Array, before: int) -> tuple[Array, int]:
    """Return the largest of *before* and the first so many values, for each count in order.

    Returns:
        Shape (len(counts),), and the largest of *before* and all values.
    """
    largest = np.empty(len(counts), np.int64)
    return largest, _largest(values, counts, before, largest)


def ordinals(instants: Array, last: int, count: int) -> tuple[Array, int]:
    """Return each instant's ordinal among those equal to it.

    Args:
        instants: Never decreasing, one at least. Shape (n,), read-only.
        last: The newest instant before them.
        count: How many of that there were.

    Returns:
        Shape (n,), and how many there are now of the newest instant.
    """
    found = np.empty(len(instants), np.int64)
    return found, _ordinals(instants, last, count, found)


def first_from(stream: Array, instants: Array, found: Array) -> None:
    """Set what is found for each instant to the first record at or after it, if that is earlier.

    Args:
        stream: When each record came, never decreasing. Read-only.
        instants: Never decreasing. Shape (n,), read-only.
        found: Left as it is where no record is left. Shape (n,), written to.
    """
    _first(stream, instants, found)


@inlined_kernel
def _beyond(stream: Array, i: int, instant: int) -> int:
    """Return the first place from *i* on whose record comes after an instant.

    Several are looked at together: how many come between two instants is anybody's guess.
    """
    n = len(stream)
    while i + 4 <= n:
        gone = (
            int(stream[i] <= instant)
            + int(stream[i + 1] <= instant)
            + int(stream[i + 2] <= instant)
            + int(stream[i + 3] <= instant)
        )
        i += gone
        if gone < 4:
            return i
    while i < n and stream[i] <= instant:
        i += 1
    return i


@kernel
def _count(stream: Array, instants: Array, inclusive: bool, counts: Array) -> None:
    i = 0
    for k in range(len(instants)):
        i = _beyond(stream, i, instants[k] if inclusive else instants[k] - 1)
        counts[k] = i


@kernel
def _around(
    stream: Array, instants: Array, beyond_middle: int, places: Array, after: Array
) -> None:
    m = len(instants)
    half = m // 2
    # two halves side by side, as each walk waits for the place that it has just found
    i, j = 0, beyond_middle
    for k in range(half):
        i = _beyond(stream, i, instants[k])
        places[k], after[k] = i - 1, _from(stream, i, instants[k])
        j = _beyond(stream, j, instants[k + half])
        places[k + half], after[k + half] = j - 1, _from(stream, j, instants[k + half])
    j = _beyond(stream, j, instants[m - 1])  # the last one, where they are odd
    places[m - 1], after[m - 1] = j - 1, _from(stream, j, instants[m - 1])


@inlined_kernel
def _from(stream: Array, i: int, instant: int) -> int:
    """Return when the first record at or after an instant came, *i* being the first after it."""
    return instant if i > 0 and stream[i - 1] == instant else stream[i]


@kernel
def _largest(values: Array, counts: Array, before: int, largest: Array) -> int:
    n, back = len(values), 0
    for i in range(1, n):
        back += int(values[i] < values[i - 1])
    if back == 0 and n > 0 and values[0] >= before:  # none is older than one before it
        for k in range(len(counts)):
            largest[k] = values[counts[k] - 1] if counts[k] > 0 else before
        return values[n - 1]
    i = 0
    for k in range(len(counts)):
        while i < counts[k]:
            before = max(before, values[i])
            i += 1
        largest[k] = before
    while i < n:
        before = max(before, values[i])
        i += 1
    return before


@kernel
def _ordinals(instants: Array, last: int, count: int, found: Array) -> int:
    for k in range(len(instants)):
        count = count if instants[k] == last else 0
        last = instants[k]
        found[k] = count
        count += 1
    return count


@kernel
def _first(stream: Array, instants: Array, found: Array) -> None:
    i, n = 0, len(stream)
    for k in range(len(instants)):
        while i < n and stream[i] < instants[k]:
            i += 1
        if i == n:
            return
        found[k] = min(found[k], stream[i])
