"""The kernels of `featurizer.operators.moments`: a bucket's updates first, then its reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.compiled import inlined_kernel, kernel
from featurizer.operators.windows import BEYOND, NEVER, SPARE, passed

__all__ = ["BUCKET_END", "FIRST", "LENGTH", "divide", "scan"]

Array = NDArray[Any]

# places in the integer state
LENGTH, BUCKET_END, _SLOT, _CURRENT, _PREVIOUS, _HEAD, FIRST, _UPDATE, _READ, _UNFOLDED = range(10)
# what is kept of each update, then of the suffix that it begins; for one column the first two
_MEAN_X, _XX, _MEAN_Y, _YY, _XY = range(5)


@kernel
def scan(
    times: Array,
    values: Array,
    read_times: Array,
    read_counts: Array,
    ints: Array,
    pivots: Array,
    present: Array,
    held_times: Array,
    held: Array,
    reads: Array,
    updates: Array,
) -> bool:
    """Scan from where the state says; return False when the present bucket is full."""
    n, m, pair, fields = len(times), len(read_times), len(values) == 2, len(reads)
    materialise = updates.shape[1] > 0
    length = ints[LENGTH]
    # the present bucket's moments: after each update, and before all that are absorbed at once
    prefixes = updates if materialise else np.empty((fields, n))
    before = np.empty((fields, 1))
    q = ints[_READ]
    while True:
        begin = ints[_UPDATE]
        before[0, 0] = ints[_CURRENT]
        before[1:, 0] = present[: fields - 1]
        if pair:
            full = _absorb_pair(times, values, ints, pivots, present, held_times, held, prefixes)
        else:
            full = _absorb_one(times, values, ints, pivots, present, held_times, held, prefixes)
        i, end, first = ints[_UPDATE], ints[BUCKET_END], ints[FIRST]
        slot, previous = ints[_SLOT], ints[_PREVIOUS]
        old_times, old = held_times[1 - slot], held[1 - slot]
        head = start = ints[_HEAD]
        while q < m and read_counts[q] <= i and read_times[q] < end:
            since, place = read_times[q] - length, read_counts[q] - 1
            head = passed(old_times, head, since)
            if first == NEVER or first > since:
                reads[:, q] = np.nan
            elif place >= begin:
                _merge(prefixes, place, old, head, previous, pivots, slot, reads, q)
            else:
                _merge(before, 0, old, head, previous, pivots, slot, reads, q)
            q += 1
        if materialise:
            for j in range(begin, i):
                start = passed(old_times, start, times[j] - length)
                if first == NEVER or first > times[j] - length:
                    updates[:, j] = np.nan
                else:
                    _merge(prefixes, j, old, start, previous, pivots, slot, updates, j)
            head = max(head, start)
        ints[_HEAD], ints[_READ] = head, q
        if full:
            return False
        if i >= n and q >= m:
            break
        now = times[i] if q >= m or read_counts[q] > i else read_times[q]
        _next_bucket(now, ints, present, held_times)
    ints[_UPDATE] = ints[_READ] = 0
    return True


@kernel
def _absorb_one(
    times: Array,
    values: Array,
    ints: Array,
    pivots: Array,
    present: Array,
    held_times: Array,
    held: Array,
    prefixes: Array,
) -> bool:
    """Take the updates of one column up to the bucket's end; return True when it is full.

    Between them, fold the previous bucket if that is still to be done: each goes from value to
    value by a division that takes its time, and a processor can wait for two at once.
    """
    n, capacity, spread = len(times), held_times.shape[1] - SPARE, len(prefixes) > 2
    i, end, slot, current = ints[_UPDATE], ints[BUCKET_END], ints[_SLOT], ints[_CURRENT]
    pivot, mean_x, xx = pivots[2 * slot], present[0], present[1]
    old, count = 1 - slot, ints[_PREVIOUS]
    j = ints[_UNFOLDED] - 1
    last, suffix, squares = 0.0, 0.0, 0.0
    if j >= 0:
        last = pivots[2 * old] = held[old, _MEAN_X, count - 1]
    full, more = False, True
    while True:
        if j >= 0:
            x = held[old, _MEAN_X, j] - last
            dx = x - suffix
            suffix += dx / (count - j)
            held[old, _MEAN_X, j] = suffix
            if spread:
                squares += dx * (x - suffix)
                held[old, _XX, j] = squares
            j -= 1
        elif not more:
            break
        if not more:
            continue
        if i == n or times[i] >= end:
            more = False
            continue
        x = values[0, i]
        if x == x:
            if current == capacity:
                full, more = True, False
                continue
            if current == 0:
                pivot = x
                if ints[FIRST] == NEVER:
                    ints[FIRST] = times[i]
            held_times[slot, current] = times[i]
            held[slot, _MEAN_X, current] = x
            current += 1
            x -= pivot
            dx = x - mean_x
            mean_x += dx / current
            if spread:
                xx += dx * (x - mean_x)
        prefixes[0, i], prefixes[1, i] = current, mean_x
        if spread:
            prefixes[2, i] = xx
        i += 1
    ints[_UPDATE], ints[_CURRENT], ints[_UNFOLDED] = i, current, 0
    pivots[2 * slot], present[0], present[1] = pivot, mean_x, xx
    return full


@kernel
def _absorb_pair(
    times: Array,
    values: Array,
    ints: Array,
    pivots: Array,
    present: Array,
    held_times: Array,
    held: Array,
    prefixes: Array,
) -> bool:
    """Take the updates of two columns up to the bucket's end; return True when it is full."""
    n, capacity = len(times), held_times.shape[1] - SPARE
    i, end, slot, current = ints[_UPDATE], ints[BUCKET_END], ints[_SLOT], ints[_CURRENT]
    mean_x, xx, mean_y, yy, xy = present[0], present[1], present[2], present[3], present[4]
    old = 1 - slot
    _fold_pair(held[old], pivots[2 * old : 2 * old + 2], ints[_UNFOLDED])
    ints[_UNFOLDED] = 0
    full = False
    while i < n and times[i] < end:
        x, y = values[0, i], values[1, i]
        if x == x and y == y:
            if current == capacity:
                full = True
                break
            if current == 0:
                pivots[2 * slot], pivots[2 * slot + 1] = x, y
                if ints[FIRST] == NEVER:
                    ints[FIRST] = times[i]
            held_times[slot, current] = times[i]
            held[slot, _MEAN_X, current], held[slot, _MEAN_Y, current] = x, y
            current += 1
            dx, dy = (x - pivots[2 * slot]) - mean_x, (y - pivots[2 * slot + 1]) - mean_y
            mean_x += dx / current
            mean_y += dy / current
            rest_x = (x - pivots[2 * slot]) - mean_x
            xx += dx * rest_x
            yy += dy * ((y - pivots[2 * slot + 1]) - mean_y)
            xy += dy * rest_x
        prefixes[0, i], prefixes[1, i], prefixes[2, i] = current, mean_x, xx
        prefixes[3, i], prefixes[4, i], prefixes[5, i] = mean_y, yy, xy
        i += 1
    ints[_UPDATE], ints[_CURRENT] = i, current
    present[0], present[1], present[2], present[3], present[4] = mean_x, xx, mean_y, yy, xy
    return full


