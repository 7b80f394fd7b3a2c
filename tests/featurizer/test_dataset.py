from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.catalog import Catalog
from featurizer.config import FeaturizerConfig
from featurizer.dataset import FeatureLabelSet, label_change
from featurizer.errors import FeatureError
from featurizer.market import KINDS, Instrument, Records, StreamKey, Window
from tests.featurizer.feature_markets import (
    MS,
    A,
    config,
    market,
    pieces,
    quotes,
    received,
    total_order,
)


class InMemory:
    """What a catalog is to a data set: windows of records, here cut wherever a test wants."""

    kinds = KINDS

    def __init__(self, streams: dict[StreamKey, Records], cuts: list[int]) -> None:
        self.streams, self.cuts = streams, cuts

    def windows(self, requests: Any, start: int, until: int, rows: int) -> Iterator[Window]:
        order = [t for t, *_ in total_order(self.streams)]
        # a window never splits an instant
        places = [
            next((i for i, t in enumerate(order) if t >= cut), len(order)) for cut in self.cuts
        ]
        edges = [*self.cuts, until]
        for before, edge, piece in zip(
            [start, *edges], edges, pieces(self.streams, places), strict=False
        ):
            yield Window(before, edge, {}, piece)


def labelled(**others: Any) -> FeaturizerConfig:
    features = [("price.MidPrice", "mid", {}), ("smoothing.Lag", "lag", {"lag": "2ms"})]
    return config(*features, **{"label_feature": "mid", "label_lookahead": "3ms", **others})


def build(
    settings: FeaturizerConfig, streams: Any, until: int, cuts: list[int] | None = None
) -> FeatureLabelSet:
    catalog: Any = InMemory(streams, cuts or [])
    return FeatureLabelSet.build(catalog, settings, [A], 0, until)


def physical(frame: pl.DataFrame, name: str) -> list[int | None]:
    return frame[name].to_physical().to_list()


TIMES = [0, MS, 3 * MS, 4 * MS, 9 * MS]
MIDS = [10.0, 11.0, 13.0, 14.0, 19.0]


def test_a_label_is_the_change_to_the_value_one_lookahead_after_the_row() -> None:
    frame = build(labelled(), market(quotes(TIMES, MIDS)), 10 * MS).frame
    assert frame.columns == [
        "emitted_at", "visible_at", "event_time", "instrument", "mid", "lag",
        "label", "label_visible_at",
    ]  # fmt: skip
    assert physical(frame, "emitted_at") == TIMES
    assert frame["instrument"].to_list() == [A] * 5
    # horizons 3, 4, 6, 7, 12 ms: the first record at or after each is at 3, 4, 9, 9 ms and none
    assert frame["label"].to_list() == [3.0, 3.0, 1.0, 0.0, None]
    assert physical(frame, "label_visible_at") == [3 * MS, 4 * MS, 9 * MS, 9 * MS, None]


def test_a_label_counts_from_the_rows_own_instant_not_from_when_it_is_visible() -> None:
    late = labelled(compute_latency="2ms")
    frame = build(late, market(quotes(TIMES, MIDS)), 10 * MS).frame
    assert frame["label"].to_list() == [3.0, 3.0, 1.0, 0.0, None]
    assert physical(frame, "visible_at") == [t + 2 * MS for t in TIMES]


def test_a_label_whose_horizon_nothing_has_reached_is_null() -> None:
    frame = build(labelled(), market(quotes(TIMES[:4], MIDS[:4])), 10 * MS).frame
    assert frame["label"].to_list() == [3.0, 3.0, None, None]


def test_grid_rows_before_the_first_record_have_no_event_and_no_label() -> None:
    settings = labelled(sampling="1ms")
    frame = build(settings, market(quotes([2 * MS, 7 * MS], [1.0, 2.0])), 9 * MS).frame
    assert physical(frame, "event_time")[:3] == [None, None, MS]
    assert frame["label"].to_list()[:4] == [None, None, 0.0, 0.0]
    assert math.isnan(frame["mid"][0])


