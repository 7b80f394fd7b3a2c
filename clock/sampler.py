"""Latency models made ready to draw from, alone, in bulk, or inside another kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clock import latency as models
from clock.compiled import readonly
from clock.draws import (
    CONSTANT,
    EMPIRICAL,
    GAMMA,
    INTERPOLATED,
    LOGNORMAL,
    UNIFORM,
    LatencySpec,
    add_draws,
    draw_latency,
    fold_in,
)
from clock.elementary import log
from clock.randomness import stream_key
from clock.recorded import read_latencies, read_recording

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LatencySpec", "Sampler", "draw_latency"]


class Sampler:
    """Draws latencies from one model in one named stream.

    A draw depends on the seed, the stream, the identity of the thing it is for and, for
    `interpolated`, the instant; never on how many draws came before.

    >>> from clock.latency import Uniform
    >>> sampler = Sampler(Uniform(low="1ms", high="2ms"), seed=7, stream="order_entry")
    >>> sampler.draw(0, 5) == sampler.draw_many(0, [4, 5])[1]
    np.True_
    """

    __slots__ = ("_constant_ns", "spec")

    def __init__(
        self, model: models.LatencyModel, seed: int, stream: str, base: Path | None = None
    ) -> None:
        """Read what the model needs.

        Args:
            model: The latency model.
            seed: The scenario's seed.
            stream: Name of the stream; two samplers of one name and seed draw the same numbers.
            base: Folder at which relative paths start; the working folder by default.

        Raises:
            LatencyError: If a recorded file cannot be used.
        """
        terms = _terms(model)
        self.spec = _specify(terms, stream_key(seed, stream), base or Path())
        fixed = all(code == CONSTANT for code in self.spec.codes)
        self._constant_ns = int(self.spec.ranges[:, 0].sum()) if fixed else None

    @property
    def constant_ns(self) -> int | None:
        """The latency of every draw, or None where draws differ."""
        return self._constant_ns

    @property
    def is_zero(self) -> bool:
        """Whether every draw is zero."""
        return self._constant_ns == 0

    def draw(self, instant: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
        """Return the latency in nanoseconds of the thing identified by (a, b, c, d).

        Args:
            instant: When the latency begins.
            a: First part of the identity, an int64 as all parts are; their order counts.
            b: Second part.
            c: Third part.
            d: Fourth part.
        """
        if self._constant_ns is not None:
            return self._constant_ns
        return int(draw_latency(self.spec, instant, a, b, c, d))

    def draw_many(
        self,
        instants: ArrayLike,
        a: ArrayLike = 0,
        b: ArrayLike = 0,
        c: ArrayLike = 0,
        d: ArrayLike = 0,
    ) -> NDArray[np.int64]:
        """Return one latency a row, bit for bit what `draw` returns for it.

        Every argument is an int64 array of shape (n,), or one number for all rows.

        Returns:
            Nanoseconds, read-only, shape (n,); (1,) where every argument is one number.

        Raises:
            ValueError: If two arrays differ in length.
        """
        columns = [np.atleast_1d(np.asarray(part)) for part in (instants, a, b, c, d)]
        (rows,) = np.broadcast_shapes(*(column.shape for column in columns))
        if self._constant_ns is not None:
            return readonly(np.full(rows, self._constant_ns, np.int64))
        whole = [_whole(column) for column in columns]
        keys = np.full(rows, self.spec.key[0], np.uint64)
        for parts in whole[1:]:
            fold_in(keys, parts)
        drawn = np.zeros(rows, np.int64)
        add_draws(drawn, keys, self.spec, whole[0])
        return readonly(drawn)


def _whole(column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a column as kernels take it: contiguous int64, read-only; floats are our own bug."""
    return readonly(np.ascontiguousarray(column.astype(np.int64, casting="same_kind", copy=False)))


def _terms(model: models.LatencyModel) -> list[models.LatencyModel]:
    if isinstance(model, models.Sum):
        return [term for part in model.terms for term in _terms(part)]
    return [model]


def _specify(terms: list[models.LatencyModel], key: np.uint64, base: Path) -> LatencySpec:
    codes = np.zeros(len(terms), np.int64)
    ranges = np.zeros((len(terms), 2), np.int64)
    params = np.zeros((len(terms), 3), np.float64)
    empty = np.zeros(0, np.int64)
    instants, table = [empty], [empty]
    rows = 0
    for i, term in enumerate(terms):
        if isinstance(term, models.Constant):
            ranges[i, 0] = term.latency
        elif isinstance(term, models.Empirical | models.Interpolated):
            codes[i] = EMPIRICAL if isinstance(term, models.Empirical) else INTERPOLATED
            stamps, recorded = _recording(term, base)
            instants.append(stamps)
            table.append(recorded)
            ranges[i] = rows, rows + len(recorded)
            rows += len(recorded)
        else:
            codes[i], params[i] = _parameters(term)
    return LatencySpec(
        key=readonly(np.array([key], np.uint64)),
        codes=readonly(codes),
        ranges=readonly(ranges),
        params=readonly(params),
        instants=readonly(np.concatenate(instants)),
        table=readonly(np.concatenate(table)),
    )


def _recording(
    term: models.Empirical | models.Interpolated, base: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if isinstance(term, models.Interpolated):
        return read_recording(base / term.path, term.instant_column, term.latency_column)
    # Sorted, so that a draw does not depend on the order of the file's rows.
    recorded = np.sort(read_latencies(base / term.path, term.column))
    return np.zeros_like(recorded), recorded


def _parameters(term: models.LatencyModel) -> tuple[int, tuple[float, float, float]]:
    match term:
        case models.Uniform():
            return UNIFORM, (float(term.low), float(term.high - term.low), 0.0)
        case models.Lognormal():
            sigma = log(term.p99 / term.median) / models.Z_99
            return LOGNORMAL, (float(term.median), sigma, 0.0)
        case models.Gamma():
            # Below a shape of one the method draws from shape + 1 and takes it down by a power.
            d = (term.shape + 1 if term.shape < 1 else term.shape) - 1 / 3
            return GAMMA, (term.mean / term.shape, d, 1 / term.shape if term.shape < 1 else 0.0)
        case _:
            raise AssertionError(f"a latency model has no parameters: got {term!r}")
