"""Fills of our own that leave less than the maintenance margin at once, with no quote after them.

A machine that makes them among everything else, and whole runs in which nothing follows for a
while. What must be left in a run is worked out by hand, beside each case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import rule

from backtester.orders import Side
from backtester.result import RunResult
from tests.backtester.test_money_runs import Script, buy
from tests.backtester.worlds import ALPHA, Quote, Trade, instrument, play
from tests.laws.money_machine import MoneyMachine, sides


class FillingMachine(MoneyMachine):
    """The machine of money, with orders that are filled far from the market."""

    @rule(
        name=st.sampled_from(["PERP", "OTHER", "INVERSE"]),
        side=sides,
        worse=st.integers(0, 90),
        lots=st.sampled_from([320, 160, 80, 40, 20, 10]),
    )
    def fill_far_from_the_market(self, name: str, side: Side, worse: int, lots: int) -> None:
        """Rest an order at a bad price, and fill it there; no quote follows."""
        bid, ask, _ = self.venue.books[name]
        ticks = max(ask + worse if side is Side.BUY else bid - worse, 5)
        before = self.venue.orders
        self.rest(name, side, lots, ticks)
        if self.venue.orders == before:
            return
        closed = len(self.venue.liquidator.instants)
        self.venue.fill(self.venue.orders, lots, ticks)
        self.tally["closed at a fill"] += len(self.venue.liquidator.instants) - closed


class Case(NamedTuple):
    """A run whose first fill, of nine bought at leverage five, leaves less than a tenth.

    Attributes:
        cash: Opening balance, USD.
        fees: Of the instrument.
        quotes: The market; its mid is 100 throughout.
        trades: Trades in it.
        asked: Sends the order, one millisecond after the start.
        filled: When it is filled, ms after the start.
        prices: Of the fill, and of the forced one at the same instant.
        profit: Of the whole run, USD.
        insurance: What the fund must add, USD.
    """

    cash: float
    fees: dict[str, str]
    quotes: list[Quote]
    trades: list[Trade]
    asked: Callable[[Any], Any]
    filled: float
    prices: tuple[float, float]
    profit: float
    insurance: float


CASES = {
    # 200 - 109.08 of fee - 9 is 81.92; the close costs 18 - 9 and 106.92 more
    "the fee of a taker": Case(
        200, {"maker": "0", "taker": "0.12"}, [Quote(0)], [], buy(9), 2, (101, 99), -200, 34
    ),
    # 250 - 9 * 18 is 88; the close costs as much again
    "a price far from the mid": Case(
        250, {"maker": "0", "taker": "0"}, [Quote(0, bid=82, ask=118)], [], buy(9),
        2, (118, 82), -250, 74,
    ),
    # 185 - 106.92 + 9 is 87.08; the close is at the price paid
    "the fee of a maker": Case(
        185, {"maker": "0.12", "taker": "0"}, [Quote(0)], [Trade(50, 98.5, 10, -1)],
        buy(9, limit_price=99), 50, (99, 99), -106.92, 0,
    ),
}  # fmt: skip

AFTERWARDS = ("the end", "another order", "a late quote")


def play_case(folder: Path, case: Case, afterwards: str) -> RunResult:
    """Run a case; afterwards nothing comes, or an order of ours, or a quote that changes nothing.

    Args:
        folder: For the catalog.
        case: The case.
        afterwards: One of `AFTERWARDS`.
    """
    acts = [(1.0, case.asked)]
    quotes = list(case.quotes)
    if afterwards == "another order":
        acts.append((70.0, buy(0.1, limit_price=60)))
    elif afterwards == "a late quote":
        quotes.append(replace(quotes[-1], happened=400.0))
    return play(
        folder,
        Script(*acts),
        quotes,
        trades={ALPHA: case.trades} if case.trades else None,
        instruments=[instrument(fees=case.fees)],
        cash=case.cash,
        leverage=5,
        until=500,
        execution={
            "entry_latency": "1ms",
            "response_latency": "1ms",
            "margin": {"maintenance": "0.1"},
        },
    )
