"""Load generators on a clock that moves by hand."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import ModelFailedError
from inference.measure import drive
from inference.measure.loads import Arrivals
from tests.inference.measure.hand import MS, HandBackend, HandClock

ROWS = np.arange(100.0).reshape(-1, 1)


def arrivals(*at_ms: float) -> Arrivals:
    return Arrivals("given", 0.0, np.array([int(at * MS) for at in at_ms], np.int64))


def test_single_stream_sends_the_next_request_when_the_last_is_answered() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: 10 * MS)
    log = drive.single_stream(backend, ROWS, 5, clock.pacer)
    gaps = np.diff(backend.sent)
    assert (gaps >= 12 * MS).all()
    assert (gaps < 12 * MS + 100).all()
    assert backend.asked == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert log.latency == pytest.approx([12 * MS] * 5, abs=100)


def test_pauses_come_before_requests_and_are_no_part_of_their_latency() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: 10 * MS)
    log = drive.single_stream(backend, ROWS, 50, clock.pacer, pause_ns=20 * MS)
    assert np.diff(backend.sent).mean() == pytest.approx(32 * MS, rel=0.3)
    assert log.latency == pytest.approx([12 * MS] * 50, abs=200)


def test_multi_stream_sends_a_query_at_once_and_waits_for_all_of_it() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: 10 * MS, replicas=2)
    log = drive.multi_stream(backend, ROWS, 3, 8, clock.pacer)
    sent = np.array(backend.sent).reshape(3, 8)
    assert (np.ptp(sent, axis=1) < 100).all()
    # 8 on two replicas, one after the other: 4 rounds of 10 ms, and 2 ms of network
    assert np.diff(sent[:, 0]) == pytest.approx([42 * MS] * 2, abs=200)
    assert log.query.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert log.latency.reshape(3, 8).max(axis=1) == pytest.approx([42 * MS] * 3, abs=200)


def test_offline_sends_all_at_once() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: MS, replicas=1)
    log = drive.offline(backend, ROWS, 64, clock.pacer)
    assert np.ptp(backend.sent) < 200
    assert log.latency.max() == pytest.approx(66 * MS, abs=200)


def test_server_sends_at_its_instants_whatever_the_answers_do() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: 500 * MS, replicas=1)
    log = drive.server(backend, ROWS, arrivals(0, 3, 3, 10), clock.pacer)
    assert np.array(backend.sent) - backend.sent[0] == pytest.approx(
        [0, 3 * MS, 3 * MS, 10 * MS], abs=100
    )
    waits = np.array([0, 497, 997, 1490]) * MS + 502 * MS
    assert log.latency == pytest.approx(waits, abs=100)
    assert not log.lagged


def test_a_generator_that_is_held_up_counts_from_when_requests_were_due_and_is_marked() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: MS, replicas=4, submit_takes=5 * MS)
    log = drive.server(backend, ROWS, arrivals(0, 1, 2, 3), clock.pacer)
    # each sending takes 5 ms, so that the fourth leaves at 15 ms, 12 ms late
    assert log.lag == pytest.approx([0, 4 * MS, 8 * MS, 12 * MS], abs=100)
    assert log.latency == pytest.approx([3 * MS, 7 * MS, 11 * MS, 15 * MS], abs=100)
    assert log.lagged


def test_a_request_without_an_answer_is_infinitely_late_and_is_not_lost() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: MS, fails=lambda n: n == 1)
    log = drive.server(backend, ROWS, arrivals(0, 5, 10), clock.pacer)
    assert len(log.number) == 3
    assert log.answered.tolist() == [True, False, True]
    assert np.isinf(log.latency[1])
    assert len(log.legs()["service"]) == 2


def test_legs_and_lag_add_up_to_the_latency() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: (n + 1) * MS, submit_takes=2 * MS)
    log = drive.server(backend, ROWS, arrivals(0, 1, 2, 30), clock.pacer)
    legs = log.legs()
    assert (log.lag + legs["out"] + legs["service"] + legs["back"]).tolist() == log.latency.tolist()


def test_what_never_answers_is_not_measured() -> None:
    clock = HandClock()
    backend = HandBackend(clock, lambda n: MS, fails=lambda n: True)
    with pytest.raises(ModelFailedError, match="must answer before it is measured"):
        drive.warm_up(backend, ROWS, 3, clock.pacer)


def test_the_hosts_pacer_is_never_early_and_hardly_late() -> None:
    pacer = drive.PACER
    late = []
    for _ in range(5):
        due = pacer.read() + 2 * MS
        late.append(pacer.wait_until(due) - due)
    assert min(late) >= 0
    assert min(late) < MS
