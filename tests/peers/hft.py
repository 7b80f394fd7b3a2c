"""hftbacktest, told what our venue is told: the same market, the same orders, the same latencies.

Nothing of the project is used here but plain columns: what comes back are fills as
`(order, instant at the venue, ticks, lots)`, to be held against ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

hft = pytest.importorskip(
    "hftbacktest", reason="hftbacktest is not installed: pip install hftbacktest==2.4.4"
)

from hftbacktest.binding import event_dtype  # noqa: E402 - only where it is installed
from hftbacktest.order import CANCELED, EXPIRED, FILLED, PARTIALLY_FILLED, REJECTED  # noqa: E402

from tests.peers.wishes import PeerFill, Terms, Wish  # noqa: E402

Columns = Mapping[str, np.ndarray]

TIMEOUT, END, FEED, ANSWER = SAID = (0, 1, 2, 3)  # what `wait_next_feed` returns; else an error

latency_dtype = np.dtype([("req", "i8"), ("exch", "i8"), ("resp", "i8"), ("_padding", "i8")])


class PeerError(Exception):
    """The peer returned an error: its documentation does not say which."""


# -- the market ------------------------------------------------------------------------------------


def quote_rows(quotes: Columns, sides: Sequence[int] = (1, -1)) -> list[tuple[Any, ...]]:
    """Return quotes as changes of levels: (instant, kind, sequence, place, flag, price, quantity).

    A best price that gets worse empties the levels above it; one that gets better leaves the old
    one standing as it was last seen, since a quote says nothing about it.
    """
    rows: list[tuple[Any, ...]] = []
    levels: dict[int, dict[float, float]] = {side: {} for side in sides}
    names = {1: ("bid_price", "bid_quantity"), -1: ("ask_price", "ask_quantity")}
    flags = {1: hft.BUY_EVENT, -1: hft.SELL_EVENT}
    stamps = zip(quotes["event_time"].tolist(), quotes["sequence"].tolist(), strict=True)
    columns = {side: [quotes[name].tolist() for name in names[side]] for side in sides}
    for row, (instant, sequence) in enumerate(stamps):
        changes: list[tuple[int, float, float]] = []
        for side in sides:
            price, quantity = (column[row] for column in columns[side])
            known = levels[side]
            for other in [p for p in known if (p - price) * side > 0]:
                del known[other]
                changes.append((flags[side], other, 0.0))
        for side in sides:
            price, quantity = (column[row] for column in columns[side])
            if levels[side].get(price) != quantity:
                levels[side][price] = quantity
                changes.append((flags[side], price, quantity))
        rows += [
            (instant, 1, sequence, place, hft.DEPTH_EVENT | flag, price, quantity)
            for place, (flag, price, quantity) in enumerate(changes)
        ]
    return rows


def trade_rows(trades: Columns) -> list[tuple[Any, ...]]:
    """Return trades likewise; of one instant they come before the book."""
    flags = np.where(trades["aggressor"] > 0, hft.BUY_EVENT, hft.SELL_EVENT) | hft.TRADE_EVENT
    names = ("event_time", "sequence", "price", "quantity")
    columns = [trades[name].tolist() for name in names]
    return [
        (instant, 0, sequence, 0, flag, price, quantity)
        for instant, sequence, price, quantity, flag in zip(*columns, flags.tolist(), strict=True)
    ]


def depth_rows(depth: Columns) -> list[tuple[Any, ...]]:
    """Return changes of depth likewise, in the order of the catalog."""
    flags = np.where(depth["side"] > 0, hft.BUY_EVENT, hft.SELL_EVENT) | hft.DEPTH_EVENT
    names = ("event_time", "sequence", "price", "quantity")
    columns = [depth[name].tolist() for name in names]
    return [
        (instant, 1, sequence, place, flag, price, quantity)
        for place, (instant, sequence, price, quantity, flag) in enumerate(
            zip(*columns, flags.tolist(), strict=True)
        )
    ]


def events(*parts: Sequence[tuple[Any, ...]]) -> np.ndarray:
    """Return rows of several kinds as the peer's events, in the venue's order.

    They happen at the venue only: what the peer's strategy would see is of no use to a script, and
    a feed of its own would hide answers behind market data.
    """
    rows = sorted(row for part in parts for row in part)
    table = np.zeros(len(rows) + 1, dtype=event_dtype)
    for place, (instant, _kind, _sequence, _place, flag, price, quantity) in enumerate(rows):
        table[place] = (flag | hft.EXCH_EVENT, instant, instant, price, quantity, 0, 0, 0)
    # the peer stops before the last event: give it one that says nothing, a minute later
    table[-1] = table[-2]
    table[-1]["exch_ts"] = table[-1]["local_ts"] = table[-2]["exch_ts"] + 60_000_000_000
    return table


def in_units(market: np.ndarray, terms: Terms) -> np.ndarray:
    """Return events with prices in ticks and quantities in lots."""
    table = market.copy()
    table["px"] = np.round(market["px"] / terms.tick)
    table["qty"] = np.round(market["qty"] / terms.lot)
    return table


# -- the run ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Models:
    """What the peer is built with.

    Attributes:
        entry: Constant latency of orders, ns; unused with *recorded*.
        response: Constant latency of answers, ns; likewise.
        recorded: Rows of (request, at the venue, answered), interpolated in between.
        queue: Name of the queue model, as the peer's builder has it.
        queue_args: Its arguments.
        partial: Whether orders may fill in parts.
    """

    entry: int = 0
    response: int = 0
    recorded: np.ndarray | None = None
    queue: str = "risk_adverse_queue_model"
    queue_args: tuple[float, ...] = ()
    partial: bool = True

    def asset(self, market: np.ndarray, terms: Terms) -> Any:
        """Return the peer's asset."""
        asset = hft.BacktestAsset().data(market).linear_asset(1.0)
        if self.recorded is None:
            asset = asset.constant_order_latency(self.entry, self.response)
        else:
            asset = asset.intp_order_latency(self.recorded)
        asset = getattr(asset, self.queue)(*self.queue_args)
        asset = asset.partial_fill_exchange() if self.partial else asset.no_partial_fill_exchange()
        asset = asset.trading_value_fee_model(0.0, 0.0)
        return asset.tick_size(terms.tick).lot_size(terms.lot).last_trades_capacity(0)


