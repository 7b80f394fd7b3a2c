"""Rows that ask of drawn deployments, and the columns that their models read.

The deployments themselves are drawn by `backtester.causality.strategies.serving`. A case is the
block of a scenario, so that the stack and the reference each read it for themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from backtester.causality.strategies import serving
from backtester.causality.strategies.deployments import Block, latencies, ms
from inference.config import InferenceConfig
from inference.rows import Rows

__all__ = [
    "COLUMNS",
    "END",
    "INSTRUMENTS",
    "MS",
    "READ",
    "Block",
    "as_config",
    "blocks",
    "latencies",
    "ms",
    "pressed",
    "row_streams",
]

MS = 1_000_000
COLUMNS = ("mid", "spread", "flow")
READ = ("mid", "flow")
INSTRUMENTS = ("COIN", "TOKEN")
END = 260 * MS


def blocks(*, nan: bool = False) -> st.SearchStrategy[Block]:
    """Draw a loop's block of a scenario, without its model."""
    return serving.blocks(features=READ, instruments=INSTRUMENTS, nan=nan)


def pressed() -> st.SearchStrategy[Block]:
    """Draw a block in which what is rare elsewhere happens often."""
    return serving.pressed(features=READ, instruments=INSTRUMENTS)


def as_config(block: Mapping[str, Any]) -> InferenceConfig:
    """Return the configuration that a block describes."""
    return InferenceConfig.model_validate({"model_uri": "m", "features": READ, **block})


@st.composite
def row_streams(draw: st.DrawFn, most: int = 24) -> Rows:
    """Draw rows that come singly and in crowds, with few different values, some missing."""
    least = draw(st.sampled_from([0, 6, 12]))
    gap = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 7, 20])
    gaps = draw(st.lists(gap, min_size=least, max_size=most))
    emitted = (np.cumsum([0, *gaps])[1:] * MS).tolist()
    number = len(emitted)
    cells = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=number, max_size=number)
    values = np.stack([draw(cells), np.full(number, math.nan), draw(cells)], axis=1)
    if number:
        bad = draw(st.sets(st.integers(0, number - 1), max_size=1))
        values[list(bad), 2] = math.nan
    stamps = np.array(emitted, np.int64)
    tie = [emitted[:i].count(instant) for i, instant in enumerate(emitted)]
    of = draw(st.lists(st.integers(0, 1), min_size=number, max_size=number))
    rows = Rows(
        stamps,
        stamps + draw(st.integers(0, 2)) * MS,
        stamps - 1,
        np.array(tie, np.int64).reshape(-1),
        np.array(of, np.int64).reshape(-1),
        np.ascontiguousarray(values.reshape(-1, 3)),
    )
    for column in rows:
        column.flags.writeable = False
    return rows
