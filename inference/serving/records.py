"""What a push of a stack brought to light, before anybody has asked a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.schedule import Attempts, Changes, Outcomes, Submissions

if TYPE_CHECKING:
    from inference.rows import Rows

__all__ = ["Collected", "Served", "Setting", "Stack"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a loop knows beside its configuration."""

    name: str
    index: int
    start: int
    seed: int
    base: Path | None
    columns: list[int]
    """Places of the columns that the model reads."""
    features: Sequence[str]
    instruments: Sequence[str]
    accepts_nan: bool
    keeps_served: bool


class Served(NamedTuple):
    """Executions in order, a row a member; their `features` have shape (n, n_features)."""

    execution: Ints
    number: Ints
    attempt: Ints
    variant: Ints
    address: Ints
    features: NDArray[np.float64]


class Collected(NamedTuple):
    """Records of a push; `outcomes` without values, but for those of a real deployment."""

    submissions: Submissions
    outcomes: Outcomes
    said: Ints | None
    """Who says the value of each outcome: `layout.BY_MODEL`, `BY_SOURCE` or `BY_CONSTANT`; None
    where a real deployment has said them all."""
    features: NDArray[np.float64]
    """The features behind each outcome, shape (n, n_features)."""
    attempts: Attempts
    changes: Changes
    served: Served | None
    """What was executed, where the values need it."""


class Stack(Protocol):
    """A deployment, simulated or real, or several behind one loop."""

    def run(self, rows: Rows, until: int, rank: int) -> int:
        """Run everything strictly before (until, rank); return how many rows were taken."""

    def collect(self) -> Collected | None:
        """Return what happened since the last call, None for nothing."""

    def submit(self, values: NDArray[np.float64], now: int, row: tuple[int, int, int, int]) -> int:
        """Ask a strategy's own request; return its number. *row* as in `new_request`."""

    def next_due(self, row_at: int) -> tuple[int, int]:
        """Return the instant and rank of what is due first; *row_at* is the next row's instant."""

    def finish(self, until: int) -> tuple[Outcomes, Attempts]:
        """Return what is under way at a watermark."""

    def statistics(self, until: int) -> dict[str, dict[str, int]]:
        """Return what the replicas did, by name of the variant."""

    @property
    def width(self) -> int:
        """Number of features of a request."""

    @property
    def needed(self) -> Ints:
        """Numbers of the requests whose values may be asked for again."""

    @property
    def counts(self) -> dict[str, int]:
        """Requests by outcome, all of them, and rows."""
