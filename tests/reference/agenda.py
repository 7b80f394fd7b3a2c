"""The one heap of the reference simulator."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from clock.rank import FIRST_RANK

Action = Callable[[], None]

MOST_ACTIONS = 1_000_000


class Agenda:
    """Everything still to happen, taken out by (instant, rank, key, ticket)."""

    def __init__(self) -> None:
        self.now = -(2**63)
        self._heap: list[tuple[int, int, tuple[int, ...], int, Action]] = []
        self._tickets = 0

    def add(self, instant: int, rank: int, key: tuple[int, ...], action: Action) -> None:
        """Enter an action; a lower rank of the present instant is allowed and runs next."""
        assert instant >= self.now, f"{instant} is before now ({self.now})"
        self._tickets += 1
        # The ticket keeps heapq from ever comparing two actions.
        heapq.heappush(self._heap, (instant, int(rank), key, self._tickets, action))

    def run(self, until: int, rank: int = FIRST_RANK) -> None:
        """Run everything strictly before `(until, rank)`, smallest entry first."""
        for _ in range(MOST_ACTIONS):
            if not self._heap or self._heap[0][:2] >= (until, rank):
                return
            self.now, _rank, _key, _ticket, action = heapq.heappop(self._heap)
            action()
        raise AssertionError("the scenario does not come to an end")
