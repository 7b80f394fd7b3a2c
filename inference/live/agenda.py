"""What a live client has yet to do, in the published order of time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from clock.base import NEVER
from inference.serving.layout import TURN

__all__ = ["Agenda", "Entry"]

Action = Callable[[], None]
_Item = tuple[int, int, tuple[int, int], int, "Entry"]


class Entry:
    """One thing to do; `cancel` takes it off."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        """Let it never happen."""
        self.action = None


class Agenda:
    """Actions by instant, order within the instant, and key; then by order of asking.

    The orders are those of the simulated stack (`inference/serving/layout.py`). An action may add
    one of an earlier order at its own instant: that one is next.

    >>> agenda = Agenda()
    >>> _ = agenda.add(5, 2, (0, 0), lambda: print("second"))
    >>> _ = agenda.add(5, 1, (9, 0), lambda: print("first"))
    >>> agenda.first
    (5, 1)
    >>> agenda.pop()(), agenda.pop()()
    first
    second
    (None, None)
    """

    def __init__(self) -> None:
        self._heap: list[_Item] = []
        self._ticket = 0

    def add(self, at: int, order: int, key: tuple[int, int], action: Action) -> Entry:
        """Plan an action; return what takes it off."""
        entry = Entry(action)
        self._ticket += 1
        heappush(self._heap, (at, order, key, self._ticket, entry))
        return entry

    @property
    def first(self) -> tuple[int, int]:
        """Instant and order of the next action, NEVER where there is none."""
        heap = self._heap
        while heap and heap[0][4].action is None:
            heappop(heap)
        return (heap[0][0], heap[0][1]) if heap else (int(NEVER), TURN)

    def pop(self) -> Action:
        """Take off the action that `first` told of."""
        action = heappop(self._heap)[4].action
        assert action is not None
        return action
