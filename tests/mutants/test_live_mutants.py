"""Defects planted in the live loop: the machine that plays with it must find each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from inference.live.client import LiveClient
from inference.live.sending import Sending
from inference.live.stack import LiveStack
from inference.schedule import Outcome
from tests.inference.test_live_machine import LiveMachine
from tests.mutants.planting import Patch

HUNT = settings(
    max_examples=1500,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def a_late_reply_ends_its_request_again(patch: Patch) -> None:
    real = Sending.hear

    def hear(self: Any, attempt: Any, reply: Any) -> None:
        waited = attempt.waits
        real(self, attempt, reply)
        if not waited:
            self.records.ended(attempt.request)

    patch.setattr(Sending, "hear", hear)


def a_place_is_never_given_back(patch: Patch) -> None:
    real = LiveClient._end

    def end(self: Any, request: Any, *how: Any) -> None:
        if how[0] == Outcome.FAILED:
            request.holds = False
        real(self, request, *how)
        if how[0] == Outcome.FAILED:
            self._limit += 1

    patch.setattr(LiveClient, "_end", end)


def a_lost_request_is_forgotten(patch: Patch) -> None:
    real = Sending.hear

    def hear(self: Any, attempt: Any, reply: Any) -> None:
        if reply is None and attempt.waits:
            self.live.pop(attempt.request.number)
            return
        real(self, attempt, reply)

    patch.setattr(Sending, "hear", hear)


def replies_are_visible_when_they_came_whatever_the_loop_has_passed(patch: Patch) -> None:
    real = LiveStack._take_in
    patch.setattr(LiveStack, "_take_in", lambda self, floor: real(self, 0))


def stamps_of_a_replica_are_believed(patch: Patch) -> None:
    def stamps(self: Any, attempt: Any, reply: Any) -> tuple[int, int, int]:
        if reply is None:
            return -(2**63), -(2**63), attempt.sent_at
        return reply.started_at, reply.completed_at, max(attempt.sent_at, reply.received_at)

    patch.setattr(LiveStack, "_stamps", stamps)


def an_older_answer_is_news(patch: Patch) -> None:
    real = Sending._end

    def end(self: Any, request: Any, *how: Any) -> None:
        self._answered.clear()
        real(self, request, *how)

    patch.setattr(Sending, "_end", end)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        a_late_reply_ends_its_request_again,
        a_place_is_never_given_back,
        a_lost_request_is_forgotten,
        replies_are_visible_when_they_came_whatever_the_loop_has_passed,
        stamps_of_a_replica_are_believed,
        an_older_answer_is_news,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_defect_is_found(
    plant: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(LiveMachine, settings=HUNT)
