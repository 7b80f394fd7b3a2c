"""Plays a generated order flow in the real engine, and tells what its venue reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from backtester.orders import OrderRequest, Report, Side, TimeInForce
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from clock.units import format_instant
from featurizer.catalog import Catalog
from featurizer.market import Instrument
from tests.laws.flows import Flow
from tests.laws.harness import IN_MEMORY
from tests.laws.markets import START, STEP
from tests.laws.player import LOT, TICK
from tests.reference.exchange_orders import NEVER, Ask, Bracket, Event, Message, Modify
from tests.reference.exchange_run import Depth, Pair, Quote, Row, Sent, Trade

END = START + 600 * STEP
"""Of the run. Reports take a second: when the last message leaves none is known, at the end all."""

FORCES = {
    "gtc": TimeInForce.GTC,
    "gtd": TimeInForce.GTD,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
}


def request(ask: Ask) -> OrderRequest:
    """Return an order as a strategy asks for it."""
    return OrderRequest(
        instrument=ask.instrument,
        side=Side(ask.side),
        quantity=ask.lots * LOT,
        limit_price=None if ask.limit is None else ask.limit * TICK,
        time_in_force=FORCES[ask.force],
        stop_price=None if ask.stop is None else ask.stop * TICK,
        post_only=ask.post_only,
        reduce_only=ask.reduce_only,
        expires_at=None if ask.expires_at == NEVER else ask.expires_at,
    )


class FlowPlayer(Strategy):
    """Sends a script, each message at its instant, and keeps the reports."""

    def __init__(self, script: Sequence[Sent]) -> None:
        self.script = list(script)
        self.reports: list[Report] = []

    def on_start(self, ctx: Any) -> None:
        for place, sent in enumerate(self.script):
            ctx.call_at(sent.at, str(place))

    def on_timer(self, ctx: Any, name: str) -> None:
        self.send(ctx, self.script[int(name)].message)

    def send(self, ctx: Any, message: Message) -> None:
        if isinstance(message, Ask):
            assert ctx.submit(request(message)) == message.number
        elif isinstance(message, Pair):
            ctx.oco(request(message.first), request(message.second))
        elif isinstance(message, Bracket):
            profit, loss = message.take_profit.limit, message.stop_loss.stop
            assert profit is not None
            assert loss is not None
            ctx.bracket(request(message.entry), take_profit=profit * TICK, stop_loss=loss * TICK)
        elif isinstance(message, Modify):
            quantity = message.lots * LOT if message.lots else None
            limit = message.limit * TICK if message.limit else None
            ctx.modify(message.number, quantity, limit)
        elif message.number:
            ctx.cancel(message.number)
        else:
            ctx.cancel_all(message.instrument or None)

    def on_order(self, ctx: Any, report: Report) -> None:
        self.reports.append(report)


def event_of(report: Report) -> Event:
    """Return a report as the naive venue writes it."""
    fill = report.fill
    return Event(
        instant=report.venue_time,
        order=report.order,
        kind=report.kind.name.lower(),
        reason=report.reason.name.lower() if report.reason else "",
        lots=round(report.quantity / LOT),
        ticks=fill.ticks if fill else 0,
        maker=bool(fill and fill.is_maker),
    )


# -- the run ---------------------------------------------------------------------------------------


def columns(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Return rows of one kind as the columns of a catalog; each is received when it happens."""
    stamps = np.array([row.instant for row in rows])
    table = {
        "event_time": stamps,
        "receipt_time": stamps,
        "sequence": np.array([row.sequence for row in rows]),
    }
    first = rows[0]
    names: dict[str, tuple[str, float]] = {"price": ("ticks", TICK), "quantity": ("lots", LOT)}
    if isinstance(first, Quote):
        names = {
            f"{side}_{name}": (column, step)
            for side in ("bid", "ask")
            for name, column, step in (("price", side, TICK), ("quantity", f"{side}_lots", LOT))
        }
    for name, (attribute, step) in names.items():
        table[name] = np.array([getattr(row, attribute) * step for row in rows])
    if isinstance(first, Trade):
        table["aggressor"] = np.array([row.aggressor for row in rows])
    if isinstance(first, Depth):
        table["side"] = np.array([row.side for row in rows])
        table["is_snapshot"] = np.array([int(row.is_snapshot) for row in rows])
    return table


def instrument(name: str) -> Instrument:
    """Return the instrument of a flow: plain, and free."""
    terms = {
        "id": name, "contract": "linear", "tick_size": str(TICK), "lot_size": str(LOT),
        "base": name.split(".")[-1], "quote": "USD", "fees": {"maker": "0", "taker": "0"},
    }  # fmt: skip
    return Instrument.model_validate(terms)


@contextmanager
def catalog_of(flow: Flow) -> Iterator[Catalog]:
    """Return the catalog of a flow for as long as it is needed."""
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        catalog = Catalog.create(Path(folder), [instrument(name) for name in flow.names])
        with catalog.transaction() as change:
            for name, rows in flow.records.items():
                for kind, made in (("quotes", Quote), ("trades", Trade), ("depth", Depth)):
                    found = [row for row in rows if isinstance(row, made)]
                    if found:
                        change.write(name, kind, columns(found))
        yield catalog


def scenario_of(flow: Flow, catalog: Catalog) -> Scenario:
    """Return the scenario of a flow; its strategy is given to the run as an object."""
    wait = flow.latencies
    return Scenario.model_validate(
        {
            "name": "flow",
            "data": {
                "catalog": str(catalog.root),
                "instruments": flow.names,
                "start": format_instant(START),
                "until": format_instant(END),
            },
            "strategy": {"class": "backtester.strategies.BuyAndHold", "params": {"quantity": 1}},
            "execution": {
                "latency": {
                    name: f"{getattr(wait, name)}ns" for name in ("new", "cancel", "modify")
                },
                "response_latency": "1s",
                "queue_model": flow.queue,
                "self_trade": flow.self_trade,
                "book": flow.book,
            },
            "portfolio": {"quote": "USD", "balances": {"USD": 10**9}, "leverage": 1},
        }
    )


def play(flow: Flow, catalog: Catalog, window_rows: int = 8192) -> list[Event]:
    """Run a flow and return what the venue reported, in the order of its reports."""
    player = FlowPlayer(flow.script)
    Run(scenario_of(flow, catalog), player, catalog, {}).complete(window_rows)
    assert player.reports == sorted(player.reports, key=lambda report: report.number)
    return [event_of(report) for report in player.reports]
