"""Lineage: what was behind each order, and law 1 asserted at every read and delivery.

`lightcone run --lineage` builds a run with the watching kind of engine, trader and feature graph
that live here; without it none of this is imported, and nothing asks whether it is on.
"""

from __future__ import annotations

from backtester.lineage.recorder import Lineage

__all__ = ["Lineage"]
