"""Nothing that a strategy can reach is later than now, or can be changed."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from backtester.strategy import Strategy
from tests.backtester.worlds import (
    ALPHA,
    BETA,
    MIDS,
    ON_FEATURE,
    Quote,
    Recorder,
    Trade,
    at,
    instrument,
    play,
    since,
)

MODES = pytest.mark.parametrize("mode", ["ahead", "lockstep"])

_ENDS = (int, float, str, bytes, bool, type(None))


def reachable(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield everything that public attributes, items and properties lead to, with how."""
    yield path, thing
    if isinstance(thing, _ENDS) or id(thing) in seen or len(path) > 120:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray | np.random.Generator | type | types.ModuleType):
        return
    if isinstance(thing, tuple | list | set | frozenset):
        for place, item in enumerate(thing):
            yield from reachable(item, f"{path}[{place}]", seen)
    if isinstance(thing, dict):
        for key, item in thing.items():
            yield from reachable(item, f"{path}[{key!r}]", seen)
    for name in dir(thing):
        if not name.startswith("_"):
            yield from reachable(getattr(thing, name), f"{path}.{name}", seen)


class Walker(Recorder):
    """At every callback, walks whatever it can reach, and keeps what should not be there."""

    quote_fields = ("bid_price", "ask_price", "event_time", "receipt_time", "sequence")
    trade_fields = ("price", "event_time", "receipt_time")

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.walked: dict[str, int] = {}

    def walk(self, callback: str, ctx: Any, *args: Any) -> None:
        roots = {"ctx": ctx, "quote": ctx.quote(ALPHA), "other": ctx.quote(BETA)}
        roots["answer"] = ctx.inference.latest()
        roots |= {"orders": ctx.orders(), "book": ctx.book(ALPHA), "terms": ctx.terms(ALPHA)}
        roots |= {f"argument {n}": arg for n, arg in enumerate(args)}
        seen: set[int] = set()
        for name, root in roots.items():
            for path, thing in reachable(root, name, seen):
                self.walked[callback] = self.walked.get(callback, 0) + 1
                self.judge(callback, ctx.now, path, thing)

    def judge(self, callback: str, now: int, path: str, thing: Any) -> None:
        where = f"{callback} at {since(now)}: {path}"
        if isinstance(thing, int) and not isinstance(thing, bool) and thing > now:
            self.faults.append(f"{where} is {since(thing)}, later than now")
        if isinstance(thing, np.integer | np.floating):
            self.faults.append(f"{where} is a NumPy scalar")
        if isinstance(thing, np.ndarray):
            self.faults.append(f"{where} is an array")
        if isinstance(thing, list | dict | set | memoryview | bytearray):
            self.faults.append(f"{where} can be changed")

    def on_start(self, ctx: Any) -> None:
        self.walk("on_start", ctx)
        for ms in (0, 15, 30, 31, 77, 200):
            ctx.call_at(at(ms), "walk")

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.walk("on_quote", ctx, quote)

    def on_trade(self, ctx: Any, trade: Any) -> None:
        self.walk("on_trade", ctx, trade)

    def on_features(self, ctx: Any, row: Any) -> None:
        self.walk("on_features", ctx, row)

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        self.walk("on_prediction", ctx, prediction)
        ctx.buy(ALPHA, 0.1)
        ctx.buy(ALPHA, 0.1, 80.0)  # rests, so that there is always an open order

    def on_order(self, ctx: Any, report: Any) -> None:
        self.walk("on_order", ctx, report)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self.walk("on_fill", ctx, fill)

    def on_timer(self, ctx: Any, name: str) -> None:
        self.walk("on_timer", ctx, name)

    def on_stop(self, ctx: Any) -> None:
        self.walk("on_stop", ctx)


@pytest.mark.slow
@MODES
@pytest.mark.parametrize("window_rows", [3, 8192])
def test_nothing_that_a_strategy_can_reach_lies_in_the_future_or_can_be_changed(
    tmp_path, mode, window_rows
):
    walker = Walker()
    quotes = [Quote(n * 5, bid=90 + n % 7, ask=110, received=n * 5 + n % 4) for n in range(40)]
    play(
        tmp_path,
        walker,
        {ALPHA: quotes, BETA: quotes[::2]},
        trades={ALPHA: [Trade(n * 15) for n in range(12)], BETA: [Trade(7)]},
        instruments=[instrument(ALPHA), instrument(BETA)],
        featurizer=MIDS | {"compute_latency": "1ms"},
        inference=ON_FEATURE | {"service_time": "4ms", "latency": "3ms"},
        entry="2ms",
        response="2ms",
        mode=mode,
        window_rows=window_rows,
    )
    assert walker.faults == []
    missing = {name for name in vars(Strategy) if name.startswith("on_")} - set(walker.walked)
    assert missing == {"on_bar", "on_book", "on_data"}
    assert min(walker.walked.values()) >= 10


def test_the_walk_would_find_an_array_and_an_instant_to_come():
    walker = Walker()
    future = types.SimpleNamespace(values=np.zeros(3), when=at(9))
    for path, thing in reachable((future,), "planted", set()):
        walker.judge("on_quote", at(5), path, thing)
    assert walker.faults == [
        "on_quote at 5.0: planted[0].values is an array",
        "on_quote at 5.0: planted[0].when is 9.0, later than now",
    ]
