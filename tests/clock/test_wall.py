from __future__ import annotations

import pytest

from clock import Clock, Rank
from clock.base import NEVER
from clock.wall import WallClock, host_ns


class Host:
    """A host whose time passes only while somebody sleeps, or by one nanosecond a read."""

    def __init__(self) -> None:
        self.time = 1000
        self.slept: list[int] = []

    def read(self) -> int:
        return self.time

    def sleep(self, duration_ns: int) -> None:
        self.slept.append(duration_ns)
        self.time += duration_ns


def wall() -> tuple[Host, WallClock]:
    host = Host()
    return host, WallClock(host.read, host.sleep)


def test_a_wall_clock_is_a_clock_that_never_goes_back() -> None:
    host, clock = wall()
    assert isinstance(clock, Clock)
    assert clock.now == 1000
    host.time = 900
    assert clock.now == 1000


def test_the_host_is_read_when_nothing_else_is_given() -> None:
    clock = WallClock()
    first = clock.now
    assert 1_600_000_000 * 10**9 < first <= clock.now
    assert host_ns() <= host_ns()


def test_run_until_sleeps_between_actions_and_leaves_what_is_due_at_until() -> None:
    host, clock = wall()
    ran: list[tuple[str, int]] = []
    clock.call_at(1500, lambda: ran.append(("timer", clock.now)))
    clock.call_at(1500, lambda: ran.append(("row", clock.now)), Rank.FEATURE_ROW)
    clock.call_later(1000, lambda: ran.append(("late", clock.now)))
    clock.run_until(2000)
    assert ran == [("row", 1500), ("timer", 1500)]
    assert (host.slept, clock.now, clock.due) == ([500, 500], 2000, 2000)


def test_an_action_asked_for_in_the_past_runs_at_once() -> None:
    _, clock = wall()
    ran: list[str] = []
    clock.call_at(10, lambda: ran.append("past"))
    assert clock.run_pending() == 1
    assert (ran, clock.due) == (["past"], NEVER)


def test_run_pending_leaves_what_its_actions_ask_for_to_the_next_call() -> None:
    _, clock = wall()
    ran: list[int] = []

    def again() -> None:
        ran.append(clock.now)
        clock.call_later(0, again)

    clock.call_at(1000, again)
    assert clock.run_pending() == 1
    assert clock.run_pending() == 1
    assert ran == [1000, 1000]


def test_a_cancelled_action_does_not_run_and_a_failing_one_loses_no_other() -> None:
    _, clock = wall()
    ran: list[str] = []

    def fail() -> None:
        clock.call_at(0, lambda: ran.append("child"))
        raise KeyError

    clock.call_at(1, lambda: ran.append("cancelled")).cancel()
    clock.call_at(2, fail)
    clock.call_at(3, lambda: ran.append("other"))
    for _ in range(3):
        try:
            clock.run_pending()
        except KeyError:
            ran.append("failed")
    assert ran == ["failed", "child", "other"]


def test_a_time_may_pass_with_the_host_s_from_another_instant_and_faster() -> None:
    host = Host()
    clock = WallClock(host.read, host.sleep, start=50_000, speed=4.0)
    host.time += 250
    assert clock.now == 51_000
    assert (clock.host_now, clock.instant_of(1100), clock.host_of(50_400)) == (1250, 50_400, 1100)
    for instant in range(50_000, 50_020):
        assert clock.instant_of(clock.host_of(instant)) >= instant
        assert clock.instant_of(clock.host_of(instant) - 1) < instant
    ran: list[int] = []
    clock.call_at(51_800, lambda: ran.append(clock.now))
    clock.run_until(52_000)
    assert (ran, host.slept) == ([51_800], [200, 50])
    clock.restart(9)
    assert (clock.now, clock.due) == (9, NEVER)


def test_instants_of_today_are_exact_at_the_host_s_own_speed() -> None:
    host = Host()
    host.time = 1_764_000_000_123_456_789
    clock = WallClock(host.read, start=1_723_161_298_000_000_001)
    host.time += 7
    assert clock.now == 1_723_161_298_000_000_008
    assert WallClock(host.read).instant_of(host.time) == host.time


@pytest.mark.parametrize("given", [{"speed": 0.0, "start": 1}, {"speed": 2.0}])
def test_a_speed_that_makes_no_sense_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="`speed` must be above 0, and 1 without a `start`"):
        WallClock(**given)  # type: ignore[arg-type]
