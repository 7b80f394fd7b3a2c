"""Errors of the simulation, and of the clock.

* SimulationError
    * InputError           a user's file, flag or value is wrong; the command line exits 2
        * UnitError        text that is no duration or instant
        * LatencyError     a latency model that cannot be
    * ClockError
        * TimeWentBackwardsError
        * CycleError
"""

from __future__ import annotations


class SimulationError(Exception):
    """Anything Lightcone itself refuses to do."""


class InputError(SimulationError, ValueError):
    """A user's input is wrong; the message says where, which rule, and what to do."""


class UnitError(InputError):
    """A text or number that cannot be read as a duration or an instant."""


class LatencyError(InputError):
    """A latency model whose parameters or recorded file cannot be used."""


class ClockError(SimulationError):
    """A clock was asked for something that time does not do."""


class TimeWentBackwardsError(ClockError, ValueError):
    """Something was scheduled, or the clock advanced, before the present instant."""


class CycleError(ClockError, RuntimeError):
    """Actions kept scheduling each other at one instant, so that time stood still."""
