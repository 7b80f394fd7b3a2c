"""The attempts of a live client: sent, waited for, given up, tried again, heard of.

What it decides, and in which order within an instant, is what the simulated client decides
(`inference/serving/client.py`): given the same replies at the same instants, the records are the
same. Only the replies come from outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from clock.rank import Rank
from inference.backend import Reply
from inference.config import InferenceConfig
from inference.live.agenda import Agenda
from inference.live.breaker import Breaker, BreakerState
from inference.live.cache import Answer, AnswerCache
from inference.live.choice import Choice
from inference.live.records import Attempt, Records, Request
from inference.live.retrying import Retrying
from inference.rows import MISSING
from inference.schedule import ChangeKind, Outcome, Reason
from inference.serving.layout import ATTEMPT_DEADLINE, REPLY, RETRY
from inference.serving.policies.breaker import Fallback
from inference.serving.records import Setting

__all__ = ["Sending"]


class Sending:
    """From a request that leaves to its one outcome.

    Args:
        config: How long to wait, how often to try, what to do where a deployment fails.
        given: What the loop knows beside it.
        send: Sends an attempt's row to its variant and returns at once.
        cancel: Takes an attempt back where the deployment can.

    Attributes:
        agenda: What is yet to be done; run by the owner, who sets `now` first.
        now: The present instant.
        records: What happened since it was last collected.
        live: Requests without an outcome, by number.
        open_attempts: Attempts of which something is left, by number and attempt.
        counts: Ended requests, by outcome.
    """

    def __init__(
        self,
        config: InferenceConfig,
        given: Setting,
        send: Callable[[Attempt], None],
        cancel: Callable[[Attempt], None],
    ) -> None:
        self._config = config
        self._send_out, self._cancel = send, cancel
        self.agenda = Agenda()
        self.now = given.start
        self.records = Records(given.index)
        self.live: dict[int, Request] = {}
        self.open_attempts: dict[tuple[int, int], Attempt] = {}
        self.counts = dict.fromkeys(Outcome, 0)
        self._breakers = self._make_breakers()
        self._choice = Choice(config, self._breakers, given.seed, given.name)
        self._retrying = Retrying(config.retry, given.seed, given.name)
        self._cache = AnswerCache(config.cache, given.features) if config.cache else None
        self._answered: dict[int, int] = {}
        self._last_answer: dict[int, Answer] = {}
        self._had_turn_at = MISSING

    def _make_breakers(self) -> list[Breaker | None]:
        made: list[Breaker | None] = []
        for place, one in enumerate(self._config.deployments.values()):
            policy = one.circuit_breaker
            note = partial(self._note_breaker, place)
            made.append(None if policy is None else Breaker(policy, note))
        return made

    def _note_breaker(self, variant: int, state: BreakerState) -> None:
        self.records.changes.append((self.now, variant, ChangeKind.BREAKER, 0, state))

    # --- sending ---------------------------------------------------------------------------------

    def _leave(self, request: Request) -> None:
        """Send a request's next attempt: choose a variant, ask its breaker."""
        request.next_step = None
        variant = self._choice.choose(request, self.now)
        if variant is None:
            self._answer_at_once(request, Outcome.REJECTED, Reason.NO_VARIANT)
            return
        request.variant, request.fallback = variant, False
        breaker = self._breakers[variant]
        if breaker is None:
            self._send(request, variant, -1)
        elif breaker.lets_through(self.now):
            self._send(request, variant, breaker.epoch)
        else:
            policy = list(self._config.deployments.values())[variant].circuit_breaker
            assert policy is not None
            self._fall_back(request, policy.fallback)

    def _fall_back(self, request: Request, fallback: Fallback) -> None:
        """Answer in place of a variant whose breaker is open."""
        if fallback.variant is not None:
            request.fallback = True
            self._send(request, list(self._config.deployments).index(fallback.variant), -1)
            return
        last = self._last_answer.get(request.instrument)
        if fallback.kind == "last_value" and last is not None:
            request.source, request.value = last
        elif fallback.constant is not None:
            request.value = fallback.constant
        else:
            self._answer_at_once(request, Outcome.REJECTED, Reason.BREAKER_OPEN)
            return
        request.fallback = True
        self._answer_at_once(request, Outcome.COMPLETED, Reason.BREAKER_OPEN)

    def _send(self, request: Request, variant: int, epoch: int) -> None:
        attempt = Attempt(request, request.attempts, variant, self.now, epoch, request.fallback)
        request.attempts += 1
        request.present, request.variant = attempt, variant
        self.open_attempts[request.number, attempt.index] = attempt
        self._send_out(attempt)
        if request.first_sent_at == MISSING:
            request.first_sent_at = attempt.sent_at
        retry = self._config.retry
        if retry is not None and retry.attempt_timeout is not None:
            attempt.deadline = self.agenda.add(
                attempt.sent_at + retry.attempt_timeout,
                ATTEMPT_DEADLINE,
                (request.number, attempt.index),
                partial(self._attempt_too_late, attempt),
            )

    def _answer_at_once(self, request: Request, outcome: Outcome, reason: Reason) -> None:
        """Let a request be answered at this instant, without an attempt."""
        request.next_step = self.agenda.add(
            self.now,
            REPLY,
            (request.number, request.attempts),
            partial(self._answered_at_once, request, outcome, reason),
        )

    def _answered_at_once(self, request: Request, outcome: Outcome, reason: Reason) -> None:
        request.next_step = None
        if outcome == Outcome.COMPLETED:
            self._note_answer(request)
        self._end(request, outcome, reason, self._rank_now())

    # --- what comes back -------------------------------------------------------------------------

    def hear(self, attempt: Attempt, reply: Reply | None) -> None:
        """Take what became of an attempt, which is known from now on.

        Args:
            attempt: Its stamps tell already what the reply told.
            reply: None where the deployment gave it up without one.
        """
        if not attempt.waits:
            attempt.reason = _fate_of(attempt, reply)
            self._close(attempt)
            return
        outcome, reason = Outcome.FAILED, Reason.ERROR
        if reply is not None:
            outcome, reason = reply.outcome, reply.reason
            attempt.request.value = reply.value
        attempt.reason = reason
        self._let_go(attempt, outcome)
        self._close(attempt)
        request = attempt.request
        if outcome != Outcome.COMPLETED and self._tries_again(request, outcome):
            return
        if outcome == Outcome.COMPLETED:
            self._note_answer(request)
        self._end(request, outcome, reason, self._rank_now())

    def _let_go(self, attempt: Attempt, outcome: Outcome) -> None:
        """Wait for an attempt no longer: its breaker and its variant's estimate hear of it."""
        request = attempt.request
        attempt.waits, attempt.visible_at, attempt.outcome = False, self.now, outcome
        breaker = self._breakers[attempt.variant]
        if breaker is not None:
            breaker.learn(attempt.epoch, outcome, math.isnan(request.value), self.now)
        if outcome in (Outcome.COMPLETED, Outcome.TIMED_OUT):
            self._choice.learn(attempt.variant, self.now - attempt.sent_at)
        if attempt.deadline is not None:
            attempt.deadline.cancel()
        request.reached, request.present = attempt.reached, None
        request.fallback = attempt.fallback

    def _close(self, attempt: Attempt) -> None:
        """Record an attempt of which the deployment, too, has nothing left."""
        attempt.ended_at = self.now
        del self.open_attempts[attempt.request.number, attempt.index]
        self.records.attempts.append(attempt.columns())

    def _tries_again(self, request: Request, outcome: Outcome) -> bool:
        wait = self._retrying.wait_after(request, outcome)
        if wait is None:
            return False
        request.next_step = self.agenda.add(
            self.now + wait, RETRY, (request.number, 0), partial(self._retry, request)
        )
        return True

    def _retry(self, request: Request) -> None:
        self._had_turn_at = self.now
        self._leave(request)

    def _give_up(self, attempt: Attempt) -> None:
        self._let_go(attempt, Outcome.TIMED_OUT)
        timeout = self._config.timeout
        if timeout is not None and timeout.cancel:
            attempt.cancelled = True
            self._cancel(attempt)

    def _attempt_too_late(self, attempt: Attempt) -> None:
        self._give_up(attempt)
        if not self._tries_again(attempt.request, Outcome.TIMED_OUT):
            self._end(attempt.request, Outcome.TIMED_OUT, Reason.NONE, self._rank_now())

    # --- ending ----------------------------------------------------------------------------------

    def _rank_now(self) -> int:
        """Return the rank of an outcome of this instant: the turn's, once the loop had its turn."""
        return Rank.TIMER if self._had_turn_at == self.now else Rank.PREDICTION

    def _note_answer(self, request: Request) -> None:
        """Keep an answer that is no fallback: for the cache, and as the last value."""
        if request.fallback:
            return
        hit = request.source >= 0
        number = request.source if hit else request.number
        self._last_answer[request.instrument] = Answer(number, request.value)
        if self._cache and not hit:
            self._cache.remember(request, self.now)

    def _end(self, request: Request, outcome: Outcome, reason: Reason, rank: int) -> None:
        """Record a request's one outcome, and free its place."""
        request.visible_at, request.outcome = self.now, outcome
        request.reason, request.rank = reason, rank
        if outcome == Outcome.COMPLETED:
            if not request.own:
                newest = self._answered.get(request.instrument, -1)
                request.superseded = request.ordinal < newest
                self._answered[request.instrument] = max(newest, request.ordinal)
        else:
            request.source = -1  # a hit that came too late repeats nothing
        for entry in (request.deadline, request.next_step):
            if entry is not None:
                entry.cancel()
        del self.live[request.number]
        self.counts[outcome] += 1
        self.records.ended(request)


def _fate_of(attempt: Attempt, reply: Reply | None) -> Reason:
    """Return why nothing is left of an attempt that was given up."""
    if reply is not None:
        return Reason.LATE
    return Reason.CANCELLED if attempt.cancelled else Reason.LOST
