"""The live loop against a deployment that answers when the test says so."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from clock.simulated import SimulatedClock
from clock.wall import WallClock
from inference.errors import FeatureMismatchError, ModelFailedError
from inference.local_backend import LocalBackend
from inference.loop import InferenceLoop
from inference.rows import MISSING, Rows, no_rows
from inference.schedule import LoopOutput, Outcome, Reason
from tests.inference.live_cases import Host, ScriptedBackend, live_loop
from tests.inference.serving_cases import COLUMNS, MS, as_config
from tests.inference.serving_oracle import Model

NOTHING = no_rows(len(COLUMNS))


def rows(*instants: int, instrument: int = 0) -> Rows:
    stamps = np.array(instants, np.int64) * MS
    size = len(instants)
    made = Rows(
        stamps,
        stamps,
        stamps - 1,
        np.zeros(size, np.int64),
        np.full(size, instrument, np.int64),
        np.repeat(np.array(instants, float)[:, None], 3, axis=1),
    )
    for column in made:
        column.flags.writeable = False
    return made


class World:
    """A loop, its deployment, and the host that they live on; instants are in milliseconds."""

    def __init__(self, **block: Any) -> None:
        self.host = Host()
        self.backend = ScriptedBackend(self.host)
        config = as_config({"polling": "on_feature", "max_in_flight": 4, **block})
        backends: Any = self.backend
        if config.variants:
            self.other = ScriptedBackend(self.host)
            backends = dict(zip(config.variants, (self.backend, self.other), strict=True))
        self.loop = live_loop(config, self.host.clock(), backends)
        self.output = LoopOutput(*(_empty(part) for part in self.loop.push(NOTHING, 0)))

    @property
    def live(self) -> Any:
        assert self.loop.live is not None
        return self.loop.live

    def at(self, now: int, some: Rows = NOTHING, rank: int = 9) -> LoopOutput:
        """Move the host to an instant and push up to it, what is due at it included."""
        self.host.time = now * MS
        return self.loop.push(some, now * MS, rank)

    def ask(self, *instants: int) -> None:
        for instant in instants:
            self.at(instant, rows(instant))


def _empty(part: Any) -> Any:
    return type(part)(*(column[:0] for column in part))


def told(output: LoopOutput, *names: str) -> list[tuple[Any, ...]]:
    columns = [getattr(output.outcomes, name).tolist() for name in names]
    return list(zip(*columns, strict=True))


def test_an_answer_is_visible_at_the_instant_at_which_it_reached_us() -> None:
    world = World()
    world.ask(1)
    world.host.time = 3 * MS
    world.backend.sent[0].answer(7.0, started_at=2 * MS, completed_at=2 * MS + 5, replica="r")
    output = world.at(10)
    stamps = ("submitted_at", "sent_at", "started_at", "completed_at", "visible_at")
    assert told(output, *stamps) == [(MS, MS, 2 * MS, 2 * MS + 5, 3 * MS)]
    assert told(output, "value", "outcome", "superseded") == [(7.0, Outcome.COMPLETED, 0)]
    assert world.live.replica_names == ["r"]
    assert output.attempts.ended_at.tolist() == [3 * MS]


def test_an_answer_that_nobody_looked_for_is_visible_when_the_loop_has_come_to() -> None:
    world = World()
    world.ask(1)
    world.backend.sent[0].answer(7.0)  # at 1 ms, of which the predictions are over
    assert told(world.at(5), "visible_at") == [(MS + 1,)]


def test_the_owner_may_say_from_when_on_replies_are_visible() -> None:
    world = World()
    world.ask(1)
    assert world.live.take_replies(2 * MS) == 0
    world.host.time = 3 * MS
    world.backend.sent[0].answer(7.0)
    assert told(world.at(6), "value") == [], "from now on a push takes nothing in by itself"
    assert world.live.take_replies(8 * MS) == 1
    assert world.loop.next_due == (8 * MS, 6)
    assert told(world.at(9), "visible_at") == [(8 * MS,)]


def test_a_push_never_waits_and_a_full_loop_asks_about_the_newest_row_later() -> None:
    world = World(max_in_flight=1)
    world.ask(1, 2, 3)
    assert len(world.backend.sent) == 1
    world.host.time = 4 * MS
    world.backend.sent[0].answer(1.0)
    output = world.at(5)
    assert told(output, "number", "outcome") == [(0, Outcome.COMPLETED)]
    assert [sent.values[0] for sent in world.backend.sent] == [1.0, 3.0]
    assert world.loop.counts["replaced"] == 1


def test_a_late_answer_for_an_older_row_is_superseded() -> None:
    world = World()
    world.ask(1, 2)
    world.host.time = 3 * MS
    world.backend.sent[1].answer(2.0)
    world.host.time = 4 * MS
    world.backend.sent[0].answer(1.0)
    output = world.at(5)
    assert told(output, "number", "superseded") == [(1, 0), (0, 1)]


@pytest.mark.parametrize("cancel", [False, True])
def test_a_request_that_timed_out_ends_once_and_its_late_reply_is_told(cancel: bool) -> None:
    world = World(timeout={"after": "5ms", "cancel": cancel})
    world.ask(1)
    output = world.at(10)
    assert told(output, "outcome", "visible_at") == [(Outcome.TIMED_OUT, 6 * MS)]
    assert world.backend.sent[0].future.cancelled() == cancel
    world.backend.sent[0].answer(1.0)
    late = world.at(20)
    assert told(late, "number") == []
    fate = Reason.CANCELLED if cancel else Reason.LATE
    assert (late.attempts.outcome.tolist(), late.attempts.reason.tolist()) == ([1], [fate])
    assert world.loop.counts["timed_out"] == 1
    assert world.live.error_count == 0


def test_what_fails_is_tried_again_after_a_backoff_and_the_error_is_kept() -> None:
    world = World(retry={"max_attempts": 2, "backoff": "5ms"})
    world.ask(1)
    world.host.time = 2 * MS
    world.backend.sent[0].fail("ZeroDivisionError: by nothing")
    world.at(8)
    assert [sent.sent_at for sent in world.backend.sent] == [MS, 8 * MS]
    world.backend.sent[1].fail("again")
    output = world.at(9)
    assert told(output, "outcome", "attempts", "reason") == [(Outcome.FAILED, 2, Reason.ERROR)]
    assert [error.error for error in world.live.errors] == [
        "ZeroDivisionError: by nothing",
        "again",
    ]


def test_a_breaker_opens_falls_back_probes_and_closes() -> None:
    world = World(
        circuit_breaker={
            "failure_threshold": 2,
            "open_for": "10ms",
            "fallback": {"constant": 0.5},
        }
    )
    world.ask(1, 2)
    world.backend.sent[0].fail()
    world.backend.sent[1].fail()
    world.at(3)
    output = world.at(4, rows(4))
    assert told(output, "value", "fallback", "reason") == [(0.5, 1, Reason.BREAKER_OPEN)]
    assert len(world.backend.sent) == 2
    world.at(14, rows(14))
    world.host.time = 15 * MS
    world.backend.sent[2].answer(3.0)
    output = world.at(16, rows(16))
    assert told(output, "value", "fallback") == [(3.0, 0)]
    assert output.changes.value.tolist() == [0], "the probe closed it"
    assert len(world.backend.sent) == 4


def test_nan_is_an_answer_that_a_breaker_may_count() -> None:
    world = World(circuit_breaker={"failure_threshold": 1, "counts": ["nan"]})
    world.ask(1)
    world.backend.sent[0].answer(np.nan)
    output = world.at(2)
    assert told(output, "outcome") == [(Outcome.COMPLETED,)]
    assert np.isnan(output.outcomes.value[0])
    assert output.changes.value.tolist() == [1]


def test_after_a_redeployment_new_rows_go_there_and_old_answers_still_count() -> None:
    world = World()
    world.ask(1)
    new = ScriptedBackend(world.host)
    world.live.redeploy(new)
    world.ask(2)
    assert (len(world.backend.sent), len(new.sent)) == (1, 1)
    world.host.time = 3 * MS
    world.backend.sent[0].answer(1.0)
    new.sent[0].answer(2.0)
    assert told(world.at(4), "number", "value") == [(0, 1.0), (1, 2.0)]
    with pytest.raises(LookupError, match="`variant` must be one of ''"):
        world.live.redeploy(new, "big")


def test_a_deployment_that_is_closed_in_mid_run_fails_its_requests_and_loses_none() -> None:
    world = World(retry={"max_attempts": 2, "backoff": "1ms"})
    world.ask(1, 2)
    world.backend.close()
    world.live.redeploy(new := ScriptedBackend(world.host))
    world.at(5)
    assert [sent.values[0] for sent in new.sent] == [1.0, 2.0]
    for sent in new.sent:
        sent.answer(9.0)
    assert told(world.at(6), "outcome", "attempts") == [(0, 2), (0, 2)]
    assert "gave the request up" in world.live.errors[0].error


class Broken:
    feature_names = ("mid", "flow")

    def __init__(self, what: Any) -> None:
        self.what = what

    def submit(self, values: Any) -> Any:
        if isinstance(self.what, Exception):
            raise self.what
        from concurrent.futures import Future

        future: Any = Future()
        future.set_result(self.what)
        return future


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (OSError("the wire is cut"), "OSError: the wire is cut"),
        ("a text", "is no reply: 'a text'"),
        (None, "is no reply: None"),
    ],
)
def test_a_backend_that_breaks_its_contract_fails_the_request_and_the_loop_goes_on(
    what: Any, error: str
) -> None:
    host = Host()
    loop = live_loop(as_config({"polling": "on_feature"}), host.clock(), Broken(what))
    host.time = MS
    loop.push(rows(1), MS, 9)
    output = loop.push(NOTHING, 2 * MS)
    assert told(output, "outcome", "reason") == [(Outcome.FAILED, Reason.ERROR)]
    assert loop.live is not None
    assert error in loop.live.errors[0].error


def test_at_the_end_what_is_under_way_is_in_flight_and_close_gives_it_up() -> None:
    world = World()
    world.ask(1, 2)
    world.at(5)
    rest = world.loop.finish(5 * MS)
    assert rest.outcome.tolist() == [Outcome.IN_FLIGHT] * 2
    assert rest.sent_at.tolist() == [MS, 2 * MS]
    assert world.loop.finish_attempts(5 * MS).ended_at.tolist() == [MISSING] * 2
    world.live.close()
    world.live.close()
    assert all(sent.future.cancelled() for sent in world.backend.sent)
    assert told(world.at(9, rows(9)), "number") == []
    assert len(world.backend.sent) == 2, "a closed loop sends nothing"
    assert world.loop.counts["in_flight"] == world.loop.counts["submitted"] == 3


def test_a_strategy_s_own_request_takes_no_place() -> None:
    world = World(max_in_flight=1)
    world.ask(1)
    world.host.time = 2 * MS
    world.loop.push(NOTHING, 2 * MS)
    number = world.loop.submit(2 * MS, np.array([5.0, 6.0]), instrument=0, emitted_at=2 * MS)
    assert (number, world.backend.sent[1].values.tolist()) == (1, [5.0, 6.0])
    world.backend.sent[1].answer(4.0)
    assert told(world.at(3), "number", "own", "value") == [(1, 1, 4.0)]


def test_a_breaker_s_other_variant_answers_from_its_own_deployment() -> None:
    breaker = {"failure_threshold": 1, "open_for": "1s", "fallback": {"variant": "small"}}
    one = {"expected_latency": "1ms", "accuracy": 0.9, "circuit_breaker": breaker}
    world = World(
        variants={"big": one, "small": {"expected_latency": "1ms", "accuracy": 0.5, "share": 0.0}},
        routing={"kind": "latency_budget", "budget": "1ms", "explore_every": 1},
    )
    world.ask(1)
    world.backend.sent[0].fail()
    world.ask(2)
    assert len(world.other.sent) == 1
    world.other.sent[0].answer(8.0)
    assert told(world.at(3), "value", "variant") == [(8.0, 1)]


def test_a_faster_time_scales_what_the_host_took() -> None:
    host = Host(1_000)
    clock = host.clock(start=0, speed=10.0)
    backend = ScriptedBackend(host)
    loop = live_loop(as_config({"polling": "on_feature"}), clock, backend)
    host.time += MS
    loop.push(rows(10), 10 * MS, 9)
    host.time += MS
    backend.sent[0].answer(1.0, started_at=host.time - MS // 2, completed_at=host.time)
    output = loop.push(NOTHING, 30 * MS)
    assert told(output, "sent_at", "started_at", "visible_at") == [(10 * MS, 15 * MS, 20 * MS)]


def test_a_wall_clock_and_a_backend_belong_together() -> None:
    config = as_config({})
    given: Any = {"start": 0, "column_names": COLUMNS}
    backend = ScriptedBackend(Host())
    with pytest.raises(ValueError, match="must be a WallClock where `backend` is given"):
        InferenceLoop(config, Model(3.0), clock=WallClock(), **given)
    with pytest.raises(ValueError, match="got SimulatedClock and ScriptedBackend"):
        InferenceLoop(config, Model(3.0), clock=SimulatedClock(0), backend=backend, **given)
    simulated = InferenceLoop(config, Model(3.0), clock=SimulatedClock(0), **given)
    assert simulated.live is None
    backend.feature_names = ("mid", "spread")
    with pytest.raises(FeatureMismatchError, match="the model reads"):
        InferenceLoop(config, Model(3.0), clock=WallClock(), backend=backend, **given)
    one = {"share": 0.5}
    many = as_config({"variants": {"big": one, "small": one}, "routing": "split"})
    with pytest.raises(ModelFailedError, match="got big, missing small"):
        InferenceLoop(many, Model(3.0), clock=WallClock(), backend={"big": backend}, **given)


def test_real_threads_on_the_host_s_clock_answer_every_row_once() -> None:
    backend = LocalBackend(Model(3.0), num_replicas=2)
    clock, rang = WallClock(), threading.Event()
    config = as_config({"polling": "on_feature", "max_in_flight": 3, "on_new": "queue"})
    loop = live_loop(config, clock, backend, start=clock.now)
    assert loop.live is not None
    loop.live.wake(rang.set)
    outputs = []
    for place in range(60):
        row = rows(place)
        at = np.array([clock.now], np.int64)
        outputs.append(loop.push(row._replace(visible_at=at, emitted_at=at), int(at[0]), 9))
    while loop.counts["completed"] < 60:
        assert rang.wait(20), loop.counts
        rang.clear()
        outputs.append(loop.push(NOTHING, clock.now, 9))
    backend.close()
    values = {n: v for output in outputs for n, v in told(output, "number", "value")}
    assert values == {place: place * 3.0 - place for place in range(60)}
    for output in outputs:
        names = ("submitted_at", "sent_at", "started_at", "completed_at", "visible_at")
        for stamps in told(output, *names):
            assert list(stamps) == sorted(stamps)
