"""Processors of one's own: a model runs on one, and all else that is ours keeps off it.

The kernel gives a processor to whoever waits for one, in turns of some milliseconds. Where models
compute on all of them, the client and Ray's loops wait for such a turn, on the way out and on the
way back. A processor is bound to its threads, not to a process: each thread says for itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from inference.errors import NoProcessorError

if TYPE_CHECKING:
    from inference.config import InferenceConfig

__all__ = ["bind_thread", "keeping_off", "of_models"]

_TASKS = Path("/proc/self/task")


def of_models(loops: Iterable[InferenceConfig]) -> tuple[int, ...]:
    """Return the processors that the models of loops, and of their variants, are bound to."""
    deployments = [one for loop in loops for one in loop.deployments.values()]
    return tuple(sorted({at for one in deployments for at in one.processors}))


def bind_thread(processor: int) -> None:
    """Have the calling thread run on one processor only.

    Raises:
        NoProcessorError: If this host lacks it, or binds no threads.
    """
    try:
        os.sched_setaffinity(0, {processor})
    except (AttributeError, OSError, ValueError) as error:
        raise _not_here([processor]) from error


@contextmanager
def keeping_off(processors: Sequence[int]) -> Iterator[None]:
    """Keep all threads of this process, and what they start, off processors, for a block.

    Raises:
        NoProcessorError: If this process may not use one of them, or has no other left.
    """
    if not processors:
        yield
        return
    try:
        allowed = {thread: os.sched_getaffinity(thread) for thread in _threads()}
    except AttributeError as error:
        raise _not_here(processors) from error
    mine = os.sched_getaffinity(0)
    if not mine.issuperset(processors) or mine.issubset(processors):
        raise _not_here(processors)
    try:
        for thread, found in allowed.items():
            if left := found - set(processors):  # else it was bound there on purpose
                _restrict(thread, left)
        yield
    finally:
        for thread in _threads():  # those that came meanwhile have what those before them had
            _restrict(thread, allowed.get(thread, mine))


def _threads() -> list[int]:
    return [int(path.name) for path in _TASKS.iterdir()]


def _restrict(thread: int, processors: set[int]) -> None:
    with suppress(ProcessLookupError):
        os.sched_setaffinity(thread, processors)


def _not_here(processors: Sequence[int]) -> NoProcessorError:
    try:
        have = str(sorted(os.sched_getaffinity(0)))
    except AttributeError:
        have = "none that a thread can be bound to (this takes Linux)"
    return NoProcessorError(
        f"`processors` must be some of the host's, and leave one to the client and to Ray: got "
        f"{list(processors)}, this process has {have}. Name others, or leave it out."
    )
