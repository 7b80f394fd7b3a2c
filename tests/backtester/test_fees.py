"""Every fee model against fractions, and what the most may be that an order locks."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from backtester.account import Units
from backtester.venue.fee_models import FeeModels
from backtester.venue.fees import FeeSchedule
from tests.backtester.test_account import half_even
from tests.backtester.worlds import instrument

SPOT = instrument("SPOT", "spot", tick_size="0.01", lot_size="0.001",
                  fees={"maker": "-0.0001", "taker": "0.0007"})  # fmt: skip
PERP = instrument("PERP", tick_size="0.5", lot_size="0.1", contract_size="10")
COIN = instrument("COIN", "inverse", tick_size="0.5", lot_size="1", contract_size="100")
ALL = (SPOT, PERP, COIN)
UNITS = Units(ALL)
UNIT = Fraction(1, UNITS.per_currency)

amounts = st.decimals("-0.01", "0.01", places=6)
names = st.sampled_from([terms.id for terms in ALL])
lots_and_ticks = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))


def models(value: Any) -> Any:
    """Return fee models as a scenario reads them."""
    return TypeAdapter(FeeModels).validate_python(value)


def schedule(value: Any = None) -> FeeSchedule:
    """Return what a scenario's `fees` charge."""
    return FeeSchedule(UNITS, None if value is None else models(value))


def charge(fees: FeeSchedule, name: str, lots: int, ticks: int, now: int = 0, **what: bool) -> int:
    """Return the fee of a fill, by default a taker's first."""
    return fees.charge(name, lots, ticks, now, **({"is_maker": False, "is_first": True} | what))


def worth(name: str, lots: int, ticks: int) -> int:
    """Return the worth of lots in ledger units: exact, but rounded for inverse contracts."""
    terms = next(terms for terms in ALL if terms.id == name)
    size = Fraction(terms.lot_size) * Fraction(terms.contract_size) * lots
    price = Fraction(terms.tick_size) * ticks
    return half_even((size / price if terms.contract == "inverse" else size * price) / UNIT)


