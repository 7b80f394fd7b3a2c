"""What a decision can have behind it: small names of things, looked up when the run is over."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from clock.units import format_duration, format_instant
from featurizer.errors import LookaheadError

__all__ = [
    "Behind",
    "Decision",
    "HeardReport",
    "ReadAnswer",
    "ReadRecord",
    "ReadRow",
    "Ref",
    "RungTimer",
    "lookahead",
]


class ReadRecord(NamedTuple):
    """A market record as it reached us.

    Attributes:
        instrument: Id of its stream's instrument.
        kind: Name of its kind.
        event_time: When it happened, ns.
        receipt_time: When we received it, ns.
        sequence: Its number at the venue.
    """

    instrument: str
    kind: str
    event_time: int
    receipt_time: int
    sequence: int


class ReadRow(NamedTuple):
    """A feature row, by its place among all of the run."""

    number: int


class ReadAnswer(NamedTuple):
    """An answer of a loop, by the number of its request."""

    loop: str
    number: int


class HeardReport(NamedTuple):
    """A report of the venue, with when it was made and heard, ns; number 0 is our own refusal."""

    number: int
    kind: str
    instrument: str
    venue_time: int
    heard_at: int


class RungTimer(NamedTuple):
    """A timer that the strategy had asked for."""

    name: str


Ref: TypeAlias = ReadRecord | ReadRow | ReadAnswer | HeardReport | RungTimer
Behind: TypeAlias = tuple[tuple[Ref, str], ...]
"""Things, each with how it came: `woke` the callback, or was `read` in it."""


class Decision(NamedTuple):
    """A message decided on: an order, a change of one, or a request of the strategy's own.

    Attributes:
        callback: In which it was decided.
        now: The instant, ns.
        rank: Rank of the callback in its instant.
        sent_at: When the message leaves, ns.
        behind: What had woken the callback, and what it had read by then.
    """

    callback: str
    now: int
    rank: int
    sent_at: int
    behind: Behind


def lookahead(where: str, what: str, stamp: int, now: int) -> LookaheadError:
    """Return the error of something seen before its time.

    Args:
        where: Who saw it, such as `ctx.quote`.
        what: What was seen.
        stamp: First instant at which it was visible, ns.
        now: The instant at which it was seen; the same as *stamp* where only its turn within the
            instant had not come.
    """
    early = (
        f"{format_duration(stamp - now)} before that"
        if stamp > now
        else "at that instant, but before its turn in it"
    )
    return LookaheadError(
        f"`{where}` must show only what is visible (law 1): got {what}, visible from "
        f"{format_instant(stamp)}, at {format_instant(now)}, {early}. This is a defect of the "
        "engine, not of the scenario: report it with the scenario."
    )
