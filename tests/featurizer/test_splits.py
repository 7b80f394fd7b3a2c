"""Splits against the definition of apart: no training row speaks of a tested time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from featurizer.dataset import FeatureLabelSet
from featurizer.errors import FeatureError
from featurizer.leaks import leak_report
from featurizer.splits import Split, purged_k_fold, walk_forward


def rows(emitted: list[int], known: list[int | None]) -> FeatureLabelSet:
    """A set of rows with one feature, of no relation to the label."""
    stamp = pl.Datetime("ns", "UTC")
    draw = np.random.Generator(np.random.Philox(3))
    frame = pl.DataFrame(
        {
            "emitted_at": pl.Series(emitted, dtype=pl.Int64).cast(stamp),
            "visible_at": pl.Series(emitted, dtype=pl.Int64).cast(stamp),
            "event_time": pl.Series(emitted, dtype=pl.Int64).cast(stamp),
            "instrument": ["SIM.A"] * len(emitted),
            "x": draw.normal(size=len(emitted)),
            "label": [None if at is None else float(draw.normal()) for at in known],
            "label_visible_at": pl.Series(known, dtype=pl.Int64).cast(stamp),
        }
    )
    return FeatureLabelSet(frame, ("x",))


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[int], list[int | None]]:
    """Rows of rising instants, some together, with labels known some time later or never."""
    steps = draw(st.lists(st.sampled_from([0, 1, 1, 2, 7]), min_size=6, max_size=40))
    emitted = [int(at) for at in np.cumsum(steps)]
    delays = st.one_of(st.none(), st.integers(1, 6))
    return emitted, [None if (d := draw(delays)) is None else at + d for at in emitted]


def apart(emitted: list[int], known: list[int | None], row: int, other: int) -> bool:
    """Whether two rows speak of times that at most touch."""
    ends = [at if end is None else end for at, end in zip(emitted, known, strict=True)]
    return ends[row] <= emitted[other] or ends[other] <= emitted[row]


@given(made=sets(), folds=st.integers(2, 5), embargo=st.integers(0, 4))
@settings(max_examples=150, deadline=None)
def test_purged_k_fold_trains_on_every_row_that_is_apart_from_the_test_and_no_other(
    made: Any, folds: int, embargo: int
) -> None:
    emitted, known = made
    given_rows = rows(emitted, known)
    try:
        splits = list(purged_k_fold(given_rows, folds, embargo_ns=embargo))
    except FeatureError:
        assume(False)
    assert np.concatenate([split.test for split in splits]).tolist() == list(range(len(emitted)))
    for split in splits:
        opens = emitted[split.test[0]]
        closes = max(emitted[i] if known[i] is None else known[i] for i in split.test)  # type: ignore[type-var]
        for row in range(len(emitted)):
            if row in split.test:
                assert row not in split.train
                continue
            end = emitted[row] if known[row] is None else known[row]
            before = row < split.test[0] and end <= opens  # type: ignore[operator]
            after = row > split.test[-1] and emitted[row] >= closes + embargo  # type: ignore[operator]
            assert (row in split.train) == (before or after)
            if row in split.train and before:
                assert all(end <= emitted[test] for test in split.test)  # type: ignore[operator]
    assert not [leak for leak in leak_report(given_rows, splits) if leak.kind == "overlap"]


@given(made=sets(), folds=st.integers(1, 4), embargo=st.integers(0, 4), span=st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_walk_forward_trains_on_the_past_that_is_known_when_the_test_begins(
    made: Any, folds: int, embargo: int, span: int
) -> None:
    emitted, known = made
    for train_ns in (None, span):
        try:
            splits = list(
                walk_forward(rows(emitted, known), folds, train_ns=train_ns, embargo_ns=embargo)
            )
        except FeatureError:
            continue
        assert len(splits) == folds
        tested = np.concatenate([split.test for split in splits])
        assert tested.tolist() == list(range(int(tested[0]), len(emitted)))
        for split in splits:
            opens = emitted[split.test[0]]
            expected = [
                row
                for row in range(split.test[0])
                if (known[row] is None or known[row] <= opens)
                and emitted[row] <= opens - embargo
                and (train_ns is None or emitted[row] >= opens - train_ns)
            ]
            assert split.train.tolist() == expected
            assert all(emitted[row] < opens for row in split.train)


def test_rows_of_one_instant_are_never_parted() -> None:
    emitted = [0, 1, 2, 3, 3, 3, 3, 8, 9, 10]
    splits = list(purged_k_fold(rows(emitted, [at + 1 for at in emitted]), 2))
    assert splits[0].test.tolist() == [0, 1, 2]
    assert splits[1].test.tolist() == [3, 4, 5, 6, 7, 8, 9]


def test_ten_rows_by_hand() -> None:
    # labels look two ahead; the middle stretch is tested, and an embargo of one follows it
    made = rows(list(range(9)), [at + 2 for at in range(9)])
    first, middle, last = purged_k_fold(made, 3, embargo_ns=1)
    assert middle.test.tolist() == [3, 4, 5]
    assert middle.train.tolist() == [0, 1, 8]  # 2 looks to 4; the test's last label is known at 7
    assert first.train.tolist() == [5, 6, 7, 8]
    assert last.train.tolist() == [0, 1, 2, 3, 4]
    taken = made.take(middle.train)
    assert taken.frame["emitted_at"].to_physical().to_list() == [0, 1, 8]


@pytest.mark.parametrize("folds", [1, 11])
def test_folds_that_leave_a_part_empty_are_refused(folds: int) -> None:
    with pytest.raises(FeatureError, match="folds"):
        list(purged_k_fold(rows(list(range(10)), [None] * 10), folds))


def test_a_split_without_training_rows_is_refused() -> None:
    with pytest.raises(FeatureError, match="rows to train on"):
        list(walk_forward(rows([0, 1, 2, 3], [99] * 4), 1))


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(FeatureError, match="in order"):
        list(purged_k_fold(rows([3, 1, 2, 4], [None] * 4), 2))


def test_a_split_is_a_pair_of_places() -> None:
    split = Split(np.array([1]), np.array([0]))
    assert split.train.tolist() == [1]
    assert split.test.tolist() == [0]
