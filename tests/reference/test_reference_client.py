"""The reference client, by hand: deadlines, retries, cache, breaker, and the choice of a model."""

from __future__ import annotations

import math

import pytest

from clock.rank import Rank
from tests.reference.loop import InferenceLoop
from tests.reference.serving.hand import each, ends, ms, serve, stamps

ERRORS = {"kind": "error_rate", "at": 0, "for": "25ms", "replica": 0, "probability": 1.0}


def attempts(loop: InferenceLoop) -> list[tuple[object, ...]]:
    return [
        (a.request.number, a.index, a.outcome, ms(a.sent_at), ms(a.visible_at), ms(a.ended_at))
        for a in sorted(loop.attempts, key=lambda one: one.key)
    ]


# -- deadlines -------------------------------------------------------------------------------------


def test_a_request_that_timed_out_keeps_its_slot() -> None:
    loop = serve([0, 1], timeout="15ms", network={"back": "1ms"})
    # 1 is given up at 16, but served from 10 to 20 all the same; its answer comes too late.
    assert ends(loop) == [("completed", 11), ("timed_out", 16)]
    assert attempts(loop) == [(0, 0, "completed", 0, 11, 11), (1, 0, "timed_out", 1, 16, 21)]
    late = loop.attempts[-1]
    assert stamps(late, "started", "completed") == (10, 20)
    assert late.reason == "late"
    assert stamps(loop.requests[1], "started", "completed") == (10, None)


def test_an_answer_at_the_deadline_is_in_time() -> None:
    assert ends(serve([0], timeout="10ms")) == [("completed", 10)]
    assert ends(serve([0], timeout="9.999999ms")) == [("timed_out", 9.999999)]


def test_a_cancel_frees_the_slot_when_it_arrives() -> None:
    timeout = {"after": "5ms", "cancel": True}
    loop = serve([0, 1, 6], timeout=timeout, network={"out": "1ms"}, service_time="8ms")
    # 0 runs from 1; given up at 5, cancelled there at 6, when 1 starts: given up at 6, cancelled
    # at 7, just when 2 arrives; attempts go before cancels, so 2 waits for no time at all.
    assert each(loop, "arrived", "started") == [(1, 1), (2, 6), (7, 7)]
    assert [a.reason for a in loop.attempts] == ["cancelled"] * 3
    assert [ms(a.completed_at) for a in loop.attempts] == [None] * 3
    assert loop.deployments[0].inside == []


def test_a_cancelled_member_leaves_a_forming_batch_but_not_a_sealed_one() -> None:
    batching = {"kind": "ray", "max_batch_size": 4, "batch_wait_timeout": "7ms"}
    timeout = {"after": "5ms", "cancel": True}
    loop = serve([0, 3, 4], batching=batching, timeout=timeout)
    # 0 is taken out at 5; its batch keeps its timer and is sealed at 7 with 1 and 2.
    assert [(a.reason, a.batch_size) for a in sorted(loop.attempts, key=lambda a: a.key)] == [
        ("cancelled", 0),
        ("late", 2),
        ("late", 2),
    ]
    assert [ms(a.started_at) for a in sorted(loop.attempts, key=lambda a: a.key)] == [None, 7, 7]


def test_a_request_may_time_out_before_it_was_ever_sent() -> None:
    loop = serve([0, 1], timeout="8ms", max_in_flight=1)
    assert ends(loop) == [("timed_out", 8), ("timed_out", 9)]
    assert [(r.attempts, ms(r.first_sent_at)) for r in loop.requests] == [(1, 0), (1, 8)]
    waits = serve([0, 1], timeout="8ms", max_in_flight=1, service_time="8ms", on_new="queue")
    assert ends(waits) == [("completed", 8), ("timed_out", 9)]
    never = serve([0, 0, 0], timeout="4ms", max_in_flight=1, on_new="queue")
    assert [(r.attempts, r.outcome, ms(r.visible_at)) for r in never.requests] == [
        (1, "timed_out", 4),
        (0, "timed_out", 4),
        (0, "timed_out", 4),
    ]


