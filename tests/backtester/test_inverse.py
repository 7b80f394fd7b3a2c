"""Inverse perpetuals: profit in the base currency, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.account import Account, Units
from backtester.orders import Side
from backtester.valuation import Valuation
from tests.backtester.paper_venue import PaperVenue
from tests.backtester.test_account import half_even
from tests.backtester.worlds import instrument

XBT = instrument("XBT", "inverse", base="BTC", tick_size="0.5", lot_size="1", contract_size="100")
SIZE = 100 / Fraction("0.5")
"""Coins that a lot is worth at a price of one tick."""


def account(coins: int = 1) -> Account:
    units = Units([XBT])
    return Account(units, {"BTC": coins * units.per_currency})


def test_who_is_long_profits_from_a_rise_in_the_base_currency():
    books = account()
    books.apply_fill("XBT", 200, 100_000, 0)  # 20 000 USD at 50 000: 0.4 BTC
    entry = books.apply_fill("XBT", -200, 125_000, 0)  # at 62 500: 0.32 BTC
    assert books.units.to_float(entry.realised) == 0.08
    assert books.units.to_float(books.wallets["BTC"].cash) == 1.08
    books.check()


def test_who_is_short_of_a_contract_worth_a_coin_is_protected_against_its_price():
    books = account()
    books.apply_fill("XBT", -500, 100_000, 0)  # 50 000 USD: one coin
    valuation = Valuation(books.units, "USD", ["BTC"])
    for mid in (25_000.0, 50_000.0, 100_000.0):
        assert valuation.equity(books, {"XBT": mid}) == pytest.approx(50_000)


fills = st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 3 * 10**5)),
                 min_size=1, max_size=25)  # fmt: skip


@given(fills)
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_but_the_rounding_of_what_each_fill_is_worth(traded):
    books = account()
    unit = Fraction(1, books.units.per_currency)
    exact, parts = Fraction(0), 0
    for lots, ticks in traded:
        parts += 1 + (books.position("XBT") * lots < 0)
        exact -= lots * SIZE / ticks
        books.apply_fill("XBT", lots, ticks, 0)
        books.check()
        # what a coin-settled position cost, and what it has earned, are all that was paid
        left = Fraction(books.wallets["BTC"].realised - books.bases["XBT"])
        assert abs(left * unit + exact) <= parts * unit / 2
        assert books.bases["XBT"] == 0 or books.bases["XBT"] * books.position("XBT") < 0


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**7))
@settings(max_examples=80, deadline=None)
def test_a_worth_is_rounded_half_to_even_and_has_the_sign_of_the_position(lots, ticks):
    units = Units([XBT])
    worth = half_even(lots * SIZE * units.per_currency / ticks)
    assert units.notional("XBT", lots, ticks) == worth
    assert units.cost("XBT", lots, ticks) == -half_even(lots * SIZE * units.per_currency / ticks)
    assert units.twice_cost("XBT", lots, 2 * ticks) == -2 * worth


@given(st.integers(-300, 300).filter(bool), st.integers(50_000, 200_000), st.integers(-50, 50))
@settings(max_examples=80, deadline=None)
def test_funding_of_an_inverse_contract_is_paid_in_its_base_currency(lots, ticks, rate):
    at = PaperVenue([XBT], {"BTC": 1000})
    at.quote("XBT", 100_000, 100_000)
    at.trade("XBT", Side.BUY if lots > 0 else Side.SELL, abs(lots), 100_000)
    at.quote("XBT", ticks, ticks + 1)
    share = Fraction(rate, 10_000)
    exact = -share * lots * SIZE / (ticks + Fraction(1, 2)) * at.units.per_currency
    assert at.fund("XBT", share) == half_even(exact)


def test_equity_at_a_price_is_told_in_the_currency_of_the_report():
    books = account(2)
    books.apply_fill("XBT", 200, 100_000, 0)
    mids = {"XBT": 62_500.0}
    in_coins = Valuation(books.units, "BTC", ["BTC"]).equity(books, mids)
    in_dollars = Valuation(books.units, "USD", ["BTC"]).equity(books, mids)
    assert in_coins == pytest.approx(2.08)
    assert in_dollars == pytest.approx(2.08 * 62_500)
