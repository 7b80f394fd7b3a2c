"""Our books against a naive ledger of fractions."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backtester.account import Account, Units
from backtester.account_units import share
from backtester.errors import BooksDisagreeError, ScenarioError
from backtester.valuation import Valuation
from tests.backtester.worlds import instrument

SPOT = instrument("SIM.SPOT", "spot", tick_size="0.01", lot_size="0.0001")
WHOLE = instrument("SIM.WHOLE", "linear", tick_size="5", lot_size="1", contract_size="10")
FINE = instrument("SIM.FINE", "linear", tick_size="0.00001", lot_size="0.001", contract_size="0.1")
ALL = (SPOT, WHOLE, FINE)
SIZES = {
    i.id: Fraction(i.tick_size) * Fraction(i.lot_size) * Fraction(i.contract_size) for i in ALL
}


def half_even(value: Fraction) -> int:
    """Round to the nearest whole number, a tie to the even one, the schoolbook way."""
    below = math.floor(value)
    rest = value - below
    if rest == Fraction(1, 2):
        return below if below % 2 == 0 else below + 1
    return below if rest < Fraction(1, 2) else below + 1


class NaiveLedger:
    """Every fill ever booked, and sums over all of them in exact currency."""

    def __init__(self, opening: Fraction) -> None:
        self.opening = opening
        self.fills: list[tuple[str, int, int, Fraction]] = []

    def position(self, name: str) -> int:
        return sum(lots for n, lots, _, _ in self.fills if n == name)

    def paid(self, name: str) -> Fraction:
        paid = (lots * ticks * SIZES[name] for n, lots, ticks, _ in self.fills if n == name)
        return sum(paid, Fraction())

    @property
    def fees(self) -> Fraction:
        return sum((fee for *_, fee in self.fills), Fraction())

    def worth(self, prices: dict[str, int]) -> Fraction:
        """Return what is left when everything is sold at some prices in ticks."""
        total = self.opening - self.fees
        for name, size in SIZES.items():
            total += self.position(name) * prices[name] * size - self.paid(name)
        return total


class AccountMachine(RuleBasedStateMachine):
    """Fills of any size and side, spot never short, against the naive ledger."""

    @initialize(cash=st.integers(0, 10**6))
    def open(self, cash: int) -> None:
        self.units = Units(ALL)
        self.account = Account(self.units, self.units.from_decimal(Decimal(cash)))
        self.naive = NaiveLedger(Fraction(cash))

    def fill(self, name: str, lots: int, ticks: int) -> None:
        before = self.account.realised
        fee = share(self.units[name].taker, self.units.notional(name, abs(lots), ticks))
        entry = self.account.apply_fill(name, lots, ticks, fee)
        self.naive.fills.append((name, lots, ticks, Fraction(fee, self.units.per_currency)))
        assert entry.cash == self.account.cash
        assert entry.position == self.naive.position(name)
        assert entry.basis == self.account.bases[name]
        assert entry.realised == self.account.realised - before

    @rule(
        name=st.sampled_from([WHOLE.id, FINE.id]),
        lots=st.integers(-9, 9).filter(bool),
        ticks=st.integers(1, 50),
    )
    def trade_a_perpetual(self, name: str, lots: int, ticks: int) -> None:
        self.fill(name, lots, ticks)

    @rule(lots=st.integers(1, 9), ticks=st.integers(1, 50))
    def buy_spot(self, lots: int, ticks: int) -> None:
        self.fill(SPOT.id, lots, ticks)

    @precondition(lambda self: self.naive.position(SPOT.id) > 0)
    @rule(data=st.data(), ticks=st.integers(1, 50))
    def sell_spot(self, data: st.DataObject, ticks: int) -> None:
        held = self.naive.position(SPOT.id)
        self.fill(SPOT.id, -data.draw(st.integers(1, held)), ticks)

    @rule(name=st.sampled_from([i.id for i in ALL]), ticks=st.integers(1, 50))
    def close_all(self, name: str, ticks: int) -> None:
        held = self.account.positions.get(name, 0)
        if held:
            self.fill(name, -held, ticks)
            assert self.account.bases[name] == 0

    @invariant()
    def positions_are_sums_of_lots(self) -> None:
        for terms in ALL:
            assert self.account.positions.get(terms.id, 0) == self.naive.position(terms.id)

    @invariant()
    def nothing_is_lost_at_any_price(self) -> None:
        prices = {SPOT.id: 7, WHOLE.id: 11, FINE.id: 3}
        units = self.account.cash
        for terms in ALL:
            lots = self.account.positions.get(terms.id, 0)
            value = lots * prices[terms.id]
            if terms.contract != "spot":
                value -= self.account.bases.get(terms.id, 0)
            units += value * self.units[terms.id].multiplier
        assert Fraction(units, self.units.per_currency) == self.naive.worth(prices)
        mids = {i.id: float(prices[i.id] * i.tick_size) for i in ALL}
        value = Valuation(self.units, "USD", list(self.account.wallets)).equity(self.account, mids)
        assert value == pytest.approx(float(self.naive.worth(prices)))

    @invariant()
    def the_books_balance(self) -> None:
        self.account.check()
        assert Fraction(self.account.fees, self.units.per_currency) == self.naive.fees

    @invariant()
    def the_cost_has_the_sign_of_the_position(self) -> None:
        for name, lots in self.account.positions.items():
            assert self.account.bases[name] * lots >= 0
            assert (lots == 0) <= (self.account.bases[name] == 0)


AccountMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAccountBalances = pytest.mark.slow(AccountMachine.TestCase)


def account(*instruments, cash: int = 1000) -> Account:
    units = Units(instruments or (instrument(),))
    return Account(units, units.from_decimal(Decimal(cash)))


def test_a_long_position_realises_the_difference_to_its_cost():
    books = account()
    books.apply_fill("SIM.ALPHA", 10, 200, 0)
    entry = books.apply_fill("SIM.ALPHA", -10, 206, 0)
    assert books.units.to_float(entry.realised) == 3.0  # 10 lots of 0.1, 6 ticks of 0.5
    assert books.units.to_float(books.cash) == 1003.0
    assert (entry.position, entry.basis) == (0, 0)


def test_a_short_position_realises_the_fall():
    books = account()
    books.apply_fill("SIM.ALPHA", -10, 200, 0)
    entry = books.apply_fill("SIM.ALPHA", 10, 190, 0)
    assert books.units.to_float(entry.realised) == 5.0


def test_a_flip_closes_at_the_old_cost_and_opens_at_the_new_price():
    books = account()
    books.apply_fill("SIM.ALPHA", 10, 200, 0)
    entry = books.apply_fill("SIM.ALPHA", -14, 210, 0)
    assert books.units.to_float(entry.realised) == 5.0
    assert (entry.position, entry.basis) == (-4, -4 * 210)


def test_a_partial_close_releases_cost_rounded_down_and_keeps_the_rest():
    books = account()
    books.apply_fill("SIM.ALPHA", 1, 100, 0)
    books.apply_fill("SIM.ALPHA", 2, 101, 0)  # a basis of 302 for 3 lots
    first = books.apply_fill("SIM.ALPHA", -1, 100, 0)
    assert first.basis == 302 - 302 // 3
    last = books.apply_fill("SIM.ALPHA", -2, 100, 0)
    assert last.basis == 0
    assert books.units.to_float(books.realised) == pytest.approx(-0.1)


def test_a_partial_close_of_a_short_rounds_the_magnitude_down():
    books = account()
    books.apply_fill("SIM.ALPHA", -1, 100, 0)
    books.apply_fill("SIM.ALPHA", -2, 101, 0)
    assert books.apply_fill("SIM.ALPHA", 1, 100, 0).basis == -(302 - 302 // 3)


def test_a_spot_fill_moves_its_whole_notional_in_cash():
    books = account(instrument("SIM.ALPHA", "spot"))
    books.apply_fill("SIM.ALPHA", 10, 200, 0)
    assert books.units.to_float(books.cash) == 900.0
    books.apply_fill("SIM.ALPHA", -5, 220, 0)
    assert books.units.to_float(books.cash) == 955.0
    assert books.units.to_float(books.realised) == 5.0


def test_cash_that_does_not_add_up_is_found():
    books = account()
    books.apply_fill("SIM.ALPHA", 10, 200, 5)
    books.wallets["USD"].cash += 1
    with pytest.raises(BooksDisagreeError, match="`cash` in USD must be 99999999995"):
        books.check()


@pytest.mark.parametrize(
    ("tick", "lot", "size", "decimals"),
    [("0.5", "0.1", "1", 8), ("0.00001", "0.00001", "1", 10), ("0.0001", "0.001", "0.001", 10),
     ("10", "1", "100", 8)],
)  # fmt: skip
def test_one_tick_of_one_lot_is_a_whole_number_of_ledger_units(tick, lot, size, decimals):
    units = Units([instrument(tick_size=tick, lot_size=lot, contract_size=size)])
    assert units.decimals == decimals
    exact = Fraction(tick) * Fraction(lot) * Fraction(size) * units.per_currency
    assert units["SIM.ALPHA"].multiplier == exact


def test_a_balance_that_64_bits_cannot_hold_is_refused():
    units = Units([instrument(tick_size="0.00001", lot_size="0.00001")])
    with pytest.raises(ScenarioError, match=r"`portfolio.balances` must be at most 230,584,300"):
        units.from_decimal(Decimal(10) ** 9)
