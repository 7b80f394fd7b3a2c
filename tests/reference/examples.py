"""Builders for the hand-computed examples: instants in ms, prices in whole ticks of 1."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.reference.scenario import Feature, Features, Instrument, Loop, Row, Scenario

MS = 1_000_000
COIN = "SIM.COIN"


def instrument(contract: str = "linear", **terms: Any) -> Instrument:
    """Return an instrument with ticks and lots of 1 and a taker fee of one in a thousand."""
    terms = {"tick_size": Fraction(1), "lot_size": Fraction(1), "taker": Fraction(1, 1000)} | terms
    return Instrument(COIN, contract=contract, **terms)


def quote(at: int, bid: int, ask: int, *, seen: int | None = None, shown: int = 10) -> Row:
    """Return a quote that happens at *at* ms and reaches us at *seen* ms (else at once)."""
    return {
        "event_time": at * MS,
        "receipt_time": (at if seen is None else seen) * MS,
        "sequence": at * 10 + bid % 10,
        "bid_price": float(bid),
        "bid_quantity": float(shown),
        "ask_price": float(ask),
        "ask_quantity": float(shown),
    }


def trade(at: int, quantity: float, aggressor: int, *, seen: int | None = None) -> Row:
    """Return a trade at a price of 100."""
    return {
        "event_time": at * MS,
        "receipt_time": (at if seen is None else seen) * MS,
        "sequence": at,
        "price": 100.0,
        "quantity": quantity,
        "aggressor": aggressor,
    }


def scenario(loop: Loop | None = None, **settings: Any) -> Scenario:
    """Return a run over the first second on one instrument, with a row for each record."""
    features = Features(columns=(Feature("MidPrice", "mid"),))
    defaults: dict[str, Any] = {
        "start": 0,
        "until": 1000 * MS,
        "instruments": (instrument(),),
        "features": features,
        "loops": () if loop is None else (loop,),
        "balance": Fraction(1_000_000),
    }
    return Scenario(**(defaults | settings))


def first_value(values: list[float]) -> float:
    """Answer with the first feature."""
    return values[0]
