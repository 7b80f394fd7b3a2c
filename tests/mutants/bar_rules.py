"""Plants that break one rule of the venue of bars each."""

from __future__ import annotations

from typing import Any

from backtester.venue.bar_market import BarMarket
from tests.mutants.planting import Patch, wrap


def _with_another_bar(patch: Patch, method: str, change: Any) -> None:
    """Let a method see another bar than there was; `change(bar, live or None)` makes it."""

    def make(real: Any) -> Any:
        def act(self: BarMarket, *args: Any) -> None:
            live, bar = (args[0], args[1]) if len(args) == 3 else (None, args[0])
            seen = change(bar, live)
            real(self, *((live, seen) if live is not None else (seen,)), args[-1])

        return act

    wrap(patch, BarMarket, method, make)


def touching_is_enough(patch: Patch) -> None:
    """A limit order is filled where the bar only reaches its price."""
    _with_another_bar(
        patch, "_limit", lambda bar, _: bar._replace(low=bar.low - 1, high=bar.high + 1)
    )


def the_deciding_bar_counts(patch: Patch) -> None:
    """An order is filled inside the bar during which it arrived."""
    _with_another_bar(
        patch, "_fill_from", lambda bar, _: bar._replace(open_time=bar.open_time + 9_000_000)
    )


def a_gap_is_jumped_at_the_stop(patch: Patch) -> None:
    """A stop fills at its price, though the bar opened beyond it."""
    _with_another_bar(patch, "_stop", lambda bar, live: bar._replace(open=live.order.stop_ticks))


PLANTS = [touching_is_enough, the_deciding_bar_counts, a_gap_is_jumped_at_the_stop]
