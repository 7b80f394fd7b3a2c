"""LiveStack: a real deployment behind a loop, in the place of the simulated one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.base import NEVER
from clock.rank import FIRST_RANK, Rank
from inference.backend import Backend, Reply
from inference.live.client import LiveClient
from inference.live.inbox import Inbox, reply_of
from inference.live.records import Attempt, attempts_of, outcomes_of
from inference.rows import MISSING, Rows
from inference.schedule import Attempts, Outcome, Outcomes
from inference.serving.layout import FEATURE_ROW, REPLY
from inference.serving.records import Collected, Setting

if TYPE_CHECKING:
    from clock.wall import WallClock
    from inference.config import InferenceConfig

__all__ = ["LiveError", "LiveStack"]

_KEPT_ERRORS = 100
_RANK = 6  # an order holds its rank above so many bits
_NONE = np.empty(0, np.int64)


class LiveError(NamedTuple):
    """What went wrong with one attempt."""

    at: int
    number: int
    attempt: int
    error: str


class LiveStack:
    """Asks real replicas and never waits for them.

    Instants are the loop's: the host's, or those of a clock that passes with the host's. An answer
    becomes visible at the instant at which it reached this process; where the loop had passed that
    instant already, because nobody looked meanwhile, at the instant that the loop had come to. So
    nothing is visible before it could be read. `sent_at` is when the loop sent it in its own time:
    where that lags behind the host's, the lag counts as time on the way.

    Attributes:
        errors: The newest things that went wrong.
        error_count: How many went wrong in all.
        replica_names: What the deployment calls its replicas, by their number in the records.
    """

    def __init__(
        self,
        config: InferenceConfig,
        given: Setting,
        backends: Mapping[str, Backend],
        clock: WallClock,
    ) -> None:
        """Build an idle stack.

        Args:
            config: What to ask, when, and how long to wait. What it says of how a deployment
                behaves is for the simulation: here it behaves as it does.
            given: What the loop knows beside it.
            backends: The deployments, by name of the variant.
            clock: Tells what the loop's time is when the host's is known.
        """
        self.config, self.start = config, given.start
        self._given, self._clock = given, clock
        self._names = list(config.deployments)
        self._backends = [backends[name] for name in self._names]
        self._client = LiveClient(config, given, self._send, self._cancel)
        self._inbox = Inbox()
        self._watermark = (given.start, int(FIRST_RANK))
        self._floor: int | None = None
        self._is_closed = False
        self._busy_ns = [0] * len(self._names)
        self.errors: deque[LiveError] = deque(maxlen=_KEPT_ERRORS)
        self.error_count = 0
        self.replica_names: list[str] = []

    # --- the owner's side ------------------------------------------------------------------------

    def wake(self, call: Callable[[], None] | None) -> None:
        """Have something called, in another thread, whenever a reply has come."""
        self._inbox.on_reply = call

    def take_replies(self, now: int) -> int:
        """Take in the replies that have come, and return how many; none is visible before *now*.

        For an owner that paces several things by one clock: from the first call on, a push takes
        in nothing by itself, so that what becomes visible in it is known before.
        """
        self._floor = now if self._floor is None else max(self._floor, now)
        return self._take_in(self._floor)

    def redeploy(self, backend: Backend, variant: str = "") -> None:
        """Send everything from now on to another deployment; what the old one still answers counts.

        Raises:
            LookupError: If there is no such variant.
        """
        if variant not in self._names:
            known = ", ".join(repr(name) for name in self._names)
            raise LookupError(f"`variant` must be one of {known}: got {variant!r}.")
        self._backends[self._names.index(variant)] = backend

    def close(self) -> None:
        """Give up everything under way; what has not ended stays in flight. Idempotent."""
        self._is_closed = True
        self._inbox.on_reply = None
        for attempt in self._client.open_attempts.values():
            if attempt.future is not None:
                attempt.future.cancel()

    # --- the loop's side -------------------------------------------------------------------------

    def run(self, rows: Rows, until: int, rank: int) -> int:
        """Run everything strictly before (until, rank); return how many rows were taken."""
        if self._floor is None:
            self._take_in(self._watermark[0])
        client, taken, visible = self._client, 0, rows.visible_at
        count = len(visible)
        while True:
            at, order = client.agenda.first
            row_at = int(visible[taken]) if taken < count else NEVER
            of_row = (row_at, FEATURE_ROW) < (at, order)
            if of_row:
                at, order = row_at, FEATURE_ROW
            if at == NEVER or (at, order >> _RANK) >= (until, rank):
                break
            client.now = at
            if of_row:
                self._see(rows, taken)
                taken += 1
            else:
                client.agenda.pop()()
        last, reached = self._watermark
        self._watermark = (until, max(rank, reached) if until == last else rank)
        return taken

    def _see(self, rows: Rows, place: int) -> None:
        row = (
            int(rows.instrument[place]),
            int(rows.emitted_at[place]),
            int(rows.tie[place]),
            int(rows.event_time[place]),
        )
        self._client.see_row(row, rows.values[place, self._given.columns])

    def submit(self, values: NDArray[np.float64], now: int, row: tuple[int, int, int, int]) -> int:
        """Ask a strategy's own request; return its number."""
        self._client.now = now
        if now > self._watermark[0]:
            self._watermark = (now, int(FIRST_RANK))
        return self._client.submit(row, np.array(values, np.float64))

    def collect(self) -> Collected | None:
        """Return what happened since the last call, None for nothing."""
        records = self._client.records
        if not records:
            return None
        self._client.records = type(records)(self._given.index)
        submissions, outcomes, attempts, changes = records.collected()
        features = np.array(records.features, np.float64).reshape(len(outcomes.number), self.width)
        return Collected(submissions, outcomes, None, features, attempts, changes, None)

    def next_due(self, row_at: int) -> tuple[int, int]:
        """Return the instant and rank of what is due first; *row_at* is the next row's instant."""
        if self._floor is None:
            self._take_in(self._watermark[0])
        at, order = min(self._client.agenda.first, (row_at, FEATURE_ROW))
        return at, order >> _RANK

    def finish(self, until: int) -> tuple[Outcomes, Attempts]:
        """Return what is under way at a watermark."""
        live = sorted(self._client.live.values(), key=lambda one: one.number)
        left = sorted(self._client.open_attempts.items())
        attempts = [attempt for _, attempt in left]
        return outcomes_of(live, self._given.index), attempts_of(attempts)

    def statistics(self, until: int) -> dict[str, dict[str, int]]:
        """Return what the replicas are known to have done in [start, until), by variant.

        Busy is what replies told; a deployment that does not tell when it began was never busy.
        """
        found = {}
        for place, (name, one) in enumerate(self.config.deployments.items()):
            had = (until - self.start) * one.start_replicas
            slots = 1 if one.batching is None else one.batching.executions
            found[name] = {
                "busy_ns": self._busy_ns[place],
                "replica_ns": had,
                "slot_ns": had * slots,
            }
        return found

    @property
    def width(self) -> int:
        """Number of features of a request."""
        return len(self._given.columns)

    @property
    def needed(self) -> NDArray[np.int64]:
        """No value is asked for again."""
        return _NONE

    @property
    def counts(self) -> dict[str, int]:
        """Requests by outcome so far, all of them as `submitted`, and rows passed over."""
        client = self._client
        counted = {kind.name.lower(): client.counts[kind] for kind in Outcome}
        counted["in_flight"] = len(client.live)
        rows, skipped = client.rows, client.skipped
        return {"submitted": client.submitted, **counted, "rows": rows, "skipped": skipped}

    # --- the deployment's side -------------------------------------------------------------------

    def _send(self, attempt: Attempt) -> None:
        if self._is_closed:
            return  # nobody is asked any more: it stays in flight
        self._inbox.send(self._backends[attempt.variant], attempt, lambda: self._clock.host_now)

    def _cancel(self, attempt: Attempt) -> None:
        if attempt.future is not None:
            attempt.future.cancel()

    def _take_in(self, floor: int) -> int:
        """Put the replies that have come on the agenda, none of them before *floor*; count them."""
        if self._is_closed:
            return 0
        taken = 0
        last, reached = self._watermark
        if floor == last and reached > Rank.PREDICTION:
            floor += 1  # the predictions of that instant are over
        for attempt, future in self._inbox.take():
            reply, error = reply_of(future)
            stamps = self._stamps(attempt, reply)
            self._client.agenda.add(
                max(floor, stamps[-1]),
                REPLY,
                (attempt.request.number, attempt.index),
                partial(self._hear, attempt, reply, stamps, error),
            )
            taken += 1
        return taken

    def _stamps(self, attempt: Attempt, reply: Reply | None) -> tuple[int, int, int]:
        """Return when a reply says it started, was completed and came, in the loop's time."""
        if reply is None:
            return MISSING, MISSING, attempt.sent_at
        to_loop, reached = self._clock.instant_of, attempt.sent_at
        started_at = completed_at = MISSING
        if reply.started_at != MISSING:
            reached = started_at = max(reached, to_loop(reply.started_at))
            if reply.completed_at != MISSING:
                reached = completed_at = max(reached, to_loop(reply.completed_at))
        return started_at, completed_at, max(reached, to_loop(reply.received_at))

    def _hear(
        self, attempt: Attempt, reply: Reply | None, stamps: tuple[int, int, int], error: str
    ) -> None:
        """Write into an attempt what its reply tells, and let the client hear of it."""
        attempt.started_at, attempt.completed_at, _ = stamps
        if reply is not None:
            attempt.batch_size = max(1, int(reply.batch_size))
            if attempt.completed_at != MISSING:
                ran = attempt.completed_at - attempt.started_at
                self._busy_ns[attempt.variant] += ran // attempt.batch_size
            if reply.replica:
                attempt.replica = self._number_of(reply.replica)
        if error and not attempt.cancelled:
            self.error_count += 1
            where = (attempt.request.number, attempt.index)
            self.errors.append(LiveError(self._client.now, *where, error))
        self._client.hear(attempt, reply)

    def _number_of(self, replica: str) -> int:
        if replica not in self.replica_names:
            self.replica_names.append(replica)
        return self.replica_names.index(replica)
