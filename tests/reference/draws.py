"""Latencies of the reference: the project's sampler is the only thing it shares with the engine.

A latency is written as an `int` (constant, ns), a text (`"20ms"`), a mapping with a `kind` as in a
scenario, or a function of `(instant, a, b, c, d)` that a test brings itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clock.units import parse_duration

Draw = Callable[[int, int, int, int, int], int]
"""Maps (instant at which the leg begins, identity a, b, c, d) to a duration in ns."""


def make_draw(latency: Any, seed: int, stream: str) -> Draw:
    """Return the function that draws durations of one stream."""
    if callable(latency):
        return latency
    if isinstance(latency, str):
        latency = parse_duration(latency)
    if isinstance(latency, int):
        constant = latency
        return lambda instant, a, b, c, d: constant
    return _sampled(latency, seed, stream)


def _sampled(latency: Mapping[str, Any], seed: int, stream: str) -> Draw:
    from pydantic import TypeAdapter

    from clock.latency import LatencyModel
    from clock.sampler import Sampler

    sampler = Sampler(TypeAdapter(LatencyModel).validate_python(dict(latency)), seed, stream)

    def draw(instant: int, a: int, b: int, c: int, d: int) -> int:
        return int(sampler.draw(instant, a, b, c, d))

    return draw
