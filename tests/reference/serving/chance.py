"""Everything drawn in a deployment: uniform numbers by identity, and service times by batch size.

The hash is written out anew, from the published recipe of splitmix64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from tests.reference.draws import Draw, make_draw

Identity = tuple[int, int, int, int]
Service = Callable[[int, Identity, int], int]
"""Maps (instant, identity, size) to a duration."""

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mixed(z: int) -> int:
    """Return the finaliser of splitmix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def fold(key: int, part: int) -> int:
    """Return the key of one part of a key's space."""
    return mixed((key + (part + 1) * GOLDEN) & MASK)


class Chance:
    """The uniform numbers of one stream."""

    def __init__(self, seed: int, stream: str) -> None:
        name = int.from_bytes(blake2b(stream.encode(), digest_size=8).digest(), "little")
        self.key = mixed((name + (seed + 1) * GOLDEN) & MASK)

    def __call__(self, identity: Identity, j: int = 0) -> float:
        """Return number *j* of an identity, strictly between 0 and 1."""
        key = self.key
        for part in (*identity, j):
            key = fold(key, part)
        return ((key >> 12) + 0.5) * 2.0**-52


def make_service(model: Any, seed: int, stream: str) -> Service:
    """Return the service time of a deployment as a function of the size of the batch."""
    if isinstance(model, Mapping) and model["kind"] == "affine":
        base, each = make_draw(model["base"], seed, stream), make_draw(model["per_item"], 0, "")
        return lambda now, key, size: base(now, *key) + each(0, 0, 0, 0, 0) * size
    if isinstance(model, Mapping) and model["kind"] == "table":
        sizes = {size: make_draw(one, seed, stream) for size, one in model["sizes"].items()}
        return _between(sizes)
    if isinstance(model, Mapping) and model["kind"] == "profile":
        return _between(_recorded(model, Chance(seed, stream)))
    draw = make_draw(model, seed, stream)
    return lambda now, key, size: draw(now, *key)


def _between(sizes: Mapping[int, Draw]) -> Service:
    def draw(now: int, key: Identity, size: int) -> int:
        low = max((known for known in sizes if known <= size), default=min(sizes))
        high = min(known for known in sizes if known >= size or (known == low and size < low))
        first, last = sizes[low](now, *key), sizes[high](now, *key)
        if low == high or size <= low:
            return first
        return math.floor(first + (last - first) * ((size - low) / (high - low)) + 0.5)

    return draw


def _recorded(model: Mapping[str, Any], chance: Chance) -> dict[int, Draw]:
    import polars as pl

    rows = pl.read_parquet(model["path"])
    size_column = model.get("size_column", "batch_size")
    time_column = model.get("latency_column", "service_time")
    times: dict[int, list[int]] = {}
    for size, time in rows.select(size_column, pl.col(time_column).cast(pl.Int64)).iter_rows():
        times.setdefault(size, []).append(time)

    def draw_from(sample: list[int]) -> Draw:
        def draw(now: int, a: int, b: int, c: int, d: int) -> int:
            return sample[int(chance((a, b, c, d)) * len(sample))]

        return draw

    return {size: draw_from(sorted(sample)) for size, sample in times.items()}
