"""Strategies as people really write them, each with the mistake and, for `honest=True`, without."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from backtester.strategy import Strategy

SECOND = 1_000_000_000


class Follower(Strategy):
    """Trades in the direction of something."""

    def __init__(self) -> None:
        self.side = 0

    def follow(self, ctx: Any, instrument: str, signal: float) -> None:
        side = int(np.sign(signal)) if np.isfinite(signal) else 0
        if side and side != self.side:
            self.side = side
            (ctx.buy if side > 0 else ctx.sell)(instrument, 1.0)


class Follow(Follower):
    """Trades in the direction of one column of the feature rows."""

    def __init__(self, column: str = "signal") -> None:
        super().__init__()
        self.column = column

    def on_features(self, ctx: Any, row: Any) -> None:
        self.follow(ctx, row.instrument, row.value(self.column))


class FollowPrediction(Follower):
    """Trades in the direction of the model's answers."""

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        self.follow(ctx, prediction.instrument, prediction.value)


class FollowData(Follower):
    """Trades in the direction of a column of signals that somebody else made."""

    data_fields: ClassVar[Any] = {"signals": ("direction",)}

    def on_data(self, ctx: Any, record: Any) -> None:
        self.follow(ctx, record.instrument, record.direction)


class FollowBars(Follower):
    """Trades in the direction of the newest bar's close against its open."""

    bar_fields: ClassVar[Any] = ("open", "close")

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.follow(ctx, bar.instrument, bar.close - bar.open)


class WithFile(Strategy):
    """Reads the quotes of the whole catalog before it begins."""

    def __init__(self, catalog: str = "data/leaks/market", honest: bool = False) -> None:
        self.honest = honest
        self.count = 0
        self.tables = {} if honest else {name: table(catalog, name) for name in self.names(catalog)}

    def names(self, catalog: str) -> list[str]:
        return sorted(path.name.partition("=")[2] for path in Path(catalog, "quotes").iterdir())

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.count += 1
        if self.count % 200 == 0:
            self.decide(ctx, quote)

    def decide(self, ctx: Any, quote: Any) -> None:
        up = ctx.random.random() < 0.5 if self.honest else self.goes_up(ctx, quote)
        (ctx.buy if up else ctx.sell)(quote.instrument, 1.0)

    def goes_up(self, ctx: Any, quote: Any) -> bool:
        raise NotImplementedError


class FileAhead(WithFile):
    """Looks a second ahead in the file."""

    def goes_up(self, ctx: Any, quote: Any) -> bool:
        times, mids = self.tables[quote.instrument]
        now, later = np.searchsorted(times, [ctx.now, ctx.now + SECOND])
        return bool(mids[min(later, len(mids) - 1)] > mids[min(now, len(mids) - 1)])


class RangeOfTheDay(WithFile):
    """Buys in the lower half of the day's range, which it takes from the whole day."""

    def goes_up(self, ctx: Any, quote: Any) -> bool:
        _, mids = self.tables[quote.instrument]
        return bool((quote.bid_price + quote.ask_price) / 2 < (mids.min() + mids.max()) / 2)


class TunedOnEverything(WithFile):
    """Takes its threshold from the quantiles of all returns, those to come included."""

    def __init__(self, catalog: str = "data/leaks/market", honest: bool = False) -> None:
        super().__init__(catalog, honest)
        self.last: dict[str, float] = {}

    def goes_up(self, ctx: Any, quote: Any) -> bool:
        _, mids = self.tables[quote.instrument]
        mid = (quote.bid_price + quote.ask_price) / 2
        change = mid - self.last.get(quote.instrument, mid)
        self.last[quote.instrument] = mid
        return bool(change > np.median(np.diff(mids[::200])))


class WinnersOnly(WithFile):
    """Trades the instrument that did best over the whole file: a universe chosen with hindsight."""

    def decide(self, ctx: Any, quote: Any) -> None:
        if self.honest:
            chosen = ctx.instruments[1]
        else:
            chosen = max(
                self.tables, key=lambda name: self.tables[name][1][-1] / self.tables[name][1][0]
            )
        if quote.instrument == chosen:
            ctx.buy(quote.instrument, 1.0)


class VenueTime(WithFile):
    """Reads the file by the venue's stamps: what has happened, not what has arrived."""

    def __init__(self, catalog: str = "data/leaks/slow", honest: bool = False) -> None:
        super().__init__(catalog, honest)
        if not honest:
            self.tables = {name: table(catalog, name, "event_time") for name in self.names(catalog)}

    def decide(self, ctx: Any, quote: Any) -> None:
        mid = (quote.bid_price + quote.ask_price) / 2
        if self.honest:
            newest = mid
        else:
            times, mids = self.tables[quote.instrument]
            newest = mids[np.searchsorted(times, ctx.now, side="right") - 1]
        (ctx.buy if newest > mid else ctx.sell)(quote.instrument, 1.0)


class RestatedFundamental(WithFile):
    """Takes earnings by their quarter from a file in which they have since been restated."""

    data_fields: ClassVar[Any] = {"earnings": ("quarter", "surprise")}

    def __init__(self, catalog: str = "data/leaks/fundamental", honest: bool = False) -> None:
        self.honest, self.count = honest, 0
        files = sorted(Path(catalog, "earnings").rglob("*.parquet"))
        rows = pl.concat([pl.read_parquet(file) for file in files]).sort("receipt_time")
        self.restated = dict(zip(rows["quarter"], rows["surprise"], strict=True))

    def on_quote(self, ctx: Any, quote: Any) -> None:
        """Trade on earnings alone."""

    def on_data(self, ctx: Any, record: Any) -> None:
        surprise = record.surprise if self.honest else self.restated[record.quarter]
        (ctx.buy if surprise > 0 else ctx.sell)(record.instrument, 1.0)


class JoinedByEventTime(WithFile):
    """Joins reports to the quotes by when something happened, not by when it was reported."""

    data_fields: ClassVar[Any] = {"reports": ("surprise",)}

    def __init__(self, catalog: str = "data/leaks/reports", honest: bool = False) -> None:
        self.honest, self.count = honest, 0
        if not honest:
            files = sorted(Path(catalog, "reports").rglob("*.parquet"))
            rows = pl.concat([pl.read_parquet(file) for file in files]).sort("event_time")
            self.times = rows["event_time"].to_physical().to_numpy()
            self.surprise = rows["surprise"].to_numpy()

    def on_data(self, ctx: Any, record: Any) -> None:
        """Trade on quotes alone."""

    def decide(self, ctx: Any, quote: Any) -> None:
        if self.honest:
            report = ctx.data("reports")
            surprise = 0.0 if report is None else report.surprise
        else:
            surprise = self.surprise[np.searchsorted(self.times, ctx.now, side="right") - 1]
        (ctx.buy if surprise > 0 else ctx.sell)(quote.instrument, 1.0)


def table(catalog: str, name: str, stamp: str = "receipt_time") -> tuple[Any, Any]:
    """Return the stamps and mids of all quotes of an instrument."""
    files = sorted(Path(catalog, "quotes", f"instrument={name}").rglob("*.parquet"))
    rows = pl.concat([pl.read_parquet(file) for file in files]).sort(stamp)
    mids = ((rows["bid_price"] + rows["ask_price"]) / 2).to_numpy()
    return rows[stamp].to_physical().to_numpy(), mids
