"""InProcess: a predictor of this process, with as many threads as it has replicas."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clock.wall import host_ns
from inference.errors import ModelFailedError
from inference.http.served import About, BusyError, DownError, Floats, Load, Scored, checked
from inference.predictors.base import probabilities_of

if TYPE_CHECKING:
    from inference.predictors.base import Predictor

__all__ = ["InProcess"]


class _Asked(NamedTuple):
    values: Floats
    asked_at: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Scored]


class InProcess:
    """A predictor behind the `Served` interface.

    Threads are daemons: a model that hangs keeps its thread, but no process from ending.
    """

    def __init__(
        self,
        name: str,
        predictor: Predictor,
        *,
        model_id: str = "",
        replicas: int = 1,
        max_queued: int = 100,
    ) -> None:
        """Start the threads.

        Args:
            name: The deployment's name.
            predictor: The model; called by up to *replicas* threads at once.
            model_id: The URI that it was loaded from.
            replicas: Requests that are predicted at the same time.
            max_queued: Requests that wait before more are refused; -1: no limit.
        """
        self._about = About(
            name,
            model_id,
            predictor.version,
            tuple(predictor.feature_names),
            predictor.accepts_nan,
            type(predictor).__name__,
            predictor.digest,
            "local",
            replicas,
        )
        self._predictor = predictor
        self._max_queued = max_queued
        self._waiting: SimpleQueue[_Asked | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._queued = self._processing = 0
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{place}", daemon=True)
            for place in range(replicas)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def about(self) -> About:
        """What it is."""
        return self._about

    @property
    def load(self) -> Load:
        """What it holds now."""
        return Load(self._queued, self._processing)

    async def predict(self, values: Floats) -> Scored:
        """Return the answers to rows; see `Served`."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Scored] = loop.create_future()
        with self._lock:
            if self._is_closed:
                raise DownError(f"deployment '{self._about.name}' is stopping.")
            idle = len(self._threads) - self._processing
            if 0 <= self._max_queued <= self._queued - idle:
                raise BusyError(
                    f"deployment '{self._about.name}' has {self._queued} requests waiting."
                )
            self._queued += 1
        self._waiting.put(_Asked(values, host_ns(), loop, answer))
        return await answer

    async def readiness(self) -> str:
        """Return why it cannot answer now, an empty text where it can."""
        return "it is stopping" if self._is_closed else ""

    async def close(self) -> None:
        """Take no more, and let the threads end after what they work on."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        for _ in self._threads:
            self._waiting.put(None)

    def _serve(self) -> None:
        while (asked := self._waiting.get()) is not None:
            with self._lock:
                self._queued -= 1
                self._processing += 1
            try:
                if not asked.answer.cancelled():  # nobody waits any more
                    self._answer(asked)
            finally:
                with self._lock:
                    self._processing -= 1

    def _answer(self, asked: _Asked) -> None:
        started_at = host_ns()
        try:
            values, probabilities = self._ask(asked.values)
        except ModelFailedError as error:
            _tell(asked, asked.answer.set_exception, error)
            return
        scored = Scored(
            values, probabilities, started_at - asked.asked_at, host_ns() - started_at, ""
        )
        _tell(asked, asked.answer.set_result, scored)

    def _ask(self, values: Floats) -> tuple[Floats, Floats | None]:
        name, rows = f"model '{self._about.model_id or self._about.name}'", len(values)
        try:
            found = checked(self._in_one_go(self._predictor.predict, values), rows, name)
            shares = self._in_one_go(partial(probabilities_of, self._predictor), values)
            return found, None if shares is None else _shares(shares, rows, name)
        except ModelFailedError:
            raise
        except BaseException as error:  # a thread that ended would let its requests hang
            raise ModelFailedError(
                f"{name} failed on {rows} row{'s' if rows > 1 else ''}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _in_one_go(self, ask: Callable[[Floats], Any], values: Floats) -> Any:
        """Ask about all rows, or one by one where the bits of a row depend on the others."""
        if self._predictor.batch_invariant or len(values) == 1:
            return ask(values)
        parts = [ask(row[None]) for row in values]
        return None if parts[0] is None else np.concatenate(parts)


def _shares(found: Any, rows: int, name: str) -> Floats:
    shares = np.asarray(found, np.float64)
    if shares.ndim != 2 or len(shares) != rows:
        raise ModelFailedError(
            f"{name} must return probabilities of shape ({rows}, n_classes): got {shares.shape}."
        )
    return shares


def _tell(asked: _Asked, finish: Callable[[Any], None], what: Any) -> None:
    """End a future in its own loop, unless nobody waits for it any more."""

    def end() -> None:
        if not asked.answer.done():
            finish(what)

    try:
        asked.loop.call_soon_threadsafe(end)
    except RuntimeError:
        return  # the loop has ended, and with it everyone who waited
