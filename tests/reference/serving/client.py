"""The inference loop: asks, waits for places, times out, retries, and hands answers on.

Rows come in as they become visible; every step of a request is an action of its own on the agenda.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from clock.rank import Rank
from tests.reference.agenda import Agenda
from tests.reference.draws import make_draw
from tests.reference.features import FeatureRow
from tests.reference.scenario import Loop, Predict
from tests.reference.serving.breaker import CircuitBreaker
from tests.reference.serving.cache import AnswerCache, Entry
from tests.reference.serving.chance import Chance
from tests.reference.serving.choice import Chooser, Retrying
from tests.reference.serving.deployment import Deployment
from tests.reference.serving.records import MISSING, Attempt, Request, frozen
from tests.reference.serving.settings import read_client

ANSWER, ATTEMPT_DEADLINE, DEADLINE = range(3)
RETRY, TURN, DELIVERY = range(3)


class InferenceLoop:
    """Asks about rows, and hands each answer on when it becomes visible."""

    def __init__(
        self,
        agenda: Agenda,
        settings: Loop,
        index: int,
        seed: int,
        start: int,
        names: tuple[str, ...],
        predict: Predict | Mapping[str, Predict],
        deliver: Callable[[Request], None],
        instruments: Sequence[str] = (),
    ) -> None:
        self.agenda, self.settings, self.index = agenda, settings, index
        self.instruments = instruments
        read = settings.features or names
        self.columns = [names.index(name) for name in read]
        self.predict, self.deliver = predict, deliver
        self.client = client = read_client(settings, read)
        stream = f"inference/{settings.name}/"
        self.deployments = [
            Deployment(agenda, variant, place, self, seed, stream, start)
            for place, variant in enumerate(client.variants)
        ]
        self.breakers = [v.breaker and CircuitBreaker(v.breaker) for v in client.variants]
        self.chooser = Chooser(client, self.breakers, Chance(seed, stream + "split"))
        self.retrying = Retrying(client.retry, Chance(seed, stream + "retry_jitter"))
        self.cache = client.cache and AnswerCache(client.cache)
        hit_latency = client.cache.hit_latency if client.cache else 0
        self.draw_hit = make_draw(hit_latency, seed, stream + "hit")
        self.requests: list[Request] = []
        self.ended: list[Request] = []
        self.attempts: list[Attempt] = []
        self.waiting: list[Request] = []
        self.in_flight: list[Request] = []
        self.skipped = 0
        self.newest: FeatureRow | None = None
        self.newest_answered: dict[int, int] = {}
        self.last_answer: dict[int, Request] = {}
        self.last_turn = MISSING
        self.next_poll = start
        if settings.polling == "every":
            self._plan_turn(start)

    # -- asking ----------------------------------------------------------------------------------

    def row_visible(self, row: FeatureRow) -> None:
        """Take a row that becomes visible now; one without all its values is never asked about."""
        if any(math.isnan(row.values[column]) for column in self.columns):
            self.skipped += 1
            return
        self.newest = row
        if self.settings.polling == "on_feature" or (
            self.settings.polling == "continuous" and self._has_place()
        ):
            self._ask(row, Rank.FEATURE_ROW)

    def _has_place(self) -> bool:
        return len(self.in_flight) < self.client.places

    def _asked_before(self, row: FeatureRow) -> int:
        return sum(request.row is row for request in self.requests)

    def _new_request(self, row: FeatureRow, repeat: int, own: bool) -> Request:
        request = Request(self.index, len(self.requests), row, repeat, self.agenda.now, own)
        self.requests.append(request)
        self.retrying.gain()
        return request

    def submit(self, row: FeatureRow, values: list[float]) -> Request:
        """Ask on the strategy's behalf, past all places."""
        now = self.agenda.now
        ordinal = sum(request.own and request.submitted_at == now for request in self.requests)
        request = self._new_request(row, ordinal, own=True)
        request.values = values
        self._set_deadline(request)
        if not self._answer_from_cache(request):
            self._leave(request)
        return request

    def _ask(self, row: FeatureRow, rank: int) -> None:
        request = self._new_request(row, self._asked_before(row), own=False)
        request.values = [row.values[column] for column in self.columns]
        self._set_deadline(request)
        if self._answer_from_cache(request):
            return
        if self._has_place():
            assert not self.waiting, "a place was free while a request waited"
            self._take_place(request)
            return
        if self.settings.on_new == "replace":
            for older in self.waiting:
                older.outcome, older.visible_at, older.rank = "replaced", self.agenda.now, rank
                self.ended.append(older)
            self.waiting = []
        self.waiting.append(request)

    def _set_deadline(self, request: Request) -> None:
        if self.client.timeout is not None:
            at = self.agenda.now + self.client.timeout
            key = (self.index, DEADLINE, request.number)
            self.agenda.add(at, Rank.PREDICTION, key, partial(self._deadline, request))

    def _answer_from_cache(self, request: Request) -> bool:
        now = self.agenda.now
        entry = self.cache and self.cache.look_up(request, now)
        if not entry:
            return False
        at = now + self.draw_hit(now, *request.identity)
        key = (self.index, ANSWER, request.number, 0)
        self.agenda.add(at, Rank.PREDICTION, key, partial(self._hit, request, entry))
        return True

    def _plan_turn(self, instant: int) -> None:
        self.agenda.add(instant, Rank.TIMER, (0, self.index, TURN), self._turn)

    def _turn(self) -> None:
        """Use free places, then poll if a poll is due; doing it twice does nothing more."""
        self.last_turn = self.agenda.now
        while self.waiting and self._has_place():
            self._take_place(self.waiting.pop(0))
        if self.settings.polling == "continuous":
            self._poll_continuously()
        if self.settings.polling == "every" and self.agenda.now == self.next_poll:
            self.next_poll += self.settings.period
            self._plan_turn(self.next_poll)
            if self.newest is not None:
                self._ask(self.newest, Rank.TIMER)

    def _poll_continuously(self) -> None:
        """Ask about the newest row: never about an older one, never about one twice."""
        newest = self.newest
        if newest is not None and self._has_place() and not self._asked_before(newest):
            self._ask(newest, Rank.TIMER)

    # -- sending ---------------------------------------------------------------------------------

    def _take_place(self, request: Request) -> None:
        self.in_flight.append(request)
        self._leave(request)

    def _leave(self, request: Request) -> None:
        """Let the first or next attempt leave, if the breaker of its variant lets it."""
        now = self.agenda.now
        variant = self.chooser.choose(request, now)
        if variant is None:
            self._end_at_once(request, "rejected", "no_variant")
            return
        request.variant, request.fallback = variant, False
        breaker = self.breakers[variant]
        if breaker is None:
            self._send(request, variant, None)
        elif breaker.lets_through(now):
            self._send(request, variant, breaker.epoch)
        else:
            self._fall_back(request, breaker.settings.fallback)

    def _fall_back(self, request: Request, fallback: object) -> None:
        last = self.last_answer.get(request.row.instrument)
        choice = fallback if isinstance(fallback, Mapping) else {}
        if "variant" in choice:
            names = [variant.name for variant in self.client.variants]
            request.variant, request.fallback = names.index(choice["variant"]), True
            self._send(request, request.variant, None)
        elif "constant" in choice:
            request.value, request.fallback = float(choice["constant"]), True
            self._end_at_once(request, "completed", "breaker_open")
        elif fallback == "last_value" and last is not None:
            request.value, request.fallback = last.value, True
            request.source = last.number if last.source < 0 else last.source
            self._end_at_once(request, "completed", "breaker_open")
        else:
            self._end_at_once(request, "rejected", "breaker_open")

    def _send(self, request: Request, variant: int, epoch: int | None) -> None:
        now = self.agenda.now
        attempt = Attempt(request, len(request.tries), variant, sent_at=now, epoch=epoch)
        attempt.fallback = request.fallback
        request.tries.append(attempt)
        self.deployments[variant].send(attempt)
        wait = self.client.retry.attempt_timeout
        if wait is not None:
            key = (self.index, ATTEMPT_DEADLINE, *attempt.key)
            give_up = partial(self._attempt_deadline, attempt)
            self.agenda.add(now + wait, Rank.PREDICTION, key, give_up)

    def _retry(self, request: Request) -> None:
        if request.outcome == "in_flight":
            self.last_turn = self.agenda.now
            self._leave(request)

    # -- what comes back -------------------------------------------------------------------------

    def _end_at_once(self, request: Request, outcome: str, reason: str) -> None:
        key = (self.index, ANSWER, request.number, len(request.tries))
        end = partial(self._end, request, outcome, reason)
        self.agenda.add(self.agenda.now, Rank.PREDICTION, key, end)

    def _hit(self, request: Request, entry: Entry) -> None:
        if request.outcome == "in_flight":
            request.value, request.source = entry.source.value, entry.source.number
            self._end(request, "completed", "none")

    def answer(self, attempt: Attempt, outcome: str, reason: str) -> None:
        """Take the reply to an attempt that becomes visible now, unless nobody waits for it."""
        request = attempt.request
        if attempt.outcome != "in_flight":
            attempt.fate = "late"
            self.end_both(attempt)
            return
        if outcome == "completed":
            name = self.client.variants[attempt.variant].name
            predict = self.predict if callable(self.predict) else self.predict[name]
            request.value = predict(request.values)
            self.chooser.learn(attempt.variant, self.agenda.now - attempt.sent_at)
        attempt.fate = "seen"
        self._end_attempt(attempt, outcome, reason)
        if outcome == "completed":
            if self.cache and not request.fallback:
                self.cache.write(request, self.agenda.now)
            self._end(request, outcome, reason)
        else:
            self._try_again(request, outcome, reason)

    def _end_attempt(self, attempt: Attempt, outcome: str, reason: str) -> None:
        now = self.agenda.now
        attempt.outcome, attempt.reason, attempt.visible_at = outcome, reason, now
        attempt.request.last = frozen(attempt)
        self.end_both(attempt)
        breaker = self.breakers[attempt.variant]
        if breaker is not None:
            breaker.note(attempt, outcome, math.isnan(attempt.request.value), now)

    def end_both(self, attempt: Attempt) -> None:
        """Record an attempt once neither the client nor the deployment has anything of it."""
        if attempt.outcome != "in_flight" and attempt.fate:
            attempt.ended_at = self.agenda.now
            if attempt.outcome == "timed_out":
                attempt.reason = attempt.fate
            self.attempts.append(attempt)

    def _give_up(self, attempt: Attempt) -> None:
        self.chooser.learn(attempt.variant, self.agenda.now - attempt.sent_at)
        self._end_attempt(attempt, "timed_out", "none")
        if self.client.cancel:
            self.deployments[attempt.variant].send_cancel(attempt)

    def _attempt_deadline(self, attempt: Attempt) -> None:
        if attempt.outcome == "in_flight":
            self._give_up(attempt)
            self._try_again(attempt.request, "timed_out", "none")

    def _try_again(self, request: Request, outcome: str, reason: str) -> None:
        wait = self.retrying.wait_for_next(request, outcome)
        if wait is None:
            self._end(request, outcome, reason)
            return
        key = (0, self.index, RETRY, request.number)
        again = partial(self._retry, request)
        self.agenda.add(self.agenda.now + wait, Rank.TIMER, key, again)

    def _deadline(self, request: Request) -> None:
        if request.outcome != "in_flight":
            return
        if request in self.waiting:
            self.waiting.remove(request)
        if request.present is not None:
            self._give_up(request.present)
        self._end(request, "timed_out", "none")

    def _end(self, request: Request, outcome: str, reason: str) -> None:
        """End a request, which frees its place."""
        if request.outcome != "in_flight":
            return
        now = self.agenda.now
        request.visible_at, request.outcome, request.reason = now, outcome, reason
        after_turn = self.last_turn == now
        request.rank = Rank.TIMER if after_turn else Rank.PREDICTION
        self.ended.append(request)
        if outcome == "completed":
            self._note_answer(request)
        held_a_place = request in self.in_flight
        if held_a_place:
            self.in_flight.remove(request)
        if outcome == "completed" and after_turn:
            # Caused by this instant's turn, so it comes after the instant's order reports.
            key = (0, self.index, DELIVERY, request.number)
            self.agenda.add(now, Rank.TIMER, key, partial(self.deliver, request))
        elif outcome == "completed":
            self.deliver(request)
        if held_a_place:
            self._plan_turn(now)

    def _note_answer(self, request: Request) -> None:
        instrument, number = request.row.instrument, request.row.number
        if not request.fallback:
            self.last_answer[instrument] = request
        if request.own:
            return
        newest = self.newest_answered.get(instrument, -1)
        request.superseded = number < newest
        self.newest_answered[instrument] = max(number, newest)

    def utilisation(self, start: int, until: int) -> float:
        """Return the share of the replicas' time in `[start, until)` spent serving."""
        busy = sum(deployment.busy_ns(until) for deployment in self.deployments)
        replicas = sum(variant.num_replicas for variant in self.client.variants)
        offered = replicas * (until - start)
        return busy / offered if offered else 0.0
