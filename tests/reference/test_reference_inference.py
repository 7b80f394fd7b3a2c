"""The reference loop, by hand: each instant in these examples was worked out on paper."""

from __future__ import annotations

from typing import Any

from clock.rank import Rank
from tests.reference.examples import COIN, MS, first_value, quote, scenario
from tests.reference.loop import MISSING, Request
from tests.reference.scenario import Loop
from tests.reference.simulator import ReferenceTrace, simulate


def run(loop: Loop, *quotes: dict[str, Any]) -> ReferenceTrace:
    return simulate(scenario(loop), {(COIN, "quotes"): quotes}, predict=first_value)


def stamps(request: Request) -> tuple[float, ...]:
    names = ("submitted_at", "sent_at", "arrived_at", "started_at", "completed_at", "visible_at")
    return tuple(getattr(request, name) / MS for name in names)


def quotes_at(*instants: int) -> list[dict[str, Any]]:
    return [quote(at, 100 + 2 * n, 102 + 2 * n) for n, at in enumerate(instants)]


def test_the_legs_of_a_request_add_up() -> None:
    loop = Loop(
        polling="on_feature",
        network_out="3ms",
        service_time="20ms",
        network_back="4ms",
        latency="5ms",
    )
    trace = run(loop, *quotes_at(10))
    assert stamps(trace.requests[0]) == (10, 10, 13, 13, 33, 42)
    assert trace.requests[0].value == 101
    assert trace.requests[0].rank == Rank.PREDICTION
    assert [(c.event, c.now) for c in trace.calls if c.event == "prediction"] == [
        ("prediction", 42 * MS)
    ]


def test_a_busy_replica_serves_in_order_of_arrival() -> None:
    loop = Loop(polling="on_feature", service_time="20ms", max_in_flight=3)
    trace = run(loop, *quotes_at(10, 12, 14))
    assert [stamps(r)[2:] for r in trace.requests] == [
        (10, 10, 30, 30),
        (12, 30, 50, 50),
        (14, 50, 70, 70),
    ]
    assert trace.utilisation == [60 / 1000]


