"""Files, instruments and readers that the tests of the adapters share."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

from featurizer.catalog import Catalog
from featurizer.ingest.pipeline import Target
from featurizer.market import StreamRequest

ID = "MY.BTCUSDT"
INSTRUMENTS = (
    "instruments:\n- {id: MY.BTCUSDT, tick_size: 0.5, lot_size: 1, contract: linear, "
    "base: BTC, quote: USDT, fees: {maker: 0, taker: 0.0005}}\n"
)


def target(folder: Path, **settings: Any) -> Target:
    """Return a catalog in a folder, with an instrument of tick 0.5 and lot 1."""
    (folder / "instruments.yaml").write_text(INSTRUMENTS)
    return Target(ID, folder / "c", folder / "instruments.yaml", **settings)


def write(folder: Path, text: str, name: str = "file.csv") -> Path:
    """Write a text, packed as its name says."""
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name.replace(".zip", ".csv"), text)
    else:
        path.write_text(text)
    return path


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the records of a stream, by event, each as a mapping."""
    catalog = Catalog(folder / "c")
    key = (ID, kind)
    columns = tuple(catalog.kind(kind).columns)
    found: list[dict[str, Any]] = []
    for window in catalog.windows([StreamRequest(*key, columns)], *catalog.range([key])):
        held = window.venue[key].columns
        values = zip(*(held[name].tolist() for name in held), strict=True)
        found += [dict(zip(held, row, strict=True)) for row in values]
    return found
