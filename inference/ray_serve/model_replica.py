"""The class that Ray Serve runs: a served model behind Serve's batching and health checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from inference.ray_serve.replica import Answer, ReplicaModel, Served

__all__ = ["ModelReplica"]

Together = Callable[[bytes], Awaitable[Answer]]


class ModelReplica:
    """One replica of a deployment.

    Args:
        spec: The model.
        width: Executions at once.
        blocking: Whether an execution holds the event loop.
        batching: Keyword arguments of `serve.batch`, or None for one row at a time.
        hangs_after_ns: How long an execution may take before the replica is replaced.
    """

    def __init__(
        self,
        spec: ReplicaModel,
        width: int,
        blocking: bool,
        batching: dict[str, Any] | None,
        hangs_after_ns: int,
    ) -> None:
        from ray import serve

        context = serve.get_replica_context()
        self._served = Served(
            spec,
            width,
            blocking=blocking,
            hangs_after_ns=hangs_after_ns,
            rank=context.rank.rank,
        )
        self._replica = str(context.replica_id.unique_id)
        self._together = self._batched(batching)

    def _batched(self, batching: dict[str, Any] | None) -> Together:
        served = self._served
        if batching is None:

            async def alone(row: bytes) -> Answer:
                return (await served.answer([row]))[0]

            return alone
        from ray import serve

        async def together(rows: list[bytes]) -> list[Answer]:
            return await served.answer(rows)

        made: Together = serve.batch(**batching)(together)
        return made

    async def __call__(self, row: bytes) -> tuple[Any, ...]:
        """Answer one row: the fields of an `Answer`, and which replica gave it."""
        return (*await self._together(row), self._replica)

    async def predict_many(self, content: bytes, count: int) -> bytes:
        """Answer many rows in one execution, past the batching."""
        return await asyncio.to_thread(self._served.predict_many, content, count)

    async def describe(self) -> tuple[Any, ...]:
        """Return the fields of a `Description`."""
        return tuple(self._served.describe())

    async def check_health(self) -> None:
        """Be found unhealthy while the model hangs: by raising, or by not answering at all.

        Ray asks this on the event loop that the model may hold.
        """
        self._served.check()
