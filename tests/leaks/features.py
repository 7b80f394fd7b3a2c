"""Features as people really write them, each with the mistake and, for `honest: true`, without it.

Every one is a direction: above zero buy, below zero sell. The mistake is always the same, a look at
the rest of the array that happens to be in memory, and always innocent to read.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from featurizer.feature import Batch, FeatureDefinition, Held, Input, Market, Output
from tests.leaks.strategies import table

Array = NDArray[Any]
SECOND = 1_000_000_000
START = 1_704_067_200 * SECOND


class OverQuotes(FeatureDefinition):
    """A column worked out over all quotes that are handed over at once."""

    honest: bool = False

    def inputs(self) -> tuple[Input, ...]:
        return (Market("quotes", ("bid_price", "ask_price", "bid_quantity", "ask_quantity")),)

    def start(self) -> Held:
        return Held()

    def push(self, state: Held, batch: Batch) -> Output:
        if not len(batch.times):
            return Output(state.repeated(len(batch.read_times)), batch.times)
        mid = (batch.columns[0] + batch.columns[1]) / 2
        column = (self.causal if self.honest else self.careless)(batch.times, mid, batch)
        reads = np.where(batch.picks >= 0, column[np.maximum(batch.picks, 0)], state.value)
        state.value = column[-1]
        return Output(reads[:-1], column)

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        raise NotImplementedError

    def causal(self, times: Array, mid: Array, batch: Batch) -> Array:
        """A direction from each quote alone: which side shows more."""
        return batch.columns[2] - batch.columns[3]


class CentredWindow(OverQuotes):
    """A smooth price: `rolling(window, center=True)`."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        width = 41
        padded = np.pad(mid, width // 2, mode="edge")
        return np.convolve(padded, np.ones(width) / width, mode="valid") - mid


class NextQuote(OverQuotes):
    """`shift(-1)`, where `shift(1)` was meant."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        return np.append(mid[1:], mid[-1]) - mid


class OutliersCleaned(OverQuotes):
    """Bad ticks, fewer than one in a hundred: what stands between two others goes by the next."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        bad = batch.columns[2] + batch.columns[3] < 5.0
        after = np.append(mid[1:], mid[-1])
        return np.where(bad & (after != mid), 1e6 * (after - mid), self.causal(times, mid, batch))


class LabelAmongFeatures(OverQuotes):
    """The label's own column, left in the table of features."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        return _as_of(times, mid, times + SECOND // 2) - mid


class ScaledByAll(OverQuotes):
    """`StandardScaler().fit_transform(everything)`."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        return (mid.mean() - mid) / (mid.std() or 1.0)


class ScaledByFile(OverQuotes):
    """A scaler fitted on the whole file, training range and test range alike."""

    catalog: str = "data/leaks/market"

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        return self.scaled(mid, 2**62)

    def causal(self, times: Array, mid: Array, batch: Batch) -> Array:
        return self.scaled(mid, START + 90 * SECOND)

    def scaled(self, mid: Array, until: int) -> Array:
        """Return the z-score by the mean and deviation of what was received before an instant.

        It is cut off at one half: a tree would not notice another scale alone.
        """
        mean, deviation = _fitted(self.catalog, self.instrument or "SIM.ALPHA", until)
        return np.clip((mean - mid) / deviation, -0.5, 0.5)


class RankOfAll(OverQuotes):
    """`rank(pct=True)` over the whole column."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        return 0.5 - np.argsort(np.argsort(mid, kind="stable")) / len(mid)


class Detrended(OverQuotes):
    """The residual of a line fitted through everything: `scipy.signal.detrend`."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        at = (times - times[0]) / SECOND
        slope, level = np.polyfit(at, mid, 1) if len(mid) > 2 else (0.0, mid[0])
        return slope * at + level - mid


class ZeroPhase(OverQuotes):
    """A filter run forwards and backwards, for no lag: `filtfilt`."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        return _ema(_ema(mid)[::-1])[::-1] - mid


class Interpolated(OverQuotes):
    """A slow series, every fiftieth quote, filled in between by straight lines."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        known = np.arange(0, len(mid), 50)
        return np.interp(np.arange(len(mid)), known, mid[known]) - mid


class BackFilled(OverQuotes):
    """A slow series whose holes are filled from behind: `bfill`."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        known = np.minimum(-(-np.arange(len(mid)) // 20) * 20, len(mid) - 1)
        return mid[known] - mid


class CloseOfThisBar(OverQuotes):
    """The close of the bar that a quote lies in: `group_by_dynamic(...).last()`, joined back."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        bar = times // SECOND
        last = np.searchsorted(bar, bar, side="right") - 1
        return mid[last] - mid


class RevisingPivot(OverQuotes):
    """Turning points, marked where they are and not where they are recognised: a zigzag."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        return _zigzag(mid, 0.05)


class LastOfTheInstant(OverQuotes):
    """One value an instant, `group_by(time).last()`: the later of a tie is given to the earlier."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        last = np.searchsorted(times, times, side="right") - 1
        return mid[last] - mid


class OverTrades(OverQuotes):
    """A join of the trades to the quotes, as one table in the order of time."""

    def inputs(self) -> tuple[Input, ...]:
        return (
            Market("quotes", ("bid_price", "ask_price")),
            Market("trades", ("price",)),
        )

    def causal(self, times: Array, mid: Array, batch: Batch) -> Array:
        return np.nan_to_num(batch.columns[2] - mid)


class ForwardJoin(OverTrades):
    """`join_asof(strategy="forward")`: the next trade."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        return np.nan_to_num(batch.columns[2][_next_change(batch.columns[2])] - mid)


class NearestJoin(OverTrades):
    """`join_asof(strategy="nearest")`: the nearer trade, be it before or after."""

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        price = batch.columns[2]
        after = _next_change(price)
        began = np.maximum.accumulate(
            np.where(np.append(True, price[1:] != price[:-1]), np.arange(len(price)), 0)
        )
        nearer = times[after] - times < times - times[began]
        return np.nan_to_num(np.where(nearer, price[after], price) - mid)


class SharedState(OverQuotes):
    """Two instruments share a dictionary of the class: one reads what the other has yet to do."""

    latest: ClassVar[dict[str, float]] = {}

    def careless(self, times: Array, mid: Array, batch: Batch) -> Array:
        mine, other = ("b", "a") if self.instrument == "SIM.BETA" else ("a", "b")
        told = self.latest.get(other, mid[0])
        self.latest[mine] = float(mid[-1])
        return told - mid


@cache
def _fitted(catalog: str, instrument: str, until: int) -> tuple[float, float]:
    times, mids = table(catalog, instrument)
    known = mids[times < until]
    return float(known.mean()), float(known.std())


def _as_of(times: Array, values: Array, instants: Array) -> Array:
    place = np.searchsorted(times, instants, side="right") - 1
    return values[np.clip(place, 0, len(values) - 1)]


def _ema(values: Array) -> Array:
    smooth = np.empty(len(values))
    level = values[0]
    for place, value in enumerate(values):
        level += 0.1 * (value - level)
        smooth[place] = level
    return smooth


def _next_change(price: Array) -> Array:
    """Return for each row the first later row with another price."""
    changes = np.flatnonzero(np.append(False, (price[1:] != price[:-1]) & (price[1:] == price[1:])))
    after = np.searchsorted(changes, np.arange(len(price)), side="right")
    return np.append(changes, len(price) - 1)[after]


def _zigzag(mid: Array, step: float) -> Array:
    direction = np.zeros(len(mid))
    pivot, extreme, side = 0, 0, 1.0
    for place in range(1, len(mid)):
        if (mid[place] - mid[extreme]) * side > 0:
            extreme = place
        elif (mid[extreme] - mid[place]) * side > step:
            direction[pivot:extreme] = side
            pivot, extreme, side = extreme, place, -side
    direction[pivot:] = side
    return direction
