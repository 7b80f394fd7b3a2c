"""When the venue closes positions, which, for how much, and what it leaves."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.orders import Side
from backtester.venue.margin import MarginTerms
from tests.backtester.paper_venue import PaperVenue
from tests.backtester.worlds import instrument

BUY, SELL = Side.BUY, Side.SELL
FREE = {"maker": "0", "taker": "0"}
PERP = instrument("PERP", base="COIN", fees=FREE)
OTHER = instrument("OTHER", base="ELSE", fees=FREE)
SPOT = instrument("SPOT", "spot", base="COIN", fees=FREE)
INVERSE = instrument("INVERSE", "inverse", base="COIN", lot_size="1", fees=FREE)
TENTH = {"default": MarginTerms(initial="0.2", maintenance="0.1")}


def venue(*instruments, usd=100, **others) -> PaperVenue:
    """Return a venue at which everything stands at 1000 ticks of 0.5; a lot of 0.1 is worth 50."""
    made = PaperVenue(
        instruments or [PERP], {"USD": usd, "COIN": 1}, **({"margin": TENTH} | others)
    )
    for terms in made.instruments:
        made.quote(terms.id, 1000, 1000)
    return made


def test_a_position_is_closed_once_equity_is_below_the_maintenance_margin():
    at = venue()
    at.trade("PERP", BUY, 10, 1000)
    # 100 - (1000 - m) / 2 against m / 20: equal at m = 888 and eight ninths
    at.quote("PERP", 889, 889)
    assert at.account.position("PERP") == 10
    at.quote("PERP", 888, 889)
    assert at.account.position("PERP") == 0
    assert at.units.to_float(at.account.cash) == 44.0
    assert [currency for _, currency in at.liquidator.instants] == ["USD"]
    assert at.forced == -1


def test_equity_that_equals_the_margin_suffices():
    at = venue(margin={"default": MarginTerms(initial="0.5", maintenance="0.25")}, usd=250)
    at.trade("PERP", BUY, 10, 1000)
    at.quote("PERP", 667, 667)  # 83.5 against 83.375
    assert at.account.position("PERP") == 10
    at.account.wallets["USD"].cash -= at.units.per_currency // 8  # equal now
    at.quote("PERP", 667, 667)
    assert at.account.position("PERP") == 10
    at.account.wallets["USD"].cash -= 1
    at.quote("PERP", 667, 667)
    assert at.account.position("PERP") == 0


def test_a_short_position_is_closed_when_the_price_rises():
    at = venue()
    at.trade("PERP", SELL, 10, 1000)
    at.quote("PERP", 1090, 1090)
    assert at.account.position("PERP") == -10
    at.quote("PERP", 1091, 1092)
    assert at.account.position("PERP") == 0
    assert at.units.to_float(at.account.cash) == 54.0


def test_orders_of_the_currency_are_canceled_first():
    at = venue(PERP, SPOT)
    at.rest("SPOT", BUY, 1, 100)
    at.rest("PERP", SELL, 1, 2000)
    at.trade("PERP", BUY, 9, 1000)
    at.quote("PERP", 800, 800)
    assert at.resting == {}
    assert at.clearing.locked["USD"] == 0
    assert at.clearing.resting("PERP") == (0, 0)


def test_positions_are_closed_one_by_one_until_equity_suffices():
    at = venue(PERP, OTHER)
    at.trade("PERP", BUY, 5, 1000)
    at.trade("OTHER", BUY, 5, 1000)
    at.quote("PERP", 790, 790)  # 47.5 against 44.75
    at.quote("OTHER", 970, 970)  # 40 against 44
    assert at.account.position("PERP") == 0
    assert at.account.position("OTHER") == 5
    assert at.units.to_float(at.account.cash) == 47.5


def test_what_the_book_cannot_take_waits_for_the_next_quote():
    at = venue()
    at.trade("PERP", BUY, 10, 1000)
    at.quote("PERP", 840, 840, displayed=1)
    assert at.account.position("PERP") == 9
    at.quote("PERP", 840, 840, displayed=2)
    assert at.account.position("PERP") == 7
    at.quote("PERP", 870, 870, displayed=1)  # 25.5 + ... now suffices: the rest stays
    assert at.account.position("PERP") == 7
    assert len(at.liquidator.instants) == 2


def test_the_liquidation_fee_comes_on_top_of_the_takers():
    terms = MarginTerms(initial="0.2", maintenance="0.1", liquidation_fee="0.01")
    dear = instrument("PERP", fees={"maker": "0", "taker": "0.001"})
    at = PaperVenue([dear], {"USD": "100.5"}, margin={"PERP": terms})
    at.quote("PERP", 1000, 1000)
    at.trade("PERP", BUY, 10, 1000)  # a fee of 0.5
    at.quote("PERP", 880, 880)
    assert at.units.to_float(at.account.cash) == 100 - 60 - 440 * 0.011


def test_the_insurance_fund_fills_up_what_falls_below_zero():
    at = venue()
    at.trade("PERP", BUY, 10, 1000)
    at.quote("PERP", 700, 700)  # 150 lost of 100
    assert at.account.cash == 0
    assert at.units.to_float(at.account.wallets["USD"].insurance) == 50.0
    at.clearing.check()
    at.deliver(10)
    assert at.account.differences(at.belief) == []


def test_the_insurance_fund_waits_until_nothing_is_held():
    at = venue()
    at.trade("PERP", BUY, 10, 1000)
    at.quote("PERP", 700, 700, displayed=9)
    assert at.account.cash < 0
    assert at.account.wallets["USD"].insurance == 0
    at.quote("PERP", 700, 700)
    assert at.account.cash == 0


def test_the_insurance_fund_also_fills_up_what_our_own_last_close_leaves():
    at = venue()
    at.trade("PERP", BUY, 10, 1000)
    at.quote("PERP", 700, 700, displayed=0)
    assert at.account.position("PERP") == 10
    at.trade("PERP", SELL, 10, 690)
    assert at.account.cash == 0
    assert at.units.to_float(at.account.wallets["USD"].insurance) == 55.0
    assert at.liquidator.instants == []


def test_funding_may_be_the_last_straw():
    at = venue()
    at.trade("PERP", BUY, 10, 1000)
    at.quote("PERP", 890, 890)  # 45 against 44.5
    at.fund("PERP", Fraction(1, 1000))  # 0.445
    assert at.account.position("PERP") == 10
    at.fund("PERP", Fraction(1, 1000))
    assert at.account.position("PERP") == 0


def test_an_inverse_position_loses_in_a_currency_that_falls_with_it():
    at = venue(INVERSE)
    at.trade("INVERSE", BUY, 2500, 1000)  # 2500 USD at 500: 5 coins, with one as equity
    at.quote("INVERSE", 926, 926)
    # 5.3996 coins: 0.6004 are left against 0.53996
    assert at.account.position("INVERSE") == 2500
    at.quote("INVERSE", 916, 916)  # 5.4585: 0.5415 against 0.54585
    assert at.account.position("INVERSE") == 0
    assert at.account.wallets["USD"].cash == 100 * at.units.per_currency


# --- looking ahead over a window ---------------------------------


class Ahead(PaperVenue):
    """Shows windows of several marks at once, as the real venue does."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.window: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def marks(self, instrument):
        return self.window.get(instrument, (np.empty(0, np.int64), np.empty(0, np.int64)))

    def twice_mids(self):
        present = {}
        for name, (bid, ask, _) in self.books.items():
            instants, mids = self.marks(name)
            count = int(instants.searchsorted(self.clock.now, side="right"))
            present[name] = int(mids[count - 1]) if count else bid + ask
        return present

    def show(self, window, until):
        """Play a window of marks: instants and twice the mids, by instrument."""
        self.window = {
            name: (np.array([t for t, _ in rows]), np.array([m for _, m in rows]))
            for name, rows in window.items()
        }
        self.liquidator.open_window()
        self.clock.advance_to(until)
        last = self.twice_mids()
        self.books = {n: (m // 2, m - m // 2, 10**9) for n, m in last.items()}
        self.window = {}

    def force_close(self, instrument, now):
        mid = self.twice_mids()[instrument] // 2
        self.books[instrument] = (mid, mid, 10**9)
        return super().force_close(instrument, now)


def naive_instant(at, rows, start):
    """Return the first instant at which the rows leave less than the margin, record by record."""
    mids = dict(at.twice_mids())
    for instant in sorted({t for _, t, _ in rows}):
        for name, t, mid in rows:
            if t == instant:
                mids[name] = mid
        equity, margin = Fraction(at.account.cash, at.units.per_currency), Fraction(0)
        for name in ("PERP", "OTHER"):
            lots, mark = at.account.position(name), Fraction(mids[name], 2)
            equity += (lots * mark - at.account.bases.get(name, 0)) * Fraction("0.05")
            margin += abs(lots) * mark * Fraction("0.05") / 10
        relevant = any(t == instant and at.account.position(name) for name, t, _ in rows)
        if relevant and equity < margin and instant >= start:
            return instant
    return None


marks = st.lists(
    st.tuples(st.sampled_from(["PERP", "OTHER"]), st.integers(0, 8), st.integers(1300, 2600)),
    max_size=14,
)  # fmt: skip


@given(marks, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 13))
@settings(max_examples=200, deadline=None)
def test_the_instant_is_the_first_record_of_any_window_that_leaves_too_little(
    marks, perp, other, cut
):
    at = Ahead([PERP, OTHER], {"USD": 200}, margin=TENTH)
    for name, lots in (("PERP", perp), ("OTHER", other)):
        at.quote(name, 1000, 1000)
        if lots:
            at.clearing.fill(1, name, BUY if lots > 0 else SELL, abs(lots), 1000, 0,
                             is_maker=False, is_first=True)  # fmt: skip
    start, rows, now = at.clock.now, [], at.clock.now
    for name, later, mid in marks:
        now += later
        rows.append((name, now, mid))
    expected = naive_instant(at, rows, start)
    borders = [start + cut, start + 4 * cut, now + 1]
    begin = start
    for until in sorted(max(border, begin) for border in borders):
        window: dict[str, list[tuple[int, int]]] = {}
        for name, t, mid in rows:
            if begin <= t < until:
                window.setdefault(name, []).append((t, mid))
        at.show(window, until)
        begin = until
    found = at.liquidator.instants
    assert (found[0][0] if found else None) == expected


@pytest.mark.parametrize("lots", [3, -3])
def test_floats_only_say_where_to_look(lots):
    at = venue(INVERSE, OTHER)
    at.clearing.fill(1, "INVERSE", BUY if lots > 0 else SELL, abs(lots) * 700, 1000, 0,
                     is_maker=False, is_first=True)  # fmt: skip
    mids = np.arange(1500, 3000)
    margin = at.clearing.margin
    near = set(margin.near_shortfall("COIN", {"INVERSE": mids}).tolist())
    short = {i for i, m in enumerate(mids.tolist()) if margin.cushion("COIN", {"INVERSE": m}) < 0}
    assert short
    assert short <= near
    assert len(near) <= len(short) + 2
