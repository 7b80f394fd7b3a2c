"""What runs first among the things due at one instant."""

from __future__ import annotations

from enum import IntEnum


class Rank(IntEnum):
    """The published order of one instant; within a rank, keys decide.

    A key is a tuple of integers fixed by the entity (instrument, kind, venue sequence; request
    number; ...), never by when the entry was scheduled. In `TIMER`, keys `(0, ...)` are polls of
    inference loops and `(1, n)` timers of the strategy.
    """

    VENUE_DATA = 0
    """A market record happens at the venue (its `event_time`)."""
    MATCHING = 1
    """The venue resolves resting orders."""
    VENUE_ARRIVAL = 2
    """An order or a cancel reaches the venue."""
    RECEIPT = 3
    """A market record reaches us (its `receipt_time`)."""
    DEPLOYMENT = 4
    """Faults, versions, completions and arrivals inside a deployment."""
    FEATURE_ROW = 5
    """A feature row becomes visible."""
    PREDICTION = 6
    """A prediction becomes visible."""
    ORDER_REPORT = 7
    """A report of the venue reaches us."""
    TIMER = 8
    """Polls of inference loops, then timers of the strategy."""


FIRST_RANK = Rank.VENUE_DATA
"""Before everything else due at an instant: `advance_to(until)` leaves `until` itself alone."""
