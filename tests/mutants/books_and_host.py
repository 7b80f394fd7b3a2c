"""Plants that lose money or requests, read the host, or blur the digest."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import backtester.trace as trace
from backtester.account import Account
from backtester.context import Context
from backtester.run import Run
from backtester.venue.book import TopOfBook
from backtester.venue.fees import FeeSchedule
from tests.mutants.planting import Patch, after_loop, frozen, wrap


def fee_missing_from_our_books(patch: Patch) -> None:
    """Our books do not pay the fee; they balance all the same."""

    def make(real: Any) -> Any:
        def wire(self: Run, *args: Any) -> None:
            real(self, *args)
            belief = self.engine.belief
            belief.apply_fill = (  # type: ignore[method-assign]
                lambda name, lots, ticks, fee, is_maker: Account.apply_fill(
                    belief, name, lots, ticks, 0, is_maker
                )
            )

        return wire

    wrap(patch, Run, "_make_trading_plane", make)


def fee_rounded_down(patch: Patch) -> None:
    """Fees are cut off to whole cents."""
    wrap(
        patch,
        FeeSchedule,
        "charge",
        lambda real: lambda self, *args, **how: real(self, *args, **how) // 10**6 * 10**6,
    )


def displayed_size_is_endless(patch: Patch) -> None:
    """What we took from a quote is there again for the next order."""
    wrap(patch, TopOfBook, "take", lambda real: lambda self, side, ticks, lots: None)


def request_counted_twice(patch: Patch) -> None:
    """The first outcome of a push is told twice."""

    def change(made: Any) -> Any:
        places = np.concatenate([np.arange(min(1, len(made.number))), np.arange(len(made.number))])
        return type(made)(*(frozen(column[places]) for column in made))

    after_loop(patch, change)


def helper_reads_the_host_clock(patch: Patch) -> None:
    """A helper of ours looks at the host's clock when a strategy buys."""
    ours = {"__name__": "backtester.strategies.helper", "time": time, "real": Context.buy}
    exec("def buy(*args, **options):\n    time.time()\n    return real(*args, **options)", ours)
    patch.setattr(Context, "buy", ours["buy"])


def digest_of_rounded_values(patch: Patch) -> None:
    """The trace keeps single precision only."""

    def make(column: Any) -> Any:
        if column.dtype == np.float64:
            column = column.astype(np.float32).astype(np.float64)
        return real(column)

    real = trace._words
    patch.setattr(trace, "_words", make)
