"""Service times that were measured: of each row that may be asked about, by the row's identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clock.draws import fold_in
from clock.randomness import stream_key
from inference.rows import Rows

if TYPE_CHECKING:
    from inference.serving.records import Setting

__all__ = ["RowTimes", "ServiceTimes", "row_keys", "service_stream"]

Ints = NDArray[np.int64]


class RowTimes(Protocol):
    """Where the service time of a row comes from: a measurement, or a recording of one."""

    def of(self, rows: Rows, features: NDArray[np.float64]) -> Ints:
        """Return the service time of each row in nanoseconds, shape (n,).

        Args:
            rows: Rows that may be asked about.
            features: What the model would read of them, shape (n, n_features).

        Raises:
            ModelFailedError: If a replica answers one with an error.
            LatencyError: If a recording lacks one.
        """


class ServiceTimes:
    """The times of all rows so far; the simulated stack looks them up when it serves one.

    Which rows are asked about depends on when the others were answered, so that every row that may
    be is measured, before the schedule of its window is simulated.
    """

    def __init__(self, source: RowTimes, given: Setting) -> None:
        """Begin without a row."""
        self._source, self._given = source, given
        self._keys, self._durations = np.empty(0, np.int64), np.empty(0, np.int64)

    def learn(self, rows: Rows) -> tuple[Ints, Ints]:
        """Find out about new rows; return the keys of all, sorted, and their durations."""
        features = rows.values[:, self._given.columns]
        askable: NDArray[np.bool_] = np.ones(len(features), np.bool_)
        if not self._given.accepts_nan:
            askable = np.logical_not(np.isnan(features).any(axis=1))
        if askable.any():
            columns: list[Any] = [column[askable] for column in rows]
            known = Rows(*columns)
            keys = row_keys(service_key(self._given), *identity(known))
            durations = self._source.of(known, features[askable])
            self._keys = np.concatenate((self._keys, keys))
            self._durations = np.concatenate((self._durations, durations))
            order = np.argsort(self._keys, kind="stable")
            self._keys, self._durations = self._keys[order], self._durations[order]
        return self._keys, self._durations


def identity(rows: Rows) -> tuple[Ints, Ints, Ints]:
    """Return what tells rows apart whatever the chunking: instrument, emission instant, tie."""
    return rows.instrument, rows.emitted_at, rows.tie


def service_stream(loop: str) -> str:
    """Return the name of the stream of a loop's service times."""
    return f"inference/{loop}/service_time"


def service_key(given: Setting) -> np.uint64:
    """Return the key of the stream of a loop's service times."""
    return stream_key(given.seed, service_stream(given.name))


def row_keys(key: np.uint64, instrument: Ints, emitted_at: Ints, tie: Ints) -> Ints:
    """Return one key a row, as the kernels fold it, with the bits of an int64."""
    keys = np.full(len(emitted_at), key, np.uint64)
    for part in (instrument, emitted_at, tie):
        fold_in(keys, np.ascontiguousarray(part, np.int64))
    return keys.view(np.int64)
