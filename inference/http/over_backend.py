"""OverBackend: any `Backend`, a local one or replicas of Ray Serve, behind the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from inference.background import Background
from inference.errors import ModelFailedError
from inference.http.served import About, BusyError, DownError, Floats, Load, Scored, checked
from inference.rows import MISSING
from inference.schedule import Outcome, Reason

if TYPE_CHECKING:
    from inference.backend import Backend, Reply

__all__ = ["OverBackend"]

_READY_WITHIN_S = 2.0
_SENDERS = 8
"""Batches that are with the deployment at once; more wait their turn."""


class OverBackend:
    """A backend behind the `Served` interface: a row goes by `submit`, a batch by `predict`."""

    def __init__(
        self,
        backend: Backend,
        about: About,
        *,
        batch_invariant: bool = True,
        ready: Callable[[], str] | None = None,
    ) -> None:
        """Take a backend, which is closed with the service.

        Args:
            backend: The deployment's client.
            about: What it says of itself; `feature_names` are the backend's.
            batch_invariant: Whether a row has the same value in every batch; where it has not, the
                rows of a batch are asked one by one, at the same time.
            ready: Returns why the deployment cannot answer now, an empty text where it can; called
                in a thread, and given two seconds.
        """
        self._backend = backend
        self._about = about._replace(feature_names=tuple(backend.feature_names))
        self._in_one_go, self._ready = batch_invariant, ready
        self._senders = Background(_SENDERS, "http-to-backend")
        self._under_way = 0
        self._is_closed = False

    @property
    def about(self) -> About:
        """What it is."""
        return self._about

    @property
    def load(self) -> Load:
        """What it holds now; of a backend only what is under way is known."""
        return Load(-1, self._under_way)

    async def predict(self, values: Floats) -> Scored:
        """Return the answers to rows; see `Served`."""
        if self._is_closed:
            raise DownError(f"deployment '{self._about.name}' is stopping.")
        self._under_way += 1
        try:
            if len(values) == 1:
                return await self._one(values[0])
            if not self._in_one_go:
                return _joined(await asyncio.gather(*(self._one(row) for row in values)))
            found = await asyncio.wrap_future(self._senders.submit(self._backend.predict, values))
            return Scored(checked(found, len(values), f"deployment '{self._about.name}'"))
        finally:
            self._under_way -= 1

    async def _one(self, row: Floats) -> Scored:
        reply = asyncio.wrap_future(self._backend.submit(row))
        try:
            return _answer(await reply)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # we gave up, not the backend
            raise DownError("the deployment was closed while it worked on the request.") from None

    async def readiness(self) -> str:
        """Return why it cannot answer now, an empty text where it can."""
        if self._is_closed:
            return "it is stopping"
        if self._ready is None:
            return ""
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                return await asyncio.wrap_future(self._senders.submit(self._ready))
        except TimeoutError:
            return f"it did not say whether it is ready within {_READY_WITHIN_S:g} s"
        except Exception as error:
            return f"it cannot be asked: {type(error).__name__}: {error}"

    async def close(self) -> None:
        """Close the backend, once."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.to_thread(self._backend.close)
        self._senders.close()


def _answer(reply: Reply) -> Scored:
    """Return what a reply says.

    Raises:
        BusyError: If the deployment refused it.
        TimeoutError: If the deployment gave it up.
        ModelFailedError: If it failed.
    """
    why = reply.error or reply.reason.name.lower().replace("_", " ")
    if reply.outcome == Outcome.COMPLETED:
        return Scored(
            np.array([reply.value]),
            None,
            _between(reply.sent_at, reply.started_at),
            _between(reply.started_at, reply.completed_at),
            reply.replica,
        )
    if reply.outcome == Outcome.REJECTED:
        raise BusyError(why)
    if reply.outcome == Outcome.TIMED_OUT:
        raise TimeoutError(why)
    if reply.reason == Reason.CRASHED:
        raise ModelFailedError(f"the replica died while it worked on the request: {why}")
    raise ModelFailedError(why)


def _joined(parts: Sequence[Scored]) -> Scored:
    return Scored(np.concatenate([part.values for part in parts]))


def _between(start: int, end: int) -> int | None:
    # stamps of two hosts may be out by the difference of their clocks
    return None if MISSING in (start, end) else max(end - start, 0)
