"""Who trades, and how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from featurizer.definitions.sampled import whole_bars
from featurizer.feature import (
    Batch,
    FeatureDefinition,
    Held,
    Input,
    Market,
    Output,
    PositiveDuration,
)

if TYPE_CHECKING:
    from featurizer.operators.bars import LastBar, TimeBars
    from featurizer.operators.changes import EventLag
    from featurizer.operators.moments import WindowMoments
    from featurizer.operators.windows import WindowSum, WindowSums

__all__ = [
    "KyleLambda",
    "SignedVolume",
    "TradeIntensity",
    "TradeVolumeImbalance",
    "VwapDeviation",
]


_NO_VOLUMES = np.empty((2, 0))
_NO_VOLUMES.flags.writeable = False


class TradeVolumeImbalance(FeatureDefinition):
    """(bought - sold) / (bought + sold) by takers over (now - window, now], from -1 to 1.

    Read at the instant of emission. 0 where nothing traded within the window: no trade leans
    neither way. NaN until the first trade lies at or before now - window.
    """

    formula: ClassVar[str] = (
        "(bought - sold) / (bought + sold), by takers, in the window; 0 without a trade"
    )
    unit: ClassVar[str] = "1, from -1 to 1"
    warm_up: ClassVar[str] = "a first trade at or before now - window"
    source: ClassVar[str] = "definition"

    held = False
    window: PositiveDuration

    def inputs(self) -> tuple[Input, ...]:
        """Return the trades' quantities and takers' sides."""
        return (Market("trades", ("quantity", "aggressor")),)

    def start(self) -> WindowSums:
        """Return the trades within two windows."""
        from featurizer.operators.windows import WindowSums

        return WindowSums(self.window, columns=2)

    def push(self, state: WindowSums, batch: Batch) -> Output:
        """Sum what was bought and what was sold apart, so that the ratio stays within -1 and 1."""
        quantity, aggressor = batch.columns
        volumes = _NO_VOLUMES
        if len(quantity):
            volumes = np.empty((2, len(quantity)))
            np.multiply(quantity, aggressor > 0.0, out=volumes[0])
            np.multiply(quantity, aggressor < 0.0, out=volumes[1])
            volumes.flags.writeable = False
        reads, updates = state.scan(volumes, batch)
        return Output(
            _balance(reads) if len(batch.read_times) else reads[0],
            _balance(updates) if batch.materialise else updates[0],
        )


def _balance(volumes: NDArray[Any]) -> NDArray[Any]:
    bought, sold = volumes
    total = bought + sold
    # 0 stays 0 where nothing traded, NaN stays NaN
    return np.divide(bought - sold, total, out=total * 0.0, where=total > 0.0)


class SignedVolume(FeatureDefinition):
    """What takers bought less what they sold over (now - window, now].

    Read at the instant of emission; 0 where nothing traded within the window. NaN until the first
    trade lies at or before now - window.
    """

    held = False
    formula: ClassVar[str] = "sum of aggressor * quantity in the window"
    unit: ClassVar[str] = "base currency, or contracts"
    warm_up: ClassVar[str] = "a first trade at or before now - window"
    source: ClassVar[str] = "definition"

    window: PositiveDuration

    def inputs(self) -> tuple[Input, ...]:
        """Return the trades' quantities and takers' sides."""
        return (Market("trades", ("quantity", "aggressor")),)

    def start(self) -> WindowSum:
        """Return the trades within two windows."""
        from featurizer.operators.windows import WindowSum

        return WindowSum(self.window)

    def push(self, state: WindowSum, batch: Batch) -> Output:
        """Sum the signed quantities."""
        signed = batch.columns[0] * batch.columns[1]
        signed.flags.writeable = False
        return state.scan(signed, batch)


class TradeIntensity(FeatureDefinition):
    """Trades per second over (now - window, now].

    Read at the instant of emission. NaN until the first trade lies at or before now - window.
    """

    held = False
    formula: ClassVar[str] = "number of trades in the window / seconds of the window"
    unit: ClassVar[str] = "1 / s"
    warm_up: ClassVar[str] = "a first trade at or before now - window"
    source: ClassVar[str] = "definition"

    window: PositiveDuration

    def inputs(self) -> tuple[Input, ...]:
        """Return the trades."""
        return (Market("trades", ("quantity",)),)

    def start(self) -> WindowSum:
        """Return the trades within two windows."""
        from featurizer.operators.windows import WindowSum

        return WindowSum(self.window)

    def push(self, state: WindowSum, batch: Batch) -> Output:
        """Count the trades."""
        ones = np.ones(len(batch.times))
        ones.flags.writeable = False
        reads, updates = state.scan(ones, batch)
        per_second = 1_000_000_000.0 / self.window
        return Output(reads * per_second, updates * per_second)


class VwapDeviation(FeatureDefinition):
    """How far the last trade's price lies from the average price paid over (now - window, now].

    Read at the instant of emission. NaN until the first trade lies at or before now - window, and
    where nothing traded within the window.
    """

    held = False
    formula: ClassVar[str] = "(last price - vwap) / vwap, vwap = sum of price * quantity / quantity"
    unit: ClassVar[str] = "1"
    warm_up: ClassVar[str] = "a first trade at or before now - window"
    source: ClassVar[str] = "Berkowitz, Logue and Noser 1988, for the vwap"

    window: PositiveDuration

    def inputs(self) -> tuple[Input, ...]:
        """Return the trades' prices and quantities."""
        return (Market("trades", ("price", "quantity")),)

    def start(self) -> tuple[WindowSums, Held]:
        """Return the trades within two windows, and the last price."""
        from featurizer.operators.windows import WindowSums

        return WindowSums(self.window, columns=2), Held()

    def push(self, state: tuple[WindowSums, Held], batch: Batch) -> Output:
        """Sum turnover and quantity, and compare their ratio with the last price."""
        price, quantity = batch.columns
        paid = np.empty((2, len(price)))
        np.multiply(price, quantity, out=paid[0])
        paid[1] = quantity
        paid.flags.writeable = False
        reads, updates = state[0].scan(paid, batch)
        if len(price):
            last = state[1].read(price[batch.picks], batch)
        else:
            last = np.full(len(batch.read_times), state[1].value)
        return Output(_deviation(last, reads), _deviation(price, updates))


