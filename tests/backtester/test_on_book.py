"""`on_book`: called once an instant and instrument, with the whole of what was received by then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from backtester.errors import ScenarioError
from backtester.result import RunResult
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from tests.backtester.worlds import (
    ALPHA,
    BETA,
    MIDS,
    Quote,
    Recorder,
    at,
    content,
    make_catalog,
    play,
)

QUOTES = [Quote(ms) for ms in range(0, 60, 7)]


class Change(NamedTuple):
    """One depth record: when it happened and was received, in ms, and what it sets."""

    happened: float
    received: float
    side: int
    price: float
    quantity: float
    is_snapshot: int = 0


UPDATES = {
    ALPHA: [
        Change(1, 3, 1, 99.0, 2.0, 1), Change(1, 3, 1, 98.5, 1.0, 1),
        Change(1, 3, -1, 101.0, 4.0, 1),
        Change(5, 7, 1, 99.0, 5.0), Change(6, 7, -1, 101.0, 0.0), Change(6, 7, -1, 101.5, 1.0),
        Change(9, 14, 1, 99.0, 5.0),
        Change(20, 21, 1, 99.5, 1.0, 1), Change(20, 21, -1, 100.5, 1.0, 1),
        Change(30, 44, -1, 100.5, 3.0),
    ],
    BETA: [
        Change(2, 3, 1, 49.0, 1.0), Change(8, 14, -1, 51.0, 1.0), Change(30, 40, 1, 49.0, 0.0),
    ],
}  # fmt: skip


class Watch(Recorder):
    """Notes what it sees of the book, and trades on it."""

    def on_book(self, ctx: Any, instrument: str) -> None:
        book = ctx.book(instrument)
        levels = [tuple(map(tuple, side)) for side in (book.bids, book.asks)]
        self.note(ctx, instrument, tuple(levels))
        if book.bids and book.bids[0].quantity < 3:
            ctx.buy(instrument, 0.1)


class Looks(Recorder):
    """Reads the book at a quote, and is never called for it."""

    reads_depth = True

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.note(ctx, quote.instrument, len(ctx.book(quote.instrument).bids))


def expected(updates: dict[str, list[Change]]) -> list[tuple[float, str, Any]]:
    """Return every call, from the records received by its instant and nothing else."""
    calls = []
    instants = sorted({(c.received, name) for name, rows in updates.items() for c in rows})
    for now, name in instants:
        books: dict[int, dict[float, float]] = {1: {}, -1: {}}
        snapshot = None
        for change in updates[name]:
            if change.received > now:
                continue
            if change.is_snapshot and snapshot != change.happened:
                books, snapshot = {1: {}, -1: {}}, change.happened
            books[change.side][change.price] = change.quantity
        shown = [
            tuple((p, q) for p, q in sorted(books[side].items(), reverse=side > 0) if q)
            for side in (1, -1)
        ]
        calls.append((now, name, tuple(shown)))
    return calls


def run(
    folder: Path,
    strategy: Strategy,
    updates: dict[str, list[Change]],
    rows: int = 8192,
    **options: Any,
) -> RunResult:
    """Run a strategy on quotes and depth of the instruments that have updates."""
    folder /= f"{len(list(folder.iterdir()))}"
    catalog = make_catalog(folder, dict.fromkeys(updates, QUOTES))
    for name, changes in updates.items():
        catalog.write(name, "depth", depth(changes))
    mapping = content(folder, list(updates), until=60, entry="1ms", response="1ms", featurizer=MIDS)
    return Run(Scenario.model_validate(mapping), strategy, catalog, {}, **options).execute(rows)


def depth(changes: Sequence[Change]) -> dict[str, np.ndarray]:
    table = {
        "event_time": np.array([at(c.happened) for c in changes]),
        "receipt_time": np.array([at(c.received) for c in changes]),
        "sequence": np.arange(len(changes)),
    }
    for name in ("side", "price", "quantity", "is_snapshot"):
        table[name] = np.array([getattr(c, name) for c in changes])
    return table


def test_each_instant_of_receipt_is_one_call_that_shows_all_of_it_and_nothing_later(tmp_path):
    strategy = Watch()
    run(tmp_path, strategy, UPDATES)
    assert len(strategy.heard) == 5 + 3
    assert strategy.heard == expected(UPDATES)


@pytest.mark.parametrize("rows", [1, 8192])
@pytest.mark.parametrize("mode", ["ahead", "lockstep"])
def test_the_mode_and_the_window_change_nothing(tmp_path, mode, rows):
    plain, other = Watch(), Watch()
    whole = run(tmp_path, plain, UPDATES)
    assert len(whole.fills) > 3
    assert run(tmp_path, other, UPDATES, rows, mode=mode).trace_digest == whole.trace_digest
    assert other.heard == plain.heard


def test_what_is_received_later_changes_no_call_before_it(tmp_path):
    plain, other = Watch(), Watch()
    run(tmp_path, plain, UPDATES)
    later = {
        name: [c if c.received <= 14 else c._replace(quantity=9.0) for c in rows]
        for name, rows in UPDATES.items()
    }
    run(tmp_path, other, later)
    assert [h for h in plain.heard if h[0] <= 14] == [h for h in other.heard if h[0] <= 14]
    assert plain.heard != other.heard


def test_a_decision_tells_the_depth_record_that_woke_it(tmp_path):
    result = run(tmp_path, Watch(), UPDATES, lineage=True)
    assert "on_book" in str(result.lineage.to_dicts())


def test_who_does_not_override_it_reads_the_same_book_and_is_not_called(tmp_path):
    strategy = Looks()
    run(tmp_path, strategy, {ALPHA: UPDATES[ALPHA]})
    # at one instant a quote comes before depth
    assert strategy.times(ALPHA) == [quote.happened for quote in QUOTES]
    assert strategy.details(ALPHA) == [0, 2, 2, 2, 1, 1, 1, 1, 1]


def test_without_depth_it_is_refused_unless_the_strategy_can_do_without(tmp_path):
    class Patient(Watch):
        optional_callbacks = ("on_book",)

    with pytest.raises(
        ScenarioError, match=r"`Watch.on_book` needs depth of SIM.ALPHA.*`on_quote`"
    ):
        play(tmp_path, Watch(), [Quote(0)])
    strategy = Patient()
    play(tmp_path, strategy, [Quote(0)])
    assert strategy.heard == []
