"""Fills on the real BTC capture, beside hftbacktest's: the same, or different for a stated reason.

`docs/venue-peers.md` explains the differences and gives the numbers that are asserted here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurizer.catalog import Catalog
from featurizer.ingest.binance import ingest_binance_capture
from tests.peers.ours import columns_of, play, together
from tests.peers.scripts import SECOND, joined_in_front, limit_orders, market_orders
from tests.peers.wishes import Terms
from tests.real_data import capture_path

pytest.importorskip(
    "hftbacktest", reason="hftbacktest is not installed: pip install hftbacktest==2.4.4"
)

from tests.peers import hft

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

INSTRUMENT = "BINANCE.BTCUSDT-PERP"
REAL = Terms(0.1, 0.001)
WHOLE = Terms(1.0, 1.0)
"""The peer counts in ticks and lots: where a logarithm of a quantity is taken, units matter."""
MS = 1_000_000


@dataclass(frozen=True)
class Market:
    """The capture in our catalog, and as the peer's events."""

    catalog: Catalog
    columns: Mapping[str, Mapping[str, np.ndarray]]
    quotes: np.ndarray
    depth: np.ndarray

    def ours(self, script: Sequence[Any], **execution: Any) -> list[Any]:
        """Return the package's fills."""
        return play(self.catalog, INSTRUMENT, script, REAL, **execution)

    def peers(self, book: str, script: Sequence[Any], **models: Any) -> list[Any]:
        """Return the peer's fills; one-lot orders fill whole or not at all."""
        events = getattr(self, book)
        models.setdefault("partial", any(wish.lots > 1 for wish in script))
        return hft.play(events, script, WHOLE, hft.Models(**models))


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """The capture, read once."""
    file = capture_path("binance-usdm-btcusdt-20240808.gz")
    root = Path(tmp_path_factory.mktemp("peer")) / "btc"
    ingest_binance_capture(file, INSTRUMENT, root, clock_offset="auto")
    columns = {kind: columns_of(root, kind) for kind in ("quotes", "trades", "depth")}
    trades = hft.trade_rows(columns["trades"])
    return Market(
        Catalog(root),
        columns,
        hft.in_units(hft.events(hft.quote_rows(columns["quotes"]), trades), REAL),
        hft.in_units(hft.events(hft.depth_rows(columns["depth"]), trades), REAL),
    )


