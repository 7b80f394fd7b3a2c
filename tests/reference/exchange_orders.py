"""What the naive venue is asked and what it answers, as plain data in whole lots and ticks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

NEVER = 2**63 - 1

LIVE = ("held", "waiting", "open")


@dataclass(frozen=True)
class Ask:
    """An order as it leaves us.

    Attributes:
        number: Counts up from 1 in order of asking.
        instrument: Id of the instrument.
        side: +1 buys, -1 sells.
        lots: Its quantity.
        limit: In ticks, None for a market order.
        stop: Stop price in ticks, None unless it waits for one.
        force: "gtc", "gtd", "ioc" or "fok".
        post_only: Refused rather than taking.
        reduce_only: Never opens or turns a position.
        expires_at: Instant of expiry.
    """

    number: int
    instrument: str
    side: int
    lots: int
    limit: int | None = None
    stop: int | None = None
    force: str = "gtc"
    post_only: bool = False
    reduce_only: bool = False
    expires_at: int = NEVER


@dataclass(frozen=True)
class Pair:
    """Two orders that cancel each other."""

    first: Ask
    second: Ask


@dataclass(frozen=True)
class Bracket:
    """An entry, and two orders that leave the position again."""

    entry: Ask
    take_profit: Ask
    stop_loss: Ask


@dataclass(frozen=True)
class Cancel:
    """Cancel an order; number 0 cancels all of an instrument, or of all."""

    number: int
    instrument: str = ""


@dataclass(frozen=True)
class Modify:
    """Give an order another total, another limit, or both; 0 leaves what it is."""

    number: int
    lots: int = 0
    limit: int = 0


Message = Ask | Pair | Bracket | Cancel | Modify


class Event(NamedTuple):
    """One thing that the venue reports.

    Attributes:
        instant: When it happened at the venue.
        order: Number of the order.
        kind: "accepted", "filled", ... as the reports are called.
        reason: Why, "" without one.
        lots: Filled, or given up; the new total where it was modified or released.
        ticks: Price of a fill, else 0.
        maker: Whether a fill was made resting.
    """

    instant: int
    order: int
    kind: str
    reason: str = ""
    lots: int = 0
    ticks: int = 0
    maker: bool = False


@dataclass(eq=False)
class Own:
    """One of our orders at the venue.

    A waiting stop is `touched` by a record until it is triggered. The exit of a bracket has
    `grown` by what its entry filled; it is `called` when its total says so, by `growth`, and it has
    not acted yet.
    """

    ask: Ask
    rank: int = 0
    state: str = "sent"
    total: int = 0
    filled: int = 0
    limit: int | None = None
    resting: bool = False
    touched: bool = False
    grown: int = 0
    growth: int = 0
    called: bool = False
    ahead: float = 0.0
    shown: int = 0
    traded: int = 0
    unknown: bool = False
    partner: Own | None = None
    entry: Own | None = None
    exits: list[Own] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total, self.limit = self.ask.lots, self.ask.limit

    @property
    def side(self) -> int:
        return self.ask.side

    @property
    def number(self) -> int:
        return self.ask.number

    @property
    def left(self) -> int:
        return self.total - self.filled

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def is_due(self) -> bool:
        """Whether it acts at the end of an instant's records."""
        return self.called or self.grown > 0 or (self.state == "waiting" and self.touched)

    @property
    def immediate(self) -> bool:
        return self.limit is None or self.ask.force in ("ioc", "fok")

    def reaches(self, ticks: int) -> bool:
        """Say whether it would trade with the other side at a price."""
        return self.limit is None or (self.limit - ticks) * self.side >= 0
