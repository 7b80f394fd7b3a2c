"""Where an instant lies in its day and its week, in UTC."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from featurizer.feature import Batch, FeatureDefinition, Input, Market, Output

__all__ = ["DayOfWeek", "TimeOfDay"]

_DAY = 86_400_000_000_000
_MONDAY = 4 * _DAY  # the epoch was a Thursday


class _Calendar(FeatureDefinition):
    """The sine or cosine of an instant's place in a period: of the emission instant, in UTC.

    Records of one kind carry it (quotes by default), but it does not depend on them.
    """

    held = False
    unit: ClassVar[str] = "1, from -1 to 1"
    warm_up: ClassVar[str] = "none"
    source: ClassVar[str] = "definition"

    wave: Literal["sine", "cosine"] = "sine"
    kind: str = "quotes"
    """Kind of the records that carry it."""

    def inputs(self) -> tuple[Input, ...]:
        """Return the records that carry it."""
        return (Market(self.kind, ("sequence",)),)

    def start(self) -> None:
        """Return nothing: there is no state."""
        return

    @abstractmethod
    def turns(self, instants: NDArray[Any]) -> NDArray[Any]:
        """Return each instant's share of its period, from 0 to 1. Shape (n,)."""

    def push(self, state: None, batch: Batch) -> Output:
        """Work out the reads, and the updates where wanted."""
        from featurizer.operators.waves import waves

        cosine = self.wave == "cosine"
        reads = waves(self.turns(batch.read_times), cosine)
        if not batch.materialise:
            return Output(reads, batch.times)
        return Output(reads, waves(self.turns(batch.times), cosine))


class TimeOfDay(_Calendar):
    """The sine (or cosine) of the time since midnight UTC, a day being a full turn."""

    formula: ClassVar[str] = "sin or cos of 2 pi * (now mod day) / day"

    def turns(self, instants: NDArray[Any]) -> NDArray[Any]:
        """Return the share of the day that is over."""
        return (instants % _DAY) / float(_DAY)


class DayOfWeek(_Calendar):
    """The sine (or cosine) of the day of the week, in UTC: Monday 0, Sunday six sevenths of a turn.

    It holds for the whole day.
    """

    formula: ClassVar[str] = "sin or cos of 2 pi * weekday / 7, Monday being 0"

    def turns(self, instants: NDArray[Any]) -> NDArray[Any]:
        """Return the share of the week that its day opens with."""
        return ((instants - _MONDAY) // _DAY % 7) / np.float64(7.0)
