"""A catalog whose records tell which version of it they are of, and changes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featurizer.catalog import Catalog
from featurizer.market import StreamRequest
from tests.featurizer.market_examples import ALPHA, NOON, SECOND, quotes, trades

DAY = 86_400 * SECOND
DAYS = 2
QUOTES_KEY = ("SIM.ALPHA", "quotes")
TRADES_KEY = ("SIM.ALPHA", "trades")


def table(version: int, day: int, of: Any = quotes, first: int = 0) -> dict[str, Any]:
    """Return records of a day whose quantities tell the version."""
    event = NOON + day * DAY + (first + np.arange(4)) * SECOND
    columns = {"quotes": "ask_quantity", "trades": "quantity"}
    return of(event, 5, **{columns[of.__name__]: np.full(4, float(version))})


def whole(version: int, of: Any = quotes) -> dict[str, Any]:
    days = [table(version, day, of) for day in range(DAYS)]
    joined = {name: np.concatenate([d[name] for d in days]) for name in days[0]}
    return joined | {"sequence": np.arange(len(joined["sequence"]))}


def make(root: Path) -> Catalog:
    """Return a catalog with version 1: each day of quotes in two parts."""
    catalog = Catalog.create(root, [ALPHA])
    for first in (0, 4):
        for day in range(DAYS):
            catalog.write(*QUOTES_KEY, table(1, day, first=first))
    catalog.write(*TRADES_KEY, whole(1, trades))
    return catalog


def change(root: str, kind: str) -> None:
    catalog = Catalog(root)
    if kind == "compact":
        catalog.compact()
        return
    with catalog.transaction(replace=kind == "replace") as records:
        if kind == "replace":
            records.write(*QUOTES_KEY, whole(2))
            records.write(*TRADES_KEY, whole(2, trades))
        else:
            records.write(*QUOTES_KEY, table(2, 0, first=8))
            records.write(*QUOTES_KEY, table(2, DAYS))
        records.note(*QUOTES_KEY, {"file": "x", "method": "none"})


def content(catalog: Catalog) -> list[tuple[int, float]]:
    """Return event and version of every record, quotes first."""
    return [*one_stream(catalog, QUOTES_KEY, 1000), *one_stream(catalog, TRADES_KEY, 1000)]


def one_stream(
    catalog: Catalog, key: tuple[str, str], rows: int = 2
) -> Iterator[tuple[int, float]]:
    """Yield them of a stream, read in windows of so many rows."""
    column = "ask_quantity" if key == QUOTES_KEY else "quantity"
    request = StreamRequest(*key, (column,))
    for window in catalog.windows([request], *catalog.range([key]), rows=rows):
        records = window.venue[key].columns
        yield from zip(records["event_time"].tolist(), records[column].tolist(), strict=True)


def leftovers(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.name.startswith(".")]
