"""Other futures: what lies at or before the cut keeps its bits, and the catalog takes the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.causality.catalogs import later_rows, write_future
from backtester.causality.futures import Action, Future, Part, Stamp, changed
from featurizer.catalog import Catalog
from featurizer.catalog_kinds import UserKind
from featurizer.catalog_parts import PartReader
from featurizer.market import FIRST_USER_KIND, Kind
from featurizer.synthetic import SyntheticMarket, synthetic_instruments, synthetic_records

NAME = "SIM.ALPHA"
MARKET = SyntheticMarket.model_validate(
    {
        "seed": 5,
        "duration": "20s",
        "kinds": ["quotes", "trades", "depth"],
        "feed_latency": {"kind": "uniform", "low": "1ms", "high": "300ms"},
        "resolution": "10ms",
    }
)
EARNINGS = UserKind(Kind("earnings", 0, {"quarter": "int64", "surprise": "float64"}), ("quarter",))
STREAMS = [(NAME, kind) for kind in ("quotes", "trades", "depth", "earnings")]
WHOLE = MARKET.start + MARKET.duration


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    made = Catalog.create(
        tmp_path_factory.mktemp("real"), synthetic_instruments(MARKET), [EARNINGS]
    )
    for (name, kind), columns in synthetic_records(MARKET).items():
        half = int(np.searchsorted(columns["event_time"], MARKET.start + MARKET.duration // 2))
        for part in (slice(0, half), slice(half, None)):  # two parts, so that one may be linked
            made.write(name, kind, {c: column[part] for c, column in columns.items()})
    times = MARKET.start + np.arange(1, 19) * 10**9
    made.write(
        NAME,
        "earnings",
        {
            "event_time": times,
            "receipt_time": times + 10**8,
            "sequence": np.arange(18),
            "quarter": np.arange(18) // 2,
            "surprise": np.linspace(-1, 1, 18),
        },
    )
    assert made.kind("earnings").number == FIRST_USER_KIND
    return Catalog(made.root)


def rows(catalog: Catalog, stream: tuple[str, str]) -> list[tuple[Any, ...]]:
    """Return the records of a stream as tuples, in their order."""
    kind = catalog.kind(stream[1])
    read = []
    for part in catalog.held(*stream):
        reader = PartReader(part, list(kind.all_columns))
        for group in range(len(part.summary.groups)):
            read += list(zip(*(c.tolist() for c in reader.read(group).values()), strict=True))
    return read


futures = st.builds(
    Future,
    cut=st.integers(MARKET.start - 10**9, WHOLE + 10**9),
    stamp=st.sampled_from(get_args(Stamp)),
    action=st.sampled_from(get_args(Action)),
    seed=st.integers(0, 99),
)


@pytest.mark.slow
@settings(max_examples=30)
@given(futures)
def test_what_is_not_after_the_cut_keeps_its_bits_and_its_order(
    catalog: Catalog, tmp_path_factory: pytest.TempPathFactory, future: Future
) -> None:
    root = tmp_path_factory.mktemp("other") / "catalog"
    other, count = write_future(catalog, STREAMS, future, MARKET.start, root)
    place = 0 if future.stamp == "event_time" else 1
    later = 0
    for stream in STREAMS:
        real, now = rows(catalog, stream), rows(other, stream)
        assert [r for r in real if r[place] <= future.cut] == [
            r for r in now if r[place] <= future.cut
        ]
        fits = future.fits(catalog.kind(stream[1]), catalog.key_of(stream[1]))
        later += fits * sum(r[place] > future.cut for r in real)
    assert count == later


@pytest.mark.parametrize("action", [a for a in get_args(Action) if a != "order"])
@pytest.mark.parametrize("stamp", get_args(Stamp))
def test_an_action_that_fits_changes_something(
    catalog: Catalog, tmp_path: Path, stamp: Stamp, action: Action
) -> None:
    future = Future(MARKET.start + MARKET.duration // 2, stamp, action, 1)
    other, _ = write_future(catalog, STREAMS, future, MARKET.start, tmp_path / "catalog")
    for stream in STREAMS:
        fits = future.fits(catalog.kind(stream[1]), catalog.key_of(stream[1]))
        assert (rows(catalog, stream) != rows(other, stream)) == fits


def test_a_part_of_a_change_is_the_same_change_at_fewer_rows(
    catalog: Catalog, tmp_path: Path
) -> None:
    stream = (NAME, "quotes")
    future = Future(MARKET.start + MARKET.duration // 2, "event_time", "values", 1)
    part = Future(*list(vars(future).values())[:4], only=Part(stream, 3, 5))
    whole, _ = write_future(catalog, STREAMS, future, MARKET.start, tmp_path / "whole")
    some, count = write_future(catalog, STREAMS, part, MARKET.start, tmp_path / "some")
    assert count == 2
    real, all_changed, few_changed = (rows(c, stream) for c in (catalog, whole, some))
    first = sum(r[0] <= future.cut for r in real)
    assert few_changed[first + 3 : first + 5] == all_changed[first + 3 : first + 5]
    assert few_changed[: first + 3] == real[: first + 3]
    assert few_changed[first + 5 :] == real[first + 5 :]
    assert rows(some, (NAME, "trades")) == rows(catalog, (NAME, "trades"))
    assert len(later_rows(catalog, stream, future)["event_time"]) == len(real) - first


def test_the_real_catalog_is_never_touched(catalog: Catalog, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in catalog.root.rglob("*") if path.is_file()}
    future = Future(MARKET.start, "event_time", "insertion", 1)
    write_future(catalog, STREAMS, future, MARKET.start, tmp_path / "catalog")
    after = {path: path.read_bytes() for path in catalog.root.rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.parametrize("seed", range(6))
def test_a_stream_that_lies_after_the_cut_as_a_whole_does_not_vanish(seed: int) -> None:
    one = {name: np.array([MARKET.start + 1]) for name in ("event_time", "receipt_time")}
    columns = {**one, "sequence": np.array([1]), "rate": np.array([0.5])}
    future = Future(MARKET.start, "event_time", "deletion", seed)
    kind = Kind("funding", FIRST_USER_KIND, {"rate": "float64"})
    terms = synthetic_instruments(MARKET)[0]
    assert len(changed(columns, (NAME, "funding"), kind, terms, future)["rate"]) == 1
