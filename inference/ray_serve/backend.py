"""RayServeBackend: a deployment on Ray Serve as a loop sees it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.units import format_duration
from clock.wall import steady_clock_id, steady_ns, utc_now, utc_of
from inference.backend import Reply
from inference.errors import FeatureMismatchError, ModelFailedError, SilentReplicasError
from inference.ray_serve.outcomes import outcome_of
from inference.ray_serve.replica import Answer, Description
from inference.rows import MISSING
from inference.schedule import Outcome, Reason

if TYPE_CHECKING:
    from inference.ray_serve.cluster import RayCluster

__all__ = ["Counts", "RayServeBackend"]

CHUNK_ROWS = 4096
CHUNKS_AT_ONCE = 8
DESCRIBE_WITHIN_S = 30.0


class Counts(NamedTuple):
    """What became of the requests of a client."""

    submitted: int
    completed: int
    rejected: int
    failed: int
    cancelled: int
    """Taken back by whoever asked."""

    @property
    def ended(self) -> int:
        """Requests of which nothing is under way."""
        return self.completed + self.rejected + self.failed + self.cancelled


class RayServeBackend:
    """A client of one application on Ray Serve.

    It has a thread of its own, whose event loop owns the handle: `submit` only leaves a note there.

    Attributes:
        silent_for_ns: How long replicas may answer nothing while `predict` waits; None: for ever.
    """

    silent_for_ns: int | None = None

    def __init__(self, cluster: RayCluster, application: str) -> None:
        """Connect to a running application of the cluster.

        Raises:
            ServingError: If there is none of this name, or it does not answer.
        """
        from ray import serve

        self.application = application
        self._cluster = cluster
        self._handle = serve.get_app_handle(application)
        # a chunk of rows may be larger than a message over gRPC
        self._bulk = self._handle.options(method_name="predict_many", _by_reference=True)
        self._clock = steady_clock_id()
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._submitted = 0
        self._ended: Counter[Outcome | None] = Counter()
        self._sent: dict[Future[Reply], int] = {}  # what is under way, and since when
        self._tasks: dict[Future[Reply], asyncio.Task[None]] = {}
        self._heard_at = steady_ns()
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

    @property
    def counts(self) -> Counts:
        """What became of the requests so far."""
        with self._lock:
            completed, rejected, failed, cancelled = (
                self._ended[kind]
                for kind in (Outcome.COMPLETED, Outcome.REJECTED, Outcome.FAILED, None)
            )
            return Counts(self._submitted, completed, rejected, failed, cancelled)

    def submit(self, values: NDArray[np.float64]) -> Future[Reply]:
        """Send one row, shape (n_features,); never waits."""
        sent = utc_now()
        future: Future[Reply] = Future()
        with self._lock:
            self._submitted += 1
            self._sent[future] = sent
        future.add_done_callback(self._end)
        if values.shape != (len(self.feature_names),):
            _finish(future, _failed(sent, Reason.ERROR, self._wrong_shape(values)))
        elif self._closing or self._lost:
            _finish(future, self._given_up(sent))
        else:
            content = np.ascontiguousarray(values, np.float64).tobytes()
            try:
                self._loop.call_soon_threadsafe(self._begin, future, content, sent)
            except RuntimeError:  # closed in this very moment
                _finish(future, self._given_up(sent))
        return future

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row, shape (n,), for rows of shape (n, n_features); waits for them.

        Rows go in chunks, past the batching; what the queue refuses is asked again. Replicas that
        answer no chunk, of this call or another, for `silent_for_ns` raise SilentReplicasError.
        """
        if values.ndim != 2 or values.shape[1] != len(self.feature_names):
            raise FeatureMismatchError(self._wrong_shape(values))
        if self._closing or self._lost:
            raise ModelFailedError(f"`{self.application}`: {self._given_up(0).error}")
        parts = [values[i : i + CHUNK_ROWS] for i in range(0, len(values), CHUNK_ROWS)]
        try:
            found = self._wait_while_heard(self._predict_all(parts), len(values))
        except SilentReplicasError:
            raise
        except Exception as error:
            what = self._lost or outcome_of(error)[2]
            raise ModelFailedError(f"`{self.application}`: {what}") from error
        return np.concatenate([np.zeros(0), *found])

    def close(self) -> None:
        """Give up what is under way and let go of the deployment, which goes on; idempotent."""
        if self._closing:
            return
        self._closing = True
        self._cluster.forget(self._lose)
        self._give_up()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- in any thread -------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        self._lost = why
        self._give_up()

    def _give_up(self) -> None:
        """End everything under way, whether or not the event loop still moves."""
        with suppress(Exception):
            self._wait(self._cancel_all(), 3.0)
        with self._lock:
            left = list(self._sent.items())
        for future, sent in left:
            _finish(future, self._given_up(sent))

    def _given_up(self, sent: int) -> Reply:
        if self._lost:
            return _failed(sent, Reason.CRASHED, self._lost)
        return _failed(sent, Reason.CANCELLED, "the client was closed before the answer came")

    def _end(self, future: Future[Reply]) -> None:
        kind = None if future.cancelled() else future.result().outcome
        with self._lock:
            self._ended[kind] += 1
            del self._sent[future]
        if kind is None:
            with suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(self._take_back, future)

    def _wrong_shape(self, values: NDArray[np.float64]) -> str:
        return (
            f"`{self.application}` reads rows of {len(self.feature_names)} features: got shape "
            f"{values.shape}."
        )

    def _wait(self, work: Coroutine[Any, Any, Any], within_s: float | None) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within_s)

    def _wait_while_heard(self, work: Coroutine[Any, Any, Any], rows: int) -> Any:
        limit, began = self.silent_for_ns, steady_ns()
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        if limit is None:
            return asked.result()
        while True:
            silent = steady_ns() - max(began, self._heard_at)
            if silent >= limit:
                asked.cancel()
                raise SilentReplicasError(
                    f"`predict_timeout` bounds how long the replicas of `{self.application}` may "
                    f"answer nothing: got no answer for {format_duration(limit)}, while {rows:,} "
                    "rows were waited for. The model hangs, or takes longer for a part of them: "
                    "see to it, or raise the bound (--set inference_config.predict_timeout=1h)."
                )
            try:
                return asked.result((limit - silent) / 1e9)
            except TimeoutError:
                if asked.done():
                    raise

    # --- in the thread of the event loop -------------------------------------------------------

    def _begin(self, future: Future[Reply], content: bytes, sent: int) -> None:
        if not future.done():
            self._tasks[future] = self._loop.create_task(self._ask(future, content, sent))

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
            self._tasks.pop(future, None)
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

    def _take_back(self, future: Future[Reply]) -> None:
        task = self._tasks.get(future)
        if task is not None:
            task.cancel()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _describe(self) -> Any:
        return await self._handle.describe.remote()

    async def _predict_all(self, parts: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        room = asyncio.Semaphore(CHUNKS_AT_ONCE)

        async def one(part: NDArray[np.float64]) -> NDArray[np.float64]:
            async with room:
                return await self._predict_chunk(np.ascontiguousarray(part).tobytes(), len(part))

        return list(await asyncio.gather(*(one(part) for part in parts)))

    async def _predict_chunk(self, content: bytes, count: int) -> NDArray[np.float64]:
        from ray.serve.exceptions import BackPressureError

        while True:
            try:
                found = await self._bulk.remote(content, count)
            except BackPressureError:
                await asyncio.sleep(0.01)
            else:
                self._heard_at = steady_ns()
                return np.frombuffer(found, np.float64)


def _failed(sent: int, reason: Reason, error: str) -> Reply:
    return Reply(Outcome.FAILED, np.nan, sent, utc_now(), reason=reason, error=error)


def _finish(future: Future[Reply], reply: Reply) -> None:
    with suppress(InvalidStateError):  # cancelled meanwhile: its reply is dropped
        future.set_result(reply)
