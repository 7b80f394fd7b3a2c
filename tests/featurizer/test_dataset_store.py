"""Sets on disk: written as a stream, by one process or several, and read back lazily."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurizer.catalog import Catalog
from featurizer.config import FeaturizerConfig
from featurizer.dataset import FeatureLabelSet
from featurizer.dataset_store import DAY_NS, stored_features, write_dataset
from featurizer.errors import BrokenPromiseError, FeatureError
from featurizer.feature import Market, Stepwise
from featurizer.market import Instrument
from tests.featurizer.feature_markets import A, B, config

DAY = 19_700 * DAY_NS
MINUTE = 60_000_000_000
WINDOWED = (
    ("price.MidPrice", "mid", {}),
    ("book.Imbalance", "imbalance", {}),
    ("price.LogReturn", "return", {"window": "3m"}),
    ("volatility.RealisedVolatility", "volatility", {"window": "5m"}),
)


def instrument(name: str) -> Instrument:
    return Instrument.model_validate(
        {
            "id": name, "tick_size": "0.5", "lot_size": "1", "contract": "linear",
            "base": "A", "quote": "USD", "fees": {"maker": "0", "taker": "0"},
        }
    )  # fmt: skip


def stream(seed: int, days: float, step_ns: int) -> dict[str, Any]:
    draw = np.random.Generator(np.random.Philox(seed))
    count = int(days * DAY_NS) // step_ns
    event = DAY + np.sort(draw.integers(0, int(days * DAY_NS), count))
    mid = 500.0 + 0.5 * np.cumsum(draw.integers(-1, 2, count))
    return {
        "event_time": event,
        "receipt_time": np.maximum.accumulate(event + draw.integers(0, 10**9, count)),
        "sequence": np.arange(count),
        "bid_price": mid - 0.5,
        "bid_quantity": draw.integers(1, 9, count) * 1.0,
        "ask_price": mid + 0.5,
        "ask_quantity": draw.integers(1, 9, count) * 1.0,
    }


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Three days and a half of two instruments, a quote about every 20 seconds."""
    made = Catalog.create(tmp_path_factory.mktemp("market"), [instrument(A), instrument(B)])
    for seed, name in enumerate((A, B)):
        made.write(name, "quotes", stream(seed, 3.5, 20 * 10**9))
    return Catalog(made.root)


def windowed(**others: Any) -> FeaturizerConfig:
    given = {"sampling": "30s", "label_feature": "mid", "label_lookahead": "2m"} | others
    return config(*WINDOWED, **given)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


BEGIN, END = DAY + 3 * MINUTE, DAY + int(3.4 * DAY_NS)


def write(catalog: Catalog, settings: FeaturizerConfig, out: Path, **others: Any) -> Any:
    return write_dataset(catalog, settings, [A, B], BEGIN, END, out, **others)


@pytest.mark.slow
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"per_instrument": True, "rows": 2},
        {"features_to_store": ["return"]},
        {"sampling": "raw"},
    ],
)
def test_what_is_stored_is_what_is_built_in_memory(
    catalog: Catalog, tmp_path: Path, others: Any
) -> None:
    settings = windowed(**others)
    stored = write(catalog, settings, tmp_path / "set")
    built = FeatureLabelSet.build(catalog, settings, [A, B], BEGIN, END)
    assert [path.parent.name for path in stored.files] == [
        f"date={np.datetime64((DAY + n * DAY_NS) // DAY_NS, 'D')}" for n in range(4)
    ]
    read = FeatureLabelSet.read(tmp_path / "set")
    assert read.names == built.names == stored_features(tmp_path / "set")
    assert read.frame.equals(built.frame)
    assert stored.rows == len(built.frame)
    assert stored.labelled == built.frame["label"].count()
    lazy = FeatureLabelSet.scan(tmp_path / "set")
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.select(pl.len()).collect().item() == stored.rows
    day = lazy.filter(pl.col("emitted_at") >= built.frame["emitted_at"][-1]).collect()
    assert len(day) >= 1


def test_a_set_in_one_file_is_the_same_set(catalog: Catalog, tmp_path: Path) -> None:
    write(catalog, windowed(), tmp_path / "one.parquet")
    write(catalog, windowed(), tmp_path / "many")
    one, many = (FeatureLabelSet.read(tmp_path / name) for name in ("one.parquet", "many"))
    assert one.frame.equals(many.frame)
    assert one.names == many.names


@pytest.mark.slow
@pytest.mark.parametrize(
    "others", [{}, {"per_instrument": True, "rows": 3, "sampling": {"input": "quotes"}}]
)
def test_several_workers_write_the_same_bytes(
    catalog: Catalog, tmp_path: Path, others: Any
) -> None:
    settings = windowed(**others)
    told: list[int] = []
    one = write(catalog, settings, tmp_path / "one")
    two = write(catalog, settings, tmp_path / "two", workers=2, progress=told.append)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert (one.rows, one.labelled) == (two.rows, two.labelled)
    assert told[-1] == END


