"""Naive feature values, each recomputed from the full list of records seen so far.

A feature knows which records it reads. Its *history* is its value just after each of them, so a
feature of a feature is computed from that list, one small function a formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from clock.rank import Rank
from clock.units import parse_duration
from tests.reference.agenda import Agenda
from tests.reference.scenario import Feature, Features, Row

NAN = math.nan
MISSING = -(2**63)


@dataclass(frozen=True)
class Seen:
    """A record that reached us; lists of them are in the order of receipt."""

    instrument: str
    kind: str
    row: Row

    @property
    def receipt_time(self) -> int:
        """When it reached us."""
        return int(self.row["receipt_time"])


Point = tuple[int, float]
"""An instant and the value of a feature just after a record received then."""


@dataclass(frozen=True, eq=False)
class FeatureRow:
    """What the features were at `emitted_at`, readable from `visible_at`."""

    number: int
    emitted_at: int
    visible_at: int
    event_time: int
    tie: int
    instrument: int
    values: tuple[float, ...]


# -- formulas of records ---------------------------------------------------------------------------


def mid_price(bid: float, ask: float) -> float:
    """(bid + ask) / 2."""
    return (bid + ask) / 2


def relative_spread(bid: float, ask: float) -> float:
    """(ask - bid) / mid."""
    return (ask - bid) / mid_price(bid, ask)


def imbalance(bid_quantity: float, ask_quantity: float) -> float:
    """(bid quantity - ask quantity) / (bid quantity + ask quantity)."""
    return (bid_quantity - ask_quantity) / (bid_quantity + ask_quantity)


def trade_volume_imbalance(trades: Sequence[Seen], now: int, window: int) -> float:
    """(bought - sold) / (bought + sold) over (now - window, now], by takers.

    NaN until the first trade lies at or before now - window; 0 where nothing traded within it.
    """
    if not trades or trades[0].receipt_time > now - window:
        return NAN
    bought = sold = 0.0
    for trade in trades:
        if now - window < trade.receipt_time <= now:
            if trade.row["aggressor"] > 0:
                bought += trade.row["quantity"]
            else:
                sold += trade.row["quantity"]
    if bought + sold == 0:
        return 0.0
    return (bought - sold) / (bought + sold)


# -- formulas of another feature's history ---------------------------------------------------------


def as_of(points: Sequence[Point], instant: int) -> float:
    """The last value at or before an instant, NaN before the first."""
    value = NAN
    for when, what in points:
        if when <= instant:
            value = what
    return value


def lag(points: Sequence[Point], now: int, length: int) -> float:
    """The value that held at now - lag."""
    return as_of(points, now - length)


def log_return(points: Sequence[Point], now: int, window: int) -> float:
    """log(value at now / value that held at now - window)."""
    before, after = as_of(points, now - window), as_of(points, now)
    return math.log(after / before) if after / before > 0 else NAN


def realised_volatility(points: Sequence[Point], now: int, window: int) -> float:
    """Square root of the sum of squared log returns, value to value, over (now - window, now].

    NaN until the first return lies at or before now - window; 0 where nothing came within it. What
    is no positive number is left out.
    """
    usable = [(when, value) for when, value in points if value > 0]
    returns = [(when, math.log(value / before)) for (_, before), (when, value) in pairwise(usable)]
    if not returns or returns[0][0] > now - window:
        return NAN
    return math.sqrt(sum(r**2 for when, r in returns if now - window < when <= now))


def ema(points: Sequence[Point], now: int, half_life: int) -> float:
    """Average over time of the value held, each moment weighing 2^(-age / half-life).

    A value is in force until the next; the first one counts as in force from ever, the last one is
    in force until now. Missing values are left out.
    """
    usable = [(when, value) for when, value in points if not math.isnan(value)]
    if not usable:
        return NAN
    ends = [when for when, _ in usable[1:]] + [now]
    total, weight_before = 0.0, 0.0
    for (_, value), end in zip(usable, ends, strict=True):
        weight = 2 ** (-(now - end) / half_life)  # of everything up to the end
        total += value * (weight - weight_before)
        weight_before = weight
    return total


# -- which records, which formula ------------------------------------------------------------------

Lookup = Callable[[str], Feature]


class Definitions:
    """The features of one scenario by name, and how each is computed."""

    def __init__(self, features: Features, instruments: Sequence[str]) -> None:
        self.by_name = {feature.name: feature for feature in features.columns}
        self.first = instruments[0]

    def instrument(self, feature: Feature) -> str:
        """Return the instrument that a feature is about."""
        source = self.source(feature)
        if source is not None:
            return self.instrument(source)
        return str(feature.params.get("instrument", self.first))

    def source(self, feature: Feature) -> Feature | None:
        """Return the feature that this one is computed from, if it is."""
        if feature.definition not in ("LogReturn", "RealisedVolatility", "Ema", "Lag"):
            return None
        name = feature.params.get("feature", feature.params.get("source"))
        if name is not None:
            return self.by_name[name]
        at = feature.params.get("instrument", self.first)
        return Feature("MidPrice", "", {"instrument": at})

    def reads(self, feature: Feature) -> tuple[str, str]:
        """Return the stream of records behind a feature."""
        source = self.source(feature)
        if source is not None:
            return self.reads(source)
        kind = "trades" if feature.definition == "TradeVolumeImbalance" else "quotes"
        return self.instrument(feature), kind

    def history(self, feature: Feature, seen: Sequence[Seen]) -> list[Point]:
        """Return the feature's value just after each record that it reads."""
        stream = self.reads(feature)
        return [
            (record.receipt_time, self.value(feature, seen[: place + 1], record.receipt_time))
            for place, record in enumerate(seen)
            if (record.instrument, record.kind) == stream
        ]

    def value(self, feature: Feature, seen: Sequence[Seen], now: int) -> float:
        """Return the feature's value at an instant, from the records seen by then."""
        definition, params = feature.definition, feature.params
        source = self.source(feature)
        if source is not None:
            return self._of_points(definition, params, self.history(source, seen), now)
        stream = self.reads(feature)
        records = [r for r in seen if (r.instrument, r.kind) == stream]
        if definition == "TradeVolumeImbalance":
            return trade_volume_imbalance(records, now, parse_duration(params["window"]))
        if not records:
            return NAN
        last = records[-1].row
        if definition == "MidPrice":
            return mid_price(last["bid_price"], last["ask_price"])
        if definition == "RelativeSpread":
            return relative_spread(last["bid_price"], last["ask_price"])
        assert definition == "Imbalance", definition
        return imbalance(last["bid_quantity"], last["ask_quantity"])

    def _of_points(
        self, definition: str, params: Mapping[str, object], points: Sequence[Point], now: int
    ) -> float:
        if definition == "Ema":
            return ema(points, now, parse_duration(params["half_life"]))
        if definition == "Lag":
            return lag(points, now, parse_duration(params["lag"]))
        window = parse_duration(params["window"])
        if definition == "LogReturn":
            return log_return(points, now, window)
        return realised_volatility(points, now, window)


