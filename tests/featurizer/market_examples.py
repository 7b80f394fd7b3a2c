"""Instruments and tables that the tests of the market side share."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurizer.market import DEPTH, Instrument

ALPHA = Instrument(
    id="SIM.ALPHA",
    tick_size="0.01",
    lot_size="0.001",
    contract="linear",
    base="ALPHA",
    quote="USD",
    fees={"maker": "0", "taker": "0.0005"},
)
NOON = 1_723_118_400_000_000_000
SECOND = 1_000_000_000


def stamps(event: Any, lateness: Any = 0, sequence: Any = None) -> dict[str, np.ndarray]:
    """Return the stamps of rows; sequence counts from 0 unless given."""
    event = np.asarray(event, np.int64)
    sequence = np.arange(len(event)) if sequence is None else np.asarray(sequence, np.int64)
    return {"event_time": event, "receipt_time": event + lateness, "sequence": sequence}


def quotes(event: Any, lateness: Any = 0, sequence: Any = None, **columns: Any) -> dict[str, Any]:
    """Return valid quotes, each bid distinct, with some columns replaced."""
    rows = len(event)
    bid = 10_000 + np.arange(rows) % 500
    table = stamps(event, lateness, sequence) | {
        "bid_price": bid / 100,
        "bid_quantity": (1 + np.arange(rows) % 7) / 1000,
        "ask_price": (bid + 1) / 100,
        "ask_quantity": np.full(rows, 2.0),
    }
    return table | columns


def trades(event: Any, lateness: Any = 0, sequence: Any = None, **columns: Any) -> dict[str, Any]:
    """Return valid trades, with some columns replaced."""
    rows = len(event)
    table = stamps(event, lateness, sequence) | {
        "price": (10_000 + np.arange(rows) % 500) / 100,
        "quantity": np.full(rows, 0.5),
        "aggressor": np.where(np.arange(rows) % 2, 1, -1),
    }
    return table | columns


def depth(event: Any, lateness: Any = 0, sequence: Any = None, **columns: Any) -> dict[str, Any]:
    """Return valid depth updates of one level each, with some columns replaced."""
    rows = len(event)
    table = stamps(event, lateness, sequence) | {
        "side": np.ones(rows, np.int64),
        "price": np.full(rows, 100.0),
        "quantity": np.zeros(rows),
        "is_snapshot": np.zeros(rows, np.int64),
    }
    return {name: table[name] for name in DEPTH.all_columns} | columns


def bars(event: Any, lateness: Any = 0, **columns: Any) -> dict[str, Any]:
    """Return valid one-minute bars, with some columns replaced."""
    rows = len(event)
    table = stamps(event, lateness) | {
        "open_time": np.asarray(event, np.int64) - 60 * SECOND,
        "open": np.full(rows, 100.0),
        "high": np.full(rows, 101.0),
        "low": np.full(rows, 99.0),
        "close": np.full(rows, 100.5),
        "volume": np.full(rows, 0.0),
    }
    return table | columns
