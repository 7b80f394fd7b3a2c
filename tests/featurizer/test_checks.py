from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, get_args

import numpy as np
import pytest

from clock.errors import InputError
from featurizer.checks import PROMISES, check_feature
from featurizer.definitions.lookup import all_definitions
from featurizer.definitions.price import MidPrice
from featurizer.definitions.rolling import Statistic
from featurizer.errors import BrokenPromiseError
from featurizer.feature import Batch, FeatureDefinition, Market, Output, Pointwise, Stepwise

_CROSS = {"other": "CHECK.B", "window": "400ms", "every": "20ms"}
_TABLE = [[-0.3, -0.1, 0.1, 0.3], [-0.8, -0.2, 0.2, 0.8]]
PARAMS: dict[str, dict[str, Any]] = {
    "bars.DollarBar": {"turnover": 1500.0, "reset": "2s", "field": "vwap"},
    "bars.TickBar": {"ticks": 7, "reset": "2s", "field": "high"},
    "bars.TimeBar": {"every": "70ms", "field": "vwap"},
    "bars.VolumeBar": {"volume": 12.0, "reset": "2s", "field": "open"},
    "book.DepthImbalance": {"levels": 3},
    "book.DepthWeightedMid": {"levels": 4},
    "book.Liquidity": {"bps": 3.0},
    "book.OrderFlowImbalance": {"window": "700ms"},
    "cross.LeadReturn": {"other": "CHECK.B", "window": "400ms"},
    "cross.Ratio": {"other": "CHECK.B"},
    "cross.RollingBeta": _CROSS,
    "cross.RollingCorrelation": _CROSS,
    "cross.Spread": {"other": "CHECK.B", "hedge": 0.7},
    "flow.KyleLambda": {"window": "600ms", "every": "30ms"},
    "flow.SignedVolume": {"window": "700ms"},
    "flow.TradeIntensity": {"window": "700ms"},
    "flow.TradeVolumeImbalance": {"window": "700ms"},
    "flow.VwapDeviation": {"window": "700ms"},
    "price.LogReturn": {"window": "500ms"},
    "price.MicroPrice": {"tick_size": 0.01, "adjustments": _TABLE},
    "rolling.Rolling": {"window": "700ms", "statistic": "z_score"},
    "smoothing.Ema": {"half_life": "100ms"},
    "smoothing.Lag": {"lag": "300ms"},
    "technical.Atr": {"every": "10ms"},
    "technical.Bollinger": {"every": "10ms"},
    "technical.Macd": {"every": "5ms", "line": "histogram"},
    "technical.Rsi": {"every": "10ms"},
    "volatility.ExponentialVolatility": {"every": "10ms"},
    "volatility.RealisedVolatility": {"window": "900ms"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(all_definitions()))
def test_every_definition_of_ours_keeps_every_promise(name: str) -> None:
    check_feature(all_definitions()[name], PARAMS.get(name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("statistic", get_args(Statistic))
def test_every_rolling_statistic_keeps_every_promise(statistic: str) -> None:
    params = {"window": "700ms", "statistic": statistic, "quantile": 0.9}
    check_feature(all_definitions()["rolling.Rolling"], params)


@pytest.mark.slow
def test_a_feature_of_another_feature_keeps_every_promise() -> None:
    check_feature(
        all_definitions()["smoothing.Lag"],
        {"lag": "300ms", "feature": "mid"},
        others={"mid": MidPrice(instrument="CHECK.B")},
    )


class Spread(Pointwise):
    """A user's feature of two instruments."""

    def inputs(self) -> tuple[Any, ...]:
        return (Market("quotes", ("bid_price",)), MidPrice(instrument="CHECK.B"))

    def value(self, bid: Any, mid: Any) -> Any:
        return bid - mid


class OfTrades(Stepwise):
    """A base for the planted defects: something of the last price."""

    def inputs(self) -> tuple[Any, ...]:
        return (Market("trades", ("price",)),)

    def start(self) -> Any:
        return [float("nan")]

    def update(self, state: Any, time: int, *values: float) -> None:
        state[0] = values[0]

    def read(self, state: Any, time: int) -> float:
        return state[0]


class SharedDeque(OfTrades):
    """The last five prices of every graph in the process."""

    seen: ClassVar[deque[float]] = deque(maxlen=5)

    def update(self, state: Any, time: int, *values: float) -> None:
        self.seen.append(values[0])
        state[0] = sum(self.seen)


class CentredMean(Pointwise):
    """Smooths with the next value too, as far as the chunk goes."""

    def inputs(self) -> tuple[Any, ...]:
        return (Market("trades", ("price",)),)

    def value(self, price: Any) -> Any:
        return price

    def push(self, state: Any, batch: Batch) -> Output:
        price = batch.columns[0]
        if not len(price):
            return super().push(state, batch)
        smooth = (price + np.append(price[1:], price[-1])) * 0.5
        return super().push(state, batch._replace(columns=(smooth,)))


class ChunkMean(CentredMean):
    """Less the mean of the chunk: each chunk looks ahead to its own end."""

    def push(self, state: Any, batch: Batch) -> Output:
        price = batch.columns[0]
        if not len(price):
            return super().push(state, batch)
        return Pointwise.push(self, state, batch._replace(columns=(price - price.mean(),)))


class WritesInput(CentredMean):
    def push(self, state: Any, batch: Batch) -> Output:
        batch.columns[0][:] = 1.0
        return Pointwise.push(self, state, batch)


class WritesInputByForce(CentredMean):
    def push(self, state: Any, batch: Batch) -> Output:
        column = batch.columns[0]
        while column.base is not None:
            column = column.base
        column.flags.writeable = True
        column *= 2.0
        return Pointwise.push(self, state, batch)


class CountsReads(OfTrades):
    def read(self, state: Any, time: int) -> float:
        state[0] += 1
        return state[0]


class NeverForgets(OfTrades):
    def start(self) -> Any:
        return []

    def update(self, state: Any, time: int, *values: float) -> None:
        state.append(values[0])

    def read(self, state: Any, time: int) -> float:
        return state[-1] if state else float("nan")


class SumsSinceStart(OfTrades):
    def start(self) -> Any:
        return [0.0]

    def update(self, state: Any, time: int, *values: float) -> None:
        state[0] += values[0]


class HoldsALambda(OfTrades):
    def start(self) -> Any:
        return [float("nan"), lambda: None]


class RunningSumOfWindow(OfTrades):
    """A sliding sum by adding and subtracting: the last bits remember where it started."""

    def start(self) -> Any:
        return [0.0, deque()]

    def update(self, state: Any, time: int, *values: float) -> None:
        state[0] += values[0] / 3.0
        state[1].append((time, values[0] / 3.0))
        while state[1][0][0] <= time - 500_000_000:
            state[0] -= state[1].popleft()[1]

    def read(self, state: Any, time: int) -> float:
        return state[0] if len(state[1]) > 5 else float("nan")


class RemembersParameters(OfTrades):
    seen: list[float] = []  # noqa: RUF012 pydantic copies it for each definition

    def update(self, state: Any, time: int, *values: float) -> None:
        self.seen.append(values[0])
        super().update(state, time, *values)


@pytest.mark.slow
def test_a_users_feature_of_two_instruments_keeps_every_promise() -> None:
    check_feature(Spread)
    check_feature(OfTrades)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (SharedDeque, "second graph|share state"),
        (CentredMean, "cut into pushes|later records"),
        (ChunkMean, "cut into pushes|later records"),
        (WritesInput, "must not change what it is given"),
        (WritesInputByForce, "must not change the records"),
        (CountsReads, "what else is read|as a read and as an update"),
        (NeverForgets, "must keep its state bounded"),
        (SumsSinceStart, "the run's start"),
        (RunningSumOfWindow, "the run's start"),
        (HoldsALambda, "must pickle"),
        (RemembersParameters, "must not change its parameters"),
    ],
)
def test_a_planted_defect_is_found(definition: type[FeatureDefinition], message: str) -> None:
    with pytest.raises(BrokenPromiseError, match=message) as caught:
        check_feature(definition)
    assert definition.__name__ in str(caught.value)


def test_a_market_too_short_to_tell_is_the_callers_mistake() -> None:
    with pytest.raises(InputError, match="`length_ns` must be long enough"):
        check_feature(all_definitions()["price.LogReturn"], {"window": "1h"})


def test_promises_are_listed_with_what_they_say() -> None:
    assert len({promise.__name__ for promise in PROMISES}) == len(PROMISES) == 8
    assert all(promise.__doc__ for promise in PROMISES)
