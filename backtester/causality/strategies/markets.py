"""Drawn markets: some instruments, and records of any kinds of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from backtester.causality.strategies import records as made
from backtester.causality.strategies.stamps import Row, record_seeds
from backtester.causality.strategies.venues import contracts
from featurizer.catalog import Catalog
from featurizer.catalog_kinds import UserKind
from featurizer.market import KINDS, Instrument, Kind

__all__ = ["INSTRUMENTS", "USER_KINDS", "Market", "markets", "quotes_and_trades"]

INSTRUMENTS = ("SIM.ALPHA", "SIM.BETA", "SIM.GAMMA")

USER_KINDS = (
    UserKind(Kind("signals", 0, {"key": "int64", "value": "float64"}), ("key",)),
    UserKind(Kind("funding", 0, {"rate": "float64"})),
)
"""Kinds that drawn markets declare: one with revisions, one that pays."""

Streams = dict[tuple[str, str], list[Row]]

_SETS = (
    ("quotes", "trades"),
    ("quotes", "trades"),
    ("quotes",),
    ("depth", "trades"),
    ("depth", "quotes", "trades"),
    ("bars",),
    ("bars", "quotes"),
)
"""What a venue tells of an instrument."""


@dataclass(frozen=True)
class Market:
    """Instruments and their records, as plain data.

    Attributes:
        terms: The instruments, as `instruments.yaml` has them, in the order of the scenario.
        streams: Records by instrument and kind, sorted by (`event_time`, `sequence`).
    """

    terms: tuple[dict[str, Any], ...]
    streams: Streams

    @property
    def names(self) -> list[str]:
        """Ids of the instruments."""
        return [one["id"] for one in self.terms]

    @property
    def kinds(self) -> dict[str, frozenset[str]]:
        """Kinds of records that each instrument has."""
        return {
            name: frozenset(kind for held, kind in self.streams if held == name)
            for name in self.names
        }

    def write(self, folder: Path) -> Catalog:
        """Write a catalog into a new folder."""
        instruments = [Instrument.model_validate(one) for one in self.terms]
        catalog = Catalog.create(folder, instruments, list(USER_KINDS))
        known = {**KINDS, **{one.kind.name: one.kind for one in USER_KINDS}}
        with catalog.transaction() as change:
            for (name, kind), rows in self.streams.items():
                change.write(name, kind, _columns(rows, known[kind]))
        return catalog


def _columns(rows: Sequence[Row], kind: Kind) -> dict[str, Any]:
    return {
        name: np.array([row[name] for row in rows], kind.dtype(name)) for name in kind.all_columns
    }


@st.composite
def quotes_and_trades(
    draw: st.DrawFn, instruments: Sequence[str], *, quotes: int = 30, trades: int = 15
) -> Streams:
    """Draw quotes and trades of some instruments; a few happen before the start.

    Args:
        draw: Hypothesis.
        instruments: Ids.
        quotes: Most quotes of each.
        trades: Most trades of each.
    """
    streams: Streams = {}
    for name in instruments:
        first = draw(st.integers(-3, 2))
        streams[name, "quotes"] = made.quotes(draw(record_seeds(10, quotes)), first)
        streams[name, "trades"] = made.trades(draw(record_seeds(4, trades)), first)
    return streams


@st.composite
def markets(draw: st.DrawFn, *, most_instruments: int = 3, steps: int = 100) -> Market:
    """Draw a market of any kinds of records, halted now and then.

    Args:
        draw: Hypothesis.
        most_instruments: Up to three.
        steps: Length of the run in steps of 5 ms; records may lie after it.
    """
    names = INSTRUMENTS[: draw(st.integers(1, most_instruments))]
    halt = draw(st.none() | st.none() | st.integers(5, max(6, steps // 2)))
    terms = tuple(draw(contracts(name)) for name in names)
    alike = draw(st.booleans())
    told = draw(st.sampled_from(_SETS))
    streams: Streams = {}
    for one in terms:
        kinds = told if alike else draw(st.sampled_from(_SETS))
        beside = draw(st.sampled_from([(), (), ("signals",)]))
        if one["contract"] != "spot":
            beside += draw(st.sampled_from([(), ("funding",)]))
        first = draw(st.integers(-3, 2))
        for kind in (*kinds, *beside):
            drawn = _rows_of(kind, first, halt, steps)
            streams[one["id"], kind] = draw(drawn)
    return Market(terms, streams)


def _rows_of(kind: str, first: int, halt: int | None, steps: int) -> st.SearchStrategy[list[Row]]:
    if kind == "quotes":
        return record_seeds(10, 40).map(lambda seeds: made.quotes(seeds, first, halt=halt))
    if kind == "trades":
        return record_seeds(4, 20).map(lambda seeds: made.trades(seeds, first, halt=halt))
    if kind == "depth":
        return made.depth(first, halt=halt)
    if kind == "bars":
        return made.bars(steps=steps, halt=halt)
    if kind == "signals":
        return made.signals(first, halt=halt)
    return made.fundings(first, halt=halt)
