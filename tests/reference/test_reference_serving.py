"""The reference deployment, by hand: queues, routers, batches, replicas that come and go."""

from __future__ import annotations

import pytest

from tests.reference.agenda import Agenda
from tests.reference.examples import MS
from tests.reference.loop import InferenceLoop
from tests.reference.serving.hand import each, ends, serve, stamps

# -- replicas and queues ---------------------------------------------------------------------------


def test_a_replica_serves_as_many_at_once_as_it_may_and_queues_the_others() -> None:
    loop = serve([0, 1, 2], max_ongoing_requests=2)
    assert each(loop, "routed", "started", "visible") == [(0, 0, 10), (1, 1, 11), (2, 10, 20)]


def test_a_full_queue_refuses_and_the_refusal_travels_back() -> None:
    loop = serve([0, 1, 2, 3], max_queued_requests=2, network={"out": "2ms", "back": "3ms"})
    # 0 is served from 2 to 12; 1 and 2 wait, so 3 finds two waiting on arrival at 5.
    assert ends(loop) == [("completed", 15), ("completed", 25), ("completed", 35), ("rejected", 8)]
    refused = loop.requests[3]
    assert stamps(refused, "arrived", "routed", "started", "completed") == (5, None, None, 5)
    assert (refused.reason, refused.replica, refused.attempts) == ("queue_full", -1, 1)


def test_a_slower_replica_takes_longer() -> None:
    loop = serve([0, 0, 50], num_replicas=2, replica_speeds=[1.0, 0.4])
    assert each(loop, "completed") == [10, 25, 60]


def test_the_first_executions_after_a_start_are_slow() -> None:
    loop = serve([0, 100, 200], warm_up={"requests": 2, "factor": 1.5})
    assert each(loop, "completed") == [15, 115, 210]


@pytest.mark.parametrize(
    ("model", "ends_at"),
    [
        ({"kind": "affine", "base": "4ms", "per_item": "2ms"}, 10),
        ({"kind": "table", "sizes": {1: "4ms", 2: "5ms", 4: "8ms"}}, 6.5),
    ],
)
def test_service_time_may_depend_on_the_size_of_the_batch(model: object, ends_at: float) -> None:
    batching = {"kind": "triton", "max_batch_size": 3, "max_queue_delay": "1s"}
    loop = serve([0, 0, 0], service_time=model, batching=batching)
    assert each(loop, "completed") == [ends_at] * 3
    assert {request.batch_size for request in loop.requests} == {3}


def test_newest_first_lets_the_last_arrival_overtake() -> None:
    loop = serve([0, 1, 2, 3], queue="newest_first")
    assert each(loop, "started") == [0, 30, 20, 10]


def test_a_smaller_priority_goes_first_and_the_unnamed_have_none() -> None:
    queue = {"discipline": "priority", "priorities": {"TOKEN": 1, "COIN": -1}}
    loop = serve([0, 1, 2, 3], instruments=[0, 1, 0, 0], queue=queue)
    assert each(loop, "started") == [0, 30, 10, 20]
    router = "least_loaded"
    assert each(serve([0, 1, 2], instruments=[0, 1, 0], queue=queue, router=router), "started") == [
        0,
        20,
        10,
    ]


# -- routers ---------------------------------------------------------------------------------------


def test_round_robin_takes_turns_even_when_another_is_free() -> None:
    loop = serve([0, 1, 11], num_replicas=2, replica_speeds=[0.5, 1.0])
    assert [r.replica for r in loop.requests] == [0, 1, 0]
    assert each(loop, "routed", "started") == [(0, 0), (1, 1), (11, 20)]


def test_least_loaded_never_lets_one_wait_while_a_replica_is_free() -> None:
    loop = serve([0, 1, 2], num_replicas=2, replica_speeds=[0.5, 1.0], router="least_loaded")
    assert [r.replica for r in loop.requests] == [0, 1, 1]
    assert each(loop, "arrived", "routed", "started") == [(0, 0, 0), (1, 1, 1), (2, 11, 11)]


def test_least_loaded_spreads_before_it_stacks() -> None:
    loop = serve([0, 0, 0, 0], num_replicas=2, max_ongoing_requests=3, router="least_loaded")
    assert [r.replica for r in loop.requests] == [0, 1, 0, 1]