class FeaturePlane:
    """Collects records as they reach us and puts feature rows on the agenda."""

    def __init__(
        self,
        agenda: Agenda,
        features: Features,
        instruments: Sequence[str],
        start: int,
        on_row: Callable[[FeatureRow], None],
    ) -> None:
        self.agenda, self.features, self.on_row = agenda, features, on_row
        self.definitions = Definitions(features, instruments)
        self.streams = {self.definitions.reads(feature) for feature in features.columns}
        label = self.definitions.by_name.get(features.label_feature or "")
        about = instruments[0] if label is None else self.definitions.instrument(label)
        self.instrument = instruments.index(about)
        self.seen: list[Seen] = []
        self.rows: list[FeatureRow] = []
        self.triggers = 0
        if isinstance(features.sampling, tuple):
            self.streams.add(features.sampling)
        if isinstance(features.sampling, int):
            period = features.sampling
            self._plan_grid(-(-start // period) * period, period)

    def _plan_grid(self, instant: int, period: int) -> None:
        def emit() -> None:
            self._emit()
            self._plan_grid(instant + period, period)

        # Everything received at the instant has run by then: feature rows come after receipts.
        self.agenda.add(instant, Rank.FEATURE_ROW, (-1,), emit)

    def receive(self, instrument: str, kind: str, row: Row) -> None:
        """Take a record that reaches us now."""
        if (instrument, kind) not in self.streams:
            return
        self.seen.append(Seen(instrument, kind, row))
        if self.features.sampling == "raw":
            self._emit()
        if self.features.sampling == (instrument, kind):
            self.triggers += 1
            if self.triggers % self.features.every == 0:
                self._emit()

    def _emit(self) -> None:
        now = self.agenda.now
        row = FeatureRow(
            number=len(self.rows),
            emitted_at=now,
            visible_at=now + self.features.compute_latency,
            event_time=max((r.row["event_time"] for r in self.seen), default=MISSING),
            tie=sum(other.emitted_at == now for other in self.rows),
            instrument=self.instrument,
            values=tuple(
                self.definitions.value(feature, self.seen, now) for feature in self.features.columns
            ),
        )
        self.rows.append(row)
        self.agenda.add(row.visible_at, Rank.FEATURE_ROW, (row.number,), lambda: self.on_row(row))