class _Watch:
    """Turns what the peer says of an order into fills."""

    def __init__(self, backtest: Any, terms: Terms) -> None:
        self.backtest, self.terms = backtest, terms
        self.open: dict[int, float] = {}
        self.fills: list[PeerFill] = []

    def wait(self, most: int) -> bool:
        """Let time pass until an answer comes; return False where the data end."""
        said = self.backtest.wait_next_feed(True, most)
        if said not in SAID:
            raise PeerError(f"hftbacktest stopped with its error {said}")
        self.look()
        return bool(said != END)

    def look(self) -> None:
        """Note what filled since the last look, and forget what is over."""
        orders = self.backtest.orders(0)
        for number, left in list(self.open.items()):
            order = orders.get(number)
            if order.leaves_qty < left - 1e-9 and order.status in (FILLED, PARTIALLY_FILLED):
                lots = round((left - order.leaves_qty) / self.terms.lot)
                fill = PeerFill(number, order.exch_timestamp, order.exec_price_tick, lots)
                self.fills.append(fill)
                self.open[number] = order.leaves_qty
            if order.status in (EXPIRED, FILLED, CANCELED, REJECTED):
                del self.open[number]


def play(
    market: np.ndarray, script: Sequence[Wish], terms: Terms, models: Models
) -> list[PeerFill]:
    """Run a script in the peer and return its fills, by instant and order number.

    Args:
        market: From `events`.
        script: Orders, by instant of leaving.
        terms: Tick and lot.
        models: Latencies and queue.
    """
    watch = _run(market, script, terms, models)
    watch.backtest.close()
    return sorted(watch.fills, key=lambda fill: (fill.instant, fill.order))


class Walk(NamedTuple):
    """What the peer tells of an order that took several levels: the last one."""

    order: int
    ticks: int
    lots: int


def walks(market: np.ndarray, script: Sequence[Wish], terms: Terms, models: Models) -> list[Walk]:
    """Run a script of market orders; return the last level that each took, if it filled whole."""
    watch = _run(market, script, terms, models)
    orders = watch.backtest.orders(0)
    found = []
    for number in range(1, len(script) + 1):
        order = orders.get(number)
        if order.status == FILLED:
            lots = round(order.exec_qty / terms.lot)
            found.append(Walk(number, order.exec_price_tick, lots))
    watch.backtest.close()
    return found


def _run(market: np.ndarray, script: Sequence[Wish], terms: Terms, models: Models) -> _Watch:
    backtest = hft.HashMapMarketDepthBacktest([models.asset(market, terms)])
    watch = _Watch(backtest, terms)
    agenda = [(wish.at, number, "new", wish) for number, wish in enumerate(script, 1)]
    agenda += [
        (wish.cancel_at, number, "cancel", wish)
        for number, wish in enumerate(script, 1)
        if wish.cancel_at is not None
    ]
    backtest.elapse(0)
    for instant, number, what, wish in sorted(agenda, key=lambda entry: entry[:2]):
        while (now := backtest.current_timestamp) < instant and watch.wait(instant - now):
            pass
        assert backtest.current_timestamp == instant, "the data ended before the script"
        if what == "new":
            _send(backtest, number, wish, terms)
            watch.open[number] = wish.lots * terms.lot
        elif number in watch.open:
            backtest.cancel(0, number, False)
    while watch.wait(10**15):
        pass
    return watch


def _send(backtest: Any, number: int, wish: Wish, terms: Terms) -> None:
    send = backtest.submit_buy_order if wish.side > 0 else backtest.submit_sell_order
    kind = hft.MARKET if wish.ticks is None else hft.LIMIT
    price = (wish.ticks or 1) * terms.tick
    done = send(0, number, price, wish.lots * terms.lot, hft.GTC, kind, False)
    assert done == 0, f"the peer refused order {number}: {done}"
