"""A live feed gives the rows of the batch, to the last bit (law 3)."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clock.errors import TimeWentBackwardsError
from clock.simulated import SimulatedClock
from clock.wall import WallClock
from featurizer.errors import FeatureError
from featurizer.feature import Market, Pointwise
from featurizer.graph import FeatureGraph, FeatureRows
from featurizer.market import Window
from featurizer.online import Event, OnlineFeaturizer, events_of
from tests.featurizer.feature_markets import (
    EIGHT,
    MS,
    A,
    B,
    config,
    joined,
    market,
    markets,
    quotes,
    same_bits,
    total_order,
    trades,
)

FEATURES = (
    *EIGHT,
    ("price.MidPrice", "mid_b", {"instrument": B}),
    (f"{__name__}.Basis", "basis", {}),
    ("smoothing.Lag", "basis_lag", {"lag": "2ms", "feature": "basis"}),
    (f"{__name__}.MidAsOfTrade", "mid_as_of_trade", {}),
)
SAMPLINGS = {
    "raw": {"sampling": "raw"},
    "quotes": {"sampling": {"input": "quotes", "every": 2}},
    "grid": {"sampling": "2ms"},
    "each raw": {"sampling": "raw", "per_instrument": True},
    "each grid": {"sampling": "3ms", "per_instrument": True, "rows": 2},
}


class Basis(Pointwise):
    """The mid of one instrument less that of another, and the last trade's price beside them."""

    def inputs(self) -> tuple[Any, ...]:
        return ("mid", "mid_b", Market("trades", ("price",), A))

    def value(self, mid: Any, mid_b: Any, price: Any) -> Any:
        return mid - mid_b + 0.0 * price


class MidAsOfTrade(Pointwise):
    """The mid as of the last trade: an as-of join."""

    joined = True

    def inputs(self) -> tuple[Any, ...]:
        return (Market("trades", ("price",), A), "mid", Market("quotes", ("bid_price",), A))

    def value(self, price: Any, mid: Any, bid: Any) -> Any:
        return mid + 0.0 * price + 0.0 * bid


def featurizer(**others: Any) -> OnlineFeaturizer:
    return OnlineFeaturizer(config(*FEATURES, **others), [A, B], start=0)


def batch(streams: Any, until: int, **others: Any) -> FeatureRows:
    return FeatureGraph(config(*FEATURES, **others), [A, B]).push(streams, until)


def events(streams: Any) -> list[Event]:
    graph = FeatureGraph(config(*FEATURES), [A, B])
    ordered = {request.key: streams[request.key] for request in graph.requests}
    return list(events_of([Window(0, 0, {}, ordered)]))


def ending(streams: Any) -> int:
    order = total_order(streams)
    return (order[-1][0] if order else 0) + 5 * MS


@pytest.mark.slow
@given(streams=markets(), sampling=st.sampled_from(sorted(SAMPLINGS)), data=st.data())
@settings(max_examples=120, deadline=None)
def test_rows_of_a_feed_have_the_bits_of_the_batch(
    streams: Any, sampling: str, data: st.DataObject
) -> None:
    live, until = featurizer(**SAMPLINGS[sampling]), ending(streams)
    parts = []
    for event in events(streams):
        # a timer may look at any time before the next event
        if data.draw(st.booleans()):
            parts.append(live.advance(data.draw(st.integers(live.watermark, event.receipt_time))))
        parts.append(live.push(event))
    parts.append(live.advance(until))
    assert same_bits(joined(parts), batch(streams, until, **SAMPLINGS[sampling]))


@given(streams=markets())
@settings(max_examples=30, deadline=None)
@pytest.mark.slow
def test_an_iterator_of_events_gives_the_rows_as_they_come(streams: Any) -> None:
    until = ending(streams)
    parts = list(featurizer(sampling="2ms").run(iter(events(streams)), until))
    assert all(len(part.emitted_at) for part in parts)
    assert same_bits(joined(parts), batch(streams, until, sampling="2ms"))


@given(streams=markets(), tick=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
@pytest.mark.slow
def test_a_queue_gives_the_rows_while_a_clock_moves_the_watermark(streams: Any, tick: int) -> None:
    clock, until = SimulatedClock(0), ending(streams)
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    for event in events(streams):
        clock.call_at(event.receipt_time, lambda event=event: queue.put_nowait(event))
    clock.call_at(until, lambda: queue.put_nowait(None))

    async def wait(seconds: float) -> None:
        clock.run_until(clock.now + round(seconds * 1e9))

    async def collect() -> list[FeatureRows]:
        live = featurizer(sampling="2ms")
        return [rows async for rows in live.stream(queue, clock, tick_ns=tick * MS, sleep=wait)]

    rows = joined([*asyncio.run(collect()), batch({}, 0, sampling="2ms")])
    # the clock ends between two ticks
    expected = batch(streams, until + tick * MS, sampling="2ms")
    count = len(rows.emitted_at)
    assert count >= until // (2 * MS)
    assert same_bits(rows, FeatureRows(*(column[:count] for column in expected)))


def test_a_timer_completes_grid_rows_in_silence() -> None:
    clock, live = SimulatedClock(0), featurizer(sampling="10ms")
    taken: list[Any] = []
    stop = live.keep_time(
        clock, lambda rows: taken.append((clock.now // MS, rows.emitted_at.tolist())),
        tick_ns=4 * MS, slack_ns=3 * MS,
    )  # fmt: skip
    live.push(events(market(quotes([5 * MS], [1.0]), quotes([], [], B), trades([], [])))[0])
    clock.run_until(30 * MS)
    # the row for T comes with the first tick after T + slack
    assert taken == [(16, [10 * MS]), (24, [20 * MS])]
    stop()
    clock.run_until(60 * MS)
    assert len(taken) == 2
    assert live.watermark == 25 * MS


def test_a_wall_clock_moves_the_watermark_too() -> None:
    clock = WallClock()
    begin = clock.now
    live = OnlineFeaturizer(config("price.MidPrice", sampling="1ms"), [A], start=begin)
    seen: list[int] = []
    live.keep_time(clock, lambda rows: seen.extend(rows.emitted_at.tolist()), tick_ns=MS)
    clock.run_until(begin + 8 * MS)
    assert seen == sorted(seen)
    assert len(seen) >= 2
    assert all(begin <= at < clock.now for at in seen)


def test_an_event_before_the_watermark_is_refused() -> None:
    live = featurizer()
    live.advance(10)
    with pytest.raises(TimeWentBackwardsError, match="slack"):
        live.push(Event(A, "quotes", 8, 9, {}))


def test_an_event_without_a_column_that_is_read_is_refused_with_the_nearest() -> None:
    values = {"bid_price": 1.0, "ask_prize": 2.0, "bid_quantity": 1.0, "ask_quantity": 1.0}
    with pytest.raises(FeatureError, match=r"'ask_price'.*Did you mean 'ask_prize'"):
        featurizer().push(Event(A, "quotes", 1, 1, values))


def test_an_event_that_nobody_reads_moves_the_watermark_alone() -> None:
    live = OnlineFeaturizer(config("price.MidPrice", sampling="5ns"), [A], start=0)
    rows = live.push(Event(A, "trades", 11, 12, {}))
    assert rows.emitted_at.tolist() == [0, 5, 10]
    assert np.isnan(rows.values).all()
    assert live.watermark == 12


def test_an_advance_into_the_past_changes_nothing() -> None:
    live = featurizer(sampling="2ms")
    live.advance(9 * MS)
    assert len(live.advance(3 * MS).emitted_at) == 0
    assert live.watermark == 9 * MS
