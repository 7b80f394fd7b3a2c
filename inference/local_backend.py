"""LocalBackend: a model behind threads of this process: a real deployment without a server."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.wall import host_time
from inference.backend import Reply
from inference.errors import ModelFailedError
from inference.schedule import Outcome, Reason

if TYPE_CHECKING:
    from inference.config import InferenceConfig
    from inference.predictors.base import Predictor

__all__ = ["LocalBackend"]

Floats = NDArray[np.float64]
Read = Callable[[], int]


class _Waiting(NamedTuple):
    values: Floats
    sent_at: int
    future: Future[Reply]


class LocalBackend:
    """A queue, first in, first out, and threads that take requests from it.

    A thread is a replica: it works on one request at a time, or on as many as wait when it gets
    free, up to `max_batch_size`. Nothing is simulated: the stamps are the host's, and threads share
    the processor with everything else that this process does.

    Example:
        >>> class Sum:
        ...     feature_names, batch_invariant, accepts_nan = ("a", "b"), True, False
        ...     digest, version, training = "", "", None
        ...     def predict(self, values): return values.sum(axis=1)
        >>> backend = LocalBackend(Sum(), num_replicas=2)
        >>> backend.submit(np.array([1.0, 2.0])).result(timeout=10).value
        3.0
        >>> backend.close()
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        num_replicas: int = 1,
        max_queued_requests: int = -1,
        max_batch_size: int = 1,
        name: str = "local",
        read: Read = host_time,
    ) -> None:
        """Start the threads.

        Args:
            predictor: The loaded model; called by several threads at once where there are several.
            num_replicas: Threads.
            max_queued_requests: Requests that may wait before more are rejected; -1: no limit.
            max_batch_size: The most requests of one call of the model.
            name: Told in messages, and part of the replicas' names.
            read: Reads the host's present in nanoseconds.
        """
        self._predictor, self._name, self._read = predictor, name, read
        self._limit, self._batch = max_queued_requests, max_batch_size
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._running: set[Future[Reply]] = set()
        self._idle = num_replicas
        self._is_closed = False
        for index in range(num_replicas):
            threading.Thread(
                target=self._serve,
                args=(f"{name}#{index}",),
                name=f"lightcone-{name}-{index}",
                daemon=True,  # a model that hangs must not keep the process from ending
            ).start()

    @classmethod
    def of(cls, config: InferenceConfig, predictor: Predictor) -> LocalBackend:
        """Return the deployment that a loop's configuration describes, in this process."""
        batching = config.batching
        return cls(
            predictor,
            num_replicas=config.start_replicas,
            max_queued_requests=config.max_queued_requests,
            max_batch_size=1 if batching is None else batching.max_batch_size,
            name=config.deployment_name or "local",
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns of a row, in the model's order."""
        return tuple(self._predictor.feature_names)

    def submit(self, values: Floats) -> Future[Reply]:
        """Send one row of features, shape (n_features,); see `Backend.submit`."""
        future: Future[Reply] = Future()
        sent_at = self._read()
        kept = np.array(values, dtype=np.float64)  # ours: the caller may use its array again
        with self._changed:
            if self._is_closed:
                why = f"deployment '{self._name}' is closed: nothing answers there any more."
                refused = Reply(Outcome.FAILED, np.nan, sent_at, sent_at, error=why)
                refused = refused._replace(reason=Reason.ERROR)
            elif self._is_full():
                why = f"deployment '{self._name}' has {len(self._queue)} requests waiting."
                refused = Reply(Outcome.REJECTED, np.nan, sent_at, sent_at, error=why)
                refused = refused._replace(reason=Reason.QUEUE_FULL)
            else:
                self._queue.append(_Waiting(kept, sent_at, future))
                self._changed.notify()
                return future
        future.set_result(refused)
        return future

    def predict(self, values: Floats) -> Floats:
        """Return one value a row, in the caller's thread; one call where the bits allow it.

        Raises:
            ModelFailedError: If the model raises, or does not return one value a row.
        """
        values = np.asarray(values, np.float64)
        try:
            if self._predictor.batch_invariant:
                return self._ask(values)
            alone = [self._ask(row[None]) for row in values]
            return np.concatenate(alone) if alone else np.empty(0)
        except ModelFailedError:
            raise
        except Exception as error:
            raise ModelFailedError(
                f"deployment '{self._name}' failed on {len(values)} rows: {error}"
            ) from error

    def close(self) -> None:
        """Cancel what waits and what runs, and let the threads end; idempotent.

        A call of the model that is under way runs to its end, and its answer is dropped: there is
        no way to end a thread from outside.
        """
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            given_up = [waiting.future for waiting in self._queue] + list(self._running)
            self._queue.clear()
            self._changed.notify_all()
        for future in given_up:
            if future.cancel():
                future.set_running_or_notify_cancel()  # whoever waits for it hears of it

    # --- the threads -----------------------------------------------------------------------------

    def _is_full(self) -> bool:
        # what an idle thread is about to take does not wait
        most = self._limit + self._idle * self._batch
        if self._limit < 0 or len(self._queue) < most:
            return False
        # what was cancelled while it waited is no longer there
        self._queue = deque(one for one in self._queue if not one.future.cancelled())
        return len(self._queue) >= most

    def _serve(self, replica: str) -> None:
        while batch := self._take():
            started_at = self._read()
            values, error = self._values_of(batch)
            completed_at = self._read()
            with self._changed:
                self._idle += 1  # before anybody hears, who may ask again at once
            for waiting, value in zip(batch, values, strict=True):
                reply = Reply(
                    Outcome.FAILED if error else Outcome.COMPLETED,
                    float(value),
                    waiting.sent_at,
                    self._read(),
                    started_at,
                    completed_at,
                    replica,
                    len(batch),
                    Reason.ERROR if error else Reason.NONE,
                    error,
                )
                self._reply(waiting.future, reply)

    def _take(self) -> list[_Waiting]:
        """Return the requests that the thread works on next; none once the backend is closed."""
        batch: list[_Waiting] = []
        with self._changed:
            while not batch:
                self._changed.wait_for(lambda: self._queue or self._is_closed)
                if self._is_closed:
                    return []
                while self._queue and len(batch) < self._batch:
                    waiting = self._queue.popleft()
                    if not waiting.future.cancelled():
                        batch.append(waiting)
            self._idle -= 1
            self._running.update(waiting.future for waiting in batch)
        return batch

    def _values_of(self, batch: list[_Waiting]) -> tuple[Floats, str]:
        """Return what the model says, or NaN and what went wrong."""
        try:
            return self._ask(np.stack([waiting.values for waiting in batch])), ""
        except BaseException as error:  # a thread that ended would let its requests hang
            return np.full(len(batch), np.nan), f"{type(error).__name__}: {error}"

    def _ask(self, rows: Floats) -> Floats:
        found = np.asarray(self._predictor.predict(rows), np.float64)
        if found.shape != (len(rows),):
            raise ModelFailedError(
                f"the model of deployment '{self._name}' must return one value a row: got shape "
                f"{found.shape} for {len(rows)} rows."
            )
        return found

    def _reply(self, future: Future[Reply], reply: Reply) -> None:
        with self._changed:
            self._running.discard(future)
        with suppress(InvalidStateError):  # cancelled meanwhile: nobody waits for it
            future.set_result(reply)
