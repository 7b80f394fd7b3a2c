"""Columns that know later prices are named, with how far ahead; honest ones are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.causality.foreknowledge import foreknown
from featurizer.catalog import Catalog
from featurizer.market import FIRST_USER_KIND, Kind, StreamRequest
from featurizer.synthetic import SyntheticMarket, synthetic_instruments, synthetic_records

SECOND = 1_000_000_000
NAME = "SIM.ALPHA"


class Given:
    """A market of five minutes, and its mid at seconds around those of a file."""

    def __init__(self) -> None:
        self.market = SyntheticMarket.model_validate({"seed": 9, "duration": "5m"})
        self.records = synthetic_records(self.market)
        quotes = self.records[(NAME, "quotes")]
        self.times = quotes["event_time"]
        self.mids = (quotes["bid_price"] + quotes["ask_price"]) / 2
        self.grid = np.arange(self.times[0] // SECOND + 20, self.times[-1] // SECOND - 20) * SECOND
        self.random = np.random.Generator(np.random.Philox(1))

    def at(self, seconds: int) -> Any:
        place = np.searchsorted(self.times, self.grid + seconds * SECOND, side="right") - 1
        return self.mids[place]

    def noise(self) -> Any:
        return self.random.normal(size=len(self.grid))


HONEST = {
    "price": lambda g: g.at(0),
    "price_before": lambda g: g.at(-3),
    "trailing_mean": lambda g: np.mean([g.at(-k) for k in range(5)], axis=0),
    "trailing_return": lambda g: g.at(0) - g.at(-5),
    "range_so_far": lambda g: np.maximum.accumulate(g.at(0)),
    "noise": lambda g: g.noise(),
    "constant": lambda g: np.ones(len(g.grid)),
    "unread": lambda g: g.at(1),
    "skill": lambda g: g.at(1) - g.at(0) + g.noise() * np.std(g.at(1) - g.at(0)),
}
KNOWING = {
    "shifted": (lambda g: g.at(1), 1),
    "return_ahead": (lambda g: 3 * (g.at(2) / g.at(0) - 1) + 0.1, 2),
    "centred": (lambda g: np.mean([g.at(k) for k in range(-2, 3)], axis=0), 2),
    "another_zone": (lambda g: g.at(5), 5),
    "sign_ahead": (lambda g: np.sign(g.at(1) - g.at(0)), 1),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    given = Given()
    columns = {name: make(given) for name, make in HONEST.items()}
    columns |= {name: make(given) for name, (make, _) in KNOWING.items()}
    kind = Kind("signals", FIRST_USER_KIND, dict.fromkeys(columns, "float64"))
    root: Path = tmp_path_factory.mktemp("catalog")
    catalog = Catalog.create(root, synthetic_instruments(given.market), [kind])
    catalog.write(NAME, "quotes", given.records[(NAME, "quotes")])
    stamps = dict.fromkeys(("event_time", "receipt_time"), given.grid)
    catalog.write(NAME, "signals", {**stamps, "sequence": np.arange(len(given.grid)), **columns})
    span = (int(given.times[0]), int(given.times[-1]))
    read = [StreamRequest(NAME, "signals", tuple(name for name in columns if name != "unread"))]
    seen = foreknown(Catalog(root), read, span)
    assert all(column.column in column.sentence() for column in seen)
    return {column.column: column.ahead_ns / SECOND for column in seen}


@pytest.mark.slow
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_column_is_not_named(found: dict[str, float], name: str) -> None:
    assert name not in found


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWING)
def test_a_column_that_knows_is_named_with_how_far_it_looks(
    found: dict[str, float], name: str
) -> None:
    assert found[name] == KNOWING[name][1]
