"""Hardware in the loop: service times measured on real replicas, recorded, and told again."""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.errors import LatencyError
from clock.units import format_instant
from inference.errors import ModelFailedError
from inference.rows import MISSING, Rows
from inference.schedule import Outcome

if TYPE_CHECKING:
    from inference.backend import Backend, Reply

__all__ = ["COLUMNS", "Measuring", "Recorded", "machine"]

Ints = NDArray[np.int64]

COLUMNS = (
    "loop",
    "instrument",
    "emitted_at",
    "tie",
    "attempt",
    "duration",
    "sent_at",
    "started_at",
    "completed_at",
    "received_at",
    "replica",
    "machine",
)
"""Of a recording. `emitted_at` is an instant of the run; the four stamps are the host's, UTC.
`duration` is from `started_at` to `completed_at`; where the replica's host has another clock, which
leaves those null, it is from `sent_at` to `received_at`."""


class Entry(NamedTuple):
    """One measurement, field for field as `COLUMNS`; instants and duration in nanoseconds."""

    loop: str
    instrument: str
    emitted_at: int
    tie: int
    attempt: int
    duration: int
    sent_at: int
    started_at: int
    completed_at: int
    received_at: int
    replica: str
    machine: str


class Measuring:
    """Sends rows to a real deployment, as many at once as it has replicas, and keeps the times."""

    def __init__(
        self, backend: Backend, loop: str, instruments: Sequence[str], *, replicas: int
    ) -> None:
        """Measure for one loop.

        Args:
            backend: The deployment; each of its replicas serves one request at a time.
            loop: Name of the loop, for the recording.
            instruments: Names of the run's instruments, by index.
            replicas: How many there are.
        """
        self._backend, self._loop, self._instruments = backend, loop, instruments
        self._replicas, self.machine = replicas, machine()
        self.entries: list[Entry] = []

    def of(self, rows: Rows, features: NDArray[np.float64]) -> Ints:
        """Return the service time of each row, measured now, in order; see `RowTimes`."""
        first = len(self.entries)
        waiting: deque[tuple[int, Future[Reply]]] = deque()
        try:
            for place, row in enumerate(features):
                if len(waiting) == self._replicas:
                    self._keep(rows, *waiting.popleft())
                waiting.append((place, self._backend.submit(row)))
            while waiting:
                self._keep(rows, *waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()
        return np.array([entry.duration for entry in self.entries[first:]], np.int64)

    def _keep(self, rows: Rows, place: int, future: Future[Reply]) -> None:
        reply = future.result()
        emitted_at = int(rows.emitted_at[place])
        if reply.outcome != Outcome.COMPLETED:
            raise ModelFailedError(
                f"the replicas of inference '{self._loop}' must answer every row that is measured: "
                f"the one of {format_instant(emitted_at)} ended as "
                f"{reply.outcome.name.lower()} ({reply.error or reply.reason.name.lower()})."
            )
        stamps = (reply.started_at, reply.completed_at)
        if MISSING in stamps:
            stamps = (reply.sent_at, reply.received_at)
        self.entries.append(
            Entry(
                self._loop,
                self._instruments[int(rows.instrument[place])],
                emitted_at,
                int(rows.tie[place]),
                0,
                max(stamps[1] - stamps[0], 0),
                reply.sent_at,
                reply.started_at,
                reply.completed_at,
                reply.received_at,
                reply.replica,
                self.machine,
            )
        )


class Recorded:
    """The service times that an earlier run measured."""

    def __init__(self, path: Path, loop: str, instruments: Sequence[str]) -> None:
        """Read the times of one loop.

        Args:
            path: What a run has saved as `service_times.parquet`.
            loop: Name of the loop.
            instruments: Names of the run's instruments, by index.

        Raises:
            LatencyError: If it cannot be read, or is no recording.
        """
        self._path, self._loop, self._instruments = path, loop, instruments
        table = _table(path)
        index = {name: place for place, name in enumerate(instruments)}
        self._durations: dict[tuple[int, int, int], int] = {}
        for name, instrument, emitted_at, tie, attempt, duration in zip(*table, strict=True):
            if name == loop and instrument in index and attempt == 0:
                if duration < 0:
                    raise LatencyError(f"{path}: a duration must not be below 0: got {duration}.")
                self._durations[index[instrument], emitted_at, tie] = duration

    def of(self, rows: Rows, features: NDArray[np.float64]) -> Ints:
        """Return the recorded service time of each row; see `RowTimes`."""
        names = zip(
            rows.instrument.tolist(), rows.emitted_at.tolist(), rows.tie.tolist(), strict=True
        )
        return np.array([self._one(*name) for name in names], np.int64)

    def _one(self, instrument: int, emitted_at: int, tie: int) -> int:
        found = self._durations.get((instrument, emitted_at, tie))
        if found is None:
            raise LatencyError(
                f"{self._path} must hold the time of every request that may be made: it lacks that "
                f"of inference '{self._loop}' about {self._instruments[instrument]}, the row of "
                f"{format_instant(emitted_at)} (tie {tie}). Record it with the same scenario, and "
                "without `from`."
            )
        return found


def machine() -> str:
    """Return in words where a measurement was made."""
    return f"{platform.node()}, {platform.machine()}, {os.cpu_count()} processors"


def _table(path: Path) -> list[list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = COLUMNS[: COLUMNS.index("duration") + 1]
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in wanted if name not in file.schema_arrow.names]
            table = None if missing else file.read(columns=list(wanted))
    except (OSError, pa.ArrowInvalid) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LatencyError(f"{path} must be a recording of service times: {first}") from None
    if table is None:
        raise LatencyError(
            f"{path} must be a recording of service times: it has no column "
            f"`{'`, `'.join(missing)}`. Take the service_times.parquet of a run."
        )
    kinds = {"loop": pa.string(), "instrument": pa.string()}
    columns = []
    for name in wanted:
        column = table.column(name)
        try:
            found = column.cast(kinds.get(name, pa.int64())).to_pylist()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            found = [None]
        if None in found:
            raise LatencyError(
                f"{path}: `{name}` must hold what a run has recorded in every row: got "
                f"{column.type}, or nothing in some. Record it anew."
            )
        columns.append(found)
    return columns
