"""The usual detector, as a reference: cut the data off and see whether signals change.

After freqtrade's `lookahead-analysis`: the data end one record after a decision, the run is made
again, and the decisions are compared. What is needed to decide has then been seen already, so a
look one record ahead passes; and so does whatever is not recomputed from the data.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from backtester.causality.probe import Subject, in_another_folder, trace_of
from backtester.trace import EntryKind, TraceEntry
from clock.errors import SimulationError
from featurizer.catalog import Catalog

__all__ = ["finds_a_leak"]

DECISIONS = 8
ORDER = int(EntryKind.ORDER).to_bytes(8, "little")


def finds_a_leak(subject: Subject) -> bool:
    """Whether any of some decisions changes when the data end one record after it."""
    real = Catalog(subject.folder / subject.scenario.data.catalog)
    orders = _orders(trace_of(subject, real, 32_768))
    instants = sorted({instant for instant, _ in orders})
    chosen = instants[:: max(1, len(instants) // DECISIONS)][:DECISIONS]
    return any(_differs(subject, real, orders, cut) for cut in chosen)


def _differs(subject: Subject, real: Catalog, orders: Sequence[TraceEntry], cut: int) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "catalog"
        with in_another_folder(subject, Path(scratch)) as moved:
            try:
                entries = trace_of(moved, _cut_off(real, cut, root), 32_768, cut)
            except SimulationError:
                return False
    return [o for o in orders if o[0] <= cut] != [o for o in _orders(entries) if o[0] <= cut]


def _cut_off(real: Catalog, cut: int, root: Path) -> Catalog:
    kinds = list(real.user_kinds)
    made = Catalog.create(root, [e for d in real.definitions.values() for e in d], kinds)
    for key in real.streams():
        rows = pl.concat([pl.read_parquet(part.path) for part in real.held(*key)])
        receipt = rows["receipt_time"].to_physical().to_numpy()
        known = int((receipt <= cut).sum())
        last = np.sort(receipt)[min(known, len(receipt) - 1)]
        kept: Any = rows.filter(receipt <= last)
        if len(kept):
            made.write(*key, kept)
    return Catalog(root)


def _orders(entries: Sequence[TraceEntry]) -> list[TraceEntry]:
    return [entry for entry in entries if entry[1][16:24] == ORDER]