@given(names, lots_and_ticks, amounts, amounts, st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_share_is_of_the_worth_in_the_contracts_own_currency(name, traded, maker, taker, rests):
    fees = schedule({"kind": "share", "maker": str(maker), "taker": str(taker)})
    rate = Fraction(maker if rests else taker)
    expected = half_even(rate * worth(name, *traded))
    assert charge(fees, name, *traded, is_maker=rests) == expected


@pytest.mark.parametrize(("name", "maker", "taker"), [("SPOT", -1, 7), ("PERP", 0, 10)])
def test_without_a_model_the_instruments_own_shares_are_paid(name, maker, taker):
    lots, ticks = 1000, 10_000
    part = worth(name, lots, ticks) // 10_000
    assert charge(schedule(), name, lots, ticks, is_maker=True) == maker * part
    assert charge(schedule(), name, lots, ticks) == taker * part


@given(names, lots_and_ticks, amounts)
@settings(max_examples=60, deadline=None)
def test_per_quantity_does_not_look_at_the_price(name, traded, amount):
    fees = schedule({"kind": "per_quantity", "maker": 0, "taker": str(amount)})
    terms = next(terms for terms in ALL if terms.id == name)
    quantity = Fraction(terms.lot_size) * traded[0]
    assert charge(fees, name, *traded) == half_even(Fraction(amount) * quantity / UNIT)
    assert charge(fees, name, *traded, is_maker=True) == 0


def test_a_flat_fee_is_charged_with_the_first_fill_of_an_order():
    fees = schedule({"kind": "flat", "maker": "0.25", "taker": "1.5"})
    assert charge(fees, "PERP", 5, 100) == Decimal("1.5") * UNITS.per_currency
    assert charge(fees, "PERP", 5, 100, is_first=False) == 0
    assert charge(fees, "PERP", 5, 100, is_maker=True) == Decimal("0.25") * UNITS.per_currency


def test_several_fees_add_up():
    terms = [{"kind": "flat", "maker": 0, "taker": 2}, {"kind": "share", "maker": 0, "taker": 0.01}]
    fees = schedule({"kind": "sum", "terms": terms})
    assert charge(fees, "PERP", 10, 200) == (2 + 10) * UNITS.per_currency  # of 1000


def test_each_instrument_may_have_a_model_of_its_own():
    fees = schedule(
        {
            "SPOT": {"kind": "flat", "maker": 0, "taker": 1},
            "default": {"kind": "flat", "maker": 0, "taker": 2},
        }
    )
    assert charge(fees, "SPOT", 1, 1) == UNITS.per_currency
    assert charge(fees, "PERP", 1, 1) == 2 * UNITS.per_currency
    only = schedule({"SPOT": {"kind": "flat", "maker": 0, "taker": 1}})
    assert charge(only, "PERP", 10, 200) == UNITS.per_currency  # a thousandth, as defined


TIERS = [
    {"volume": 0, "maker": "0.001", "taker": "0.002"},
    {"volume": 1000, "maker": "0.0005", "taker": "0.001"},
    {"volume": 5000, "maker": "-0.0001", "taker": "0.0004"},
]


def test_a_tier_goes_by_what_was_traded_before_the_fill_and_within_the_window():
    fees = schedule({"kind": "tiered", "tiers": TIERS, "window": "10ns"})
    thousand = (10, 200)  # lots and ticks of PERP
    assert charge(fees, "PERP", *thousand, 0) == 2 * UNITS.per_currency
    assert charge(fees, "PERP", *thousand, 9) == 1 * UNITS.per_currency
    # at 10 the first has left (0, 10], and the second is 1000 yet
    assert charge(fees, "PERP", *thousand, 10) == 1 * UNITS.per_currency
    assert charge(fees, "PERP", *thousand, 20) == 2 * UNITS.per_currency


def test_an_opening_volume_never_leaves_the_window():
    fees = schedule({"kind": "tiered", "tiers": TIERS, "window": "10ns", "opening_volume": 5000})
    for now in (0, 1000):
        assert charge(fees, "PERP", 10, 200, now, is_maker=True) == -UNITS.per_currency // 10


def test_the_volume_of_an_inverse_contract_is_in_its_quote_currency():
    fees = schedule({"kind": "tiered", "tiers": TIERS})
    charge(fees, "COIN", 10, 10**6)  # ten contracts of 100 USD, whatever their price
    fee = charge(fees, "COIN", 10, 200)  # 1000 USD at 100: ten units of the base currency
    assert fee == Decimal("0.01") * UNITS.per_currency


class NaiveTiers:
    """Every fill, and a sum over those of the window."""

    def __init__(self, window: int, opening: int) -> None:
        self.window, self.opening = window, opening
        self.fills: list[tuple[int, Fraction]] = []

    def fee(self, now: int, notional: int, *, is_maker: bool) -> int:
        before = self.opening + sum(
            volume for instant, volume in self.fills if now - self.window < instant <= now
        )
        tier = [tier for tier in TIERS if tier["volume"] <= before][-1]
        self.fills.append((now, notional * UNIT))
        return half_even(Fraction(tier["maker" if is_maker else "taker"]) * notional)


@given(
    fills=st.lists(
        st.tuples(st.integers(0, 8), st.sampled_from(["SPOT", "PERP"]), st.booleans(),
                  st.integers(1, 30), st.integers(1, 300)), max_size=40),
    window=st.integers(1, 30),
    opening=st.sampled_from([0, 500, 6000]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_tiers_agree_with_a_sum_over_all_fills(fills, window, opening):
    fees = schedule(
        {"kind": "tiered", "tiers": TIERS, "window": f"{window}ns", "opening_volume": opening}
    )
    naive, now = NaiveTiers(window, opening), 0
    for later, name, rests, lots, ticks in fills:
        now += later
        got = charge(fees, name, lots, ticks, now, is_maker=rests)
        assert got == naive.fee(now, worth(name, lots, ticks), is_maker=rests)


@given(
    model=st.sampled_from(
        [
            {"kind": "share", "maker": "-0.0001", "taker": "0.000777"},
            {"kind": "per_quantity", "maker": "0.000000333", "taker": "-1"},
            {"kind": "flat", "maker": 0, "taker": "0.33"},
            {"kind": "tiered", "tiers": TIERS},
        ]
    ),
    parts=st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=20),
    ticks=st.integers(1, 10**5),
)
@settings(max_examples=80, deadline=None)
def test_no_way_of_filling_an_order_costs_more_than_the_most_that_was_said(model, parts, ticks):
    fees = schedule({"kind": "sum", "terms": [model, {"kind": "flat", "maker": 1, "taker": 2}]})
    left = sum(lots for lots, _ in parts)
    most = fees.most("SPOT", left, ticks, is_first=True)
    for place, (lots, rests) in enumerate(parts):
        fee = charge(fees, "SPOT", lots, ticks, is_maker=rests, is_first=place == 0)
        left -= lots
        rest = fees.most("SPOT", left, ticks, is_first=False)
        assert fee + rest <= most
        most = rest


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "shares", "maker": 0, "taker": 0}, r"Did you mean `share`\?"),
        ({"kind": "share", "maker": 0}, "taker"),
        ({"SPOT": 0.001}, "fees are a mapping with a `kind`"),
        ({"kind": "tiered", "tiers": TIERS[1:]}, "must begin with `volume: 0` and ascend"),
        ({"kind": "tiered", "tiers": [TIERS[0], TIERS[2], TIERS[1]]}, "0, 5000, 1000"),
        ({"kind": "tiered", "tiers": TIERS, "window": 0}, "`window` must be above zero"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(value, message):
    with pytest.raises(ValidationError, match=message):
        models(value)
