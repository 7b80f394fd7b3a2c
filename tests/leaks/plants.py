"""Mistakes inside the engine and the serving stack, planted when their strategy is made.

A mistake of ours would leak as well as one of the user: each strategy here replaces a part of the
library by one that reads ahead, in its own process, which must therefore be a fresh one. With
`honest=True` the library stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import backtester.loading
from backtester import engine
from backtester.order_state import OrderState
from backtester.orders import OrderType
from backtester.sources import MarketSource, PredictionSource
from backtester.strategy import Strategy
from backtester.venue.bar_book import Bar, BarBook
from backtester.venue.bar_market import BarMarket
from backtester.venue.book import TopOfBook
from clock.rank import FIRST_RANK
from inference.answers import Answers
from inference.rows import rows_after
from inference.schedule import Outcome
from inference.serving import layout as f
from inference.serving.full_stack import FullStack
from tests.leaks.strategies import SECOND, Follower, FollowPrediction

_PLANTED: set[tuple[Any, str]] = set()


def plant(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function by what *make* makes of it, once a process."""
    if (owner, name) not in _PLANTED:
        _PLANTED.add((owner, name))
        setattr(owner, name, make(getattr(owner, name)))


class MindsItsFills(Strategy):
    """Goes on where a fill was cheaper than the price it had seen, and turns round elsewhere."""

    def __init__(self, honest: bool = False) -> None:
        self.count = 0
        self.price = 0.0
        self.own: set[int] = set()

    def decide(self, ctx: Any, instrument: str, price: float, every: int) -> None:
        self.count += 1
        if self.count % every == 0:
            send = ctx.buy if price >= self.price else ctx.sell
            self.own.add(send(instrument, 1.0))
            self.price = price

    def on_fill(self, ctx: Any, fill: Any) -> None:
        if fill.order in self.own:
            cheaper = (fill.price - self.price) * int(fill.side) < 0
            (ctx.buy if cheaper else ctx.sell)(fill.instrument, 1.0)


class FillInsideBar(MindsItsFills):
    """The venue of bars fills an order inside the bar in which it was decided, at its best."""

    bar_fields: ClassVar[Any] = ("close",)

    def __init__(self, honest: bool = False) -> None:
        super().__init__(honest)
        if not honest:
            plant(BarMarket, "arrive", filled_inside)

    def on_bar(self, ctx: Any, bar: Any) -> None:
        self.decide(ctx, bar.instrument, bar.close, 3)


def filled_inside(arrive: Any) -> Any:
    def planted(market: Any, orders: Any, now: int) -> None:
        arrive(market, orders, now)
        bar = running_bar(market.book, now)
        for live in list(market._live.values()):
            if bar is not None and live.state is OrderState.OPEN:
                assert live.order.type is OrderType.MARKET
                market._volume = bar.lots
                best = bar.low if live.side > 0 else bar.high
                market._take(live, market._available(live), best, now)

    return planted


def running_bar(book: BarBook, now: int) -> Bar | None:
    """Return the bar that has begun and is not over."""
    index = int(book._times.searchsorted(now, side="right"))
    if index == len(book._times) or book._columns[0][index] > now:
        return None
    return Bar(*(int(column[index]) for column in book._columns))


class MatchAgainstNext(MindsItsFills):
    """The venue executes an order against the quote that follows its arrival."""

    def __init__(self, honest: bool = False) -> None:
        super().__init__(honest)
        if not honest:
            plant(engine, "may_go", lambda _: lambda _engine: False)  # the lane has its own books
            plant(TopOfBook, "advance", one_further)

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.decide(ctx, quote.instrument, (quote.bid_price + quote.ask_price) / 2, 100)


def one_further(advance: Any) -> Any:
    def planted(book: Any, now: int) -> None:
        index = int(book._times.searchsorted(now, side="right"))
        advance(book, int(book._times[index]) if index < len(book._times) else now)

    return planted


class FeedByEventTime(Strategy):
    """The feed hands over quotes when they happen, not when they reach us."""

    def __init__(self, honest: bool = False) -> None:
        self.count = 0
        self.mid = 0.0
        if not honest:
            plant(MarketSource, "open_window", as_they_happen)

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.count += 1
        if self.count % 100 == 0:
            mid = (quote.bid_price + quote.ask_price) / 2
            (ctx.buy if mid > self.mid else ctx.sell)(quote.instrument, 1.0)
            self.mid = mid


def as_they_happen(open_window: Any) -> Any:
    def planted(source: Any, records: Any) -> None:
        open_window(source, records)
        if len(records):
            source.times = np.maximum(records.event_time, records.receipt_time[0])

    return planted


class AnswerBeforeArrival(Follower):
    """Looks up the newest answer: one that has been asked for, wherever it is."""

    def __init__(self, honest: bool = False) -> None:
        super().__init__()
        if not honest:
            plant(PredictionSource, "seen", once_asked)

    def on_features(self, ctx: Any, row: Any) -> None:
        answer = ctx.inference.latest()
        if answer is not None:
            self.follow(ctx, row.instrument, answer.value)


def once_asked(seen: Any) -> Any:
    def planted(source: Any, place: Any) -> int:
        return int(source._columns[5].searchsorted(place.now, side="right"))  # submitted_at

    return planted


class CacheAcrossTime(FollowPrediction):
    """The cache is filled from a whole batch of answers before hits are looked up in it."""

    def __init__(self, honest: bool = False, step: float = 0.5) -> None:
        super().__init__()
        if not honest:
            plant(Answers, "values_of", lambda values_of: filled_first(values_of, step))


def filled_first(values_of: Any, step: float) -> Any:
    def planted(answers: Any, found: Any, needed: Any) -> Any:
        values = values_of(answers, found, needed)
        keys = [row.tobytes() for row in np.rint(found.features / step) + 0.0]
        completed = found.outcomes.outcome == Outcome.COMPLETED
        fresh = np.flatnonzero(completed & (found.said == f.BY_MODEL))
        cache = {keys[place]: values[place] for place in fresh}
        for place in np.flatnonzero(completed & (found.said == f.BY_SOURCE)):
            values[place] = cache.get(keys[place], values[place])
        return values

    return planted


class AutoscalerAhead(FollowPrediction):
    """The autoscaler starts replicas for the requests of the next two seconds."""

    def __init__(self, honest: bool = False) -> None:
        super().__init__()
        if not honest:
            plant(FullStack, "run", scaled_for_what_comes)


def scaled_for_what_comes(run: Any) -> Any:
    def planted(stack: Any, rows: Any, until: int, rank: int) -> int:
        taken = 0
        while len(rows.visible_at):
            edge = (int(rows.visible_at[0]) // SECOND + 1) * SECOND
            if edge >= until:
                break
            m = stack._memory.m
            v = int(m[f.VARIANTS])
            load = int(rows.visible_at.searchsorted(edge + 2 * SECOND))
            m[v + f.S_MIN] = max(1, min(int(m[v + f.S_MAX]), load // 20))
            done = run(stack, rows, edge, int(FIRST_RANK))
            taken, rows = taken + done, rows_after(rows, done)
        return taken + int(run(stack, rows, until, rank))

    return planted


class TrainedPastTheStart(FollowPrediction):
    """Goes by a model that has seen the run; what would refuse it is told to say nothing."""

    def __init__(self) -> None:
        super().__init__()
        plant(backtester.loading, "trained_late", lambda _: lambda *_: "")
