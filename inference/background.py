"""Background: work in daemon threads, first in, first out; it never keeps a process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Background"]

Result = TypeVar("Result")


class Background:
    """A few threads that do what they are given, in order.

    Unlike those of an executor, threads that hang in somebody else's call are not waited for when
    the interpreter ends.

    Example:
        >>> with Background() as background:
        ...     background.submit(sum, [1, 2]).result(timeout=10)
        3
    """

    def __init__(self, threads: int = 1, name: str = "background") -> None:
        """Start the threads; one does things strictly one after the other."""
        self._asked: SimpleQueue[tuple[Future[Any], Callable[..., Any], Any] | None]
        self._asked = SimpleQueue()
        self._threads = threads
        for place in range(threads):
            threading.Thread(target=self._work, name=f"{name}-{place}", daemon=True).start()

    def submit(self, work: Callable[..., Result], *given: Any) -> Future[Result]:
        """Do something later; the future holds its result, or what it raised."""
        future: Future[Result] = Future()
        self._asked.put((future, work, given))
        return future

    def close(self) -> None:
        """Let the threads end once they have done what they were given."""
        for _ in range(self._threads):
            self._asked.put(None)

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            future, work, given = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work(*given)
            except BaseException as error:  # it belongs to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)
