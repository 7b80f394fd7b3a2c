"""Many latency models in a few flat arrays, so that one compiled kernel serves every scenario."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clock.compiled import kernel, readonly
from clock.draws import (
    CONSTANT,
    GAMMA,
    KEYED,
    LatencySpec,
    _draw_formula,
    _draw_recorded,
    _look_up,
)
from clock.randomness import fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LatencyBank", "draw_from_bank", "make_bank", "with_keyed"]


class LatencyBank(NamedTuple):
    """Models one after another; model *i* has the terms from `starts[i]` to `starts[i + 1]`."""

    spec: LatencySpec
    """The terms of all models; `key` holds the stream's key of each model."""
    starts: NDArray[np.int64]


def make_bank(specs: Sequence[LatencySpec]) -> LatencyBank:
    """Return models as a bank: number *i* draws what the *i*-th specification draws.

    >>> from clock.latency import Uniform
    >>> from clock.sampler import Sampler
    >>> model = Uniform(low="1ms", high="2ms")
    >>> samplers = [Sampler(model, seed=7, stream=stream) for stream in ("out", "back")]
    >>> bank = make_bank([sampler.spec for sampler in samplers])
    >>> draw_from_bank(bank, 1, 0, 5, 0, 0, 0) == samplers[1].draw(0, 5)
    True
    """
    shifted, rows = [], 0
    for spec in specs:
        recorded = spec.codes > GAMMA
        shifted.append(spec.ranges + rows * recorded[:, None])
        rows += len(spec.table)
    joined = LatencySpec(
        key=np.concatenate([spec.key for spec in specs]),
        codes=np.concatenate([spec.codes for spec in specs]),
        ranges=np.concatenate(shifted),
        params=np.concatenate([spec.params for spec in specs]),
        instants=np.concatenate([spec.instants for spec in specs]),
        table=np.concatenate([spec.table for spec in specs]),
    )
    starts = np.cumsum([0, *(len(spec.codes) for spec in specs)])
    parts: list[Any] = [readonly(np.ascontiguousarray(part)) for part in joined]
    frozen = LatencySpec(*parts)
    return LatencyBank(frozen, readonly(starts.astype(np.int64)))


def with_keyed(
    bank: LatencyBank, keys: NDArray[np.int64], latencies: NDArray[np.int64]
) -> LatencyBank:
    """Return a bank whose only `KEYED` term knows these latencies, and no others.

    Args:
        bank: The bank; the term may know others already.
        keys: Sorted; the bits of `fold(fold(fold(key, a), b), c)`.
        latencies: Nanoseconds, one a key.
    """
    spec = bank.spec
    (term,) = np.flatnonzero(spec.codes == KEYED).tolist()
    ranges = spec.ranges.copy()
    kept = len(spec.table) - int(ranges[term, 1] - ranges[term, 0])  # they are always the last
    ranges[term] = kept, kept + len(keys)
    parts: list[Any] = [
        *spec[:2],
        readonly(ranges),
        spec.params,
        readonly(np.concatenate((spec.instants[:kept], keys))),
        readonly(np.concatenate((spec.table[:kept], latencies))),
    ]
    return LatencyBank(LatencySpec(*parts), bank.starts)


@kernel
def draw_from_bank(
    bank: LatencyBank, model: int, instant: int, a: int, b: int, c: int, d: int
) -> int:
    """Return what `draw_latency` returns for one of the models of a bank."""
    spec = bank.spec
    first, last = bank.starts[model], bank.starts[model + 1]
    identity = fold(fold(fold(fold(spec.key[model], a), b), c), d)
    total = 0
    for term in range(first, last):
        code = spec.codes[term]
        if code == CONSTANT:
            total += spec.ranges[term, 0]
        elif code <= GAMMA:
            p0, p1, p2 = spec.params[term, 0], spec.params[term, 1], spec.params[term, 2]
            total += _draw_formula(code, fold(identity, term - first), p0, p1, p2)
        elif code == KEYED:  # by the thing, not by how often it was asked about
            total += _look_up(spec, term, fold(fold(fold(spec.key[model], a), b), c))
        else:
            total += _draw_recorded(spec, term, fold(identity, term - first), instant)
    return total