def test_a_retry_follows_a_failure_after_a_backoff_that_grows() -> None:
    retry = {"max_attempts": 4, "backoff": "2ms", "multiplier": 3.0, "max_backoff": "5ms"}
    loop = serve([0], retry=retry, faults=[ERRORS])
    # fails at 10, again 12..22 fails at 22, then 22 + 5 (2 * 3 = 6, capped): from 27 to 37
    assert ends(loop) == [("completed", 37)]
    assert [(a[1], a[2], a[3], a[4]) for a in attempts(loop)] == [
        (0, "failed", 0, 10),
        (1, "failed", 12, 22),
        (2, "completed", 27, 37),
    ]
    assert loop.requests[0].attempts == 3
    assert stamps(loop.requests[0], "submitted", "first_sent", "sent") == (0, 0, 27)


def test_the_place_is_kept_while_a_retry_waits() -> None:
    retry = {"max_attempts": 2, "backoff": "30ms"}
    loop = serve([0, 5], retry=retry, faults=[ERRORS], max_in_flight=1)
    assert each(loop, "first_sent", "visible") == [(0, 50), (50, 60)]


def test_the_last_attempt_decides_when_no_more_are_allowed() -> None:
    loop = serve([0], retry={"max_attempts": 2, "backoff": 0}, faults=[ERRORS])
    assert ends(loop) == [("failed", 20)]
    assert loop.requests[0].reason == "error"


def test_only_the_kinds_named_are_tried_again() -> None:
    loop = serve([0], retry={"backoff": 0, "on": ["rejected"]}, faults=[ERRORS])
    assert ends(loop) == [("failed", 10)]


def test_an_attempt_is_given_up_and_another_one_sent() -> None:
    retry = {"max_attempts": 3, "backoff": "1ms", "attempt_timeout": "4ms"}
    loop = serve([0], retry=retry, num_replicas=3, replica_speeds=[1.0, 5.0])
    # replica 0 would need until 10; given up at 4; replica 1 needs 2 ms: 5 to 7
    assert attempts(loop) == [(0, 0, "timed_out", 0, 4, 10), (0, 1, "completed", 5, 7, 7)]
    assert ends(loop) == [("completed", 7)]


def test_retries_are_paid_from_a_budget() -> None:
    faults = [{**ERRORS, "for": "10s"}]
    budget = {"ratio": 0.5, "burst": 2}
    retry = {"max_attempts": 2, "backoff": "1ms", "budget": budget}
    loop = serve([0, 50, 100, 150, 200, 250], retry=retry, faults=faults)
    # 2 tokens, capped; then 1 + .5, .5 + .5 ..: a retry for the first three, then every other one
    assert [r.attempts for r in loop.requests] == [2, 2, 2, 1, 2, 1]


def test_jitter_spreads_the_backoff_evenly_around_it() -> None:
    retry = {"max_attempts": 2, "backoff": "10ms", "jitter": 0.5}
    faults = [{**ERRORS, "for": "1000s"}]
    loop = serve(range(0, 40_000, 100), retry=retry, faults=faults)
    waits = [r.tries[1].sent_at - r.tries[0].visible_at for r in loop.requests]
    assert 5e6 <= min(waits) < 5.2e6
    assert 14.8e6 < max(waits) <= 15e6
    assert sum(waits) / len(waits) == pytest.approx(10e6, rel=0.05)


def test_a_retry_that_leaves_with_a_turn_is_answered_at_the_rank_of_timers() -> None:
    faults = [{**ERRORS, "for": "1ns"}]
    loop = serve([0], retry={"backoff": 0, "max_attempts": 3}, service_time=0, faults=faults)
    assert [(r.attempts, r.outcome, r.rank) for r in loop.requests] == [(3, "failed", Rank.TIMER)]
    assert ends(loop) == [("failed", 0)]


# -- the cache -------------------------------------------------------------------------------------


def test_the_same_cell_is_answered_from_the_cache_while_it_is_fresh() -> None:
    cache = {"step": 0.5, "ttl": "30ms", "hit_latency": "1ms"}
    loop = serve([0, 20, 39.5, 40, 60], values=[1.0, 1.2, 0.8, 0.9, 2.0], cache=cache)
    # written at 10 with the value of request 0: hits at 20 and 39.5; at 40 it is 30 ms old
    assert [(r.source, r.value, r.attempts) for r in loop.requests] == [
        (-1, 1.0, 1),
        (0, 1.0, 0),
        (0, 1.0, 0),
        (-1, 0.9, 1),
        (-1, 2.0, 1),
    ]
    assert each(loop, "visible") == [10, 21, 40.5, 50, 70]
    assert stamps(loop.requests[1], "sent", "completed") == (None, None)


