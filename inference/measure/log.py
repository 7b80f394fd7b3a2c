"""Log: every request of a load with its stamps, real or simulated, in columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.rows import MISSING
from inference.schedule import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

    from inference.backend import Reply

__all__ = ["LATE_NS", "Log", "LogBuilder", "join_logs", "read_log", "write_log"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LATE_NS: Final = 1_000_000
"""A request that left so much after it was due was late."""

MOST_LATE: Final = 0.01
"""Share of late requests from which on a load counts as lagging: it was not the load asked for."""


class Log(NamedTuple):
    """Requests by number; columns of one length, instants in ns UTC, MISSING where not reached.

    `scheduled_at` is when the load wanted it sent, `submitted_at` when the generator did send it.
    `sent_at` to `received_at` are the reply's. `query` tells which query of several requests it
    belongs to. In a log of a simulated load all instants are simulated.
    """

    number: Ints
    query: Ints
    scheduled_at: Ints
    submitted_at: Ints
    sent_at: Ints
    started_at: Ints
    completed_at: Ints
    received_at: Ints
    outcome: Ints
    reason: Ints
    batch_size: Ints
    replica: NDArray[Any]
    value: Floats

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which requests were answered."""
        return self.outcome == Outcome.COMPLETED

    @property
    def latency(self) -> Floats:
        """Nanoseconds from when a request was due until its answer; infinite where there is none.

        From the instant at which it was due, not from the one at which it was sent: what a slow
        deployment does to the generator is part of what its users wait for.
        """
        late = (self.received_at - self.scheduled_at).astype(np.float64)
        return np.where(self.answered, late, np.inf)

    @property
    def lag(self) -> Ints:
        """Nanoseconds by which each request was sent after it was due."""
        return self.submitted_at - self.scheduled_at

    @property
    def lagged(self) -> bool:
        """Whether the generator did not keep to the schedule, so that it was another load."""
        return bool((self.lag > LATE_NS).mean() > MOST_LATE) if len(self.number) else False

    def legs(self) -> dict[str, Ints]:
        """Return out, service and back of the answered requests whose replica's stamps are known.

        They add up to the latency less the generator's lag. `out` ends where the execution begins:
        where requests wait for one another, it holds the wait.
        """
        known = self.answered & (self.started_at != MISSING) & (self.completed_at != MISSING)
        return {
            "out": (self.started_at - self.submitted_at)[known],
            "service": (self.completed_at - self.started_at)[known],
            "back": (self.received_at - self.completed_at)[known],
        }

    def take(self, places: Any) -> Log:
        """Return the requests at some places, a slice or an array."""
        return Log(*(column[places] for column in self))


class LogBuilder:
    """Collects replies into a `Log`, in the order in which the requests were sent."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def add(self, query: int, scheduled_at: int, submitted_at: int, reply: Reply) -> None:
        """Note one answered, or failed, request."""
        self._rows.append(
            (
                len(self._rows),
                query,
                scheduled_at,
                submitted_at,
                reply.sent_at,
                reply.started_at,
                reply.completed_at,
                reply.received_at,
                int(reply.outcome),
                int(reply.reason),
                reply.batch_size,
                reply.replica,
                reply.value,
            )
        )

    def build(self) -> Log:
        """Return what was noted."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(Log._fields)
        kinds: list[Any] = [np.int64] * (len(Log._fields) - 2) + [object, np.float64]
        return Log(*(np.array(c, k) for c, k in zip(columns, kinds, strict=True)))


def join_logs(logs: list[Log]) -> Log:
    """Return several logs one after the other; numbers begin anew with each."""
    return Log(*(np.concatenate(columns) for columns in zip(*logs, strict=True)))


_INSTANTS: Final = {name for name in Log._fields if name.endswith("_at")}
_SMALL: Final = {"outcome", "reason"}


def log_table(log: Log) -> pa.Table:
    """Return a log as a table; a stamp that was not reached is null."""
    import pyarrow as pa

    made = {}
    for name, column in zip(Log._fields, log, strict=True):
        if name in _INSTANTS:
            stamps = pa.array(column, pa.int64(), mask=column == MISSING)
            made[name] = stamps.cast(pa.timestamp("ns", "UTC"))
        elif name == "replica":
            made[name] = pa.array(list(column), pa.string()).dictionary_encode()
        else:
            made[name] = pa.array(column)
    return pa.table(made)


def write_log(log: Log, path: Path, more: dict[str, NDArray[Any]] | None = None) -> None:
    """Write a log as Parquet, with further columns if any."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = log_table(log)
    for name, column in (more or {}).items():
        table = table.append_column(name, pa.array(column))
    pq.write_table(table, path, compression="zstd")


def read_log(path: Path) -> tuple[Log, dict[str, NDArray[Any]]]:
    """Return a log, and the further columns, that `write_log` wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    found: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        column = table.column(name)
        if name in _INSTANTS:
            column = column.cast(pa.int64()).fill_null(MISSING)
        if name == "replica":
            found[name] = np.array(column.to_pylist(), object)
        else:
            found[name] = column.to_numpy()
    return Log(*(found.pop(name) for name in Log._fields)), found
