"""The simulated clock against a plain list that is searched for its smallest element."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from clock import NEVER, Handle, Rank, SimulatedClock, TimeWentBackwardsError

Key = tuple[int, ...]
ranks = st.integers(0, int(max(Rank)))
keys = st.lists(st.integers(0, 2), max_size=2).map(tuple)


@dataclass
class Plan:
    """What an action asks for when it runs: (delay, rank, key, plan), and whom it cancels."""

    children: list[tuple[int, int, Key, Plan]] = field(default_factory=list)
    cancels: int | None = None


plans = st.recursive(
    st.builds(Plan, cancels=st.none() | st.integers(0, 9)),
    lambda inner: st.builds(
        Plan,
        st.lists(st.tuples(st.integers(0, 3), ranks, keys, inner), max_size=3),
        st.none() | st.integers(0, 9),
    ),
    max_leaves=5,
)


@dataclass
class Entry:
    instant: int
    rank: int
    key: Key
    number: int
    plan: Plan

    @property
    def place(self) -> tuple[int, int, Key, int]:
        return self.instant, self.rank, self.key, self.number


class ClockAgainstList(RuleBasedStateMachine):
    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.clock = SimulatedClock(0)
        self.real_handles: list[Handle] = []
        self.ran: list[tuple[int, int]] = []
        self.now = 0
        self.entries: list[Entry] = []
        self.asked = 0
        self.cancelled: set[int] = set()
        self.expected: list[tuple[int, int]] = []

    def ask_clock(self, instant: int, rank: int, key: Key, plan: Plan) -> None:
        number = len(self.real_handles)

        def action() -> None:
            self.ran.append((number, self.clock.now))
            for delay, child_rank, child_key, child in plan.children:
                self.ask_clock(self.clock.now + delay, child_rank, child_key, child)
            if plan.cancels is not None and plan.cancels < len(self.real_handles):
                self.real_handles[plan.cancels].cancel()

        self.real_handles.append(self.clock.call_at(instant, action, rank, key))

    def ask_list(self, instant: int, rank: int, key: Key, plan: Plan) -> None:
        self.entries.append(Entry(instant, rank, key, self.asked, plan))
        self.asked += 1

    def advance_list(self, limit: tuple[int, int, Key]) -> None:
        while True:
            due = [e for e in self.entries if (e.instant, e.rank, e.key) < limit]
            if not due:
                break
            entry = min(due, key=lambda e: e.place)
            self.entries.remove(entry)
            if entry.number in self.cancelled:
                continue
            self.now = entry.instant
            self.expected.append((entry.number, self.now))
            for delay, rank, key, child in entry.plan.children:
                self.ask_list(self.now + delay, rank, key, child)
            if entry.plan.cancels is not None and entry.plan.cancels < self.asked:
                self.cancelled.add(entry.plan.cancels)
        self.now = limit[0]

    @rule(target=handles, delay=st.integers(0, 5), rank=ranks, key=keys, plan=plans)
    def call(self, delay: int, rank: int, key: Key, plan: Plan) -> int:
        self.ask_clock(self.now + delay, rank, key, plan)
        self.ask_list(self.now + delay, rank, key, plan)
        return self.asked - 1

    @rule(delay=st.integers(1, 5), rank=ranks, key=keys)
    def call_in_the_past(self, delay: int, rank: int, key: Key) -> None:
        with pytest.raises(TimeWentBackwardsError):
            self.clock.call_at(self.now - delay, lambda: None, rank, key)

    @rule(target=handles, number=consumes(handles), keep=st.booleans())
    def cancel(self, number: int, keep: bool) -> object:
        self.real_handles[number].cancel()
        self.cancelled.add(number)
        return number if keep else multiple()

    @rule(delay=st.integers(0, 6), rank=ranks, key=keys)
    def advance(self, delay: int, rank: int, key: Key) -> None:
        limit = (self.now + delay, rank, key)
        self.advance_list(limit)
        self.clock.advance_to(*limit)

    @rule(delay=st.integers(0, 6))
    def run_until(self, delay: int) -> None:
        self.advance_list((self.now + delay, 0, ()))
        self.clock.run_until(self.now)

    @rule(delay=st.integers(0, 6))
    def set_now(self, delay: int) -> None:
        self.now = min(self.now + delay, self.clock.due)
        self.clock.set_now(self.now)

    @rule(delay=st.integers(1, 5))
    def go_back(self, delay: int) -> None:
        with pytest.raises(TimeWentBackwardsError):
            self.clock.advance_to(self.now - delay)

    @invariant()
    def both_ran_the_same(self) -> None:
        assert self.ran == self.expected
        assert self.clock.now == self.now
        assert len(self.real_handles) == self.asked

    @invariant()
    def due_is_never_too_late(self) -> None:
        waiting = [e.instant for e in self.entries if e.number not in self.cancelled]
        first = min(waiting, default=NEVER)
        assert self.clock.due <= first
        if not self.cancelled:
            assert self.clock.due == first


TestClockAgainstList = pytest.mark.slow(ClockAgainstList.TestCase)
TestClockAgainstList.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
