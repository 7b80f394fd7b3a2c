"""An iterator that works ahead in a thread of its own, while its items are worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

__all__ = ["prefetched"]

_T = TypeVar("_T")


def prefetched(items: Iterable[_T], depth: int = 1) -> Iterator[_T]:
    """Yield the same items in the same order, made up to *depth* ahead.

    What raises there raises here. Whoever stops early closes the iterator: the thread then ends,
    and what it iterates over is closed.

    Args:
        items: Iterated over in the thread alone; it should leave the interpreter's lock alone for
            most of its time, as reading files does.
        depth: How many items wait at most.

    Example:
        >>> list(prefetched(range(3)))
        [0, 1, 2]
    """
    queue: Queue[tuple[_T] | BaseException | None] = Queue(depth)
    stopped = Event()
    thread = Thread(target=_work, args=(items, queue, stopped), daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stopped.set()
        thread.join()


def _work(
    items: Iterable[_T], queue: Queue[tuple[_T] | BaseException | None], stopped: Event
) -> None:
    end: BaseException | None = None
    iterator = iter(items)
    try:
        for item in iterator:
            if not _put((item,), queue, stopped):
                break
    except BaseException as error:
        end = error
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        _put(end, queue, stopped)


def _put(
    item: tuple[_T] | BaseException | None,
    queue: Queue[tuple[_T] | BaseException | None],
    stopped: Event,
) -> bool:
    """Put an item once there is room; return False when nobody wants it any more."""
    while not stopped.is_set():
        try:
            queue.put(item, timeout=0.1)
        except Full:
            continue
        return True
    return False