def constant(entry: int, response: int = 3 * MS) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return constant latencies as the package and as the peer take them."""
    ours = {"entry_latency": f"{entry}ns", "response_latency": f"{response}ns"}
    return ours, {"entry": entry, "response": response}


def differing(ours: Sequence[Any], peers: Sequence[Any]) -> list[int]:
    """Return the numbers of the orders whose fills differ."""
    by_order: list[dict[int, list[Any]]] = [{}, {}]
    for found, fills in zip(by_order, (ours, peers), strict=True):
        for fill in fills:
            found.setdefault(fill.order, []).append(fill)
    orders = sorted(by_order[0].keys() | by_order[1].keys())
    return [n for n in orders if by_order[0].get(n) != by_order[1].get(n)]


def was_shared(script: Sequence[Any], theirs: Sequence[Any], order: int) -> bool:
    """Say whether the peer filled several own orders of one side with one instant's trades.

    To it each own order is alone; ours take what they fill off the trade for those behind them.
    """
    instant = next(fill.instant for fill in theirs if fill.order == order)
    side = script[order - 1].side
    return any(
        fill.instant == instant and fill.order != order and script[fill.order - 1].side == side
        for fill in theirs
    )


# -- market orders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("book", ["quotes", "depth"])
@pytest.mark.parametrize("entry", [0, 10 * MS])
def test_market_orders_fill_the_same(market: Market, book: str, entry: int) -> None:
    script = market_orders(market.columns["quotes"], seed=1, count=1500)
    ours, peers = constant(entry)
    fills = market.ours(script, book=book, **ours)
    assert len(fills) == 1500
    assert fills == market.peers(book, script, **peers)


def test_market_orders_walk_the_same_levels(market: Market) -> None:
    # a tenth of a bitcoin each, a second apart: the levels have changed when the next one comes
    script = market_orders(market.columns["quotes"], seed=2, count=300, lots=100)
    ours, peers = constant(10 * MS)
    fills = market.ours(script, book="depth", **ours)
    assert sum(fill.lots for fill in fills) == 300 * 100
    assert len(fills) > 330, "hardly any order walked"
    last = {fill.order: (fill.order, fill.ticks, fill.lots) for fill in fills}
    walks = hft.walks(market.depth, script, WHOLE, hft.Models(**peers))
    assert list(last.values()) == [tuple(walk) for walk in walks]


# -- limit orders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "entry"), [(3, 10 * MS), (4, 0), (5, 2 * MS)])
def test_limit_orders_in_a_deep_book_fill_the_same(market: Market, seed: int, entry: int) -> None:
    script = limit_orders(market.columns["quotes"], seed, 3000)
    ours, peers = constant(entry)
    mine = market.ours(script, book="depth", queue_model="back", **ours)
    theirs = market.peers("depth", script, **peers)
    assert len(mine) > 800
    different = differing(mine, theirs)
    assert len(different) <= 1
    assert all(was_shared(script, theirs, number) for number in different)


@pytest.mark.parametrize(("seed", "entry"), [(3, 10 * MS), (4, 0), (5, 2 * MS)])
def test_limit_orders_on_quotes_differ_only_where_they_join_behind_the_best(
    market: Market, seed: int, entry: int
) -> None:
    quotes = market.columns["quotes"]
    script = limit_orders(quotes, seed, 3000)
    ours, peers = constant(entry)
    mine = market.ours(script, book="quotes", **ours)
    theirs = market.peers("quotes", script, **peers)
    different = differing(mine, theirs)
    front = [n for n, wish in enumerate(script, 1) if joined_in_front(quotes, wish, entry)]
    assert len(front) > 600
    assert not set(different) & set(front)
    # behind the best a quote shows no queue: the peer takes none, we wait until it is shown
    assert 0 < len(different) < 0.02 * len(theirs)
    late = {fill.order: fill.instant for fill in mine}
    early = {fill.order: fill.instant for fill in theirs}
    assert all(late.get(n, 2**63) > early[n] for n in different)


def test_parts_of_large_orders_fill_the_same(market: Market) -> None:
    script = limit_orders(market.columns["quotes"], 7, 1500, lots=200)
    ours, peers = constant(10 * MS)
    mine = together(market.ours(script, book="depth", **ours))
    theirs = together(market.peers("depth", script, **peers))
    # what takes on arrival is another matter: the peer fills the rest of it at its limit, at once
    arrived = {(number, wish.at + 10 * MS) for number, wish in enumerate(script, 1)}
    took = {order for fills in (mine, theirs) for order, at, _ in fills if (order, at) in arrived}
    mine, theirs = (
        {key: lots for key, lots in fills.items() if key[0] not in took} for fills in (mine, theirs)
    )
    assert len(mine) > 300
    assert len({order for order, _, _ in mine}) < len(mine), "no order filled in parts"
    assert mine == theirs


@pytest.mark.parametrize(
    ("model", "name", "args", "most"),
    [
        ({"kind": "power", "exponent": 2.0}, "power_prob_queue_model", (2.0,), 0),
        ({"kind": "power", "exponent": 3.0}, "power_prob_queue_model", (3.0,), 0),
        ({"kind": "power", "exponent": 0.5}, "power_prob_queue_model", (0.5,), 20),
        ("log", "log_prob_queue_model", (), 20),
    ],
)
def test_queue_models_by_probability_fill_the_same(
    market: Market, model: Any, name: str, args: tuple[float, ...], most: int
) -> None:
    script = limit_orders(market.columns["quotes"], 3, 3000)
    ours, peers = constant(10 * MS)
    mine = market.ours(script, book="depth", queue_model=model, **ours)
    theirs = market.peers("depth", script, queue=name, queue_args=args, **peers)
    assert len(mine) > 800
    # a root or logarithm of a place below zero is no number, and the peer's order goes to the end
    different = differing(mine, theirs)
    assert len(different) <= most
    late = {fill.order: fill.instant for fill in theirs}
    early = {fill.order: fill.instant for fill in mine}
    later = [n for n in different if late.get(n, 2**63) > early.get(n, 2**63)]
    assert len(later) >= 0.9 * len(different)


# -- interpolated latency --------------------------------------------------------------------------


def recording(market: Market, folder: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return one seeded recording of latencies, as the package and as the peer take it."""
    quotes = market.columns["quotes"]["event_time"]
    draws = np.random.default_rng(9)
    asked = np.arange(quotes[0] - SECOND, quotes[-1] + SECOND, 500 * MS)
    rows = np.zeros(len(asked), hft.latency_dtype)
    rows["req"] = asked
    rows["exch"] = asked + draws.integers(1 * MS, 40 * MS, len(asked))
    rows["resp"] = rows["exch"] + draws.integers(1 * MS, 20 * MS, len(asked))
    legs = {"entry": ("req", "exch"), "response": ("exch", "resp")}
    settings = {}
    for leg, (begin, end) in legs.items():
        path = folder / f"{leg}.parquet"
        frame = pl.DataFrame({"instant": rows[begin], "latency": rows[end] - rows[begin]})
        frame.write_parquet(path)
        settings[f"{leg}_latency"] = {"kind": "interpolated", "path": str(path)}
    return settings, rows


@pytest.mark.parametrize("kind", ["market", "limit"])
def test_with_interpolated_latencies_fills_are_the_same_to_the_nanosecond(
    market: Market, tmp_path: Path, kind: str
) -> None:
    make = market_orders if kind == "market" else limit_orders
    script = make(market.columns["quotes"], 3, 3000)
    settings, rows = recording(market, tmp_path)
    mine = market.ours(script, book="depth", **settings)
    theirs = market.peers("depth", script, recorded=rows)
    assert len(mine) > 800
    assert [fill[0:1] + fill[2:] for fill in mine] == [fill[0:1] + fill[2:] for fill in theirs]
    # the peer cuts fractions of a nanosecond off, we round
    apart = [a.instant - b.instant for a, b in zip(mine, theirs, strict=True)]
    assert set(apart) <= {-1, 0, 1}
