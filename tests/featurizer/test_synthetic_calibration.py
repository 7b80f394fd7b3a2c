"""The default market teaches a model something, and latency takes it away.

The model here is least squares on what a strategy can see, fitted on the first twenty minutes of
half an hour and judged on the rest: the least that any model should find.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featurizer.synthetic import SyntheticMarket, synthetic_records

MS = 1_000_000
HORIZON = 1_000 * MS
pytestmark = pytest.mark.slow


class Study:
    """Half an hour of the default market, a linear forecast of one second, by event time."""

    def __init__(self, seed: int) -> None:
        market = SyntheticMarket(seed=seed)
        records = synthetic_records(market)
        self.fee = float(market.fees.taker)
        quotes, trades = records["SIM.ALPHA", "quotes"], records["SIM.ALPHA", "trades"]
        self.time = quotes["event_time"]
        self.bid, self.ask = quotes["bid_price"], quotes["ask_price"]
        self.mid = (self.bid + self.ask) / 2
        bid, ask = quotes["bid_quantity"], quotes["ask_quantity"]
        imbalance = (bid - ask) / (bid + ask)
        signed = np.concatenate([[0.0], np.cumsum(trades["quantity"] * trades["aggressor"])])
        when = np.searchsorted(trades["event_time"], self.time, "right")
        past = np.searchsorted(trades["event_time"], self.time - 500 * MS, "right")
        columns = [imbalance, signed[when] - signed[past], np.ones(len(bid))]
        columns += [self.mid - self.at(self.mid, -lag * MS) for lag in (100, 300, 1000)]
        self.features = np.column_stack(columns)
        split = np.searchsorted(self.time, self.time[0] + 1_200_000 * MS)
        last = np.searchsorted(self.time, self.time[-1] - 3 * HORIZON)
        self.train, self.test = slice(100, split - 100), slice(split, last)
        change = self.at(self.mid, HORIZON) - self.mid
        weights = np.linalg.lstsq(self.features[self.train], change[self.train], rcond=None)[0]
        self.forecast = self.features @ weights

    def at(self, values: Any, after: int) -> Any:
        """Return the values as they stand some time after each quote."""
        return values[np.maximum(np.searchsorted(self.time, self.time + after, "right") - 1, 0)]

    def coefficient(self, latency_ms: int) -> float:
        """Correlate the forecast with the second that begins when it has arrived."""
        begin = latency_ms * MS
        change = self.at(self.mid, begin + HORIZON) - self.at(self.mid, begin)
        return float(np.corrcoef(self.forecast[self.test], change[self.test])[0, 1])

    def profit(self, latency_ms: int) -> float:
        """Return the mean profit of taking the strongest 5 % and leaving a second later."""
        begin, end = latency_ms * MS, latency_ms * MS + HORIZON
        buy = self.at(self.bid, end) - self.at(self.ask, begin)
        sell = self.at(self.bid, begin) - self.at(self.ask, end)
        gain = np.where(self.forecast > 0, buy, sell) - 2 * self.fee * self.mid
        strength = np.abs(self.forecast[self.test])
        return float(gain[self.test][strength > np.quantile(strength, 0.95)].mean())


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return [Study(seed) for seed in (7, 8, 9)]


def test_the_mean_spread_is_1_2_ticks_at_40_quotes_a_second(studies: list[Study]) -> None:
    for study in studies:
        assert 1.18 < (study.ask - study.bid).mean() / 0.01 < 1.22
        seconds = (study.time[-1] - study.time[0]) / 1e9
        assert 38 < len(study.time) / seconds < 42


def test_a_forecast_at_zero_latency_is_clearly_informative(studies: list[Study]) -> None:
    for study in studies:
        assert 0.2 < study.coefficient(0) < 0.45


def test_half_of_the_information_is_gone_after_50_to_300_ms(studies: list[Study]) -> None:
    curve = np.mean([[s.coefficient(ms) for ms in range(0, 500, 20)] for s in studies], axis=0)
    half_life = 20 * int(np.argmax(curve < curve[0] / 2))
    assert 50 <= half_life <= 300


def test_almost_nothing_is_left_after_a_second(studies: list[Study]) -> None:
    left = np.mean([study.coefficient(1000) for study in studies])
    assert abs(left) < 0.08


def test_a_strong_forecast_pays_spread_and_fees_at_once_and_not_a_second_later(
    studies: list[Study],
) -> None:
    assert all(study.profit(0) > 0.005 for study in studies)
    assert all(study.profit(1000) < -0.005 for study in studies)
