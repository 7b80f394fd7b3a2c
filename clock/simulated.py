"""A clock that jumps from one due action to the next."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Protocol

from clock.base import NEVER, Action, Handle, Key
from clock.errors import ClockError, CycleError, TimeWentBackwardsError
from clock.rank import FIRST_RANK, Rank
from clock.units import format_duration, format_instant

MAX_REOPENINGS = 1000
"""How often actions may in turn re-open one instant before it counts as a cycle."""

MAX_ACTIONS_AT_ONCE = 1_000_000
"""How many actions may re-open one instant in all: cycles that fan out never get deep."""

_NAMED_IN_CYCLE = 5


class Lane(Protocol):
    """An agenda of its own beside the clock's, for things that come in great numbers.

    Attributes:
        due: Instant of its next entry.
        rank: Rank of that.
    """

    due: int
    rank: int

    def run_before(self, instant: int, rank: int) -> None:
        """Run some or all of what is due before `(instant, rank)`, and move `due` accordingly."""


class SimulatedClock:
    """The present of a run: it moves when told to, and runs what is due on the way.

    Things due at one instant run by rank, then key, then order of asking. Instants never go back,
    but a rank may re-open: an action that asks for an earlier rank of its own instant is answered
    at once.

    >>> clock = SimulatedClock(0)
    >>> _ = clock.call_at(5, lambda: print("timer", clock.now))
    >>> _ = clock.call_at(5, lambda: print("data", clock.now), Rank.RECEIPT)
    >>> clock.run_until(5)  # what is due at 5 belongs to the next window
    >>> clock.run_until(6)
    data 5
    timer 5
    """

    __slots__ = (
        "_heap",
        "_lane",
        "_now",
        "_reopened",
        "_reopened_at",
        "_running",
        "_ticket",
        "due",
    )

    def __init__(self, start: int) -> None:
        self._now = start
        self._heap: list[tuple[int, int, Key, int, Handle]] = []
        self._ticket = 0
        self._running: Handle | None = None
        self._reopened = 0
        self._reopened_at = start
        self._lane: Lane | None = None
        self.due = NEVER
        """Instant of the earliest entry, or `NEVER`; a cancelled entry may make it too early."""

    @property
    def now(self) -> int:
        """The present instant."""
        return self._now

    def call_at(
        self, instant: int, action: Action, rank: int = Rank.TIMER, key: Key = ()
    ) -> Handle:
        """Run an action at an instant, which may be the present one.

        Args:
            instant: When to run it.
            action: Called without arguments.
            rank: Its place among the things due then.
            key: Its place within the rank, fixed by the entity it is about.

        Returns:
            A handle that cancels it.

        Raises:
            TimeWentBackwardsError: If the instant lies before `now`.
        """
        now = self._now
        if instant > now:
            handle = Handle(action)
        elif instant < now:
            raise TimeWentBackwardsError(self._before_now("an action must not be due", instant))
        else:
            parent = self._running
            handle = Handle(action, 0 if parent is None else parent._depth + 1, parent)
        self._ticket = ticket = self._ticket + 1
        heappush(self._heap, (instant, rank, key, ticket, handle))
        if instant < self.due:
            self.due = instant
        return handle

    def call_later(
        self, delay_ns: int, action: Action, rank: int = Rank.TIMER, key: Key = ()
    ) -> Handle:
        """Run an action after a delay from now; zero means later within the present instant."""
        return self.call_at(self._now + delay_ns, action, rank, key)

    def advance_to(self, instant: int, rank: int = FIRST_RANK, key: Key = ()) -> None:
        """Run everything strictly before `(instant, rank, key)`, then make *instant* the present.

        An exception of an action ends the advance: the clock stays at that action's instant, and
        what was not run is still due.

        Raises:
            TimeWentBackwardsError: If the instant lies before `now`.
            CycleError: If actions keep re-opening one instant.
            ClockError: If called by an action.
        """
        if instant < self._now:
            raise TimeWentBackwardsError(self._before_now("the clock must not go", instant))
        if self._running is not None:
            raise ClockError("an action must not advance the clock that runs it. Use `call_at`.")
        if self.due <= instant:
            try:
                if self._lane is None:
                    self._run_before((instant, rank, key))
                else:
                    self._run_beside(self._lane, (instant, rank, key))
            finally:
                self._running = None
        self._now = instant

    def run_until(self, until: int) -> None:
        """Run everything due before *until*; what is due at *until* belongs to the next window."""
        self.advance_to(until)

    def set_now(self, instant: int) -> None:
        """Move the present without looking at the agenda: for a loop that compared `due` itself.

        Raises:
            TimeWentBackwardsError: If the instant lies before `now`.
            ClockError: If it would jump over something due.
        """
        if instant < self._now:
            raise TimeWentBackwardsError(self._before_now("the clock must not go", instant))
        if instant > self.due:
            raise ClockError(
                f"the clock must not jump over what is due at {format_instant(self.due)}: got "
                f"{format_instant(instant)}. Use `advance_to`."
            )
        self._now = instant

    def join(self, lane: Lane | None) -> None:
        """Let a lane keep an agenda of its own beside that of the clock; None lets it go."""
        self._lane = lane

    def _run_before(self, limit: tuple[int, int, Key]) -> None:
        heap = self._heap
        # An entry has two fields more than the limit, so that an equal one compares as later.
        while heap and heap[0] < limit:
            self._run_first()

    def _run_first(self) -> None:
        heap = self._heap
        entry = heappop(heap)
        self.due = heap[0][0] if heap else NEVER
        handle = entry[4]
        action = handle._action
        if action is None:
            return
        self._now = entry[0]
        if handle._depth:
            self._count_reopening(handle)
        self._running = handle
        action()

    def _run_beside(self, lane: Lane, limit: tuple[int, int, Key]) -> None:
        """Run what is due here and in a lane, in their common order."""
        heap = self._heap
        while self._lane is lane:
            turn = (lane.due, lane.rank)
            first = heap[0] if heap else None
            if turn < limit[:2] and (first is None or turn < first[:2]):
                instant, rank = limit[:2] if first is None or limit < first else first[:2]
                self._running = None
                lane.run_before(instant, rank)
            elif first is not None and first < limit:
                self._run_first()
            else:
                break
        else:  # it has handed over to the agenda
            self._run_before(limit)
            return
        self.due = min(heap[0][0] if heap else NEVER, lane.due)

    def _count_reopening(self, handle: Handle) -> None:
        if self._reopened_at != self._now:
            self._reopened_at = self._now
            self._reopened = 0
        self._reopened += 1
        if handle._depth > MAX_REOPENINGS or self._reopened > MAX_ACTIONS_AT_ONCE:
            raise CycleError(
                f"time stands still at {format_instant(self._now)}: actions re-opened this instant "
                f"{max(handle._depth, self._reopened)} times, in the end "
                f"{' <- '.join(_names_of_chain(handle))}. Give one of them a latency."
            )

    def _before_now(self, what: str, instant: int) -> str:
        return (
            f"{what} before the present: got {format_instant(instant)}, which is "
            f"{format_duration(self._now - instant)} before now ({format_instant(self._now)})."
        )


def _names_of_chain(handle: Handle) -> list[str]:
    """Return the last few distinct actions that led to an entry, newest first."""
    names: list[str] = []
    link: Handle | None = handle
    while link is not None and len(names) < _NAMED_IN_CYCLE:
        action = link._action
        if action is not None:  # an action may cancel its own handle while it runs
            name = str(getattr(action, "__qualname__", None) or repr(action))
            if name not in names:
                names.append(name)
        link = link._parent
    return names
