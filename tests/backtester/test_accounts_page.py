"""The worked examples of `docs/accounts.md`, played through the venue's clearing."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from backtester.account import LedgerEntry
from backtester.orders import Side
from backtester.venue.margin import MarginTerms
from tests.backtester.paper_venue import PaperVenue
from tests.backtester.worlds import instrument

PAGE = Path(__file__).parents[2] / "docs" / "accounts.md"

LINEAR = instrument(
    "BTC", tick_size="0.1", lot_size="0.001", base="BTC", quote="USDT",
    fees={"maker": "0.0002", "taker": "0.0005"},
)  # fmt: skip
INVERSE = instrument(
    "XBT", "inverse", tick_size="0.5", lot_size="1", base="BTC", quote="USD",
    fees={"maker": "0", "taker": "0.00075"},
)  # fmt: skip
TERMS = MarginTerms(maintenance="0.005", liquidation_fee="0.0125")


def tables() -> list[list[list[str]]]:
    """Return the rows of the tables in the section of examples."""
    section = PAGE.read_text().split("## 9. Worked examples")[1]
    found = re.findall(r"((?:^\|.*\n)+)", section, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
        for table in found
    ]


class Played:
    """One example: each row does something, and must leave the books that it says."""

    def __init__(self, venue: PaperVenue) -> None:
        self.venue = venue
        self.name = venue.instruments[0].id
        self.terms = venue.instruments[0]
        self.entries: list[LedgerEntry] = []

    def play(self, what: str) -> LedgerEntry:
        """Do what a row says, and return the books after it."""
        trade = re.fullmatch(r"(buy|sell) ([\d.]+) at ([\d.]+), (maker|taker)", what)
        if trade:
            side, quantity, price, liquidity = trade.groups()
            return self.trade(Side[side.upper()], quantity, price, is_maker=liquidity == "maker")
        if funding := re.fullmatch(r"funding ([\d.]+) at ([\d.]+)", what):
            mark = Fraction(funding[2]) / Fraction(self.terms.tick_size)
            entry = self.venue.clearing.funding(self.name, Fraction(funding[1]), mark)
            assert entry is not None
            return entry
        if at := re.fullmatch(r"liquidation at ([\d.]+)", what):
            return self.liquidate(self.ticks(at[1]))
        assert what == "insurance"
        return self.entries[-1]

    def ticks(self, price: str) -> int:
        return int(Decimal(price) / self.terms.tick_size)

    def trade(self, side: Side, quantity: str, price: str, *, is_maker: bool) -> LedgerEntry:
        lots, ticks = int(Decimal(quantity) / self.terms.lot_size), self.ticks(price)
        self.venue.quote(self.name, ticks - 1, ticks + 1)
        if is_maker:
            return self.venue.fill(self.venue.rest(self.name, side, lots, ticks), lots).entry
        booked = self.venue.trade(self.name, side, lots, ticks)
        assert booked is not None
        return booked.entry

    def liquidate(self, bid: int) -> LedgerEntry:
        """Let the bid fall until the venue closes, watching what it books."""
        booked = self.venue.account
        for name in ("apply_fill", "apply_payment"):
            real = getattr(booked, name)
            setattr(booked, name, lambda *a, real=real: self.entries.append(real(*a)) or
                    self.entries[-1])  # fmt: skip
        for price in range(bid + 5, bid - 1, -1):
            assert not self.entries
            self.venue.quote(self.name, price, price + 8)
        return self.entries[0]


@pytest.mark.parametrize(
    ("place", "terms", "balances", "leverage"),
    [(0, LINEAR, {"USDT": 1000}, 10), (1, INVERSE, {"BTC": 1}, 1)],
)
def test_the_books_of_the_examples_are_what_the_page_says(place, terms, balances, leverage):
    venue = PaperVenue([terms], balances, Fraction(leverage), margin={terms.id: TERMS})
    played, unit = Played(venue), Decimal(10) ** -venue.units.decimals
    for what, *told in tables()[place]:
        entry = played.play(what)
        found = (entry.position * terms.lot_size, entry.realised * unit, entry.fee * unit,
                 entry.net * unit, entry.amount * unit, entry.cash * unit)  # fmt: skip
        assert [Decimal(number) for number in told] == list(found), what
    venue.clearing.check()


def test_the_liquidation_of_the_example_is_at_the_first_mid_below_the_one_that_the_page_names():
    venue = PaperVenue([LINEAR], {"USDT": 1000}, Fraction(10), margin={"BTC": TERMS})
    played = Played(venue)
    for what in ("buy 0.1 at 60000, taker", "sell 0.04 at 60500, maker", "funding 0.0001 at 60200"):
        played.play(what)
    venue.quote("BTC", 432804, 432806)  # a mid of 43280.5
    assert venue.account.position("BTC") == 60
    venue.quote("BTC", 432803, 432806)  # of 43280.45
    assert venue.account.position("BTC") == 0
    assert "below 43280.49" in PAGE.read_text()
