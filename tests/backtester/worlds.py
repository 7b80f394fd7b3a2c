"""Small hand-made markets, and a run of a strategy on one of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backtester.result import RunResult
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from clock.units import format_instant, parse_instant
from featurizer.catalog import Catalog
from featurizer.market import Instrument, Kind

MS = 1_000_000
START = parse_instant("2024-01-02T00:00:00Z")
ALPHA, BETA = "SIM.ALPHA", "SIM.BETA"
MIDS = {
    "sampling": {"input": "quotes"},
    "feature_configs": [
        {"feature_definition": "price.MidPrice", "name": "mid"},
        {"feature_definition": "book.Imbalance", "name": "imbalance"},
    ],
}
ON_FEATURE = {"model_uri": "models:/m/1", "polling": "on_feature"}

_folders = itertools.count()


def at(ms: float) -> int:
    """Return the instant some milliseconds after the start."""
    return START + round(ms * MS)


def since(instant: int) -> float:
    """Return an instant as milliseconds after the start."""
    return (instant - START) / MS


def instrument(name: str = ALPHA, contract: str = "linear", **terms: Any) -> Instrument:
    """Return an instrument with a tick of 0.5, a lot of 0.1 and a taker fee of a thousandth."""
    content = {
        "id": name,
        "contract": contract,
        "tick_size": "0.5",
        "lot_size": "0.1",
        "base": name.split(".")[-1],
        "quote": "USD",
        "fees": {"maker": "0", "taker": "0.001"},
    }
    return Instrument.model_validate(content | terms)


@dataclass(frozen=True)
class Quote:
    """A quote in milliseconds after the start; received at once unless said otherwise."""

    happened: float
    bid: float = 99.0
    ask: float = 101.0
    bid_quantity: float = 10.0
    ask_quantity: float = 10.0
    received: float | None = None
    sequence: int | None = None


@dataclass(frozen=True)
class Trade:
    """A trade, likewise."""

    happened: float
    price: float = 100.0
    quantity: float = 1.0
    aggressor: int = 1
    received: float | None = None
    sequence: int | None = None


@dataclass(frozen=True)
class Funding:
    """A record of funding, likewise; by default due when it happens."""

    happened: float
    rate: float = 0.001
    due: float | None = None
    mark: float = 100.0
    received: float | None = None


FUNDING = Kind("funding", 100, {"rate": "float64", "due_time": "instant", "mark_price": "float64"})


def funding_columns(rows: Sequence[Funding]) -> dict[str, np.ndarray]:
    """Return records of funding as the columns of a catalog."""
    received = [row.happened if row.received is None else row.received for row in rows]
    return {
        "event_time": np.array([at(row.happened) for row in rows]),
        "receipt_time": np.array([at(ms) for ms in received]),
        "sequence": np.arange(len(rows)),
        "rate": np.array([row.rate for row in rows]),
        "due_time": np.array([at(row.happened if row.due is None else row.due) for row in rows]),
        "mark_price": np.array([row.mark for row in rows]),
    }


def columns(rows: Sequence[Quote] | Sequence[Trade]) -> dict[str, np.ndarray]:
    """Return rows as the columns of a catalog."""
    received = [row.happened if row.received is None else row.received for row in rows]
    sequences = [n if row.sequence is None else row.sequence for n, row in enumerate(rows)]
    names = (
        ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
        if isinstance(rows[0], Quote)
        else ("price", "quantity", "aggressor")
    )
    table = {
        "event_time": np.array([at(row.happened) for row in rows]),
        "receipt_time": np.array([at(ms) for ms in received]),
        "sequence": np.array(sequences),
    }
    for name in names:
        values = [getattr(row, name.removesuffix("_price")) if name.endswith("_price")
                  else getattr(row, name) for row in rows]  # fmt: skip
        table[name] = np.array(values, dtype=np.int64 if name == "aggressor" else np.float64)
    return table


def make_catalog(
    root: Path,
    quotes: Mapping[str, Sequence[Quote]],
    trades: Mapping[str, Sequence[Trade]] | None = None,
    instruments: Sequence[Instrument] | None = None,
    funding: Mapping[str, Sequence[Funding]] | None = None,
) -> Catalog:
    """Write a catalog of quotes, trades and funding by instrument."""
    kinds = [FUNDING] if funding else []
    catalog = Catalog.create(root, instruments or [instrument(name) for name in quotes], kinds)
    for name, payments in (funding or {}).items():
        catalog.write(name, FUNDING.name, funding_columns(payments))
    for kind, streams in (("quotes", quotes), ("trades", trades or {})):
        for name, rows in streams.items():
            catalog.write(name, kind, columns(rows))
    return catalog


def content(
    catalog: Path | str,
    names: Sequence[str],
    *,
    until: float = 1000,
    start: float = 0,
    entry: Any = 0,
    response: Any = 0,
    cash: Any = 100_000,
    leverage: Any = 1,
    featurizer: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Return what a scenario file would hold."""
    mapping: dict[str, Any] = {
        "name": "small",
        "data": {
            "catalog": str(catalog),
            "instruments": list(names),
            "start": format_instant(at(start)),
            "until": format_instant(at(until)),
        },
        "strategy": {"class": "backtester.strategies.BuyAndHold", "params": {"quantity": 1}},
        "execution": {"entry_latency": entry, "response_latency": response},
        "portfolio": {"quote": "USD", "balances": {"USD": cash}, "leverage": leverage},
    }
    if featurizer is not None:
        mapping["featurizer"] = featurizer
    if inference is not None:
        mapping["inference_config"] = inference
    return mapping | others


class Constant:
    """A model that reads `columns` and answers with the first of them."""

    batch_invariant = True
    accepts_nan = False
    digest = "0" * 64
    version = "1"
    training = None

    def __init__(self, *names: str) -> None:
        self.feature_names = names or ("mid", "imbalance")

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return the first column."""
        return values[:, 0].copy()


def play(
    root: Path,
    strategy: Strategy,
    quotes: Mapping[str, Sequence[Quote]] | Sequence[Quote],
    *,
    trades: Mapping[str, Sequence[Trade]] | None = None,
    instruments: Sequence[Instrument] | None = None,
    funding: Mapping[str, Sequence[Funding]] | None = None,
    mode: Any = None,
    window_rows: int = 8192,
    **settings: Any,
) -> RunResult:
    """Run a strategy on a hand-made market; quotes alone are those of ALPHA."""
    by_name = quotes if isinstance(quotes, Mapping) else {ALPHA: quotes}
    folder = root / f"catalog-{next(_folders)}"
    catalog = make_catalog(folder, by_name, trades, instruments, funding)
    scenario = Scenario.model_validate(content(folder, list(by_name), **settings))
    predictors: dict[str, Any] = {name: Constant() for name in scenario.inference_config}
    run = Run(scenario, strategy, catalog, predictors, mode=mode, keep_trace=True)
    return run.execute(window_rows)


class Recorder(Strategy):
    """Notes (ms after the start, callback, detail) of everything that it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, str, Any]] = []

    def note(self, ctx: Any, callback: str, detail: Any = None) -> None:
        """Note that a callback was called."""
        self.heard.append((since(ctx.now), callback, detail))

    def times(self, callback: str) -> list[float]:
        """Return when a callback was called."""
        return [ms for ms, name, _ in self.heard if name == callback]

    def details(self, callback: str) -> list[Any]:
        """Return what a callback was given."""
        return [detail for _, name, detail in self.heard if name == callback]