def test_power_of_two_backs_off_and_nothing_wakes_it() -> None:
    loop = serve([0, 2, 12], router="power_of_two")
    # 1 probes at 2 and, at once, again: full. It sleeps to 27, though the slot was free at 10.
    # 2 comes at 12, sees the decremented cache (0), and gives the place to the oldest: to 1.
    # Then 1's routing is over, and 2 tries at once: full, as 1 has just been placed; it fails
    # (probe: 1), sleeps 25 ms, and is placed at 37.
    assert each(loop, "arrived", "routed", "completed") == [(0, 0, 10), (2, 12, 22), (12, 37, 47)]


def test_power_of_two_alone_waits_for_its_own_sleep_to_end() -> None:
    loop = serve([0, 2], router="power_of_two")
    assert each(loop, "routed") == [0, 27]
    # after 25 ms the replica is still busy, so the next sleep is 50 ms, then 100, 200, 400, 500
    loop = serve([0, 2], router="power_of_two", service_time="1000ms")
    assert each(loop, "routed") == [0, 2 + 25 + 50 + 100 + 200 + 400 + 500]


def test_power_of_two_spends_hops_on_probes_placing_and_nothing_else() -> None:
    router = {"kind": "power_of_two", "hop_latency": "1ms"}
    loop = serve([0, 40], router=router)
    # empty cache: probe out, reply, placement; then the cache knows 0 after the completion notice
    assert each(loop, "arrived", "routed", "started", "visible") == [
        (0, 3, 3, 13),
        (40, 41, 41, 51),
    ]


def test_a_replica_that_is_full_by_then_refuses_and_the_request_goes_back_in_line() -> None:
    router = {"kind": "power_of_two", "hop_latency": "1ms"}
    loop = serve([0, 0.5], router=router)
    # Both probe an idle replica and hear 0; it takes 0 at 3 and refuses 1 at 3.5. The verdict
    # comes at 4.5 with 1 ongoing; two more probes (6.5, 8.5) hear 1; it sleeps till 33.5,
    # when the completion at 13 is known: placed at 34.5.
    assert each(loop, "routed") == [3, 34.5]
    assert [len(loop.requests[n].tries) for n in (0, 1)] == [1, 1]
    assert loop.requests[1].tries[0].placements == 2


def test_power_of_two_takes_the_shorter_of_two() -> None:
    loop = serve([0, 0, 0, 0], num_replicas=2, max_ongoing_requests=4, router="power_of_two")
    assert sorted(r.replica for r in loop.requests) == [0, 0, 1, 1]


# -- batching --------------------------------------------------------------------------------------

RAY = {"kind": "ray", "max_batch_size": 3, "batch_wait_timeout": "4ms"}


def test_a_full_batch_leaves_without_waiting() -> None:
    loop = serve([0, 1, 2, 3], batching=RAY, max_ongoing_requests=9)
    assert each(loop, "batched", "started", "completed") == [
        (0, 2, 12),
        (1, 2, 12),
        (2, 2, 12),
        (3, 12, 22),  # sealed at 7, but the only slot is taken until 12
    ]
    assert [r.batch_size for r in loop.requests] == [3, 3, 3, 1]
    assert [r.execution >> 16 for r in loop.requests] == [0, 0, 0, 3]


def test_a_batch_is_sealed_a_wait_after_its_first_item() -> None:
    loop = serve([0, 3, 4], batching=RAY, max_ongoing_requests=9)
    # the timer at 4 goes before the arrival of that instant
    assert each(loop, "started", "completed") == [(4, 14), (4, 14), (14, 24)]


def test_batches_may_run_side_by_side() -> None:
    batching = {**RAY, "max_concurrent_batches": 2}
    loop = serve([0, 5, 6], batching=batching, max_ongoing_requests=9)
    assert each(loop, "started", "completed") == [(4, 14), (9, 19), (9, 19)]


def test_by_default_a_replica_accepts_what_its_batches_hold() -> None:
    loop = serve([0, 0, 0, 1], batching=RAY)
    # three are ongoing, so the fourth joins no batch until they are done
    assert each(loop, "routed", "batched", "started") == [(0, 0, 0)] * 3 + [(1, 10, 14)]


def test_while_a_blocking_batch_runs_no_other_forms() -> None:
    batching = {**RAY, "function": "blocking"}
    loop = serve([0, 5, 6], batching=batching, max_ongoing_requests=9)
    # [0] is sealed at 4 and blocks to 14; then 1 and 2 are collected, and wait from there
    assert each(loop, "batched", "started", "completed") == [(0, 4, 14), (14, 18, 28), (14, 18, 28)]


