"""The cache of answers: a hash table and a list by last use, in an array of its own.

`e` holds an entry a row, row 0 unused; the first column of the rows also holds the heads of the
hash chains. Free entries are chained too.
"""

from __future__ import annotations

import math

import numpy as np

from clock.randomness import fold
from inference.rows import MISSING
from inference.serving import layout as f
from inference.serving.memory import Floats, Ints
from inference.serving.queues import step

(HEAD, CHAIN, NEWER, OLDER, BUCKET, WRITTEN_AT, SOURCE, INSTRUMENT) = range(8)
ENTRY_FIELDS = 8
"""Then the cell of each feature."""

_MISSING = int(MISSING)
_LIMIT = 2.0**62


@step
def cell(value: float, bits: int, size: float) -> int:
    """Return the cell of a feature: NaN has its own; a step of zero tells all bits apart."""
    if value != value:
        return _MISSING
    if size > 0.0:
        scaled = value / size + 0.5
        if -_LIMIT < scaled < _LIMIT:
            return math.floor(scaled)
    return bits


@step
def write_key(m: Ints, e: Ints, p: Floats, values: Floats, bits: Ints, request: int) -> None:
    """Write a request's key into row 0, and the chain that it belongs to."""
    slot, key = m[request + f.SLOT], m[request + f.INSTRUMENT]
    e[0, INSTRUMENT] = key
    chain = fold(np.uint64(0), key)
    for column in range(values.shape[1]):
        size = p[m[f.STEPS_P] + column]
        place = cell(values[slot, column], bits[slot, column], size)
        e[0, ENTRY_FIELDS + column] = place
        chain = fold(chain, place)
    e[0, BUCKET] = np.int64(chain & np.uint64(m[f.CACHE_MASK]))


@step
def find(e: Ints) -> int:
    """Return the entry whose key is in row 0, or 0."""
    entry = e[e[0, BUCKET], HEAD]
    while entry != 0:
        same = True
        for column in range(INSTRUMENT, e.shape[1]):
            if e[entry, column] != e[0, column]:
                same = False
                break
        if same:
            break
        entry = e[entry, CHAIN]
    return entry


@step
def unlink(m: Ints, e: Ints, entry: int) -> None:
    """Take an entry out of the list by last use."""
    newer, older = e[entry, NEWER], e[entry, OLDER]
    if newer != 0:
        e[newer, OLDER] = older
    else:
        m[f.CACHE_NEWEST] = older
    if older != 0:
        e[older, NEWER] = newer
    else:
        m[f.CACHE_OLDEST] = newer


@step
def use(m: Ints, e: Ints, entry: int) -> None:
    """Put an entry in front of the list by last use."""
    newest = m[f.CACHE_NEWEST]
    e[entry, NEWER], e[entry, OLDER] = 0, newest
    if newest != 0:
        e[newest, NEWER] = entry
    else:
        m[f.CACHE_OLDEST] = entry
    m[f.CACHE_NEWEST] = entry


@step
def drop(m: Ints, e: Ints, entry: int) -> None:
    """Forget an entry."""
    unlink(m, e, entry)
    bucket = e[entry, BUCKET]
    if e[bucket, HEAD] == entry:
        e[bucket, HEAD] = e[entry, CHAIN]
    else:
        other = e[bucket, HEAD]
        while e[other, CHAIN] != entry:
            other = e[other, CHAIN]
        e[other, CHAIN] = e[entry, CHAIN]
    e[entry, CHAIN] = m[f.CACHE_FREE]
    m[f.CACHE_FREE] = entry
    m[f.CACHE_USED] -= 1


@step
def look_up(m: Ints, e: Ints, p: Floats, values: Floats, bits: Ints, request: int, now: int) -> int:
    """Return the number of the request whose answer may be given again, or -1."""
    write_key(m, e, p, values, bits, request)
    entry = find(e)
    if entry == 0:
        return -1
    if now - e[entry, WRITTEN_AT] >= m[f.CACHE_TTL]:
        drop(m, e, entry)
        return -1
    unlink(m, e, entry)
    use(m, e, entry)
    return e[entry, SOURCE]


@step
def remember(
    m: Ints, e: Ints, p: Floats, values: Floats, bits: Ints, request: int, now: int
) -> None:
    """Keep a request's answer; the least recently used entry goes where there is no room."""
    write_key(m, e, p, values, bits, request)
    entry = find(e)
    if entry != 0:
        unlink(m, e, entry)
    else:
        if m[f.CACHE_USED] == m[f.CACHE_SIZE]:
            drop(m, e, m[f.CACHE_OLDEST])
        entry = m[f.CACHE_FREE]
        m[f.CACHE_FREE] = e[entry, CHAIN]
        m[f.CACHE_USED] += 1
        for column in range(INSTRUMENT, e.shape[1]):
            e[entry, column] = e[0, column]
        bucket = e[0, BUCKET]
        e[entry, BUCKET], e[entry, CHAIN] = bucket, e[bucket, HEAD]
        e[bucket, HEAD] = entry
    use(m, e, entry)
    e[entry, WRITTEN_AT], e[entry, SOURCE] = now, m[request + f.NUMBER]