def test_the_least_recently_used_answer_makes_room() -> None:
    cache = {"ttl": "10s", "max_entries": 2}
    loop = serve(range(0, 140, 20), values=[1, 2, 1, 3, 1, 2, 3], cache=cache)
    # 1 is used again before 3 comes, so 2 goes; then 2 pushes 3 out
    assert [r.source for r in loop.requests] == [-1, -1, 0, -1, 0, -1, -1]


def test_answers_are_kept_for_each_instrument() -> None:
    loop = serve([0, 20, 40], values=[1, 1, 1], instruments=[0, 1, 0], cache={"ttl": "1s"})
    assert [r.source for r in loop.requests] == [-1, -1, 0]


def test_a_hit_takes_no_place() -> None:
    loop = serve([0, 20, 25], values=[1, 2, 1], max_in_flight=1, cache={"ttl": "1s"})
    assert ends(loop) == [("completed", 10), ("completed", 30), ("completed", 25)]
    assert [r.superseded for r in loop.requests] == [False, True, False]


# -- the circuit breaker ---------------------------------------------------------------------------

BREAKER = {"failure_threshold": 2, "open_for": "30ms"}


def test_a_breaker_opens_probes_and_closes() -> None:
    loop = serve([0, 10, 21, 40, 51, 55, 70], circuit_breaker=BREAKER, faults=[ERRORS])
    # Failures at 10 and 20 open it until 50. 51 probes; 55 meets a half-open breaker whose only
    # probe is out; it answers at 61 and closes it.
    assert [(r.outcome, r.reason) for r in loop.requests] == [
        ("failed", "error"),
        ("failed", "error"),
        ("rejected", "breaker_open"),
        ("rejected", "breaker_open"),
        ("completed", "none"),
        ("rejected", "breaker_open"),
        ("completed", "none"),
    ]
    assert each(loop, "visible") == [10, 20, 21, 40, 61, 55, 80]
    assert [r.attempts for r in loop.requests] == [1, 1, 0, 0, 1, 0, 1]


def test_a_probe_that_fails_opens_it_anew() -> None:
    faults = [{**ERRORS, "for": "60ms"}]
    loop = serve([0, 10, 51, 80, 92], circuit_breaker=BREAKER, faults=faults)
    # opened at 20; the probe at 51 fails at 61: open until 91
    assert [r.outcome for r in loop.requests] == [
        "failed",
        "failed",
        "failed",
        "rejected",
        "completed",
    ]


def test_what_left_before_it_opened_does_not_count_after() -> None:
    breaker = {**BREAKER, "failure_threshold": 1, "open_for": "5ms"}
    faults = [{**ERRORS, "for": "1ms"}]
    loop = serve([0, 0.5, 16], circuit_breaker=breaker, faults=faults, num_replicas=3)
    # 0 fails at 10: open until 15. The failure of 0.5 on another replica would come from a state
    # that is over; the probe of 16 succeeds.
    assert loop.breakers[0] is not None
    assert loop.breakers[0].state == "closed"
    assert [r.outcome for r in loop.requests] == ["failed", "completed", "completed"]


def test_a_rate_opens_it_once_enough_outcomes_are_known() -> None:
    breaker = {"failure_rate": 0.5, "window": 4, "min_requests": 3, "open_for": "10s"}
    loop = serve([0, 10, 30, 40, 50], circuit_breaker=breaker, faults=[{**ERRORS, "for": "5ms"}])
    # F at 10: 1 of 1 but too few; S at 20, S at 40: 1 of 3
    assert [r.outcome for r in loop.requests] == ["failed", *["completed"] * 4]
    faults = [{**ERRORS, "for": "15ms"}]
    loop = serve([0, 10, 30, 41], circuit_breaker=breaker, faults=faults)
    assert [r.outcome for r in loop.requests] == ["failed", "failed", "completed", "rejected"]


