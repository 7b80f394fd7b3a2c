"""An inference loop and its deployment, one event at a time.

Rows come in as they become visible; every step of a request is an action of its own on the agenda.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from clock.rank import Rank
from tests.reference.agenda import Agenda
from tests.reference.draws import make_draw
from tests.reference.features import FeatureRow
from tests.reference.scenario import Loop, Predict

MISSING = -(2**63)
"""Stands for an instant that was not reached before the end of the run."""

FIRST_ATTEMPT = 0


@dataclass
class Request:
    """One question to the model, and what became of it."""

    loop: int
    number: int
    row: FeatureRow
    repeat: int
    submitted_at: int
    sent_at: int = MISSING
    arrived_at: int = MISSING
    started_at: int = MISSING
    completed_at: int = MISSING
    visible_at: int = MISSING
    replica: int = -1
    rank: int = -1
    outcome: str = "in_flight"
    value: float = math.nan
    superseded: bool = False

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """What keys the draws of this request."""
        return (
            self.row.instrument,
            self.row.emitted_at,
            self.row.tie,
            FIRST_ATTEMPT + (self.repeat << 16),
        )


class Replica:
    """One model server: serves one request at a time, in order of arrival."""

    def __init__(self) -> None:
        self.serving: Request | None = None
        self.queue: list[Request] = []


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
        predict: Predict,
        deliver: Callable[[Request], None],
    ) -> None:
        self.agenda, self.settings, self.index = agenda, settings, index
        self.columns = [names.index(name) for name in settings.features or names]
        self.predict, self.deliver = predict, deliver
        stream = f"inference/{settings.name}/"
        self.draw_service = make_draw(settings.service_time, seed, stream + "service_time")
        self.draw_out = make_draw(settings.network_out, seed, stream + "network_out")
        self.draw_back = make_draw(settings.network_back, seed, stream + "network_back")
        self.draw_latency = make_draw(settings.latency, seed, stream + "latency")
        self.requests: list[Request] = []
        self.waiting: list[Request] = []
        self.in_flight: list[Request] = []
        self.replicas = [Replica() for _ in range(settings.num_replicas)]
        self.arrivals = 0
        self.skipped = 0
        self.newest: FeatureRow | None = None
        self.newest_answered = -1
        self.last_arrival = self.last_visible = self.last_turn = MISSING
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
            self.settings.polling == "continuous" and self._has_free_slot()
        ):
            self._ask(row, Rank.FEATURE_ROW)

    def _has_free_slot(self) -> bool:
        return len(self.in_flight) < self.settings.slots

    def _asked_before(self, row: FeatureRow) -> int:
        return sum(request.row is row for request in self.requests)

    def _ask(self, row: FeatureRow, rank: int) -> None:
        request = Request(
            self.index, len(self.requests), row, self._asked_before(row), self.agenda.now
        )
        self.requests.append(request)
        if self._has_free_slot():
            assert not self.waiting, "a slot was free while a request waited"
            self._send(request)
            return
        if self.settings.on_new == "replace":
            for older in self.waiting:
                older.outcome, older.visible_at, older.rank = "replaced", self.agenda.now, rank
            self.waiting = []
        self.waiting.append(request)

    def _plan_turn(self, instant: int) -> None:
        self.agenda.add(instant, Rank.TIMER, (0, self.index), self._turn)

    def _turn(self) -> None:
        """Use free slots, then poll if a poll is due; doing it twice does nothing more."""
        self.last_turn = self.agenda.now
        while self.waiting and self._has_free_slot():
            self._send(self.waiting.pop(0))
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
        if newest is not None and self._has_free_slot() and not self._asked_before(newest):
            self._ask(newest, Rank.TIMER)

    # -- the deployment --------------------------------------------------------------------------

    def _send(self, request: Request) -> None:
        now = self.agenda.now
        request.sent_at = now
        self.in_flight.append(request)
        arrival = max(now + self.draw_out(now, *request.identity), self.last_arrival)
        self.last_arrival = arrival
        key = (self.index, 1, request.number)
        self.agenda.add(arrival, Rank.DEPLOYMENT, key, lambda: self._arrive(request))

    def _arrive(self, request: Request) -> None:
        request.arrived_at = self.agenda.now
        request.replica = self.arrivals % len(self.replicas)
        self.arrivals += 1
        replica = self.replicas[request.replica]
        replica.queue.append(request)
        self._start_next(replica)

    def _start_next(self, replica: Replica) -> None:
        if replica.serving is not None or not replica.queue:
            return
        now = self.agenda.now
        request = replica.serving = replica.queue.pop(0)
        request.started_at = now
        completion = now + self.draw_service(now, *request.identity)
        key = (self.index, 0, request.number)
        self.agenda.add(completion, Rank.DEPLOYMENT, key, lambda: self._complete(request))

    def _complete(self, request: Request) -> None:
        now = self.agenda.now
        request.completed_at = now
        replica = self.replicas[request.replica]
        replica.serving = None
        back = now + self.draw_back(now, *request.identity)
        visible = back + self.draw_latency(back, *request.identity)
        self.last_visible = max(visible, self.last_visible)
        key = (self.index, request.number)
        self.agenda.add(self.last_visible, Rank.PREDICTION, key, lambda: self._answer(request))
        self._start_next(replica)

    def _answer(self, request: Request) -> None:
        now = self.agenda.now
        self.in_flight.remove(request)
        request.visible_at, request.outcome = now, "completed"
        request.value = self.predict([request.row.values[column] for column in self.columns])
        request.superseded = request.row.number < self.newest_answered
        self.newest_answered = max(request.row.number, self.newest_answered)
        if self.last_turn == now:
            # Caused by this instant's turn, so it comes after the instant's order reports.
            request.rank = Rank.TIMER
            key = (0, self.index, request.number)
            self.agenda.add(now, Rank.TIMER, key, lambda: self.deliver(request))
        else:
            request.rank = Rank.PREDICTION
            self.deliver(request)
        self._plan_turn(now)

    def utilisation(self, start: int, until: int) -> float:
        """Return the share of the replicas' time in `[start, until)` spent serving."""
        busy = 0
        for request in self.requests:
            if request.started_at != MISSING:
                reached = request.completed_at != MISSING
                busy += (request.completed_at if reached else until) - request.started_at
        return busy / (len(self.replicas) * (until - start))