@pytest.mark.slow
@given(
    times=received(20),
    data=st.data(),
    sampling=st.sampled_from(["raw", "2ms"]),
    label_feature=st.sampled_from(["mid", "same"]),
)
@settings(max_examples=60, deadline=None)
def test_labels_do_not_depend_on_windows_and_equal_a_plain_search(
    times: list[int], data: st.DataObject, sampling: str, label_feature: str
) -> None:
    streams = market(quotes(times, [float(data.draw(st.integers(1, 9))) for _ in times]))
    until = (times[-1] if times else 0) + data.draw(st.integers(1, 6)) * MS
    cuts = sorted(set(data.draw(st.lists(st.integers(1, max(1, until - 1)), max_size=4))))
    # the same value read from the newest record, and from a graph of its own
    features = [("price.MidPrice", "mid", {}), ("smoothing.Lag", "same", {"lag": "0ms"})]
    label = {"label_feature": label_feature, "label_lookahead": "3ms"}
    settings = config(*features, sampling=sampling, **label)
    whole = build(settings, streams, until)
    assert build(settings, streams, until, cuts).frame.equals(whole.frame)
    mids = streams[A, "quotes"].columns["bid_price"] + 0.5
    for row in range(len(whole.frame)):
        horizon = physical(whole.frame, "emitted_at")[row] + 3 * MS  # type: ignore[operator]
        later = [t for t in times if t >= horizon]
        before, label = whole.frame["mid"][row], whole.frame["label"][row]
        if not later or math.isnan(before):
            assert label is None
            assert whole.frame["label_visible_at"][row] is None
            continue
        after = mids[sum(1 for t in times if t <= horizon) - 1]
        assert label == after - before
        assert physical(whole.frame, "label_visible_at")[row] == later[0]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("difference", [1.0, -3.0, 0.0, math.nan]),
        ("sign", [1.0, -1.0, 0.0, math.nan]),
        ("log_return", [math.log(2.0), math.nan, 0.0, math.nan]),
        ("level", [2.0, -1.0, 5.0, math.nan]),
    ],
)
def test_a_label_measures_what_its_kind_says(kind: Any, expected: list[float]) -> None:
    before, after = np.array([1.0, 2.0, 5.0, math.nan]), np.array([2.0, -1.0, 5.0, 1.0])
    np.testing.assert_array_equal(label_change(kind, before, after), expected)


def test_features_that_are_not_stored_can_still_be_the_label() -> None:
    kept = build(labelled(features_to_store=["lag"]), market(quotes(TIMES, MIDS)), 10 * MS)
    assert kept.names == ("lag",)
    assert "mid" not in kept.frame.columns
    assert kept.frame["label"].to_list() == [3.0, 3.0, 1.0, 0.0, None]


def test_a_set_without_a_label_feature_has_null_labels() -> None:
    bare = labelled(label_feature=None, label_lookahead=None)
    made = build(bare, market(quotes(TIMES, MIDS)), 10 * MS)
    assert made.frame["label"].to_list() == [None] * 5
    assert len(made.to_arrays().labels) == 0


def test_arrays_hold_the_rows_whose_features_and_label_are_known() -> None:
    arrays = build(labelled(), market(quotes(TIMES, MIDS)), 10 * MS).to_arrays()
    assert arrays.features.tolist() == [[13.0, 11.0], [14.0, 11.0]]
    assert arrays.labels.tolist() == [1.0, 0.0]
    assert arrays.emitted_at.tolist() == [3 * MS, 4 * MS]
    assert arrays.label_visible_at.tolist() == [9 * MS, 9 * MS]
    assert not arrays.features.flags.writeable


@pytest.fixture
def hundred() -> FeatureLabelSet:
    times = [t * MS for t in range(100)]
    return build(labelled(), market(quotes(times, [float(t) for t in range(100)])), 100 * MS)


def test_a_split_trains_on_no_label_known_after_the_test_starts(hundred: FeatureLabelSet) -> None:
    train, test = hundred.split(50 * MS)
    # the label of row 47 becomes visible at 50, when the test starts: known in time
    assert physical(train.frame, "emitted_at") == [t * MS for t in range(48)]
    assert physical(test.frame, "emitted_at") == [t * MS for t in range(50, 100)]
    assert len(hundred.split(50 * MS, purge=False)[0].frame) == 50


def test_an_embargo_keeps_the_first_rows_after_the_boundary_out_of_the_test(
    hundred: FeatureLabelSet,
) -> None:
    assert physical(hundred.split(50 * MS, embargo_ns=5 * MS)[1].frame, "emitted_at")[0] == 55 * MS


def test_a_share_of_the_rows_is_split_at_the_instant_of_the_first_row_beyond(
    hundred: FeatureLabelSet,
) -> None:
    by_share, by_instant = hundred.split(0.7), hundred.split(70 * MS)
    for left, right in zip(by_share, by_instant, strict=True):
        assert left.frame.equals(right.frame)


@pytest.mark.parametrize("test_start", [0, 100 * MS, 1.0, 0.0, -0.5, 2 * MS])
def test_a_split_that_leaves_a_side_empty_is_refused(
    hundred: FeatureLabelSet, test_start: float
) -> None:
    with pytest.raises(FeatureError, match="test_start"):
        hundred.split(test_start)


@pytest.mark.slow
def test_a_set_is_built_from_a_catalog_and_tells_how_far_it_is(tmp_path: Path) -> None:
    instrument = Instrument.model_validate(
        {
            "id": A, "tick_size": "0.5", "lot_size": "1", "contract": "linear",
            "base": "A", "quote": "USD", "fees": {"maker": "0", "taker": "0"},
        }
    )  # fmt: skip
    day = 1_700_000_000 * 10**9
    stream = quotes([day + t for t in TIMES], MIDS, bid_quantity=[1.0] * 5)
    catalog = Catalog.create(tmp_path, [instrument])
    catalog.write(A, "quotes", stream.columns)
    told: list[int] = []
    made = FeatureLabelSet.build(catalog, labelled(), [A], day, day + 10 * MS, progress=told.append)
    assert told[-1] == day + 10 * MS
    assert made.frame["label"].to_list() == [3.0, 3.0, 1.0, 0.0, None]
