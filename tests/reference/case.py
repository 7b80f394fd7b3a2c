"""One example of a law, as plain data: what the engine and the reference are both given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from tests.reference.scenario import Instrument, Row, Scenario, read_scenario
from tests.reference.strategies import Plan

Stream = tuple[str, str]
Records = dict[Stream, list[Row]]


@dataclass(frozen=True)
class Terms:
    """One instrument, as text that both sides read exactly."""

    id: str
    contract: str
    tick_size: str = "0.5"
    lot_size: str = "0.5"
    contract_size: str = "1"
    maker: str = "0.0002"
    taker: str = "0.0005"

    def mapping(self) -> dict[str, Any]:
        """Return the instrument as `instruments.yaml` has it."""
        return {
            "id": self.id,
            "contract": self.contract,
            "tick_size": self.tick_size,
            "lot_size": self.lot_size,
            "contract_size": self.contract_size,
            "base": self.id.split(".")[-1],
            "quote": "USD",
            "fees": {"maker": self.maker, "taker": self.taker},
            "valid_from": "2020-01-01T00:00:00Z",
        }

    def reference(self) -> Instrument:
        """Return the instrument as the reference has it."""
        numbers = (self.tick_size, self.lot_size, self.contract_size)
        tick, lot, size = (Fraction(text) for text in numbers)
        fees = Fraction(self.maker), Fraction(self.taker)
        return Instrument(self.id, tick, lot, size, self.contract, *fees)


@dataclass(frozen=True)
class Model:
    """A linear model, rounded so that the last bits of a feature rarely decide."""

    weights: tuple[float, ...]

    def __call__(self, values: Sequence[float]) -> float:
        """Return the prediction for the values of one row."""
        total = 0.0
        for weight, value in zip(self.weights, values, strict=True):
            total += weight * value
        return round(total, 6)


@dataclass(frozen=True)
class Case:
    """One example of a law.

    Attributes:
        terms: The instruments, in the scenario's order.
        records: Market records by stream, sorted by (event_time, sequence).
        mapping: The scenario file's mapping, without a strategy.
        model: What the loop asks.
        plan: What the strategy does.
    """

    terms: tuple[Terms, ...]
    records: Records
    mapping: Mapping[str, Any]
    model: Model
    plan: Plan

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario of the reference."""
        return read_scenario(self.mapping, {t.id: t.reference() for t in self.terms})

    @property
    def until(self) -> int:
        """The end of the run."""
        return self.scenario.until


def received(rows: Sequence[Row]) -> list[Row]:
    """Return records in the order in which they reach us."""
    return sorted(rows, key=lambda row: (row["receipt_time"], row["sequence"]))
