"""Time, and nothing about markets or models.

Kernels, latency models and samplers are in `clock.compiled`, `clock.randomness`, `clock.latency`
and `clock.sampler`, which import numba or pydantic and are imported where they are used.
"""

from __future__ import annotations

from clock.base import NEVER, Action, Clock, Handle, Key
from clock.errors import (
    ClockError,
    CycleError,
    InputError,
    LatencyError,
    SimulationError,
    TimeWentBackwardsError,
    UnitError,
)
from clock.rank import FIRST_RANK, Rank
from clock.simulated import SimulatedClock
from clock.units import (
    Duration,
    Instant,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
)

__all__ = [
    "FIRST_RANK",
    "NEVER",
    "Action",
    "Clock",
    "ClockError",
    "CycleError",
    "Duration",
    "Handle",
    "InputError",
    "Instant",
    "Key",
    "LatencyError",
    "Rank",
    "SimulatedClock",
    "SimulationError",
    "TimeWentBackwardsError",
    "UnitError",
    "format_duration",
    "format_instant",
    "parse_duration",
    "parse_instant",
]
