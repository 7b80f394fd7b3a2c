"""Features that read one book share it: the same values as each with a book of its own."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from featurizer.config import FeaturizerConfig
from featurizer.graph import FeatureGraph
from featurizer.market import Records, StreamKey
from featurizer.operators.book import BookScan

A, B = "SIM.A", "SIM.B"
MS = 1_000_000
DEPTH: list[tuple[str, str, dict[str, Any]]] = [
    ("book.DepthImbalance", "near", {"levels": 1}),
    ("book.DepthImbalance", "far", {"levels": 5}),
    ("book.DepthWeightedMid", "price", {"levels": 3}),
    ("book.Liquidity", "wide", {"bps": 30.0}),
]


def settings(*features: tuple[str, str, dict[str, Any]], **others: Any) -> FeaturizerConfig:
    named = [{"feature_definition": d, "name": n, "params": p} for d, n, p in features]
    return FeaturizerConfig.model_validate({"feature_configs": named, "sampling": "50ms"} | others)


def depth(instrument: str, seed: int, count: int = 600) -> Records:
    """A snapshot of ten levels a side, then levels that come, change and go."""
    draw = np.random.Generator(np.random.Philox(seed))
    times = np.sort(draw.integers(0, 3000 * MS, count))
    times[:20] = times[0]
    side = draw.choice([-1, 1], count)
    side[:20] = np.repeat([1, -1], 10)
    level = draw.geometric(0.3, count)
    level[:20] = np.tile(np.arange(1, 11), 2)
    quantity = np.where(draw.random(count) < 0.4, 0.0, draw.integers(1, 50, count))
    quantity[:20] = 3.0
    sequence = np.arange(count)
    sequence[:20] = 0
    columns = {
        "event_time": times,
        "receipt_time": times,
        "sequence": sequence,
        "side": side,
        "price": 100.0 - 0.1 * side * level,
        "quantity": quantity,
        "is_snapshot": (np.arange(count) < 20).astype(np.int64),
    }
    for column in columns.values():
        column.flags.writeable = False
    return Records(instrument, "depth", columns)


def rows_of(
    config: FeaturizerConfig, records: list[Records], cuts: list[int], *, pickled: bool = False
) -> Any:
    graph = FeatureGraph(config, [A, B])
    values, done = [], 0
    for cut in [*cuts, 3000 * MS]:
        part: dict[StreamKey, Records] = {}
        for own in records:
            times = own.receipt_time
            part[own.key] = own.slice(*times.searchsorted([done, cut]).tolist())
        values.append(graph.push(part, cut).values)
        done = cut
        if pickled:
            graph = pickle.loads(pickle.dumps(graph))
    return np.concatenate(values)


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many numbers each book that is made is asked for."""
    made: list[int] = []
    start = BookScan.__init__

    def counted(self: BookScan, asked: Any) -> None:
        made.append(len(asked))
        start(self, asked)

    monkeypatch.setattr(BookScan, "__init__", counted)
    return made


def test_the_depth_features_of_one_instrument_share_one_book(books: list[int]) -> None:
    records = [depth(A, 1), depth(B, 2)]
    together = rows_of(settings(*DEPTH, per_instrument=True), records, [])
    assert books == [4, 4]
    for place, feature in enumerate(DEPTH):
        alone = rows_of(settings(feature, per_instrument=True), records, [])
        assert together[:, place].tobytes() == alone[:, 0].tobytes()
    assert np.isfinite(together).mean() > 0.9
    assert len(np.unique(together[:, 0])) > 20


@pytest.mark.parametrize("pickled", [False, True])
def test_a_shared_book_is_the_same_however_the_records_are_cut(pickled: bool) -> None:
    config = settings(*DEPTH, sampling="raw")
    records = [depth(A, 3)]
    whole = rows_of(config, records, [])
    singly = sorted({int(time) + 1 for time in records[0].receipt_time})
    assert rows_of(config, records, singly[::1], pickled=pickled).tobytes() == whole.tobytes()


def test_a_depth_feature_that_others_read_keeps_a_book_of_its_own(books: list[int]) -> None:
    lagged = ("smoothing.Lag", "before", {"lag": "100ms", "feature": "price"})
    records = [depth(A, 4)]
    values = rows_of(settings(*DEPTH, lagged), records, [])
    assert sorted(books) == [1, 3]
    assert values[2:, 4].tobytes() == values[:-2, 2].tobytes()
