from __future__ import annotations

from collections.abc import Callable

import pytest

from clock import (
    NEVER,
    Clock,
    ClockError,
    CycleError,
    Rank,
    SimulatedClock,
    SimulationError,
    TimeWentBackwardsError,
)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(0)


@pytest.fixture
def log() -> list[str]:
    return []


def writer(log: list[str], text: str) -> Callable[[], None]:
    return lambda: log.append(text)


def test_a_simulated_clock_is_a_clock(clock: SimulatedClock) -> None:
    assert isinstance(clock, Clock)


def test_actions_due_together_run_by_rank_then_key_then_order_of_asking(
    clock: SimulatedClock, log: list[str]
) -> None:
    clock.call_at(5, writer(log, "timer"))
    clock.call_at(5, writer(log, "second row"), Rank.FEATURE_ROW, (0, 2))
    clock.call_at(5, writer(log, "first row"), Rank.FEATURE_ROW, (0, 1))
    clock.call_at(5, writer(log, "again"), Rank.FEATURE_ROW, (0, 1))
    clock.call_at(4, writer(log, "earlier"))
    clock.run_until(6)
    assert log == ["earlier", "first row", "again", "second row", "timer"]


def test_run_stops_before_wakeups_due_at_until(clock: SimulatedClock, log: list[str]) -> None:
    clock.call_at(5, writer(log, "data"), Rank.VENUE_DATA)
    clock.run_until(5)
    assert (log, clock.now, clock.due) == ([], 5, 5)


def test_advancing_to_a_key_runs_everything_strictly_before_it(
    clock: SimulatedClock, log: list[str]
) -> None:
    for number in (1, 2, 3):
        clock.call_at(5, writer(log, str(number)), Rank.RECEIPT, (0, number))
    clock.call_at(5, writer(log, "late"), Rank.TIMER)
    clock.advance_to(5, Rank.RECEIPT, (0, 2))
    assert log == ["1"]
    clock.advance_to(5, Rank.RECEIPT, (0, 3))
    assert log == ["1", "2"]
    clock.advance_to(5, Rank.FEATURE_ROW)
    assert log == ["1", "2", "3"]


def test_an_action_may_re_open_an_earlier_rank_of_its_instant(
    clock: SimulatedClock, log: list[str]
) -> None:
    def send_order() -> None:
        log.append(f"sent at {clock.now}")
        clock.call_later(0, writer(log, "arrived"), Rank.VENUE_ARRIVAL)

    clock.call_at(5, send_order)
    clock.call_at(5, writer(log, "next timer"))
    clock.run_until(6)
    assert log == ["sent at 5", "arrived", "next timer"]


def test_now_and_due_are_current_inside_an_action(clock: SimulatedClock) -> None:
    seen: list[tuple[int, int]] = []
    clock.call_at(5, lambda: seen.append((clock.now, clock.due)))
    clock.call_at(9, lambda: seen.append((clock.now, clock.due)))
    clock.run_until(20)
    assert seen == [(5, 9), (9, NEVER)]
    assert (clock.now, clock.due) == (20, NEVER)


def test_a_cancelled_action_does_not_run_and_may_be_cancelled_again(
    clock: SimulatedClock, log: list[str]
) -> None:
    handle = clock.call_at(5, writer(log, "cancelled"))
    kept = clock.call_at(5, writer(log, "kept"))
    handle.cancel()
    handle.cancel()
    clock.run_until(6)
    kept.cancel()
    assert log == ["kept"]


def test_scheduling_before_now_is_refused_with_both_instants(clock: SimulatedClock) -> None:
    clock.run_until(1000)
    with pytest.raises(TimeWentBackwardsError, match=r"00\.0000004Z, which is 600ns before now"):
        clock.call_at(400, lambda: None)
    with pytest.raises(TimeWentBackwardsError):
        clock.call_later(-1, lambda: None)


@pytest.mark.parametrize("move", [SimulatedClock.advance_to, SimulatedClock.set_now])
def test_the_clock_never_goes_back(
    clock: SimulatedClock, move: Callable[[SimulatedClock, int], None]
) -> None:
    clock.run_until(1000)
    with pytest.raises(TimeWentBackwardsError, match="must not go before the present"):
        move(clock, 999)
    assert clock.now == 1000


def test_set_now_refuses_to_jump_over_something_due(clock: SimulatedClock) -> None:
    clock.call_at(5, lambda: None)
    clock.set_now(5)
    with pytest.raises(ClockError, match="advance_to"):
        clock.set_now(6)


def test_an_action_cannot_advance_the_clock_that_runs_it(clock: SimulatedClock) -> None:
    clock.call_at(5, lambda: clock.run_until(7))
    with pytest.raises(ClockError, match="call_at"):
        clock.run_until(6)


def test_a_failing_action_leaves_the_clock_at_its_instant_and_the_rest_due(
    clock: SimulatedClock, log: list[str]
) -> None:
    clock.call_at(5, lambda: 1 / 0)
    clock.call_at(7, writer(log, "rest"))
    with pytest.raises(ZeroDivisionError):
        clock.run_until(10)
    assert (clock.now, clock.due) == (5, 7)
    clock.run_until(10)
    assert log == ["rest"]


def test_actions_that_keep_asking_for_now_are_a_cycle_named_in_the_error(
    clock: SimulatedClock,
) -> None:
    def ping() -> None:
        clock.call_later(0, pong, Rank.VENUE_ARRIVAL)

    def pong() -> None:
        clock.call_later(0, ping, Rank.ORDER_REPORT)

    clock.call_at(5, ping)
    with pytest.raises(CycleError, match=r"05Z?.*1001 times.*ping <- .*pong|pong <- .*ping") as e:
        clock.run_until(6)
    assert "Give one of them a latency" in str(e.value)


def test_a_chain_of_a_thousand_at_one_instant_is_no_cycle(clock: SimulatedClock) -> None:
    left = [1000]

    def again() -> None:
        if left[0]:
            left[0] -= 1
            clock.call_later(0, again)

    clock.call_at(5, again)
    clock.run_until(6)
    assert left == [0]


def test_thousands_of_unrelated_orders_answered_at_one_instant_are_no_cycle(
    clock: SimulatedClock, log: list[str]
) -> None:
    def arrive() -> None:
        clock.call_later(0, writer(log, "report"), Rank.ORDER_REPORT)

    for number in range(3000):
        clock.call_at(5, arrive, Rank.VENUE_ARRIVAL, (number,))
    clock.run_until(6)
    assert len(log) == 3000


def test_a_cycle_that_fans_out_is_found_before_memory_runs_out(
    clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clock.simulated.MAX_ACTIONS_AT_ONCE", 5000)

    def twins() -> None:
        clock.call_later(0, twins)
        clock.call_later(0, twins)

    clock.call_at(5, twins)
    with pytest.raises(CycleError, match="5001 times"):
        clock.run_until(6)


def test_clock_errors_are_simulation_errors_and_their_built_in_kin() -> None:
    assert issubclass(TimeWentBackwardsError, SimulationError)
    assert issubclass(TimeWentBackwardsError, ValueError)
    assert issubclass(CycleError, RuntimeError)


def test_ranks_are_published_in_this_order() -> None:
    assert [rank.name for rank in sorted(Rank)] == [
        "VENUE_DATA",
        "MATCHING",
        "VENUE_ARRIVAL",
        "RECEIPT",
        "DEPLOYMENT",
        "FEATURE_ROW",
        "PREDICTION",
        "ORDER_REPORT",
        "TIMER",
    ]
