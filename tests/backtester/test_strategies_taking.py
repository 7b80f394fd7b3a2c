"""What the strategies that go to the market do, on markets made by hand."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from backtester.errors import ScenarioError
from backtester.loading import load_strategy
from backtester.orders import Side
from backtester.strategies import BuyAndHold, ImbalanceTaker, Pairs, Twap
from tests.backtester.worlds import (
    ALPHA,
    BETA,
    MIDS,
    MS,
    Quote,
    play,
    since,
)


def trades_of(result: Any) -> list[tuple[float, str, float]]:
    """Return (ms of sending, instrument, signed quantity) of each order."""
    frame = result.orders
    return [
        (since(sent), name, side * quantity)
        for sent, name, side, quantity in zip(
            frame["sent_at"].to_physical().to_list(),
            frame["instrument"].to_list(),
            frame["side"].to_list(),
            frame["quantity"].to_list(),
            strict=True,
        )
    ]


# --- imbalance ----------------------------------------------------------------------------------

TAKER = {"threshold": 0.5, "hold": 20 * MS, "quantity": 1.0}
HEAVY_BID, HEAVY_ASK = (
    {"bid_quantity": 19.0, "ask_quantity": 1.0},
    {"bid_quantity": 1.0, "ask_quantity": 19.0},
)


def test_it_takes_towards_the_heavier_side_and_lets_go_after_a_while(tmp_path):
    quotes = [Quote(1), Quote(5, **HEAVY_BID), Quote(10, **HEAVY_BID), Quote(24.9), Quote(25)]
    result = play(tmp_path, ImbalanceTaker(**TAKER), quotes, featurizer=MIDS)
    assert trades_of(result) == [(5.0, ALPHA, 1.0), (25.0, ALPHA, -1.0)]
    assert result.fills["price"].to_list() == [101.0, 99.0]


def test_a_heavier_ask_is_sold_to(tmp_path):
    quotes = [Quote(5, **HEAVY_ASK), Quote(30)]
    result = play(tmp_path, ImbalanceTaker(**TAKER), quotes, featurizer=MIDS)
    assert trades_of(result) == [(5.0, ALPHA, -1.0), (30.0, ALPHA, 1.0)]


def test_it_never_pays_more_than_it_saw(tmp_path):
    quotes = [Quote(5, **HEAVY_BID), Quote(6, bid=100, ask=102), Quote(60)]
    result = play(tmp_path, ImbalanceTaker(**TAKER), quotes, featurizer=MIDS, entry="2ms")
    assert result.orders["limit_price"].to_list() == [101.0]
    assert result.orders["status"].to_list() == ["canceled"]
    assert len(result.fills) == 0


def test_at_the_threshold_it_does_nothing(tmp_path):
    quotes = [Quote(5, bid_quantity=15.0, ask_quantity=5.0)]
    result = play(tmp_path, ImbalanceTaker(**TAKER), quotes, featurizer=MIDS)
    assert len(result.orders) == 0


def test_what_the_book_could_not_take_back_is_tried_again(tmp_path):
    thin = {"bid_quantity": 0.4, "ask_quantity": 0.4}
    quotes = [Quote(5, **HEAVY_BID), *(Quote(30 + n, **thin, bid=99 - n / 2) for n in range(4))]
    result = play(tmp_path, ImbalanceTaker(**TAKER), quotes, featurizer=MIDS)
    assert [quantity for _, _, quantity in trades_of(result)] == [1.0, -1.0, -0.6, -0.2]
    assert result.summary["open_positions"] == {}


# --- twap ---------------------------------------------------------------------------------------


def test_a_quantity_is_bought_in_even_slices(tmp_path):
    twap = Twap(quantity=1.0, duration=100 * MS, slices=4)
    result = play(tmp_path, twap, [Quote(0)], until=200)
    # 10 lots: 2.5, 5, 7.5 and 10, rounded down
    assert trades_of(result) == [
        (0.0, ALPHA, 0.2),
        (25.0, ALPHA, 0.3),
        (50.0, ALPHA, 0.2),
        (75.0, ALPHA, 0.3),
    ]
    assert result.fills["position"].to_list()[-1] == 1.0


def test_a_slice_makes_up_for_what_an_earlier_one_did_not_get(tmp_path):
    quotes = [Quote(0, ask_quantity=0.1), Quote(10)]
    twap = Twap(quantity=1.0, duration=100 * MS, slices=2)
    result = play(tmp_path, twap, quotes, until=200)
    assert [quantity for _, _, quantity in trades_of(result)] == [0.5, 0.9]
    assert result.fills["position"].to_list()[-1] == 1.0


def test_a_slice_does_not_ask_again_for_what_is_on_its_way(tmp_path):
    twap = Twap(quantity=1.0, side="sell", duration=10 * MS, slices=2)
    result = play(tmp_path, twap, [Quote(0)], until=200, entry="30ms", response="30ms")
    assert [quantity for _, _, quantity in trades_of(result)] == [-0.5, -0.5]


def test_durations_in_a_scenario_are_written_as_everywhere():
    twap = load_strategy("backtester.strategies.Twap", {"duration": "90s", "side": "sell"})
    assert (vars(twap)["duration"], vars(twap)["side"]) == (90_000 * MS, Side.SELL)
    with pytest.raises(ScenarioError, match=r"`duration` is refused: a duration .*'90 parsecs'"):
        load_strategy("backtester.strategies.Twap", {"duration": "90 parsecs"})


# --- pairs --------------------------------------------------------------------------------------

PRICES = {
    "sampling": {"input": "quotes", "instrument": BETA},
    "feature_configs": [
        {"feature_definition": "price.MidPrice", "name": "x", "params": {"instrument": ALPHA}},
        {"feature_definition": "price.MidPrice", "name": "y", "params": {"instrument": BETA}},
        # a price of 200 and 100 less of the other: stands in for a beta of 2
        {"feature_definition": "book.Imbalance", "name": "beta", "params": {"instrument": BETA}},
    ],
}
BETA_OF_A_HALF = {"bid_quantity": 15.0, "ask_quantity": 5.0}


def pair_quotes(ratios: list[float]) -> dict[str, list[Quote]]:
    """Return quotes of both, 10 ms apart: y stays at 200, x is 100 times the ratio."""
    return {
        ALPHA: [Quote(n * 10, bid=100 * r - 0.5, ask=100 * r + 0.5) for n, r in enumerate(ratios)],
        BETA: [Quote(n * 10, bid=199.5, ask=200.5, **BETA_OF_A_HALF) for n in range(len(ratios))],
    }


def test_the_one_that_ran_ahead_is_sold_and_the_other_bought_until_they_meet(tmp_path):
    ratios = [1.0, 1.01, 1.0, 1.01, 1.0, 1.2, 1.2, 1.0]
    pairs = Pairs(quantity=1.0, periods=5, entry=1.5, leave=0.9)
    result = play(tmp_path, pairs, pair_quotes(ratios), featurizer=PRICES, leverage=5)
    drift = [math.log(r) for r in ratios][1:]  # y stands still: X is ln x, from its second value
    z = [
        (drift[n] - statistics.fmean(drift[n - 4 : n + 1]))
        / statistics.pstdev(drift[n - 4 : n + 1])
        for n in range(4, len(drift))
    ]
    assert z[0] > 1.5  # at 50 ms
    assert abs(z[1]) > 0.9  # at 60 ms
    assert abs(z[2]) < 0.9 or z[2] < -1.5
    sold, bought, *later = trades_of(result)
    assert sold == (50.0, ALPHA, -1.0)
    # beta * quantity * x / y = 0.5 * 1 * 120 / 200
    assert bought == (50.0, BETA, pytest.approx(0.3))
    assert [(ms, name) for ms, name, _ in later] == [(70.0, ALPHA), (70.0, BETA)]


def test_a_new_beta_does_not_move_what_it_judges(tmp_path):
    quotes = pair_quotes([1.0, 1.01, 1.0, 1.01, 1.0, 1.01])
    quotes[BETA] = [
        Quote(n * 10, bid=199.5, ask=200.5, bid_quantity=1.0 + n, ask_quantity=5.0)
        for n in range(6)
    ]
    pairs = Pairs(quantity=1.0, periods=5, entry=1.5, leave=0.9)
    result = play(tmp_path, pairs, quotes, featurizer=PRICES)
    assert len(result.orders) == 0


# --- buy and hold -------------------------------------------------------------------------------


def test_each_instrument_is_bought_once_and_kept(tmp_path):
    quotes = {ALPHA: [Quote(1), Quote(2)], BETA: [Quote(5), Quote(6)]}
    result = play(tmp_path, BuyAndHold(quantity=0.5), quotes)
    assert trades_of(result) == [(1.0, ALPHA, 0.5), (5.0, BETA, 0.5)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pairs(leave=3.0), "`leave` below `entry`"),
        (lambda: Twap(slices=0), "`slices` must be at least 1"),
    ],
)
def test_parameters_without_a_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
