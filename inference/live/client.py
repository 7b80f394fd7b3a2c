"""The live client: asks about rows when the loop's polling says so, within its places."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from clock.rank import Rank
from inference.config import InferenceConfig
from inference.live.records import Attempt, Request
from inference.live.sending import Sending
from inference.rows import MISSING
from inference.schedule import Outcome, Reason
from inference.serving.layout import DEADLINE, TURN
from inference.serving.own import OWN_KEY
from inference.serving.records import Setting

__all__ = ["LiveClient", "Row"]

Row = tuple[int, int, int, int]
"""(instrument, emitted_at, tie, event_time)."""
Floats = NDArray[np.float64]


class LiveClient(Sending):
    """A loop's requests, from the row that they are about to their one outcome.

    Attributes:
        submitted: Requests so far.
        rows: Rows seen.
        skipped: Rows passed over, which hold a NaN that the model cannot read.
    """

    def __init__(
        self,
        config: InferenceConfig,
        given: Setting,
        send: Callable[[Attempt], None],
        cancel: Callable[[Attempt], None],
    ) -> None:
        """Build an idle client; see `Sending`."""
        super().__init__(config, given, send, cancel)
        self._accepts_nan = given.accepts_nan
        self.submitted = self.rows = self.skipped = 0
        self._limit = config.in_flight_limit
        self._in_flight = 0
        self._waiting: deque[Request] = deque()
        self._newest: tuple[int, Row, Floats] | None = None
        self._asked = (-1, 0)  # the row last asked about, and how often before
        self._own = (MISSING, 0)  # the instant of the last own request, and its place there
        self._turn_planned_at = MISSING
        self._next_poll = given.start if config.polling.period is not None else None
        if self._next_poll is not None:
            self._plan_turn(self._next_poll)

    # --- asking ----------------------------------------------------------------------------------

    def see_row(self, row: Row, values: Floats) -> None:
        """Take a row that becomes visible now, with the values that the model reads."""
        ordinal = self.rows
        self.rows += 1
        if not self._accepts_nan and bool(np.isnan(values).any()):
            self.skipped += 1
            return
        self._newest = (ordinal, row, values)
        kind = self._config.polling.kind
        if kind == "on_feature" or (kind == "continuous" and self._in_flight < self._limit):
            self._ask(Rank.FEATURE_ROW)

    def submit(self, row: Row, values: Floats) -> int:
        """Ask a strategy's own request, which takes no place in flight; return its number."""
        at, ordinal = self._own
        self._own = (self.now, ordinal + 1 if at == self.now else 0)
        identity = (row[0], self.now, self._own[1], OWN_KEY)
        request = self._new_request(row, values, -1, identity)
        request.own = True
        if not self._hits(request):
            self._leave(request)
        return request.number

    def _ask(self, rank: int) -> None:
        assert self._newest is not None
        ordinal, row, values = self._newest
        before, times = self._asked
        self._asked = (ordinal, times + 1 if before == ordinal else 0)
        identity = (row[0], row[1], row[2], self._asked[1] << 16)
        request = self._new_request(row, values, ordinal, identity)
        if self._hits(request):
            return
        if self._in_flight < self._limit:
            self._take_place(request)
            return
        if self._config.on_new == "replace" and self._waiting:
            older = self._waiting.popleft()
            self._end(older, Outcome.REPLACED, Reason.NONE, rank)
        self._waiting.append(request)

    def _new_request(
        self, row: Row, values: Floats, ordinal: int, identity: tuple[int, int, int, int]
    ) -> Request:
        request = Request(self.submitted, *row, self.now, ordinal, values, identity)
        self.submitted += 1
        self.live[request.number] = request
        self.records.asked(request)
        self._retrying.gain()
        timeout = self._config.timeout
        if timeout is not None:
            request.deadline = self.agenda.add(
                self.now + timeout.after,
                DEADLINE,
                (request.number, 0),
                partial(self._too_late, request),
            )
        return request

    def _hits(self, request: Request) -> bool:
        found = self._cache.look_up(request, self.now) if self._cache else None
        if found is None:
            return False
        request.source, request.value = found
        self._answer_at_once(request, Outcome.COMPLETED, Reason.NONE)
        return True

    def _take_place(self, request: Request) -> None:
        request.holds = True
        self._in_flight += 1
        self._leave(request)

    def _too_late(self, request: Request) -> None:
        if request.present is not None:
            self._give_up(request.present)
        if request in self._waiting:
            self._waiting.remove(request)
        self._end(request, Outcome.TIMED_OUT, Reason.NONE, self._rank_now())

    def _end(self, request: Request, outcome: Outcome, reason: Reason, rank: int) -> None:
        super()._end(request, outcome, reason, rank)
        if request.holds:
            self._in_flight -= 1
            self._plan_turn(self.now)

    # --- the loop's turn -------------------------------------------------------------------------

    def _plan_turn(self, at: int) -> None:
        if self._turn_planned_at != at:
            self._turn_planned_at = at
            self.agenda.add(at, TURN, (0, 0), self._turn)

    def _turn(self) -> None:
        """Use free places, then poll if a poll is due; doing it twice does nothing more."""
        self._had_turn_at = self.now
        if self._turn_planned_at == self.now:
            self._turn_planned_at = MISSING
        while self._waiting and self._in_flight < self._limit:
            self._take_place(self._waiting.popleft())
        if self._next_poll == self.now:
            self._next_poll = self.now + (self._config.polling.period or 0)
            self._plan_turn(self._next_poll)
            if self._newest is not None:
                self._ask(Rank.TIMER)
        elif self._config.polling.kind == "continuous" and self._has_news():
            self._ask(Rank.TIMER)

    def _has_news(self) -> bool:
        unasked = self._newest is not None and self._newest[0] > self._asked[0]
        return unasked and self._in_flight < self._limit
