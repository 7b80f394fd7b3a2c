"""Rings, a heap and a stack of request slots, as kernels on columns of the request table.

Instants in a ring never fall in the order of insertion, so a ring is a sorted queue as long as
equal instants are put in order of request number, which moves entries only within one instant.

Here and in `deployment`: `c` is `State.scalars`, `t` is `State.table`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from inference.serving.state import COMPLETED_AT, FREE, HEAD, NUMBER, RUNNING, SIZE

Ints = NDArray[np.int64]
_F = TypeVar("_F", bound=Callable[..., Any])


def step(function: _F) -> _F:
    """Compile like `kernel`, for kernels alone: without the wrapper that lets Python call it.

    A quarter of the time that the whole deployment takes to compile went into wrappers.
    """
    compiled: Any = kernel(function)
    if compiled is not function:  # it is where NUMBA_DISABLE_JIT asks for plain Python
        compiled.targetoptions.update(no_cpython_wrapper=True, no_cfunc_wrapper=True)
    return cast("_F", compiled)


@step
def put_last(c: Ints, t: Ints, queue: int, slot: int) -> None:
    """Append a slot to a ring, first in, first out."""
    t[(c[HEAD + queue] + c[SIZE + queue]) & (t.shape[0] - 1), queue] = slot
    c[SIZE + queue] += 1


@step
def put_sorted(c: Ints, t: Ints, queue: int, slot: int, field: int) -> None:
    """Insert a slot into a ring sorted by (the stamp *field*, request number)."""
    mask = t.shape[0] - 1
    place = c[HEAD + queue] + c[SIZE + queue]
    while place > c[HEAD + queue]:
        before = t[(place - 1) & mask, queue]
        if t[before, field] < t[slot, field] or t[before, NUMBER] < t[slot, NUMBER]:
            break
        t[place & mask, queue] = before
        place -= 1
    t[place & mask, queue] = slot
    c[SIZE + queue] += 1


@step
def take_first(c: Ints, t: Ints, queue: int) -> int:
    """Remove and return the first slot of a ring that is not empty."""
    slot = t[c[HEAD + queue], queue]
    c[HEAD + queue] = (c[HEAD + queue] + 1) & (t.shape[0] - 1)
    c[SIZE + queue] -= 1
    return slot


@step
def take_free(c: Ints, t: Ints) -> int:
    """Return a free slot; the caller has made sure that there is one."""
    c[SIZE + FREE] -= 1
    return t[c[SIZE + FREE], FREE]


@step
def give_free(c: Ints, t: Ints, slot: int) -> None:
    """Take back a slot that no request uses any more."""
    t[c[SIZE + FREE], FREE] = slot
    c[SIZE + FREE] += 1


@step
def completes_before(t: Ints, one: int, other: int) -> bool:
    """Tell which of two running requests completes first: by instant, then by number."""
    if t[one, COMPLETED_AT] != t[other, COMPLETED_AT]:
        return t[one, COMPLETED_AT] < t[other, COMPLETED_AT]
    return t[one, NUMBER] < t[other, NUMBER]


@step
def put_running(c: Ints, t: Ints, slot: int) -> None:
    """Push a request onto the heap of those a replica has taken on."""
    place = c[SIZE + RUNNING]
    c[SIZE + RUNNING] += 1
    while place > 0:
        parent = (place - 1) >> 1
        if not completes_before(t, slot, t[parent, RUNNING]):
            break
        t[place, RUNNING] = t[parent, RUNNING]
        place = parent
    t[place, RUNNING] = slot


@step
def take_running(c: Ints, t: Ints) -> int:
    """Pop the request that completes first."""
    first = t[0, RUNNING]
    c[SIZE + RUNNING] -= 1
    count = c[SIZE + RUNNING]
    last = t[count, RUNNING]
    place = 0
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and completes_before(t, t[child + 1, RUNNING], t[child, RUNNING]):
            child += 1
        if not completes_before(t, t[child, RUNNING], last):
            break
        t[place, RUNNING] = t[child, RUNNING]
        place = child
    t[place, RUNNING] = last
    return first