# what remembers the run's start for ever: an average that fades, a count of records
EMA = ("smoothing.Ema", "ema", {"half_life": "3h"})
MACD = ("technical.Macd", "macd", {"every": "5m"})
REMEMBERING: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "average": ([EMA], {}),
    "average as label": ([EMA], {"label_feature": "ema"}),
    "each instrument's, several rows": ([EMA], {"per_instrument": True, "rows": 3}),
    "bars, each record": ([EMA, MACD], {"sampling": "raw", "per_instrument": True}),
    "counted records": ([], {"sampling": {"input": "quotes", "every": 7}, "rows": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REMEMBERING)
def test_workers_write_the_bytes_of_one_run_that_never_forgets_its_start(
    catalog: Catalog, tmp_path: Path, name: str
) -> None:
    features, others = REMEMBERING[name]
    given = {"sampling": "30s", "label_feature": "mid", "label_lookahead": "2m"} | others
    settings = config(*WINDOWED, *features, **given)
    told: list[int] = []
    one = write(catalog, settings, tmp_path / "one")
    two = write(catalog, settings, tmp_path / "two", workers=2, progress=told.append)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert (one.rows, one.labelled) == (two.rows, two.labelled)
    assert told[-1] == END
    # and they do remember: the last day of a run from the second day on is another
    write_dataset(catalog, settings, [A, B], DAY + DAY_NS, END, tmp_path / "later")
    last = max(digests(tmp_path / "one"))
    assert digests(tmp_path / "later")[last] != digests(tmp_path / "one")[last]


@pytest.mark.slow
def test_a_day_without_records_is_handed_over_like_any_other(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "market", [instrument(A)])
    catalog.write(A, "quotes", stream(0, 0.5, 20 * 10**9))
    settings = config(EMA, sampling="1h")
    sets = []
    for workers in (1, 2):
        out = tmp_path / f"by-{workers}"
        write_dataset(catalog, settings, [A], BEGIN, END, out, workers=workers)
        sets.append(digests(out))
    assert sets[0] == sets[1]
    assert len(sets[0]) == 4


def test_what_fails_in_a_worker_leaves_nothing_behind(catalog: Catalog, tmp_path: Path) -> None:
    settings = config(EMA, (f"{__name__}.FailsAtNoon", "bad", {}), sampling="1h")
    with pytest.raises(ZeroDivisionError):
        write(catalog, settings, tmp_path / "set", workers=2)
    assert not list(tmp_path.rglob("*.parquet*"))


class FailsAtNoon(Stepwise):
    """Cannot be read from the first noon on."""

    def inputs(self) -> tuple[Any, ...]:
        return (Market("quotes", ("bid_price",)),)

    def start(self) -> None:
        return None

    def update(self, state: None, time: int, *values: float) -> None:
        pass

    def read(self, state: None, time: int) -> float:
        return 1 / int(time < DAY + DAY_NS // 2)


class CountsSinceTheStart(Stepwise):
    """Never forgets where it began, and does not say so."""

    def inputs(self) -> tuple[Any, ...]:
        return (Market("quotes", ("bid_price",)),)

    def start(self) -> list[int]:
        return [0]

    def update(self, state: list[int], time: int, *values: float) -> None:
        state[0] += 1

    def read(self, state: list[int], time: int) -> float:
        return float(state[0])


@pytest.mark.slow
def test_a_feature_that_breaks_its_promise_to_forget_is_caught_at_the_seam(
    catalog: Catalog, tmp_path: Path
) -> None:
    settings = config((f"{__name__}.CountsSinceTheStart", "count", {}), sampling="1h")
    with pytest.raises(BrokenPromiseError, match="check_feature"):
        write(catalog, settings, tmp_path / "set", workers=2)
    assert not list(tmp_path.rglob("*.parquet*"))


def test_a_set_replaces_an_earlier_one_whole_and_a_failure_leaves_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    write_dataset(catalog, windowed(), [A], DAY, DAY + 2 * DAY_NS, out)
    before = digests(out)
    assert len(before) == 2

    def stop(now: int) -> None:
        if now > DAY + DAY_NS + 1000 * MINUTE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(catalog, windowed(rows=2), [A], DAY, END, out, progress=stop)
    assert digests(out) == before
    write_dataset(catalog, windowed(), [A], DAY + DAY_NS, DAY + 2 * DAY_NS, out)
    assert list(digests(out)) == list(before)[1:]


def test_a_folder_without_a_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="no such folder"):
        FeatureLabelSet.scan(tmp_path / "none")
    with pytest.raises(FeatureError, match="lightcone featurize"):
        FeatureLabelSet.read(tmp_path)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_range(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "market", [instrument(A)])
    catalog.write(A, "quotes", stream(0, 2.0, DAY_NS // 400_000))
    settings = windowed(sampling="raw", label_lookahead="30s")

    def peak(days: float) -> int:
        tracemalloc.start()
        write_dataset(
            catalog, settings, [A], DAY, DAY + int(days * DAY_NS), tmp_path / f"set-{days}"
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(0.1)  # whatever is loaded and compiled once
    # the threads hold a window more, or one less, as it happens: a third of the whole
    assert min(peak(1.9) for _ in range(3)) < 1.3 * max(peak(0.9) for _ in range(3))
