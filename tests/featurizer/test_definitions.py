"""Every definition against a plain loop from its formula, and against its nearest neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featurizer.definitions.lookup import all_definitions
from tests.featurizer.definition_oracles import ORACLES
from tests.featurizer.definition_worlds import BASE, read, streams, world
from tests.featurizer.feature_markets import MS
from tests.featurizer.test_features import ORACLES as FIRST_ORACLES

CASES = [
    pytest.param(name, place, id=f"{name}-{place}")
    for name in sorted(ORACLES)
    for place in range(len(ORACLES[name]))
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), CASES)
def test_a_definition_equals_a_plain_loop_from_its_formula(name: str, place: int) -> None:
    params, oracle = ORACLES[name][place]
    known = 0
    for seed in range(5):
        rows = world(seed)
        instants = [BASE + t * MS // 2 for t in range(0, 400, 3)]
        instants = sorted({*instants, *(row[0] for kind in rows.values() for row in kind)})
        values = read(name, params, streams(rows), instants)
        expected = [oracle(rows, now) for now in instants]
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-11)
        known += int(np.count_nonzero(~np.isnan(expected)))
    assert known > 200, "the market says too little"


def test_every_definition_has_an_oracle() -> None:
    others = {"book.Imbalance", "spread.RelativeSpread", "flow.TradeVolumeImbalance"}
    assert {*ORACLES, *FIRST_ORACLES, *others} == set(all_definitions())


# each with the definition that is easiest to take for it, and that one's parameters
NEAREST: dict[str, tuple[str, dict[str, Any]]] = {
    "bars.DollarBar": ("bars.VolumeBar", {"volume": 7.0, "reset": "20ms", "field": "vwap"}),
    "bars.TickBar": ("bars.TimeBar", {"every": "5ms", "field": "open"}),
    "bars.TimeBar": ("bars.TickBar", {"ticks": 3, "reset": "20ms", "field": "open"}),
    "bars.VolumeBar": ("bars.TickBar", {"ticks": 4, "reset": "20ms", "field": "volume"}),
    "book.DepthImbalance": ("book.DepthImbalance", {"levels": 1}),
    "book.DepthWeightedMid": ("book.DepthWeightedMid", {"levels": 1}),
    "book.Imbalance": ("book.DepthImbalance", {"levels": 1}),
    "book.Liquidity": ("book.Liquidity", {"bps": 160.0}),
    "book.OrderFlowImbalance": ("flow.SignedVolume", {"window": "9ms"}),
    "calendar.DayOfWeek": ("calendar.TimeOfDay", {"wave": "cosine"}),
    "calendar.TimeOfDay": ("calendar.DayOfWeek", {"wave": "sine"}),
    "cross.LeadReturn": ("price.LogReturn", {"instrument": "SIM.B", "window": "9ms"}),
    "cross.Ratio": ("cross.Spread", {"other": "SIM.B"}),
    "cross.RollingBeta": (
        "cross.RollingCorrelation",
        {"other": "SIM.B", "window": "12ms", "every": "3ms"},
    ),
    "cross.RollingCorrelation": (
        "cross.RollingBeta",
        {"other": "SIM.B", "window": "12ms", "every": "3ms"},
    ),
    "cross.Spread": ("cross.Ratio", {"other": "SIM.B"}),
    "flow.KyleLambda": ("flow.VwapDeviation", {"window": "12ms"}),
    "flow.SignedVolume": ("flow.TradeVolumeImbalance", {"window": "9ms"}),
    "flow.TradeIntensity": ("flow.SignedVolume", {"window": "9ms"}),
    "flow.TradeVolumeImbalance": ("flow.SignedVolume", {"window": "9ms"}),
    "flow.VwapDeviation": ("spread.EffectiveSpread", {}),
    "price.LogReturn": ("cross.LeadReturn", {"window": "9ms", "other": "SIM.B"}),
    "price.MicroPrice": ("price.WeightedMid", {}),
    "price.MidPrice": ("price.WeightedMid", {}),
    "price.WeightedMid": ("price.MidPrice", {}),
    "rolling.Rolling": ("smoothing.Ema", {"half_life": "9ms"}),
    "smoothing.Ema": ("smoothing.Lag", {"lag": "9ms"}),
    "smoothing.Lag": ("price.MidPrice", {}),
    "spread.AbsoluteSpread": ("spread.RelativeSpread", {}),
    "spread.EffectiveSpread": ("spread.RelativeSpread", {}),
    "spread.RelativeSpread": ("spread.EffectiveSpread", {}),
    "technical.Atr": ("volatility.ExponentialVolatility", {"every": "4ms"}),
    "technical.Bollinger": ("technical.Rsi", {"every": "2ms", "periods": 6}),
    "technical.Macd": ("technical.Bollinger", {"every": "2ms", "periods": 6}),
    "technical.Rsi": ("technical.Bollinger", {"every": "2ms", "periods": 5}),
    "volatility.ExponentialVolatility": ("volatility.RealisedVolatility", {"window": "20ms"}),
    "volatility.RealisedVolatility": ("volatility.ExponentialVolatility", {"every": "2ms"}),
}
OWN: dict[str, dict[str, Any]] = {
    "flow.TradeVolumeImbalance": {"window": "9ms"},
    "price.LogReturn": {"window": "9ms"},
    "smoothing.Ema": {"half_life": "9ms"},
    "smoothing.Lag": {"lag": "9ms"},
    "volatility.RealisedVolatility": {"window": "20ms"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(all_definitions()))
def test_a_definition_differs_from_its_nearest_neighbour(name: str) -> None:
    params = ORACLES[name][0][0] if name in ORACLES else OWN.get(name, {})
    other, other_params = NEAREST[name]
    instants = [BASE + t * MS for t in range(40, 160)]
    different = 0
    for seed in range(1, 5):
        given = streams(world(seed))
        mine = np.array(read(name, params, given, instants))
        theirs = np.array(read(other, other_params, given, instants))
        both = ~np.isnan(mine) & ~np.isnan(theirs)
        different += int(np.count_nonzero(both & (np.abs(mine - theirs) > 1e-9)))
    assert different >= 5


def test_every_definition_has_a_nearest_neighbour() -> None:
    assert set(NEAREST) == set(all_definitions())