def test_a_blocking_collector_has_one_item_in_hand() -> None:
    batching = {**RAY, "function": "blocking"}
    loop = serve([0, 1, 2, 2, 2, 8], batching=batching, max_ongoing_requests=9)
    # 0, 1, 2 run from 2 to 12. At 12 it collects 3, 4 and 5: full, so they run at once.
    assert each(loop, "batched", "started") == [
        (0, 2),
        (1, 2),
        (2, 2),
        (12, 12),
        (12, 12),
        (12, 12),
    ]
    late = serve([0, 1, 2, 2, 2, 2, 2, 13], batching=batching, max_ongoing_requests=9)
    # At 12 it seals 3, 4, 5 with 6 in hand, whose wait is over at 16. It blocks until 22, wakes
    # before it notices 7, and seals 6 alone; 7 is in hand when that starts.
    assert each(late, "batched", "started")[5:] == [(12, 12), (12, 22), (22, 32)]


def test_a_blocking_collector_whose_hand_was_empty_notices_all_that_came() -> None:
    batching = {**RAY, "function": "blocking"}
    loop = serve([0, 1, 2, 3, 4, 13, 14], batching=batching, max_ongoing_requests=9)
    # At 12 it notices 3 and 4 and waits; 5 fills the batch at 13; 6 is noticed at 23.
    assert each(loop, "batched", "started")[3:] == [(12, 13), (12, 13), (13, 13), (23, 27)]


TRITON = {"kind": "triton", "max_batch_size": 4}


def test_a_free_instance_takes_what_waits() -> None:
    loop = serve([0, 1, 2, 3, 4, 5], batching=TRITON, max_ongoing_requests=9)
    assert each(loop, "started") == [0, 10, 10, 10, 10, 20]
    assert [r.batch_size for r in loop.requests] == [1, 4, 4, 4, 4, 1]


def test_a_preferred_size_goes_at_once_and_the_rest_waits() -> None:
    batching = {**TRITON, "preferred_batch_sizes": [2], "max_queue_delay": "30ms", "instances": 2}
    loop = serve([0, 1, 2], batching=batching)
    assert each(loop, "started") == [1, 1, 32]


def test_the_oldest_waits_no_longer_than_the_queue_delay() -> None:
    loop = serve([0, 5, 7], batching={**TRITON, "max_queue_delay": "6ms"})
    assert each(loop, "routed", "batched", "started") == [(0, 6, 6), (5, 6, 6), (7, 16, 16)]


def test_a_blocked_instance_lets_them_gather_up_to_the_maximum() -> None:
    loop = serve([0, 1, 2, 3], batching={**TRITON, "max_batch_size": 2}, max_ongoing_requests=9)
    assert each(loop, "started") == [0, 10, 10, 20]


# -- faults ----------------------------------------------------------------------------------------


def test_a_crash_fails_all_that_the_replica_had_and_it_comes_back() -> None:
    crash = {"kind": "crash", "at": "5ms", "replica": 0, "restart": "20ms"}
    loop = serve([0, 1, 6, 30], faults=[crash], cold_start="3ms", network={"back": "1ms"})
    assert ends(loop) == [("failed", 6), ("failed", 6), ("completed", 39), ("completed", 49)]
    assert [r.reason for r in loop.requests] == ["crashed", "crashed", "none", "none"]
    assert each(loop, "routed", "started")[2:] == [(28, 28), (30, 38)]
    assert each(loop, "started", "completed")[:2] == [(0, 5), (None, 5)]


def test_round_robin_passes_over_a_replica_that_is_down() -> None:
    crash = {"kind": "crash", "at": "5ms", "replica": 1, "restart": "1s"}
    loop = serve([10, 11, 12], num_replicas=3, faults=[crash])
    assert [r.replica for r in loop.requests] == [0, 2, 0]


def test_a_slow_replica_is_slow_for_what_starts_meanwhile() -> None:
    slow = {"kind": "slow", "at": "15ms", "for": "10ms", "replica": 0, "factor": 3}
    assert each(serve([0, 14, 30, 50], faults=[slow]), "completed") == [10, 24, 40, 60]
    assert each(serve([0, 15, 25], faults=[slow]), "completed") == [10, 45, 55]


def test_a_failing_replica_fails_after_the_whole_service_time() -> None:
    error = {"kind": "error_rate", "at": "5ms", "for": "10ms", "replica": 0, "probability": 1.0}
    loop = serve([0, 10, 20], faults=[error])
    assert ends(loop) == [("completed", 10), ("failed", 20), ("completed", 30)]
    assert loop.requests[1].reason == "error"


def test_one_batch_is_stuck_and_the_next_is_not() -> None:
    stuck = {"kind": "stuck_batch", "at": "5ms", "for": "100ms", "replica": 0}
    assert each(serve([0, 10, 20], faults=[stuck]), "completed") == [10, 120, 130]
    assert each(serve([0, 105], faults=[stuck]), "completed") == [10, 115]


