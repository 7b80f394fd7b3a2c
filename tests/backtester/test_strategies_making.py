"""What the strategies that rest orders do, on markets made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from backtester.strategies import Grid, MarketMaker
from tests.backtester.worlds import ALPHA, BETA, Quote, Trade, play, since

# gamma = 1 and kappa = 1 / (e - 1): (2 / gamma) ln(1 + gamma / kappa) = 2
KAPPA = 1 / (math.e - 1)

# The imbalance stands in for the volatility: quantities of 10.1 and 9.9 make it 0.01, which at a
# mid of 100 is a sigma of 1.
FEATURES = {
    "sampling": {"input": "quotes"},
    "feature_configs": [
        {"feature_definition": "price.MidPrice", "name": "mid"},
        {"feature_definition": "book.Imbalance", "name": "sigma"},
    ],
}
CALM: dict[str, Any] = {}
ROUGH = {"bid_quantity": 10.1, "ask_quantity": 9.9}


def maker(**params: Any) -> MarketMaker:
    settings = {"gamma": 1.0, "kappa": KAPPA, "quantity": 1.0, "volatility": "sigma"}
    return MarketMaker(**settings | params)


def orders_of(result: Any) -> list[tuple[float, int, float]]:
    """Return (ms, side, price) of each order as it was sent."""
    frame = result.orders
    return [
        (since(sent), side, price)
        for sent, side, price in zip(
            frame["sent_at"].to_physical().to_list(),
            frame["side"].to_list(),
            frame["limit_price"].to_list(),
            strict=True,
        )
    ]


def changes_of(result: Any) -> list[tuple[float, str, int, float]]:
    """Return (ms, kind, order, price) of each change as it was sent."""
    frame = result.order_changes
    return [
        (since(sent), kind, order, price)
        for sent, kind, order, price in zip(
            frame["sent_at"].to_physical().to_list(),
            frame["kind"].to_list(),
            frame["order"].to_list(),
            frame["limit_price"].to_list(),
            strict=True,
        )
    ]


# --- market maker -------------------------------------------------------------------------------


def test_the_prices_are_those_of_avellaneda_and_stoikov():
    maker = MarketMaker(gamma=0.5, kappa=2.0, horizon=3.0)
    bid, ask = maker.prices(mid=100.0, sigma=0.8, inventory=2.0)
    reservation = 100.0 - 2.0 * 0.5 * 0.8**2 * 3.0
    spread = 0.5 * 0.8**2 * 3.0 + (2 / 0.5) * math.log(1 + 0.5 / 2.0)
    assert (bid + ask) / 2 == pytest.approx(reservation)
    assert ask - bid == pytest.approx(spread)


def test_without_inventory_it_quotes_evenly_around_the_mid(tmp_path):
    result = play(tmp_path, maker(), [Quote(1), Quote(5)], featurizer=FEATURES)
    assert orders_of(result) == [(1.0, 1, 99.0), (1.0, -1, 101.0)]
    assert changes_of(result) == []  # nothing moved: nothing to do
    assert result.orders["status"].to_list() == ["open", "open"]


def test_it_widens_with_volatility(tmp_path):
    result = play(tmp_path, maker(), [Quote(1, **ROUGH)], featurizer=FEATURES)
    # spread 1 + 2
    assert orders_of(result) == [(1.0, 1, 98.5), (1.0, -1, 101.5)]


def test_a_bought_unit_lowers_both_prices(tmp_path):
    quotes = [Quote(1, **ROUGH), Quote(10, **ROUGH)]
    trades = {ALPHA: [Trade(5, price=98.0, quantity=1, aggressor=-1)]}
    result = play(tmp_path, maker(), quotes, trades=trades, featurizer=FEATURES)
    assert result.fills["price"].to_list() == [98.5]
    # r = 100 - 1: bid 97.5, ask 100.5
    assert orders_of(result)[2:] == [(10.0, 1, 97.5)]
    assert changes_of(result) == [(10.0, "modify", 2, 100.5)]


def test_it_follows_the_mid_with_a_change_of_each_order(tmp_path):
    quotes = [Quote(1), Quote(10, bid=101, ask=103)]
    result = play(tmp_path, maker(), quotes, featurizer=FEATURES)
    assert [change[1:] for change in changes_of(result)] == [
        ("modify", 1, 101.0),
        ("modify", 2, 103.0),
    ]


def test_it_waits_for_the_answer_to_one_change_before_the_next(tmp_path):
    quotes = [Quote(1), *(Quote(20 + n, bid=100 + n, ask=102 + n) for n in range(5)), Quote(60)]
    result = play(tmp_path, maker(), quotes, featurizer=FEATURES, entry="4ms", response="4ms")
    assert {ms for ms, *_ in changes_of(result)} == {20.0, 60.0}


def test_it_never_quotes_across_the_market(tmp_path):
    # sigma = 2: after a sale r = 100 + 4, and the bid belongs at 102, beyond the best ask
    rough = {"bid": 99.5, "ask": 100.5, "bid_quantity": 10.2, "ask_quantity": 9.8}
    trades = {ALPHA: [Trade(5, price=103.0, quantity=1, aggressor=1)]}
    quotes = [Quote(1, **rough), Quote(10, **rough)]
    strategy = maker(kappa=1e6)
    result = play(tmp_path, strategy, quotes, trades=trades, featurizer=FEATURES)
    assert orders_of(result) == [(1.0, 1, 97.5), (1.0, -1, 102.5), (10.0, -1, 106.5)]
    assert strategy.prices(100.0, 2.0, -1.0)[0] == pytest.approx(102.0, abs=1e-5)
    assert changes_of(result) == [(10.0, "modify", 1, 100.0)]
    assert result.fills["side"].to_list() == [-1]


def test_a_full_position_is_not_added_to(tmp_path):
    quotes = [Quote(1), Quote(10), Quote(20)]
    trades = {ALPHA: [Trade(5, price=98.0, aggressor=-1), Trade(15, price=98.0, aggressor=-1)]}
    result = play(
        tmp_path, maker(max_orders=1, horizon=0.0), quotes, trades=trades, featurizer=FEATURES
    )
    assert [side for _, side, _ in orders_of(result)] == [1, -1]
    assert result.fills["quantity"].to_list() == [1.0]


def test_a_bid_left_over_from_before_the_limit_is_canceled(tmp_path):
    class Heavy(MarketMaker):
        def on_start(self, ctx: Any) -> None:
            ctx.call_at(ctx.now + 5_000_000, "buy")

        def on_timer(self, ctx: Any, name: str) -> None:
            ctx.buy(ALPHA, 3.0)

    heavy = Heavy(gamma=1.0, kappa=KAPPA, quantity=1.0, volatility="sigma", max_orders=3)
    result = play(tmp_path, heavy, [Quote(1), Quote(10)], featurizer=FEATURES)
    assert changes_of(result)[0][:3] == (10.0, "cancel", 1)
    assert result.orders["status"].to_list()[0] == "canceled"


def test_a_maker_does_nothing_while_its_volatility_is_warming_up(tmp_path):
    features = FEATURES | {
        "feature_configs": [
            *FEATURES["feature_configs"],
            {
                "feature_definition": "volatility.RealisedVolatility",
                "name": "volatility",
                "params": {"window": "10ms"},
            },
        ]
    }
    quotes = [Quote(1), Quote(2, bid=98), Quote(5), Quote(13)]
    strategy = maker(volatility="volatility")
    result = play(tmp_path, strategy, quotes, featurizer=features)
    assert [ms for ms, *_ in orders_of(result)] == [13.0, 13.0]


# --- grid ---------------------------------------------------------------------------------------

STEP = {"spacing_bps": 100.0, "levels": 2, "quantity": 1.0}


def test_a_grid_is_laid_around_the_first_mid(tmp_path):
    result = play(tmp_path, Grid(**STEP), [Quote(0), Quote(5, bid=95, ask=97)], until=100)
    assert sorted(orders_of(result)[:4]) == [
        (0.0, -1, 101.0),
        (0.0, -1, 102.0),
        (0.0, 1, 98.0),
        (0.0, 1, 99.0),
    ]


def test_a_grid_waits_for_the_first_quote(tmp_path):
    result = play(tmp_path, Grid(**STEP), [Quote(1500), Quote(1600)], until=3000)
    assert {ms for ms, *_ in orders_of(result)} == {2000.0}


def test_what_is_bought_is_offered_one_level_higher_and_the_other_way_round(tmp_path):
    quotes = [Quote(0)]
    trades = [
        Trade(10, price=98.5, quantity=1, aggressor=-1),  # through 99: the first buy
        Trade(20, price=100.5, quantity=1, aggressor=1),  # through 100: what it offers
        Trade(30, price=101.5, quantity=1, aggressor=1),  # through 101: the first sell
    ]
    result = play(tmp_path, Grid(**STEP), quotes, trades={ALPHA: trades}, until=100)
    assert list(
        zip(result.fills["side"].to_list(), result.fills["price"].to_list(), strict=True)
    ) == [(1, 99.0), (-1, 100.0), (-1, 101.0)]
    # an offer at 100, then a bid at 99 again, then a bid at 100
    assert orders_of(result)[4:] == [(10.0, -1, 100.0), (20.0, 1, 99.0), (30.0, 1, 100.0)]


def test_a_part_of_a_level_is_offered_as_it_is_filled(tmp_path):
    trades = [Trade(10, price=99.0, quantity=0.4, aggressor=-1)]
    # the best bid lies below our 99: nobody is ahead of us there
    quotes = [Quote(0, bid=98.5, ask=101.5), Quote(5, bid=98.5, ask=101.5)]
    grid = Grid(spacing_bps=100.0, levels=1, quantity=1.0)
    result = play(tmp_path, grid, quotes, trades={ALPHA: trades}, until=100)
    assert result.fills["quantity"].to_list() == [0.4]
    assert result.orders["quantity"].to_list()[2:] == [0.4]


def test_each_instrument_has_a_grid_of_its_own(tmp_path):
    quotes = {ALPHA: [Quote(0)], BETA: [Quote(0, bid=199, ask=201)]}
    result = play(tmp_path, Grid(100.0, 1, 1.0), quotes, until=100)
    assert result.orders["limit_price"].to_list() == [99.0, 101.0, 198.0, 202.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MarketMaker(gamma=0.0), "`gamma` and `kappa` must be positive"),
        (lambda: Grid(spacing_bps=0.0), "`spacing_bps` and `levels` must be positive"),
        (lambda: Grid(levels=0), "`spacing_bps` and `levels` must be positive"),
    ],
)
def test_parameters_without_a_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