@inlined_kernel
def _merge(
    own: Array,
    place: int,
    old: Array,
    head: int,
    previous: int,
    pivots: Array,
    slot: int,
    out: Array,
    at: int,
) -> None:
    """Put a suffix of the previous bucket and a prefix of the present one together."""
    a, b = float(previous - head), own[0, place]
    # a part without updates has no weight, whatever its moments say
    share = b / (a + b) if a + b > 0.0 else np.nan
    out[0, at] = a + b
    pivot = pivots[2 - 2 * slot] if a > 0.0 else pivots[2 * slot]
    mean_a = old[_MEAN_X, head] if a > 0.0 else 0.0
    shift = (pivots[2 * slot] - pivot) + (own[1, place] - mean_a) if b > 0.0 else 0.0
    out[1, at] = pivot + (mean_a + shift * share)
    if len(out) == 2:
        return
    out[2, at] = (old[_XX, head] if a > 0.0 else 0.0) + (
        own[2, place] + shift * shift * a * share if b > 0.0 else 0.0
    )
    if len(out) < 6:
        return
    mean_y, yy, xy = own[3, place], own[4, place], own[5, place]
    pivot = pivots[3 - 2 * slot] if a > 0.0 else pivots[2 * slot + 1]
    mean_a = old[_MEAN_Y, head] if a > 0.0 else 0.0
    other = (pivots[2 * slot + 1] - pivot) + (mean_y - mean_a) if b > 0.0 else 0.0
    out[3, at] = pivot + (mean_a + other * share)
    out[4, at] = (old[_YY, head] if a > 0.0 else 0.0) + (
        yy + other * other * a * share if b > 0.0 else 0.0
    )
    out[5, at] = (old[_XY, head] if a > 0.0 else 0.0) + (
        xy + shift * other * a * share if b > 0.0 else 0.0
    )


@kernel
def _next_bucket(
    now: int,
    ints: Array,
    present: Array,
    held_times: Array,
) -> None:
    """Begin the bucket of an instant: the present one becomes the previous, still to be folded."""
    slot, previous = ints[_SLOT], 0
    if now < ints[BUCKET_END] + ints[LENGTH]:
        previous = ints[_CURRENT]
        slot = 1 - slot
    held_times[1 - slot, previous : previous + SPARE] = BEYOND
    present[:] = 0.0
    ints[_SLOT], ints[_PREVIOUS], ints[_UNFOLDED] = slot, previous, previous
    ints[_CURRENT] = ints[_HEAD] = 0
    ints[BUCKET_END] = (now // ints[LENGTH] + 1) * ints[LENGTH]


@kernel
def _fold_pair(held: Array, pivots: Array, count: int) -> None:
    """Turn the values of a bucket into the moments of each of its suffixes, about its last value.

    The last value lies in every suffix, and is the same wherever the run started.
    """
    if count == 0:
        return
    pivots[0], pivots[1] = held[_MEAN_X, count - 1], held[_MEAN_Y, count - 1]
    mean_x, xx, mean_y, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(count - 1, -1, -1):
        n = float(count - j)
        x, y = held[_MEAN_X, j] - pivots[0], held[_MEAN_Y, j] - pivots[1]
        dx, dy = x - mean_x, y - mean_y
        mean_x += dx / n
        mean_y += dy / n
        xx += dx * (x - mean_x)
        yy += dy * (y - mean_y)
        xy += dy * (x - mean_x)
        held[_MEAN_X, j], held[_XX, j] = mean_x, xx
        held[_MEAN_Y, j], held[_YY, j], held[_XY, j] = mean_y, yy, xy


@kernel
def divide(sums: Array, count: Array, ddof: int, quotients: Array) -> None:
    """Divide sums by count - ddof, where that is above 0."""
    for i in range(len(sums)):
        quotients[i] = sums[i] / (count[i] - ddof) if count[i] > ddof else np.nan
