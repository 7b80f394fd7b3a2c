"""The three ways to choose a replica, as Ray Serve's custom request routers.

Ray imports this file where a deployment's handle lives, and nothing else of ours does.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from ray.serve._private.request_router import PowerOfTwoChoicesRequestRouter
from ray.serve.request_router import FIFOMixin, RequestRouter

__all__ = ["LeastLoadedRouter", "PowerOfTwoRouter", "RoundRobinRouter"]


class _Counting(RequestRouter):  # type: ignore[misc]
    """Keeps its own count of what a replica has, from what was sent there and what came back.

    With each answer a replica also says how many requests it had when it *took* this one. Over
    gRPC that arrives together with the answer, when it is older than what the router knows.
    """

    def initialize_state(self, **kwargs: Any) -> None:
        """Start with nothing counted."""
        super().initialize_state(**kwargs)
        self._counted: int | None = None

    def on_new_queue_len_info(self, replica_id: Any, num_ongoing_requests: int) -> None:
        """Take what a replica says; it stands if it is why the replica refused."""
        self._counted = self._replica_queue_len_cache.get(replica_id)
        super().on_new_queue_len_info(replica_id, num_ongoing_requests)

    def on_request_routed(self, pending_request: Any, replica_id: Any, result: Any) -> None:
        """Go back to the own count: Ray calls this right after, where the replica accepted."""
        super().on_request_routed(pending_request, replica_id, result)
        if self._counted is not None:
            self._replica_queue_len_cache.update(replica_id, self._counted)


class PowerOfTwoRouter(_Counting, PowerOfTwoChoicesRequestRouter):  # type: ignore[misc]
    """Ray's own: the shorter queue of two replicas that are drawn."""


class _WokenRouter(FIFOMixin, _Counting):  # type: ignore[misc]
    """A router whose waiting requests look again as soon as an answer frees a slot.

    Ray's own only sleeps, up to half a second, while a replica may be idle.
    """

    def initialize_state(self, **kwargs: Any) -> None:
        """Start with nobody waiting."""
        super().initialize_state(**kwargs)
        self._freed: asyncio.Event | None = None

    def on_request_completed(self, replica_id: Any, internal_request_id: str) -> None:
        """Wake whoever waits for a slot."""
        super().on_request_completed(replica_id, internal_request_id)
        if self._freed is not None:
            self._freed.set()
            self._freed = None

    async def _backoff(self, attempt: int) -> None:
        if self._freed is None:
            self._freed = asyncio.Event()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._freed.wait(), self._compute_backoff_s(attempt))


class RoundRobinRouter(_WokenRouter):
    """The next replica in turn; where it is full, the one after it."""

    def initialize_state(self, **kwargs: Any) -> None:
        """Start with the first replica."""
        super().initialize_state(**kwargs)
        self._turn = 0

    async def choose_replicas(
        self, candidate_replicas: list[Any], pending_request: Any = None
    ) -> list[list[Any]]:
        """Return the replicas in order of preference, each a rank of its own."""
        if not candidate_replicas:
            return []
        # Ray's order changes when a replica comes or goes; ours only loses or gains one
        replicas = sorted(candidate_replicas, key=lambda one: str(one.replica_id.unique_id))
        first = self._turn % len(replicas)
        self._turn += 1
        return [[one] for one in replicas[first:] + replicas[:first]]


class LeastLoadedRouter(_WokenRouter):
    """The replica with the fewest requests, as far as this handle knows."""

    async def choose_replicas(
        self, candidate_replicas: list[Any], pending_request: Any = None
    ) -> list[list[Any]]:
        """Return all replicas as one rank: Ray takes the one with the shortest queue."""
        return [list(candidate_replicas)] if candidate_replicas else []