def test_a_lost_reply_is_never_seen_but_the_replica_is_free() -> None:
    lost = {"kind": "lost_reply", "at": "5ms", "for": "10ms"}
    loop = serve([0, 12], faults=[lost])
    assert ends(loop) == [("in_flight", None), ("completed", 22)]
    assert stamps(loop.requests[0], "completed") == (10,)


def test_what_would_arrive_in_a_pause_arrives_at_its_end_both_ways() -> None:
    pause = {"kind": "network_pause", "at": ["5ms", "20ms"], "for": "10ms"}
    loop = serve([0, 6, 40], faults=[pause], network={"out": "1ms", "back": "2ms"})
    # 0 is served from 1 to 11, and its answer, due at 13, comes at 15; 1 arrives at 15, is done
    # at 25, and its answer waits for 30.
    assert each(loop, "arrived", "completed", "visible") == [
        (1, 11, 15),
        (15, 25, 30),
        (41, 51, 53),
    ]


def test_drawn_faults_come_at_random_instants_and_hit_any_ready_replica() -> None:
    crash = {"kind": "crash", "every": "200ms", "restart": "50ms"}
    loop = serve(range(0, 20_000, 10), num_replicas=2, faults=[crash], max_ongoing_requests=100)
    failed = [request for request in loop.requests if request.outcome == "failed"]
    instants = {stamps(request, "completed")[0] for request in failed}
    assert {request.replica for request in failed} == {0, 1}
    assert 40 <= len(instants) <= 160


# -- the autoscaler --------------------------------------------------------------------------------

SCALING = {
    "min_replicas": 1,
    "max_replicas": 3,
    "target_ongoing_requests": 1,
    "look_back_period": "100ms",
    "upscale_delay": "20ms",
    "downscale_delay": "40ms",
    "metrics_interval": "10ms",
    "record_interval": "10ms",
    "control_interval": "10ms",
}


def test_replicas_are_added_after_the_delay_and_a_cold_start() -> None:
    loop = serve(
        [0] * 6, service_time="100ms", autoscaling_config=SCALING, cold_start="15ms", until=60
    )
    # Samples 0, 6, 6, ... at 0, 10, 20, ...; the newest counts for 1 ms. Means: 6/11 at 10, which
    # one replica is right for; 66/21 at 20, so 4 are wanted, and again at 30; at 40 that has lasted
    # 20 ms: 186/41 wants 5, and 3 are the most. They are ready at 55.
    scaler = loop.deployments[0].autoscaler
    assert scaler is not None
    assert [(at / MS, target) for at, target in scaler.decisions] == [(40, 3)]
    assert [r.state for r in loop.deployments[0].replicas] == ["ready"] * 3


def test_a_replica_too_many_finishes_its_work_and_gets_no_more() -> None:
    scaling = {**SCALING, "initial_replicas": 2, "downscale_delay": "20ms"}
    states = []

    def watch(loop: InferenceLoop, agenda: Agenda) -> None:
        replicas = loop.deployments[0].replicas
        for at in (65, 77):
            agenda.add(at * MS, 8, (9,), lambda: states.append(replicas[1].state))

    loop = serve(
        [0, 1, 50, 51, 61], service_time="25ms", autoscaling_config=scaling, until=95, watch=watch
    )
    # Samples 0 2 2 0 0 0 2: means 22/21 at 20, 40/31 at 30 ask for 2; 40/41 at 40 asks for 1, and
    # still does at 60: replica 1 drains, is done with request 3 at 76, and request 4 passes it by.
    scaler = loop.deployments[0].autoscaler
    assert scaler is not None
    assert [(at / MS, target) for at, target in scaler.decisions] == [(60, 1)]
    assert states == ["draining", "stopped"]
    assert [(r.replica, *stamps(r, "started")) for r in loop.requests] == [
        (0, 0),
        (1, 1),
        (0, 50),
        (1, 51),
        (0, 75),
    ]


def test_from_zero_the_first_arrival_starts_a_replica_at_the_next_tick() -> None:
    scaling = {**SCALING, "min_replicas": 0, "initial_replicas": 0}
    loop = serve([13], autoscaling_config=scaling, cold_start="5ms", until=60)
    # pushed at once: 0 from 0, 1 from 13 on; the mean at 20 is above 0: one replica, ready at 25
    assert each(loop, "arrived", "routed", "completed") == [(13, 25, 35)]
