"""RayServeBackend: a deployment on Ray Serve as a loop sees it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clock.wall import steady_clock_id, utc_now, utc_of
from inference.backend import Reply
from inference.errors import FeatureMismatchError, ModelFailedError
from inference.ray_serve.outcomes import outcome_of
from inference.ray_serve.replica import Answer, Description
from inference.rows import MISSING
from inference.schedule import Outcome, Reason

if TYPE_CHECKING:
    from inference.ray_serve.cluster import RayCluster

__all__ = ["RayServeBackend"]

CHUNK_ROWS = 4096
DESCRIBE_WITHIN_S = 30.0


class RayServeBackend:
    """A client of one application on Ray Serve.

    It has a thread of its own, whose event loop owns the handle: `submit` only leaves a note there.
    """

    def __init__(self, cluster: RayCluster, application: str) -> None:
        """Connect to a running application of the cluster.

        Raises:
            ServingError: If there is none of this name, or it does not answer.
        """
        from ray import serve

        self.application = application
        self._cluster = cluster
        self._handle = serve.get_app_handle(application)
        self._clock = steady_clock_id()
        self._loop = asyncio.new_event_loop()
        self._out: dict[Future[Reply], tuple[int, asyncio.Task[None]]] = {}
        self._many: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._lost = ""
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"ray-serve-{application}", daemon=True
        )
        self._thread.start()
        cluster.when_lost(self._lose)
        try:
            self.description = Description(*self._wait(self._describe(), DESCRIBE_WITHIN_S))
        except BaseException:
            self.close()
            raise

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns of a row, in the model's order."""
        return tuple(self.description.feature_names)

    def submit(self, values: NDArray[np.float64]) -> Future[Reply]:
        """Send one row, shape (n_features,); never waits."""
        sent = utc_now()
        future: Future[Reply] = Future()
        content = np.ascontiguousarray(values, np.float64).tobytes()
        if self._closing or self._lost:
            future.set_result(self._given_up(sent))
            return future
        self._loop.call_soon_threadsafe(self._begin, future, content, sent)
        future.add_done_callback(self._take_back)
        return future

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row, shape (n,), for rows of shape (n, n_features); waits for them."""
        columns = len(self.feature_names)
        if values.ndim != 2 or values.shape[1] != columns:
            raise FeatureMismatchError(
                f"`{self.application}` reads rows of {columns} features: got shape {values.shape}."
            )
        parts = [values[i : i + CHUNK_ROWS] for i in range(0, len(values), CHUNK_ROWS)]
        try:
            found = self._wait(self._predict_all(parts), None)
        except _GivenUpError as error:
            raise ModelFailedError(f"`{self.application}`: {error}") from None
        except Exception as error:
            raise ModelFailedError(f"`{self.application}`: {outcome_of(error)[2]}") from error
        return np.concatenate([np.zeros(0), *found])

    def close(self) -> None:
        """Give up what is under way and let go of the deployment, which goes on; idempotent."""
        if self._closing:
            return
        self._closing = True
        self._cluster.forget(self._lose)
        with suppress(Exception):
            self._wait(self._give_up(), 5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _lose(self, why: str) -> None:
        self._lost = why
        with suppress(Exception):
            self._wait(self._give_up(), 5.0)

    # --- in the thread of the event loop -------------------------------------------------------

    def _begin(self, future: Future[Reply], content: bytes, sent: int) -> None:
        if future.cancelled():
            return
        if self._closing or self._lost:
            _finish(future, self._given_up(sent))
            return
        task = self._loop.create_task(self._ask(future, content, sent))
        self._out[future] = (sent, task)

    async def _ask(self, future: Future[Reply], content: bytes, sent: int) -> None:
        response = None
        try:
            response = self._handle.remote(content)
            *fields, replica = await response
            reply = self._reply(Answer(*fields), replica, sent)
        except asyncio.CancelledError:
            if response is not None:
                response.cancel()
            reply = self._given_up(sent)
        except Exception as error:
            outcome, reason, text = outcome_of(error)
            reply = Reply(outcome, np.nan, sent, utc_now(), reason=reason, error=text)
        finally:
            self._out.pop(future, None)
        _finish(future, reply)

    def _reply(self, answer: Answer, replica: str, sent: int) -> Reply:
        received = utc_now()
        same = answer.clock == self._clock
        failed = bool(answer.error)
        return Reply(
            Outcome.FAILED if failed else Outcome.COMPLETED,
            answer.value,
            sent,
            received,
            utc_of(answer.started_at) if same else MISSING,
            utc_of(answer.completed_at) if same else MISSING,
            replica,
            answer.batch_size,
            Reason.ERROR if failed else Reason.NONE,
            answer.error,
        )

    def _given_up(self, sent: int) -> Reply:
        reason = Reason.CRASHED if self._lost else Reason.CANCELLED
        error = self._lost or "the client was closed before the answer came"
        return Reply(Outcome.FAILED, np.nan, sent, utc_now(), reason=reason, error=error)

    def _take_back(self, future: Future[Reply]) -> None:
        if future.cancelled() and not self._closing:
            self._loop.call_soon_threadsafe(self._cancel, future)

    def _cancel(self, future: Future[Reply]) -> None:
        entry = self._out.get(future)
        if entry is not None:
            entry[1].cancel()

    async def _give_up(self) -> None:
        tasks = [*(task for _, task in self._out.values()), *self._many]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _describe(self) -> Any:
        return await self._handle.describe.remote()

    async def _predict_all(self, parts: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        task = asyncio.current_task()
        assert task is not None  # `_wait` makes one
        if self._closing or self._lost:
            raise _GivenUpError(self._given_up(utc_now()).error)
        self._many.add(task)
        try:
            responses = [
                self._handle.predict_many.remote(np.ascontiguousarray(part).tobytes(), len(part))
                for part in parts
            ]
            return [np.frombuffer(await response, np.float64) for response in responses]
        except asyncio.CancelledError:
            raise _GivenUpError(self._given_up(utc_now()).error) from None
        finally:
            self._many.discard(task)

    def _wait(self, work: Coroutine[Any, Any, Any], within_s: float | None) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within_s)


class _GivenUpError(ModelFailedError):
    """Rows that were under way when the client was closed, or its cluster lost."""


def _finish(future: Future[Reply], reply: Reply) -> None:
    with suppress(InvalidStateError):  # cancelled meanwhile: its reply is dropped
        future.set_result(reply)
