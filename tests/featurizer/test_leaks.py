"""Planted leaks are found, and honest sets are not accused."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from featurizer.dataset import FeatureLabelSet
from featurizer.leaks import leak_report
from featurizer.splits import Split, purged_k_fold

COUNT = 400


def honest(**changes: Any) -> FeatureLabelSet:
    """Rows every 10 ns with labels 30 ns ahead, and a feature that knows a little."""
    draw = np.random.Generator(np.random.Philox(5))
    emitted = np.arange(COUNT) * 10
    label = draw.normal(size=COUNT)
    columns = {
        "emitted_at": emitted,
        "visible_at": emitted + 2,
        "event_time": emitted - 1,
        "label_visible_at": emitted + 31,
    }
    columns |= {name: values for name, values in changes.items() if name in columns}
    features = {"weak": 0.2 * label + draw.normal(size=COUNT), "noise": draw.normal(size=COUNT)}
    features |= {name: values for name, values in changes.items() if name not in columns}
    label = features.pop("label", label)
    frame = pl.DataFrame(columns).with_columns(pl.all().cast(pl.Datetime("ns", "UTC")))
    frame = frame.with_columns(
        pl.lit("SIM.A").alias("instrument"),
        *(pl.Series(name, values) for name, values in features.items()),
        pl.Series("label", label).fill_nan(None),
    )
    return FeatureLabelSet(frame, tuple(features))


def kinds(rows: FeatureLabelSet, **options: Any) -> list[tuple[str, str]]:
    return [(leak.kind, leak.where) for leak in leak_report(rows, **options)]


LABEL = honest().frame["label"].to_numpy()
STAMPS = np.arange(COUNT) * 10


def test_an_honest_set_shows_no_sign() -> None:
    assert kinds(honest()) == []
    assert kinds(honest(), splits=purged_k_fold(honest(), 5, embargo_ns=20)) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"same": LABEL}, [("equal", "same")]),
        ({"near": LABEL + 0.001}, [("correlation", "near")]),
        ({"against": -(LABEL**3)}, [("correlation", "against")]),
        ({"visible_at": STAMPS - 1}, [("stamps", "visible_at")]),
        ({"event_time": STAMPS + 1}, [("stamps", "event_time")]),
        ({"visible_at": STAMPS + 31}, [("late_feature", "visible_at")]),
        (
            {"label_visible_at": STAMPS - 5},
            [("stamps", "label_visible_at"), ("late_feature", "visible_at")],
        ),
    ],
)
def test_a_planted_leak_is_found(changes: Any, found: list[tuple[str, str]]) -> None:
    assert kinds(honest(**changes)) == found


def test_a_feature_is_believed_up_to_the_stated_correlation() -> None:
    assert kinds(honest(), max_correlation=0.05) == [("correlation", "weak")]
    assert kinds(honest(good=LABEL + honest().frame["noise"]), max_correlation=0.9) == []


def test_rows_that_warm_up_or_have_no_label_accuse_nobody() -> None:
    label = np.where(np.arange(COUNT) < 10, np.nan, LABEL)
    same = np.where(np.arange(COUNT) > 300, np.nan, label)
    assert kinds(honest(label=label, same=same)) == [("equal", "same")]
    assert kinds(honest(label=np.full(COUNT, np.nan))) == []


def test_a_split_whose_training_labels_look_into_the_test_is_found() -> None:
    rows = honest()
    naive = Split(np.arange(200), np.arange(200, COUNT))
    (leak,) = leak_report(rows, [naive])
    # emitted at 1970, 1980, 1990: known at 2001, 2011, 2021; the test begins at 2000
    assert (leak.kind, leak.where, leak.rows) == ("overlap", "split 0", 3)
    after = Split(np.arange(200, COUNT), np.arange(200))
    assert leak_report(rows, [after])[0].rows == 3  # emitted before 2021
    both = Split(np.arange(200), np.arange(100, 300))
    assert "100 rows are both" in leak_report(rows, [both])[0].message
