"""Plants that let an account stay below its margin after a fill, until the next quote."""

from __future__ import annotations

from typing import Any

from backtester.engine import Engine
from backtester.venue.clearing import Clearing
from backtester.venue.liquidation import Liquidator
from tests.mutants.planting import Patch, wrap


def a_fill_is_not_looked_at(patch: Patch) -> None:
    """Payments and quotes ask whether equity suffices; a fill does not."""
    last = [""]

    def note(name: str) -> Any:
        def make(real: Any) -> Any:
            def book(*args: Any, **more: Any) -> Any:
                last[0] = name
                return real(*args, **more)

            return book

        return make

    for name in ("fill", "funding"):
        wrap(patch, Clearing, name, note(name))

    def make(real: Any) -> Any:
        return lambda self, now: None if last[0] == "fill" else real(self, now)

    wrap(patch, Liquidator, "after", make)


def the_lane_keeps_the_danger_to_itself(patch: Patch) -> None:
    """The express lane is left in time, but nobody is told why."""
    wrap(patch, Engine, "hand_over", lambda real: lambda self, *, in_danger=False: real(self))
