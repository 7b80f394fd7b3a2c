"""Ray Serve's own batch queue, driven on a clock that only moves when everybody waits.

One second of the queue's is a tick of ours, so that every stamp is a whole number and comparisons
are exact.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest


class Batch(NamedTuple):
    """An execution: its members in order, and when it began, in ticks."""

    started_at: int
    members: tuple[int, ...]


class Arrivals(NamedTuple):
    """What is asked of a batch queue; all in ticks."""

    at: Sequence[int]
    max_batch_size: int
    wait: int
    slots: int
    durations: Callable[[int], int]
    blocking: bool


class _LeapingSelector(selectors.SelectSelector):
    """Waits by moving the clock to the end of the wait."""

    loop: _LeapingLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        assert found or timeout is not None, "everybody waits, and nothing is due"
        if not found and timeout is not None and timeout > 0:
            self.loop.present += timeout
        return found


class _LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.present = 0.0
        selector = _LeapingSelector()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 0.5  # what is due within half a tick is due now

    def time(self) -> float:
        return self.present


def rays_batches(asked: Arrivals, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Return the executions that Ray's queue makes of some arrivals."""
    import ray.serve as serve
    from ray.serve import batching

    loop = _LeapingLoop()
    monkeypatch.setattr(batching, "time", SimpleNamespace(time=loop.time))
    enough = SimpleNamespace(max_ongoing_requests=1 << 30)
    context = SimpleNamespace(_deployment_config=enough)
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_drive(loop, batching, asked))
    finally:
        loop.close()
        asyncio.set_event_loop(None)


async def _drive(loop: _LeapingLoop, batching: Any, asked: Arrivals) -> list[Batch]:
    from ray._common.signature import DUMMY_TYPE

    made: list[Batch] = []

    async def execute(numbers: list[int]) -> list[int]:
        made.append(Batch(round(loop.present), tuple(numbers)))
        duration = asked.durations(len(numbers))
        if asked.blocking:
            loop.present += duration  # nothing else of the event loop runs meanwhile
        else:
            await asyncio.sleep(duration)
        return numbers

    queue = batching._BatchQueue(asked.max_batch_size, asked.wait, asked.slots, execute)
    futures = []

    def put(number: int) -> None:
        future = loop.create_future()
        futures.append(future)
        context = SimpleNamespace(multiplexed_model_id="")
        queue.put(batching._SingleRequest(None, [DUMMY_TYPE, number], future, context, None))

    for number, instant in enumerate(asked.at):
        loop.call_at(instant, put, number)
    while len(futures) < len(asked.at):
        await asyncio.sleep(1 + max(asked.at) - loop.present)
    await asyncio.gather(*futures)
    queue._handle_batch_task.cancel()
    await asyncio.gather(queue._handle_batch_task, return_exceptions=True)
    queue._handle_batch_task = None  # or its end asks for an event loop once more
    return made
