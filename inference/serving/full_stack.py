"""The whole serving stack behind one loop: every policy, several models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clock.bank import LatencyBank, with_keyed
from clock.draws import LatencySpec
from inference.rows import MISSING, Rows
from inference.schedule import (
    Attempts,
    Outcome,
    Outcomes,
    as_attempts,
    as_changes,
    as_outcomes,
    as_submissions,
)
from inference.serving import layout as f
from inference.serving import stack
from inference.serving.build import build
from inference.serving.records import Collected, Served, Setting
from inference.serving.tables import more_events, more_room, more_rows

if TYPE_CHECKING:
    from inference.config import InferenceConfig

__all__ = ["FullStack"]

Ints = NDArray[np.int64]
Predict = Callable[[Served], NDArray[np.float64]]
"""Predicts what was served, one value a row."""

_GROW = {
    stack.NEEDS_ROWS: more_rows,
    stack.NEEDS_EVENTS: more_events,
    stack.NEEDS_ROOM: more_room,
}


class FullStack:
    """Every variant of a loop, and the client that asks them."""

    def __init__(self, config: InferenceConfig, given: Setting, predict: Predict) -> None:
        """Build an idle stack.

        Args:
            config: What to ask and how the deployments behave.
            given: What the loop knows beside it.
            predict: Asked at once where the timing depends on values.
        """
        self.names = list(config.deployments)
        self._predict = predict
        self._memory, self._bank = build(config, given)
        self._says_last_value = any(
            one.circuit_breaker is not None and one.circuit_breaker.fallback.kind == "last_value"
            for one in config.deployments.values()
        )

    def know(self, keys: Ints, durations: Ints) -> None:
        """Serve the rows of these keys, sorted, in these times; see `ServiceTimes`."""
        self._bank = with_keyed(self._bank, keys, durations)

    def run(self, rows: Rows, until: int, rank: int) -> int:
        """Run everything strictly before (until, rank); return how many rows were taken."""
        first = 0
        while True:
            given = [*self._parts(), self._bank, *rows, first, until, rank]
            status, first = stack.run(*given)
            if status == stack.DONE:
                return int(first)
            if status == stack.NEEDS_VALUES:
                self._look_at_values()
            else:
                self._memory = _GROW[status](self._memory)

    def collect(self) -> Collected | None:
        """Return what happened since the last call, None for nothing."""
        m, o = self._memory.m, self._memory.o
        counts = m[f.SUBMITTED : f.EXECUTED + 1]
        if not counts.any():
            return None
        asked, ended, attempts, changes, _ = counts.tolist()
        served = self._served()
        counts[:] = 0
        columns = _columns(o, ended, f.O_OUTCOME, f.OUTCOME_COLUMNS)
        return Collected(
            as_submissions(_columns(o, asked, f.O_SUBMISSION, 5)),
            as_outcomes(list(columns), np.full(ended, np.nan)),
            o[:ended, f.O_SAID].copy(),
            self._memory.y[:ended, : self.width].copy(),
            as_attempts(_columns(o, attempts, f.O_ATTEMPT, f.ATTEMPT_COLUMNS)),
            as_changes(_columns(o, changes, f.O_CHANGE, 5)),
            served,
        )

    def submit(self, values: NDArray[np.float64], now: int, row: tuple[int, int, int, int]) -> int:
        """Ask a strategy's own request; return its number."""
        while True:
            status = stack.space_for_one(self._memory.m, self._memory.h, self._memory.o)
            if status == stack.DONE:
                break
            self._memory = _GROW[status](self._memory)
        parts = self._parts()[:-1]
        given = np.ascontiguousarray(values, np.float64)
        number = int(self._memory.m[f.NEXT_NUMBER])
        arguments = [*parts, self._bank, given, np.array(row, np.int64), now]
        stack.submit(*arguments)
        return number

    def next_due(self, row_at: int) -> tuple[int, int]:
        """Return the instant and rank of what is due first; *row_at* is the next row's instant."""
        instant, order = stack.next_event(self._memory.m, self._memory.h, row_at)
        return int(instant), int(order) >> 6

    def finish(self, until: int) -> tuple[Outcomes, Attempts]:
        """Return what is under way at a watermark; all that was reached lies before it."""
        rows = self._rows()
        attempts = rows[rows[:, f.KIND] == f.IS_ATTEMPT]
        requests = rows[rows[:, f.KIND] == f.IS_REQUEST]
        requests = requests[np.argsort(requests[:, f.NUMBER])].copy()
        self._take_over(requests)
        requests[:, f.OUTCOME] = Outcome.IN_FLIGHT
        requests[:, f.REASON] = requests[:, f.RANK] = 0
        requests[:, f.VISIBLE_AT] = MISSING
        requests[:, f.SOURCE] = -1  # a hit under way is nothing yet
        columns = requests[:, f.NUMBER : f.NUMBER + f.OUTCOME_COLUMNS].T.copy()
        order = np.lexsort((attempts[:, f.A_ATTEMPT], attempts[:, f.A_NUMBER]))
        attempts = attempts[order].copy()
        waits = attempts[:, f.A_WAITS] == 1
        attempts[waits, f.A_OUTCOME] = Outcome.IN_FLIGHT
        attempts[:, f.A_REASON] = 0
        attempts[attempts[:, f.A_EXECUTION] < 0, f.A_BATCH_SIZE] = 0
        under_way = attempts[:, f.A_NUMBER : f.A_NUMBER + f.ATTEMPT_COLUMNS].T.copy()
        nan = np.full(len(requests), np.nan)
        return as_outcomes(list(columns), nan), as_attempts(under_way)

    def statistics(self, until: int) -> dict[str, dict[str, int]]:
        """Return what the replicas did in [start, until), by name of the variant."""
        m, rows = self._memory.m, self._rows()
        found = {}
        for place, name in enumerate(self.names):
            at = int(m[f.VARIANTS]) + place * f.VARIANT_SIZE
            v = m[at : at + f.VARIANT_SIZE]
            name_of = (rows[:, f.A_NUMBER] << 16) + rows[:, f.A_ATTEMPT]
            first = (rows[:, f.KIND] == f.IS_ATTEMPT) & (rows[:, f.A_VARIANT] == place)
            first &= (rows[:, f.A_STATE] == f.RUNNING_IN) & (rows[:, f.A_EXECUTION] == name_of)
            running = int(np.maximum(until - rows[first, f.A_STARTED_AT], 0).sum())
            there = int(v[f.ALIVE_NS] + v[f.ALIVE] * max(until - int(v[f.ALIVE_SINCE]), 0))
            found[name] = {
                "busy_ns": int(v[f.BUSY_NS]) + running,
                "replica_ns": there,
                "slot_ns": there * int(v[f.SLOTS]),
            }
        return found

    @property
    def width(self) -> int:
        """Number of features of a request."""
        return self._memory.values.shape[1]

    @property
    def needed(self) -> Ints:
        """Numbers of the requests whose values may be asked for again."""
        m, e = self._memory.m, self._memory.e
        if not m[f.CACHE_SIZE] and not self._says_last_value:
            return np.empty(0, np.int64)
        rows = self._rows()
        repeats = (rows[:, f.KIND] == f.IS_REQUEST) & (rows[:, f.SAID] == f.BY_SOURCE)
        first, count = int(m[f.LAST_ANSWERS]), int(m[f.INSTRUMENTS])
        last = m[first : first + count]
        entry, kept = int(m[f.CACHE_NEWEST]), []
        while entry:
            kept.append(int(e[entry, 6]))
            entry = int(e[entry, 3])
        parts = (np.array(kept, np.int64), last[last >= 0], rows[repeats, f.SOURCE])
        found: Ints = np.unique(np.concatenate(parts))
        return found

    @property
    def counts(self) -> dict[str, int]:
        """Requests by outcome so far, all of them as `submitted`, and rows passed over."""
        m = self._memory.m
        counted = {kind.name.lower(): int(m[f.COUNTS + kind]) for kind in Outcome}
        submitted = int(m[f.NEXT_NUMBER])
        counted["in_flight"] = submitted - sum(counted.values())
        rows, skipped = int(m[f.ROWS_SEEN]), int(m[f.SKIPPED])
        return {"submitted": submitted, **counted, "rows": rows, "skipped": skipped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        spec, starts = self._bank
        for array in (*spec, starts):
            array.flags.writeable = False
        self._bank = LatencyBank(LatencySpec(*spec), starts)

    def _parts(self) -> list[Any]:
        memory = self._memory
        bits = memory.values.view(np.int64)
        return [*memory[:6], memory.values, bits, memory.y]

    def _rows(self) -> Ints:
        m = self._memory.m
        return m[int(m[f.ROWS]) :].reshape(-1, f.ROW_SIZE)

    def _served(self) -> Served | None:
        m, o, y = self._memory.m, self._memory.o, self._memory.y
        if not m[f.KEEPS_SERVED]:
            return None
        count = int(m[f.EXECUTED])
        columns: list[Any] = [*_columns(o, count, f.O_SERVED, 5), y[:count, self.width :].copy()]
        return Served(*columns)

    def _look_at_values(self) -> None:
        """Predict what has just been served, and tell the attempts whether it is a number."""
        served = self._served()
        assert served is not None
        m = self._memory.m
        m[f.EXECUTED] = 0
        for value, number, attempt, row in zip(
            self._predict(served), served.number, served.attempt, served.address, strict=True
        ):
            found = m[row + f.A_NUMBER] == number and m[row + f.A_ATTEMPT] == attempt
            if m[row + f.KIND] == f.IS_ATTEMPT and found:
                m[row + f.A_IS_NAN] = bool(np.isnan(value))

    def _take_over(self, requests: Ints) -> None:
        """Let requests say what their attempts have reached."""
        m = self._memory.m
        for request in requests:
            a = int(request[f.ATTEMPT_ROW])
            if a:
                request[f.SENT_AT : f.ARRIVED_AT + 1] = m[a + f.A_SENT_AT : a + f.A_ARRIVED_AT + 1]
                request[[f.ROUTED_AT, f.BATCHED_AT]] = m[[a + f.A_ROUTED_AT, a + f.A_BATCHED_AT]]
                request[f.STARTED_AT] = m[a + f.A_STARTED_AT]
                request[f.COMPLETED_AT] = m[a + f.A_COMPLETED_AT]
                request[[f.VARIANT, f.REPLICA]] = m[[a + f.A_VARIANT, a + f.A_REPLICA]]
                request[f.EXECUTION], request[f.FALLBACK] = m[[a + f.A_EXECUTION, a + f.A_FALLBACK]]
                request[f.BATCH_SIZE] = m[a + f.A_BATCH_SIZE] if m[a + f.A_EXECUTION] >= 0 else 0


def _columns(o: Ints, count: int, first: int, width: int) -> Ints:
    # a copy even of one record, which the next push overwrites
    return o[:count, first : first + width].T.copy()
