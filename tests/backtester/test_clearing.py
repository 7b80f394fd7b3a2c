"""What the venue accepts, what a resting order reserves, and what becomes of it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.errors import BooksDisagreeError
from backtester.orders import Reason, Side
from backtester.venue.margin import MarginTerms
from tests.backtester.paper_venue import PaperVenue
from tests.backtester.worlds import instrument

BUY, SELL = Side.BUY, Side.SELL
FUNDS, MARGIN, NONE = Reason.INSUFFICIENT_FUNDS, Reason.INSUFFICIENT_MARGIN, Reason.NONE

# lots of 0.1 and ticks of 0.5: a lot at 100 ticks is worth 5
SPOT = instrument("SPOT", "spot", base="COIN")
PERP = instrument("PERP", base="COIN")
OTHER = instrument("OTHER", base="ELSE")
INVERSE = instrument("INVERSE", "inverse", base="COIN", lot_size="1", contract_size="10")
FREE = {"maker": "0", "taker": "0"}


def venue(*instruments, usd=1000, coin=0, leverage=1, **others) -> PaperVenue:
    """Return a venue at which everything stands at 100 ticks."""
    made = PaperVenue(
        instruments or [SPOT], {"USD": usd, "COIN": coin}, Fraction(leverage), **others
    )
    for terms in made.instruments:
        made.quote(terms.id, 100, 100)
    return made


# --- spot ----------------------------------------------------------------------------------------


def test_a_resting_purchase_locks_its_cost_and_its_largest_fee():
    at = venue(usd="100.1")
    first = at.rest("SPOT", BUY, 10, 100)
    assert at.units.to_float(at.clearing.locked["USD"]) == 50.05
    assert at.ask("SPOT", BUY, 10, 100) is NONE  # exactly what is left
    assert at.ask("SPOT", BUY, 11, 100) is FUNDS
    at.fill(first, 4)
    assert at.units.to_float(at.clearing.locked["USD"]) == 30.03
    assert at.units.to_float(at.account.cash) == 80.1  # as maker without a fee
    at.cancel(first)
    assert at.clearing.locked["USD"] == 0
    at.clearing.check()


def test_a_fill_at_a_better_price_frees_what_was_locked_for_the_worse_one():
    at = venue(usd="50.05")
    order = at.rest("SPOT", BUY, 10, 100)
    at.fill(order, 10, 80)
    assert at.units.to_float(at.account.cash) == 10.05
    assert at.clearing.locked["USD"] == 0


def test_a_resting_sale_locks_its_lots():
    at = venue(coin=1)
    at.rest("SPOT", SELL, 6, 100)
    assert at.ask("SPOT", SELL, 4, 100) is NONE
    assert at.ask("SPOT", SELL, 5, 100) is FUNDS


def test_nothing_is_sold_short():
    at = venue()
    assert at.ask("SPOT", SELL, 1, 100) is FUNDS
    at.trade("SPOT", BUY, 3, 100)
    assert at.ask("SPOT", SELL, 3, 100) is NONE
    assert at.ask("SPOT", SELL, 4, 100) is FUNDS


def test_opening_balances_may_be_sold_and_the_balance_never_falls_below_zero():
    at = venue(coin="0.5")
    booked = at.trade("SPOT", SELL, 5, 100)
    assert booked is not None
    assert booked.entry.position == -5
    assert at.account.balance("COIN") == 0
    assert at.ask("SPOT", SELL, 1, 100) is FUNDS
    at.trade("SPOT", BUY, 5, 80)
    assert at.units.to_float(at.account.realised) == 10 * 0.5
    at.clearing.check()


def test_a_modified_order_counts_what_it_holds_as_free():
    at = venue(usd="50.05")
    order = at.rest("SPOT", BUY, 10, 100)
    asked = ("SPOT", BUY, 10, 100, at.twice_mids())
    assert at.clearing.refusal(*asked) is FUNDS
    assert at.clearing.refusal(*asked, order=order) is NONE
    assert at.clearing.refusal("SPOT", BUY, 10, 101, at.twice_mids(), order=order) is FUNDS


def test_two_spot_instruments_share_the_balance_of_their_base():
    euro = instrument("EURO", "spot", base="COIN", quote="EUR")
    at = venue(SPOT, euro)
    at.trade("SPOT", BUY, 5, 100)
    assert at.ask("EURO", SELL, 5, 100) is NONE
    at.trade("EURO", SELL, 5, 100)
    assert at.ask("SPOT", SELL, 1, 100) is FUNDS
    assert at.account.balance("COIN") == 0
    assert at.units.to_float(at.account.wallets["EUR"].cash) == 25 - 0.025


def test_unrealised_profit_buys_nothing_and_unrealised_losses_count():
    at = venue(SPOT, PERP, usd=100, leverage=10)
    at.trade("PERP", BUY, 10, 100)  # worth 50, fee 0.05, margin 5
    at.quote("PERP", 120, 120)  # 10 in profit, margin 6
    assert at.ask("SPOT", BUY, 18, 100) is NONE  # 90 and 0.09 of 93.95
    assert at.ask("SPOT", BUY, 19, 100) is FUNDS
    at.quote("PERP", 80, 80)  # 10 lost, margin 4
    assert at.ask("SPOT", BUY, 17, 100) is NONE  # 85.085 of 85.95
    assert at.ask("SPOT", BUY, 18, 100) is FUNDS


FILLS = st.lists(
    st.tuples(st.sampled_from(["rest", "fill", "cancel", "trade"]), st.sampled_from([BUY, SELL]),
              st.integers(1, 40), st.integers(1, 200), st.integers(0, 9)), max_size=40)  # fmt: skip


@given(FILLS, st.sampled_from(["0.001", "0.0003333", "-0.0001"]))
@settings(max_examples=80, deadline=None)
def test_no_sequence_of_accepted_spot_orders_spends_what_is_not_there(steps, taker):
    odd = instrument("SPOT", "spot", base="COIN", tick_size="0.0003", lot_size="0.00007",
                     fees={"maker": "0.0001777", "taker": taker})  # fmt: skip
    at = PaperVenue([odd], {"USD": "0.0001", "COIN": "0.002"})
    for what, side, lots, ticks, pick in steps:
        numbers = list(at.resting)
        if what == "rest":
            at.rest("SPOT", side, lots, ticks)
        elif what == "trade":
            at.trade("SPOT", side, lots, ticks)
        elif numbers:
            number = numbers[pick % len(numbers)]
            order = at.resting[number]
            some = min(lots, order.lots)
            if what == "cancel":
                at.cancel(number, some)
            else:
                better = max(1, order.ticks - side * (pick % 3))
                at.fill(number, some, better)
        at.clearing.check()
        for name in ("USD", "COIN"):
            assert 0 <= at.clearing.locked[name] <= at.account.balance(name)


# --- perpetuals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("leverage", ["1", "3", "0.5"])
def test_positions_at_the_mid_are_worth_at_most_leverage_times_equity(leverage):
    free = instrument("PERP", fees=FREE)
    at = venue(free, usd=100, leverage=leverage)
    most = int(Fraction(leverage) * 100 / 5)
    assert at.ask("PERP", BUY, most, 100) is NONE
    assert at.ask("PERP", SELL, most, 100) is NONE
    assert at.ask("PERP", BUY, most + 1, 100) is MARGIN


def test_resting_orders_count_on_the_side_that_is_larger():
    at = venue(PERP, usd=100, leverage=1)
    at.rest("PERP", BUY, 15, 90)
    assert at.ask("PERP", BUY, 5, 90) is NONE
    assert at.ask("PERP", BUY, 6, 90) is MARGIN
    assert at.ask("PERP", SELL, 20, 110) is NONE  # the other side does not add up with it
    assert at.ask("PERP", SELL, 21, 110) is MARGIN


def test_what_only_makes_a_position_smaller_is_never_refused():
    at = venue(PERP, usd=100, leverage=1)
    at.trade("PERP", SELL, 19, 100)
    at.quote("PERP", 150, 150)  # 47.5 lost: 19 lots would now need 142.5
    assert at.ask("PERP", BUY, 18, 150) is NONE
    assert at.ask("PERP", BUY, 37, 150) is NONE
    assert at.ask("PERP", BUY, 38, 150) is MARGIN  # 19 lots again, the other way round
    at.rest("PERP", BUY, 18, 150)
    assert at.ask("PERP", BUY, 1, 150) is NONE
    assert at.ask("PERP", SELL, 1, 150) is MARGIN


def test_one_wallet_backs_all_perpetuals_of_its_currency_and_no_other():
    at = venue(PERP, OTHER, INVERSE, usd=100, coin=10, leverage=1)
    at.trade("PERP", BUY, 12, 100)
    assert at.ask("OTHER", SELL, 7, 100) is NONE
    assert at.ask("OTHER", SELL, 8, 100) is MARGIN
    # contracts of 10 USD at 50: 0.2 coins each
    assert at.ask("INVERSE", BUY, 50, 100) is NONE
    assert at.ask("INVERSE", BUY, 51, 100) is MARGIN


def test_spot_holdings_back_the_perpetuals_that_are_settled_in_them_alone():
    at = venue(SPOT, OTHER, INVERSE, usd=60, leverage=1)
    at.trade("SPOT", BUY, 10, 100)
    assert at.ask("OTHER", BUY, 1, 100) is NONE
    assert at.ask("OTHER", BUY, 2, 100) is MARGIN  # 9.95 USD are left
    assert at.ask("INVERSE", BUY, 5, 100) is NONE  # one coin
    assert at.ask("INVERSE", BUY, 6, 100) is MARGIN
    at.rest("SPOT", SELL, 5, 100)
    assert at.ask("INVERSE", BUY, 3, 100) is MARGIN


def test_each_instrument_may_have_margin_terms_of_its_own():
    terms = {
        "PERP": MarginTerms(initial="0.5", maintenance="0.1"),
        "default": MarginTerms(initial="0.25"),
    }
    at = venue(PERP, OTHER, usd=100, margin=terms)
    assert at.ask("PERP", BUY, 40, 100) is NONE
    assert at.ask("PERP", BUY, 41, 100) is MARGIN
    assert at.ask("OTHER", BUY, 80, 100) is NONE
    assert at.ask("OTHER", BUY, 81, 100) is MARGIN


def test_margin_terms_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="`maintenance` must be below `initial`"):
        MarginTerms(initial="0.1", maintenance="0.1")
    with pytest.raises(ValueError, match=r"one over `portfolio.leverage` = 0.05: got 0.05"):
        venue(PERP, leverage=20, margin={"default": MarginTerms(maintenance="0.05")})


@given(
    leverage=st.sampled_from(["1", "3", "10"]),
    mids=st.tuples(st.integers(20, 400), st.integers(20, 400)),
    held=st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
    asked=st.tuples(st.sampled_from([BUY, SELL]), st.integers(1, 60)),
    rests=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
@settings(max_examples=150, deadline=None)
def test_acceptance_agrees_with_fractions(leverage, mids, held, asked, rests):
    at = venue(PERP, OTHER, usd=1000, leverage=leverage)
    for name, lots in zip(("PERP", "OTHER"), held, strict=True):
        if lots:
            at.trade(name, BUY if lots > 0 else SELL, abs(lots), 100)
    for side, lots in zip((BUY, SELL), rests, strict=True):
        if lots:
            at.rest("PERP", side, lots, 100)
    at.account.wallets["USD"].cash -= 700 * at.units.per_currency  # close to the edge
    at.books = {"PERP": (mids[0], mids[0] + 1, 0), "OTHER": (mids[1], mids[1], 0)}
    mark = {"PERP": Fraction(2 * mids[0] + 1, 2), "OTHER": Fraction(mids[1])}
    lot = Fraction("0.05")
    cash = Fraction(at.account.cash, at.units.per_currency)
    unrealised = sum(
        lots * (mark[name] - 100) * lot for name, lots in zip(("PERP", "OTHER"), held, strict=True)
    )
    side, lots = asked
    ends = [held[0] + rests[0], held[0] - rests[1]]
    ends[0 if side is BUY else 1] += side * lots
    exposure = max(map(abs, ends)) * mark["PERP"] + abs(held[1]) * mark["OTHER"]
    reduces = abs(ends[0 if side is BUY else 1]) < abs(held[0])
    enough = exposure * lot / Fraction(leverage) <= cash + unrealised
    assert at.ask("PERP", side, lots, 100) is (NONE if reduces or enough else MARGIN)


# --- the check -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda at: setattr(at.account.wallets["USD"], "cash", 1), "`cash` in USD must be"),
        (lambda at: setattr(at.account.wallets["USD"], "holdings", 1), "`holdings` in USD must be"),
        (lambda at: at.account.positions.update(SPOT=9), "`position` of SPOT must be 3 lots"),
        (lambda at: at.account.bases.update(PERP=9), "`basis` of PERP must be 0"),
        (lambda at: at.clearing.locked.update(USD=1), "`locked` in USD must be what its orders"),
        (lambda at: at.clearing._open["SPOT"].update({1: 7}), "open lots of SPOT must be"),
    ],
)
def test_the_check_says_what_does_not_balance(spoil, message):
    at = venue(SPOT, PERP)
    at.trade("SPOT", BUY, 3, 100)
    at.rest("SPOT", BUY, 2, 90)
    at.clearing.check()
    spoil(at)
    with pytest.raises(BooksDisagreeError, match=message):
        at.clearing.check()


def test_what_two_accounts_disagree_about_is_named():
    at = venue(SPOT)
    at.trade("SPOT", BUY, 3, 100)
    assert at.account.differences(at.account) == []
    found = "\n".join(at.account.differences(at.belief))
    assert "`position` of SPOT: 3 and 0." in found
    assert "`holdings` in USD: 1500000000 and 0 ledger units." in found
    at.deliver()
    assert at.account.differences(at.belief) == []