def test_an_answer_that_is_not_a_number_may_count_as_a_failure() -> None:
    breaker = {**BREAKER, "failure_threshold": 1, "counts": ["nan"]}
    loop = serve([0, 20], circuit_breaker=breaker, predict=lambda row: math.nan)
    assert [r.outcome for r in loop.requests] == ["completed", "rejected"]


def test_while_it_is_open_the_last_value_or_a_constant_answers() -> None:
    faults = [{**ERRORS, "at": "15ms", "for": "30ms"}]
    breaker = {"failure_threshold": 1, "open_for": "1s", "fallback": "last_value"}
    asked, instruments = [0, 20, 40, 41], [0, 0, 0, 1]
    loop = serve(asked, instruments=instruments, circuit_breaker=breaker, faults=faults)
    assert [(r.outcome, r.value, r.source, r.fallback) for r in loop.requests[2:]] == [
        ("completed", 0.0, 0, True),
        ("rejected", pytest.approx(math.nan, nan_ok=True), -1, False),
    ]
    constant = {**breaker, "fallback": {"constant": 7.5}}
    loop = serve(asked, circuit_breaker=constant, faults=faults)
    assert [r.value for r in loop.requests[2:]] == [7.5, 7.5]
    assert each(loop, "visible")[2:] == [40, 41]


# -- several models --------------------------------------------------------------------------------

BIG = {"service_time": "20ms", "accuracy": 0.9, "expected_latency": "10ms"}
SMALL = {"service_time": "2ms", "accuracy": 0.5, "expected_latency": "3ms"}
MODELS = {"big": lambda row: 100.0, "small": lambda row: 1.0}


def test_another_model_answers_for_one_whose_breaker_is_open() -> None:
    breaker = {"failure_threshold": 1, "open_for": "1s", "fallback": {"variant": "small"}}
    variants = {"big": {**BIG, "share": 1.0, "circuit_breaker": breaker, "faults": [ERRORS]}}
    variants["small"] = {**SMALL, "share": 0.0}
    loop = serve([0, 30], predict=MODELS, variants=variants, routing="split")
    assert [(r.variant, r.value, r.fallback) for r in loop.requests] == [
        (0, pytest.approx(math.nan, nan_ok=True), False),
        (1, 1.0, True),
    ]


def test_the_most_accurate_model_within_the_budget_answers() -> None:
    routing = {"kind": "latency_budget", "budget": "10ms"}
    variants = {"big": BIG, "small": SMALL}
    loop = serve([0, 30, 60], predict=MODELS, variants=variants, routing=routing)
    # 10 ms are expected of the big one; its first answer takes 20: 10 + (20 - 10) / 8 = 11.25
    assert [(r.variant, r.value) for r in loop.requests] == [(0, 100.0), (1, 1.0), (1, 1.0)]
    assert loop.chooser.estimates == [11_250_000, 2_765_625]


def test_every_so_often_the_most_accurate_is_tried_again() -> None:
    routing = {"kind": "latency_budget", "budget": "9ms", "explore_every": 3}
    loop = serve(
        range(0, 300, 50), predict=MODELS, variants={"big": BIG, "small": SMALL}, routing=routing
    )
    assert [r.variant for r in loop.requests] == [1, 1, 0, 1, 1, 0]


def test_where_no_model_fits_the_fastest_answers_or_nobody() -> None:
    variants = {"big": BIG, "small": SMALL}
    routing = {"kind": "latency_budget", "budget": "1ms"}
    loop = serve([0], predict=MODELS, variants=variants, routing=routing)
    assert [(r.variant, r.outcome) for r in loop.requests] == [(1, "completed")]
    routing["otherwise"] = "reject"
    loop = serve([0], predict=MODELS, variants=variants, routing=routing)
    assert [(r.variant, r.outcome, r.reason, ms(r.visible_at)) for r in loop.requests] == [
        (-1, "rejected", "no_variant", 0)
    ]


def test_a_split_gives_each_model_its_share() -> None:
    variants = {"big": {**BIG, "share": 0.25}, "small": {**SMALL, "share": 0.75}}
    loop = serve(range(0, 50_000, 25), predict=MODELS, variants=variants, routing="split")
    share = sum(r.variant == 0 for r in loop.requests) / len(loop.requests)
    assert share == pytest.approx(0.25, abs=0.03)