def test_replicas_take_turns_even_when_another_is_free() -> None:
    durations = iter((30, 1, 1))
    loop = Loop(
        polling="on_feature",
        service_time=lambda *identity: next(durations) * MS,
        num_replicas=2,
        max_in_flight=3,
    )
    trace = run(loop, *quotes_at(10, 12, 14))
    by_number = sorted(trace.requests, key=lambda r: r.number)
    assert [r.replica for r in by_number] == [0, 1, 0]
    # The second replica has been idle since 13, but the third request waits for the first.
    assert stamps(by_number[2])[2:] == (14, 40, 41, 41)
    assert [r.visible_at // MS for r in by_number] == [40, 13, 41]


def test_an_answer_for_an_older_row_is_superseded_and_wakes_nobody() -> None:
    durations = iter((30, 1))
    loop = Loop(
        polling="on_feature", service_time=lambda *identity: next(durations) * MS, num_replicas=2
    )
    trace = run(loop, *quotes_at(10, 12))
    assert [(r.number, r.superseded) for r in trace.requests] == [(1, False), (0, True)]
    assert [c.fields["number"] for c in trace.calls if c.event == "prediction"] == [1]


def test_messages_to_the_deployment_never_overtake() -> None:
    durations = iter((9, 1))
    loop = Loop(
        polling="on_feature", network_out=lambda *identity: next(durations) * MS, max_in_flight=2
    )
    trace = run(loop, *quotes_at(10, 12))
    assert [r.arrived_at // MS for r in trace.requests] == [19, 19]
    assert [r.replica for r in trace.requests] == [0, 0]


def test_answers_never_overtake_in_order_of_completion() -> None:
    durations = iter((9, 1))
    loop = Loop(
        polling="on_feature", latency=lambda *identity: next(durations) * MS, max_in_flight=2
    )
    trace = run(loop, *quotes_at(10, 12))
    assert [r.completed_at // MS for r in trace.requests] == [10, 12]
    assert [r.visible_at // MS for r in trace.requests] == [19, 19]


def test_a_waiting_request_is_replaced_by_a_newer_row() -> None:
    loop = Loop(polling="on_feature", service_time="20ms")
    trace = run(loop, *quotes_at(10, 12, 14))
    ends = [(r.number, r.outcome, r.visible_at // MS) for r in trace.requests]
    assert ends == [(1, "replaced", 14), (0, "completed", 30), (2, "completed", 50)]
    assert stamps(trace.requests[2])[:2] == (14, 30)
    assert trace.requests[0].sent_at == MISSING


def test_a_queue_sends_every_request_in_turn() -> None:
    loop = Loop(polling="on_feature", service_time="20ms", on_new="queue")
    trace = run(loop, *quotes_at(10, 12, 14))
    assert [(r.number, r.sent_at // MS, r.visible_at // MS) for r in trace.requests] == [
        (0, 10, 30),
        (1, 30, 50),
        (2, 50, 70),
    ]


def test_a_continuous_loop_asks_the_newest_row_and_waits_if_it_knows_it_already() -> None:
    loop = Loop(polling="continuous", service_time="20ms")
    trace = run(loop, *quotes_at(10, 12, 14, 60))
    # 12 is passed over at 30; at 50 there is nothing new, so 60 asks for itself.
    assert [(r.row.emitted_at // MS, r.submitted_at // MS) for r in trace.requests] == [
        (10, 10),
        (14, 30),
        (60, 60),
    ]


def test_a_free_slot_asks_after_the_rows_of_its_instant() -> None:
    loop = Loop(polling="continuous", service_time="20ms")
    trace = run(loop, *quotes_at(10, 30))
    assert [(r.row.emitted_at // MS, r.submitted_at // MS) for r in trace.requests] == [
        (10, 10),
        (30, 30),
    ]


def test_periodic_polls_start_with_the_run_and_may_repeat_a_row() -> None:
    loop = Loop(polling="every", period=400 * MS, service_time="1ms")
    trace = run(loop, *quotes_at(0, 500))
    assert [(r.row.emitted_at // MS, r.submitted_at // MS, r.repeat) for r in trace.requests] == [
        (0, 0, 0),
        (0, 400, 1),
        (500, 800, 0),
    ]
    assert trace.requests[1].identity == (0, 0, 0, 1 << 16)
    assert not any(r.superseded for r in trace.requests)


def test_an_answer_caused_by_the_turn_of_its_instant_comes_at_the_rank_of_timers() -> None:
    trace = run(Loop(polling="every", period=400 * MS), *quotes_at(0))
    assert {(r.rank, r.submitted_at == r.visible_at) for r in trace.requests} == {
        (Rank.TIMER, True)
    }
    row_asks = run(Loop(polling="on_feature"), *quotes_at(0))
    assert [(r.rank, r.visible_at) for r in row_asks.requests] == [(Rank.PREDICTION, 0)]


def test_what_is_not_answered_by_the_end_is_in_flight_with_the_stamps_it_reached() -> None:
    loop = Loop(polling="on_feature", service_time="20ms", latency="10ms", max_in_flight=2)
    trace = run(loop, *quotes_at(975, 985))
    assert [r.outcome for r in trace.requests] == ["in_flight", "in_flight"]
    assert stamps(trace.requests[0])[2:5] == (975, 975, 995)
    assert trace.requests[1].started_at == 995 * MS
    assert trace.requests[1].completed_at == trace.requests[1].visible_at == MISSING
    assert trace.utilisation == [25 / 1000]


def test_several_rows_of_one_instant_each_ask_and_carry_their_ordinal() -> None:
    loop = Loop(polling="on_feature", max_in_flight=2, service_time="1ms")
    trace = run(loop, quote(10, 100, 102, seen=20), quote(15, 104, 106, seen=20))
    assert [(r.row.tie, r.value, r.identity) for r in trace.requests] == [
        (0, 101, (0, 20 * MS, 0, 0)),
        (1, 105, (0, 20 * MS, 1, 0)),
    ]
