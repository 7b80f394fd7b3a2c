"""The same script in the package: orders and cancels at given instants, and the venue's fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from clock.units import format_instant
from featurizer.catalog import Catalog
from tests.peers.wishes import PeerFill, Terms, Wish


class Script(Strategy):
    """Sends wishes, and cancels them, each at its instant, from timers."""

    def __init__(self, script: Sequence[Wish], instrument: str, terms: Terms) -> None:
        self.script, self.instrument, self.terms = list(script), instrument, terms
        self.fills: list[PeerFill] = []

    def on_start(self, ctx: Any) -> None:
        for number, wish in enumerate(self.script, 1):
            ctx.call_at(wish.at, f"new {number}")
        for number, wish in enumerate(self.script, 1):
            if wish.cancel_at is not None:
                ctx.call_at(wish.cancel_at, f"cancel {number}")

    def on_timer(self, ctx: Any, name: str) -> None:
        what, number = name.split()
        if what == "cancel":
            ctx.cancel(int(number))
            return
        wish = self.script[int(number) - 1]
        send = ctx.buy if wish.side > 0 else ctx.sell
        limit = None if wish.ticks is None else wish.ticks * self.terms.tick
        assert send(self.instrument, wish.lots * self.terms.lot, limit) == int(number)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self.fills.append(PeerFill(fill.order, fill.venue_time, fill.ticks, fill.lots))


def play(
    catalog: Catalog, instrument: str, script: Sequence[Wish], terms: Terms, **execution: Any
) -> list[PeerFill]:
    """Run a script in the package and return its fills, by instant and order number.

    Args:
        catalog: Where the market is.
        instrument: What is traded.
        script: Orders, by instant of leaving.
        terms: Tick and lot.
        execution: The scenario's section of that name.
    """
    start, until = catalog.range([(instrument, kind) for kind in ("quotes", "trades")])
    scenario = Scenario.model_validate(
        {
            "name": "peer",
            "data": {
                "catalog": str(catalog.root),
                "instruments": [instrument],
                "start": format_instant(start),
                "until": format_instant(until + 10_000_000_000),
            },
            "strategy": {"class": "backtester.strategies.BuyAndHold", "params": {"quantity": 1}},
            "execution": execution,
            "portfolio": {"quote": "USDT", "balances": {"USDT": 10**9}},
        }
    )
    strategy = Script(script, instrument, terms)
    Run(scenario, strategy, catalog, {}).execute()
    return sorted(strategy.fills, key=lambda fill: (fill.instant, fill.order))


def columns_of(root: Path, kind: str) -> dict[str, np.ndarray]:
    """Return a kind of the only instrument of a catalog, in the catalog's order."""
    files = sorted((root / kind).glob("*/*/*.parquet"))
    table = pl.concat([pl.read_parquet(file) for file in files])
    return {
        name: column.to_physical().to_numpy() if column.dtype.is_temporal() else column.to_numpy()
        for name, column in table.to_dict(as_series=True).items()
    }


def together(fills: Sequence[PeerFill]) -> dict[tuple[int, int, int], int]:
    """Return lots by (order, instant, ticks): the peer tells fills of one instant as one."""
    found: dict[tuple[int, int, int], int] = {}
    for fill in fills:
        key = (fill.order, fill.instant, fill.ticks)
        found[key] = found.get(key, 0) + fill.lots
    return found


Columns = Mapping[str, np.ndarray]
