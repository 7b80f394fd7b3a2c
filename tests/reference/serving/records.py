"""Requests, their attempts, and the executions that serve them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from tests.reference.features import FeatureRow

MISSING = -(2**63)
"""Stands for an instant that was not reached."""

OWN = 1 << 32


@dataclass(eq=False)
class Attempt:
    """One sending of a request, to the end of it both at the client and in the deployment."""

    request: Request
    index: int
    variant: int
    sent_at: int
    arrived_at: int = MISSING
    routed_at: int = MISSING
    batched_at: int = MISSING
    started_at: int = MISSING
    completed_at: int = MISSING
    visible_at: int = MISSING
    """When the client stopped waiting for it."""
    ended_at: int = MISSING
    """When nothing of it was left in the deployment either."""
    replica: int = -1
    execution: int = -1
    batch_size: int = 0
    outcome: str = "in_flight"
    reason: str = "none"
    epoch: int | None = None
    """State period of the breaker in which it left; None if nobody was asked."""
    fallback: bool = False
    fate: str = ""
    """What became of its reply if the client had given it up: late, lost or cancelled."""
    accepted_at: int = MISSING
    fails: bool = False
    cancelled: bool = False
    iterations: int = 0
    placements: int = 0

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """What keys the draws of this attempt."""
        a, b, c, d = self.request.identity
        return a, b, c, d + self.index

    @property
    def key(self) -> tuple[int, int]:
        """Its place among what is due in one phase of an instant."""
        return self.request.number, self.index

    @property
    def order(self) -> tuple[int, int, int]:
        """Its place among those that wait."""
        return self.arrived_at, *self.key


@dataclass(eq=False)
class Request:
    """One question to the model, and what became of it."""

    loop: int
    number: int
    row: FeatureRow
    repeat: int
    submitted_at: int
    own: bool = False
    values: list[float] = field(default_factory=list)
    visible_at: int = MISSING
    rank: int = -1
    outcome: str = "in_flight"
    reason: str = "none"
    value: float = math.nan
    superseded: bool = False
    source: int = -1
    variant: int = -1
    fallback: bool = False
    tries: list[Attempt] = field(default_factory=list)
    last: Attempt | None = None
    """Its last attempt, as it was when the client ended it."""

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """What keys the draws of this request."""
        row = self.row
        if self.own:
            return row.instrument, self.submitted_at, self.repeat, OWN
        return row.instrument, row.emitted_at, row.tie, self.repeat << 16

    @property
    def present(self) -> Attempt | None:
        """The attempt that is out, if one is."""
        return self.tries[-1] if self.tries and self.tries[-1].outcome == "in_flight" else None

    @property
    def attempts(self) -> int:
        """How often it was sent."""
        return len(self.tries)

    @property
    def first_sent_at(self) -> int:
        """When its first attempt left."""
        return self.tries[0].sent_at if self.tries else MISSING

    def __getattr__(self, name: str) -> int:
        """Read a stamp off the attempt that is out, else off the last one."""
        if name not in _OF_LAST:
            raise AttributeError(name)
        shown = self.present or self.last
        return _OF_LAST[name] if shown is None else getattr(shown, name)


_STAMPS = ["sent_at", "arrived_at", "routed_at", "batched_at", "started_at", "completed_at"]
_OF_LAST = {
    **dict.fromkeys(_STAMPS, MISSING),
    "replica": -1,
    "execution": -1,
    "batch_size": 0,
}


def frozen(attempt: Attempt) -> Attempt:
    """Return the attempt as it is now."""
    return replace(attempt)


@dataclass(eq=False)
class Execution:
    """A batch, or a single request, running on a replica."""

    members: list[Attempt]
    replica: int
    started_at: int
    ends_at: int
    batched: bool
    stopped_at: int = MISSING
    """When a crash or a cancel ended it early."""

    @property
    def key(self) -> tuple[int, int]:
        """The key of its first member."""
        return self.members[0].key

    @property
    def name(self) -> int:
        """One number, by its first member."""
        number, index = self.key
        return (number << 16) + index