def _deviation(last: NDArray[Any], paid: NDArray[Any]) -> NDArray[Any]:
    vwap = paid[0] / paid[1]
    return (last[: len(vwap)] - vwap) / vwap


class KyleLambda(FeatureDefinition):
    """How much the price moves for each unit that takers buy, net: a slope by least squares.

    Trades are put into bars of `every`; the last price's change from bar to bar is regressed on the
    bar's signed volume, with an intercept, over the bars of one window that has closed. A new value
    is visible at each close and holds until the next. NaN where the signed volume stands still.
    """

    held = False
    formula: ClassVar[str] = (
        "cov(dp, q) / var(q) over the bars of the window, dp the change of the last price, q the "
        "sum of aggressor * quantity"
    )
    unit: ClassVar[str] = "quote currency per unit"
    warm_up: ClassVar[str] = "window / every + 1 bars"
    source: ClassVar[str] = "Kyle 1985; the regression as in Hasbrouck 2007"

    window: PositiveDuration
    every: PositiveDuration

    @model_validator(mode="after")
    def _whole(self) -> KyleLambda:
        whole_bars(self.window, self.every)
        return self

    def inputs(self) -> tuple[Input, ...]:
        """Return the trades' prices, quantities and takers' sides."""
        return (Market("trades", ("price", "quantity", "aggressor")),)

    def start(self) -> tuple[TimeBars, EventLag, WindowMoments, LastBar]:
        """Return the bar in the making, the last close, and the bars of two windows."""
        from featurizer.operators.bars import LastBar, TimeBars
        from featurizer.operators.changes import EventLag
        from featurizer.operators.moments import WindowMoments

        moments = WindowMoments(whole_bars(self.window, self.every), columns=2)
        return TimeBars(self.every), EventLag(1, "difference"), moments, LastBar()

    def push(
        self, state: tuple[TimeBars, EventLag, WindowMoments, LastBar], batch: Batch
    ) -> Output:
        """Make bars, and regress their moves on their volumes."""
        from featurizer.operators.bars import CLOSE, VOLUME

        bars, lag, moments, last = state
        price, quantity, aggressor = batch.columns
        signed = quantity * aggressor
        signed.flags.writeable = False
        series = bars.scan(price, signed, batch)
        pairs = np.stack([lag.scan(series.table[CLOSE]), series.table[VOLUME]])
        pairs.flags.writeable = False
        places = series.places(self.every)
        if len(places.times):
            moments.begin(int(places.times[0]))  # the first bar has no move
        return last.output(moments.scan(pairs, places)[1].beta(), series)
