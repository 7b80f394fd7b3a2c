"""`ctx.book`: what has been received, as levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backtester.account import Units
from backtester.book_view import BookView, Level
from backtester.depth_source import DepthSource
from backtester.errors import ScenarioError
from backtester.orders import Side
from backtester.sources import Place
from backtester.strategy import Strategy
from clock.rank import Rank
from featurizer.market import Records
from tests.backtester.worlds import ALPHA, Quote, instrument, play

BOOK = BookView(
    ALPHA,
    (Level(99.0, 2.0), Level(98.0, 3.0)),
    (Level(101.0, 1.0), Level(102.0, 5.0)),
)


def depth(rows: list[tuple[int, int, float, float, int]]) -> Records:
    """Return depth records: (receipt, side, price, quantity, is_snapshot)."""
    table = np.array(rows, dtype=float).T
    names = ("side", "price", "quantity", "is_snapshot")
    columns: dict[str, Any] = {
        "event_time": table[0].astype(np.int64) - 1,
        "receipt_time": table[0].astype(np.int64),
        "sequence": np.arange(len(rows)),
    }
    for name, values in zip(names, table[1:], strict=True):
        columns[name] = values.astype(np.int64) if name in ("side", "is_snapshot") else values
    return Records(ALPHA, "depth", columns)


def shown(source: DepthSource, now: int, levels: int | None = None) -> tuple[Any, Any]:
    book = source.book(Place(now, Rank.TIMER, None, 0), levels)
    return [tuple(level) for level in book.bids], [tuple(level) for level in book.asks]


def source_of() -> DepthSource:
    return DepthSource((ALPHA, 0), Units([instrument()])[ALPHA])


def test_depth_within_a_price_counts_the_levels_up_to_it():
    assert BOOK.depth(Side.BUY, 99.0) == 2.0
    assert BOOK.depth(Side.BUY, 97.0) == 5.0
    assert BOOK.depth(Side.SELL, 100.9) == 0.0
    assert BOOK.depth(Side.SELL, 101.0) == 1.0


@pytest.mark.parametrize(("quantity", "worst", "mean"), [(1.0, 101.0, 101.0), (2.0, 102.0, 101.5)])
def test_a_sweep_reaches_the_price_that_holds_its_last_part(quantity, worst, mean):
    assert BOOK.sweep_price(Side.BUY, quantity) == worst
    assert BOOK.average_price(Side.BUY, quantity) == mean


def test_a_sweep_beyond_what_is_shown_has_no_price():
    assert np.isnan(BOOK.sweep_price(Side.SELL, 5.1))
    assert np.isnan(BOOK.average_price(Side.SELL, 5.1))
    assert np.isnan(BookView(ALPHA, (), BOOK.asks).mid)


def test_the_book_holds_what_has_been_received_and_nothing_later():
    source = source_of()
    source.open_window(depth([(5, 1, 99.0, 2.0, 0), (7, -1, 101.0, 1.0, 0), (9, 1, 99.0, 0.0, 0)]))
    assert shown(source, 4) == ([], [])
    assert shown(source, 5) == ([(99.0, 2.0)], [])
    assert shown(source, 8) == ([(99.0, 2.0)], [(101.0, 1.0)])
    assert shown(source, 9) == ([], [(101.0, 1.0)])


def test_the_book_goes_on_from_window_to_window_read_or_not():
    source = source_of()
    source.open_window(depth([(5, 1, 99.0, 2.0, 0)]))
    source.close_window()
    source.open_window(depth([(7, 1, 98.0, 1.0, 0)]))
    assert shown(source, 7) == ([(99.0, 2.0), (98.0, 1.0)], [])


def test_a_snapshot_replaces_the_book():
    source = source_of()
    old = [(5, 1, 99.0, 2.0, 0), (5, -1, 101.0, 2.0, 0), (5, -1, 103.0, 2.0, 0)]
    source.open_window(depth([*old, (6, 1, 98.0, 1.0, 1), (6, -1, 101.0, 4.0, 1)]))
    assert shown(source, 6) == ([(98.0, 1.0)], [(101.0, 4.0)])


def test_best_levels_can_be_asked_for_alone():
    source = source_of()
    source.open_window(depth([(5, 1, 90.0 + i, 1.0, 0) for i in range(9)]))
    assert shown(source, 5, levels=2) == ([(98.0, 1.0), (97.0, 1.0)], [])


def test_without_depth_the_book_is_the_newest_quote(tmp_path):
    seen = []

    class Look(Strategy):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            seen.append(ctx.book())

        def on_start(self, ctx: Any) -> None:
            assert ctx.book().bids == ()

    play(tmp_path, Look(), [Quote(0, bid=99, ask=101, bid_quantity=3)])
    assert seen[0].bids == (Level(99.0, 3.0),)
    assert seen[0].mid == 100.0


def test_a_strategy_that_reads_depth_needs_depth(tmp_path):
    class Look(Strategy):
        reads_depth = True

        def on_quote(self, ctx: Any, quote: Any) -> None: ...

    with pytest.raises(ScenarioError, match="`reads_depth` of Look needs depth of"):
        play(tmp_path, Look(), [Quote(0)])
