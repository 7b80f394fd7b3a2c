"""Replies on their way from the threads of a deployment to the loop that asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue

import numpy as np

from inference.backend import Backend, Reply
from inference.live.records import Attempt
from inference.schedule import Outcome, Reason

__all__ = ["Inbox", "reply_of"]

_ENDS = (Outcome.COMPLETED, Outcome.REJECTED, Outcome.FAILED, Outcome.TIMED_OUT)


class Inbox:
    """Ended futures in the order in which they ended: filled by any thread, emptied by one.

    Attributes:
        on_reply: Called, in a thread of the deployment's, after something was put in.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Attempt, Future[Reply]]] = SimpleQueue()
        self.on_reply: Callable[[], None] | None = None

    def send(self, backend: Backend, attempt: Attempt, now: Callable[[], int]) -> None:
        """Send an attempt; what becomes of it is put in here, be it at once.

        A backend that raises, against its contract, has failed the attempt.

        Args:
            backend: Where to.
            attempt: What to send.
            now: Reads the host's present.
        """
        try:
            future = backend.submit(attempt.request.values)
        except Exception as error:
            future = Future()
            at, told = now(), f"{type(error).__name__}: {error}"
            failed = Reply(Outcome.FAILED, np.nan, at, at, reason=Reason.ERROR, error=told)
            future.set_result(failed)
        attempt.future = future
        future.add_done_callback(lambda ended: self._put(attempt, ended))

    def _put(self, attempt: Attempt, ended: Future[Reply]) -> None:
        self._queue.put((attempt, ended))
        if self.on_reply is not None:
            self.on_reply()

    def take(self) -> Iterator[tuple[Attempt, Future[Reply]]]:
        """Take out what is in, without waiting."""
        while True:
            try:
                yield self._queue.get_nowait()
            except Empty:
                return


def reply_of(future: Future[Reply]) -> tuple[Reply | None, str]:
    """Return an ended future's reply and what went wrong; no reply where it was cancelled.

    A reply that makes no sense is a failure of the deployment: the loop goes on.
    """
    if future.cancelled():
        return None, "the deployment gave the request up"
    error = future.exception()
    if error is not None:
        return None, f"{type(error).__name__}: {error}"
    reply = future.result()
    try:
        outcome, reason = Outcome(reply.outcome), Reason(reply.reason)
        value = float(reply.value) if outcome == Outcome.COMPLETED else np.nan
        stamps = (reply.sent_at, reply.received_at, reply.started_at, reply.completed_at)
        whole = all(isinstance(stamp, int) for stamp in stamps) and outcome in _ENDS
    except (AttributeError, TypeError, ValueError):
        whole = False
    if not whole:
        return None, f"the deployment sent something that is no reply: {reply!r:.200}"
    return reply._replace(outcome=outcome, reason=reason, value=value), reply.error
