"""OverBackend: any `Backend`, a local one or replicas of Ray Serve, behind the service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import ModelFailedError
from inference.http.served import About, BusyError, DownError, Floats, Load, Scored, checked
from inference.rows import MISSING
from inference.schedule import Outcome, Reason

if TYPE_CHECKING:
    from inference.backend import Backend, Reply

__all__ = ["OverBackend"]


class OverBackend:
    """A backend behind the `Served` interface: a row goes by `submit`, a batch by `predict`."""

    def __init__(self, backend: Backend, about: About, *, owned: bool = True) -> None:
        """Take a backend.

        Args:
            backend: The deployment's client.
            about: What it says of itself; `feature_names` are the backend's.
            owned: Whether to close it with the service.
        """
        self._backend = backend
        self._about = about._replace(feature_names=tuple(backend.feature_names))
        self._under_way = 0
        self._is_owned, self._is_closed = owned, False

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
            found = await asyncio.to_thread(self._backend.predict, values)
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
        told = getattr(self._backend, "readiness", None)
        return str(await asyncio.to_thread(told)) if callable(told) else ""

    async def close(self) -> None:
        """Close the backend, once."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._is_owned:
            await asyncio.to_thread(self._backend.close)


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


def _between(start: int, end: int) -> int | None:
    # stamps of two hosts may be out by the difference of their clocks
    return None if MISSING in (start, end) else max(end - start, 0)
