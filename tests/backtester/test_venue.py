"""What the venue makes of an order, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest

from backtester.account import Account, Units
from backtester.orders import Order, OrderType, Reason, Side
from backtester.venue.clearing import Clearing
from backtester.venue.outcome import Outcome
from backtester.venue.venue import Venue
from clock.rank import Rank
from clock.simulated import SimulatedClock
from featurizer.market import Instrument, Records
from tests.backtester.worlds import ALPHA, BETA, Quote, at, columns, instrument

BUY, SELL = Side.BUY, Side.SELL


class Exchange:
    """A venue whose orders are told in words; lots of 0.1 and ticks of 0.5."""

    def __init__(
        self,
        *quotes: Quote,
        instruments: Sequence[Instrument] | None = None,
        cash: str = "100000",
        leverage: str = "1",
        **others: Sequence[Quote],
    ) -> None:
        terms = instruments or [instrument()]
        units = Units(terms)
        self.names = [i.id for i in terms]
        self.account = Account(units, units.from_decimal(Decimal(cash)))
        clearing = Clearing(self.account, Fraction(leverage))
        self.clock = SimulatedClock(at(0))
        self.venue = Venue(self.names, clearing, self.clock)
        self.show({self.names[0]: quotes} | others)

    def show(self, quotes: dict[str, Sequence[Quote]]) -> None:
        """Open a window of quotes."""
        window = {}
        for name in self.names:
            rows = quotes.get(name) or [Quote(0)]
            records = Records(name, "quotes", columns(rows))
            window[name, "quotes"] = records if quotes.get(name) else records.slice(0, 0)
        self.venue.open_window(window)

    def send(
        self, ms: float, side: Side, lots: int, limit: int | None = None, name: str = ALPHA
    ) -> list[Outcome]:
        """Let an order arrive."""
        order = Order(
            number=1,
            instrument=name,
            side=side,
            type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            quantity=lots / 10,
            limit_price=float("nan") if limit is None else limit / 2,
            sent_at=at(ms),
            ordinal=0,
            lots=lots,
            limit_ticks=limit or 0,
        )
        self.clock.advance_to(at(ms), Rank.VENUE_ARRIVAL)
        return self.venue.receive(order, at(ms))

    def filled(
        self, ms: float, side: Side, lots: int, limit: int | None = None, name: str = ALPHA
    ) -> tuple[int, float | None]:
        """Let an order arrive; return the lots filled and their price."""
        fills = [o.fill for o in self.send(ms, side, lots, limit, name) if o.fill is not None]
        assert len(fills) <= 1
        return (fills[0].lots, fills[0].price) if fills else (0, None)


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.kind.name.lower() for outcome in outcomes]


def refusal(outcomes: Sequence[Outcome]) -> str:
    assert kinds(outcomes) == ["rejected"], outcomes
    return outcomes[0].reason.name.lower()


def test_a_buy_fills_at_the_ask_and_a_sell_at_the_bid():
    exchange = Exchange(Quote(0, bid=99, ask=101))
    assert exchange.filled(1, BUY, 10) == (10, 101.0)
    assert exchange.filled(1, SELL, 10) == (10, 99.0)


def test_a_full_fill_is_accepted_then_filled_and_nothing_more():
    assert kinds(Exchange(Quote(0)).send(1, BUY, 10)) == ["accepted", "filled"]


def test_an_order_fills_as_far_as_the_displayed_quantity_and_the_rest_is_canceled():
    outcomes = Exchange(Quote(0, ask_quantity=0.3)).send(1, BUY, 10)
    assert kinds(outcomes) == ["accepted", "filled", "canceled"]
    assert [outcome.lots for outcome in outcomes] == [0, 3, 7]
    assert outcomes[2].reason is Reason.UNFILLED_REMAINDER


@pytest.mark.parametrize(("side", "price"), [(BUY, 101.0), (SELL, 99.0)])
def test_what_was_taken_stays_taken_until_a_quote_is_new_about_that_side(side, price):
    shown = {"bid_quantity": 1, "ask_quantity": 1}
    other = (
        {"bid_quantity": 2, "ask_quantity": 1}
        if side > 0
        else {"bid_quantity": 1, "ask_quantity": 2}
    )
    new = {"bid_quantity": 0.9, "ask_quantity": 0.9}
    exchange = Exchange(Quote(0, **shown), Quote(10, **shown), Quote(20, **other), Quote(30, **new))
    assert exchange.filled(1, side, 6) == (6, price)
    assert exchange.filled(2, side, 6) == (4, price)
    for again in (3, 10, 20):
        assert kinds(exchange.send(again, side, 6)) == ["accepted", "canceled"]
    assert exchange.filled(30, side, 6) == (6, price)


def test_what_was_taken_from_the_ask_is_not_missing_from_the_bid():
    exchange = Exchange(Quote(0, bid_quantity=1, ask_quantity=1))
    assert exchange.filled(1, BUY, 10) == (10, 101.0)
    assert exchange.filled(1, SELL, 10) == (10, 99.0)


def test_what_was_taken_of_one_instrument_is_not_missing_from_another():
    exchange = Exchange(
        Quote(0, ask_quantity=1),
        instruments=[instrument(ALPHA), instrument(BETA)],
        **{BETA: [Quote(0, ask_quantity=1)]},
    )
    assert exchange.filled(1, BUY, 10) == (10, 101.0)
    assert exchange.filled(1, BUY, 10, name=BETA) == (10, 101.0)


def test_a_quote_of_another_instrument_does_not_give_back_what_was_taken():
    exchange = Exchange(
        Quote(0, ask_quantity=1),
        instruments=[instrument(ALPHA), instrument(BETA)],
        **{BETA: [Quote(0), Quote(2)]},
    )
    exchange.filled(1, BUY, 10)
    assert exchange.filled(3, BUY, 10) == (0, None)


def test_a_new_window_without_quotes_does_not_give_back_what_was_taken():
    exchange = Exchange(Quote(0, ask_quantity=1))
    exchange.filled(1, BUY, 10)
    exchange.show({})
    assert exchange.filled(50, BUY, 10) == (0, None)


def test_a_new_window_goes_on_from_the_last_quote_of_the_one_before():
    exchange = Exchange(Quote(0, ask=101), Quote(40, ask=105))
    exchange.show({ALPHA: [Quote(90, ask=109)]})
    assert exchange.filled(60, BUY, 1) == (1, 105.0)
    assert exchange.filled(90, BUY, 1) == (1, 109.0)


def test_an_order_that_arrives_at_a_quotes_event_time_sees_that_quote():
    exchange = Exchange(Quote(0, ask=101), Quote(10, ask=107))
    assert exchange.filled(10 - 1e-6, BUY, 1) == (1, 101.0)
    assert exchange.filled(10, BUY, 1) == (1, 107.0)


def test_of_quotes_of_one_instant_the_last_sequence_stands():
    exchange = Exchange(Quote(0, ask=101), Quote(0, ask=103), Quote(0, ask=102))
    assert exchange.filled(0, BUY, 1) == (1, 102.0)


def test_the_venue_has_a_quote_as_soon_as_it_happened_whenever_we_receive_it():
    exchange = Exchange(Quote(0, ask=101), Quote(10, ask=107, received=500))
    assert exchange.filled(10, BUY, 1) == (1, 107.0)


@pytest.mark.parametrize(
    ("side", "limit", "filled"),
    [(BUY, 202, 5), (BUY, 203, 5), (BUY, 201, 0), (SELL, 198, 5), (SELL, 197, 5), (SELL, 199, 0)],
)
def test_a_limit_fills_at_the_displayed_price_or_not_at_all(side, limit, filled):
    lots, price = Exchange(Quote(0, bid=99, ask=101)).filled(1, side, 5, limit)
    assert lots == filled
    assert price in (None, 101.0 if side is BUY else 99.0)


def test_a_limit_that_does_not_fill_is_accepted_and_canceled_whole():
    outcomes = Exchange(Quote(0)).send(1, BUY, 5, 150)
    assert kinds(outcomes) == ["accepted", "canceled"]
    assert outcomes[1].lots == 5


def test_an_order_before_the_first_quote_finds_no_market():
    exchange = Exchange(Quote(10))
    assert refusal(exchange.send(9, BUY, 1)) == "no_market"
    assert exchange.filled(10, BUY, 1) == (1, 101.0)


def test_a_quote_of_another_instrument_makes_no_market():
    exchange = Exchange(instruments=[instrument(ALPHA), instrument(BETA)], **{BETA: [Quote(0)]})
    assert refusal(exchange.send(1, BUY, 1)) == "no_market"


def test_a_refused_order_takes_nothing_and_books_nothing():
    exchange = Exchange(Quote(0, ask_quantity=1), cash="50")
    assert refusal(exchange.send(1, BUY, 10)) == "insufficient_margin"
    assert list(exchange.venue.books[ALPHA].left(SELL)) == [(202, 10)]
    assert exchange.account.positions == {}


def test_the_fee_is_the_takers_share_of_the_notional():
    [_, outcome] = Exchange(Quote(0, ask=101)).send(1, BUY, 10)
    assert outcome.fill is not None
    assert outcome.fill.fee == pytest.approx(0.101)
    assert outcome.fill.fee_units == 10_100_000


# --- spot ---------------------------------------------------------------------------------------


def spot(*quotes: Quote, cash: str) -> Exchange:
    return Exchange(*quotes, instruments=[instrument(ALPHA, "spot")], cash=cash)


def test_a_spot_buy_needs_the_notional_and_the_fee_to_the_last_unit():
    assert spot(Quote(0), cash="101.101").filled(1, BUY, 10) == (10, 101.0)
    assert refusal(spot(Quote(0), cash="101.10099999").send(1, BUY, 10)) == "insufficient_funds"


def test_a_spot_limit_buy_is_paid_for_at_its_limit_before_it_is_accepted():
    assert refusal(spot(Quote(0), cash="102").send(1, BUY, 10, 206)) == "insufficient_funds"
    assert spot(Quote(0), cash="102").filled(1, BUY, 10, 202) == (10, 101.0)


def test_spot_is_never_sold_short():
    exchange = spot(Quote(0), cash="1000")
    assert refusal(exchange.send(1, SELL, 1)) == "insufficient_funds"
    exchange.filled(1, BUY, 3)
    assert refusal(exchange.send(2, SELL, 4)) == "insufficient_funds"
    assert exchange.filled(2, SELL, 3) == (3, 99.0)
    assert refusal(exchange.send(3, SELL, 1)) == "insufficient_funds"


def test_leverage_does_not_lend_money_for_spot():
    exchange = Exchange(
        Quote(0), instruments=[instrument(ALPHA, "spot")], cash="100", leverage="10"
    )
    assert refusal(exchange.send(1, BUY, 10)) == "insufficient_funds"


# --- perpetuals ---------------------------------------------------------------------------------


def test_a_perpetual_position_at_mid_is_at_most_leverage_times_equity():
    assert Exchange(Quote(0), cash="100").filled(1, BUY, 10) == (10, 101.0)
    assert refusal(Exchange(Quote(0), cash="99.99").send(1, BUY, 10)) == "insufficient_margin"
    assert Exchange(Quote(0), cash="20", leverage="5").filled(1, SELL, 10) == (10, 99.0)


def test_a_mid_between_two_ticks_counts_exactly():
    half = Quote(0, bid=99, ask=99.5)  # a mid of 99.25
    assert Exchange(half, cash="99.25").filled(1, BUY, 10) == (10, 99.5)
    assert refusal(Exchange(half, cash="99.24999999").send(1, BUY, 10)) == "insufficient_margin"


def test_a_loss_not_yet_realised_lowers_the_margin():
    exchange = Exchange(Quote(0), Quote(10, bid=49, ask=51), cash="120")
    exchange.filled(1, BUY, 10)  # at 101: down 51 at a mid of 50, an equity of 68.9
    assert refusal(exchange.send(10, BUY, 4)) == "insufficient_margin"
    assert exchange.filled(10, BUY, 3) == (3, 51.0)


def test_a_reducing_order_is_accepted_even_when_nothing_is_left():
    exchange = Exchange(Quote(0), Quote(10, bid=199, ask=201), cash="60", leverage="2")
    exchange.filled(1, SELL, 10)
    assert refusal(exchange.send(10, SELL, 1)) == "insufficient_margin"
    assert exchange.filled(10, BUY, 4) == (4, 201.0)
    assert exchange.filled(10, BUY, 6) == (6, 201.0)
    assert exchange.account.cash < 0
    assert refusal(exchange.send(10, BUY, 1)) == "insufficient_margin"


def test_a_margin_counts_the_positions_of_all_perpetuals():
    exchange = Exchange(
        Quote(0),
        instruments=[instrument(ALPHA), instrument(BETA)],
        cash="150",
        **{BETA: [Quote(0)]},
    )
    exchange.filled(1, BUY, 10)
    assert refusal(exchange.send(1, SELL, 10, name=BETA)) == "insufficient_margin"
    assert exchange.filled(1, SELL, 4, name=BETA) == (4, 99.0)
