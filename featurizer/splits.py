"""Training and test rows that share no information: walk-forward, and purged k-fold.

A label looks ahead, so a row speaks of the time from its `emitted_at` to its `label_visible_at`.
Two sets are apart when no training row speaks of a time that a test row speaks of. After López de
Prado, *Advances in Financial Machine Learning* (2018), chapter 7: rows that overlap the test are
purged, and an embargo keeps out those that follow it closely, whose features still remember it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clock.units import format_duration
from featurizer.dataset import FeatureLabelSet
from featurizer.errors import FeatureError

__all__ = ["Split", "purged_k_fold", "walk_forward"]

Array: TypeAlias = NDArray[Any]


class Split(NamedTuple):
    """One way to divide a set.

    Attributes:
        train: Places of the training rows in the set's frame, ascending. Shape (n,).
        test: Places of the test rows, ascending. Shape (m,).
    """

    train: Array
    test: Array


class _Spans(NamedTuple):
    begin: Array
    end: Array


def walk_forward(
    rows: FeatureLabelSet, folds: int, *, train_ns: int | None = None, embargo_ns: int = 0
) -> Iterator[Split]:
    """Yield splits that train on the past and test on what comes next, fold after fold.

    The rows are cut into `folds + 1` parts of about as many rows each; each part but the first is
    tested once. Rows of one instant are never parted.

    Args:
        rows: In order of emission.
        folds: How many tests.
        train_ns: Train on this much time before each test alone; by default on all of it.
        embargo_ns: Train on nothing emitted less than this before the test.

    Raises:
        FeatureError: If a part would be empty, or the rows are not in order.
    """
    spans = _spans(rows)
    edges = _edges(spans, folds + 1)
    for first, last in pairwise(edges[1:]):
        opens = spans.begin[first]
        past = np.arange(first)
        apart = (spans.end[:first] <= opens) & (spans.begin[:first] <= opens - embargo_ns)
        if train_ns is not None:
            apart &= spans.begin[:first] >= opens - train_ns
        yield _checked(Split(past[apart], np.arange(first, last)), embargo_ns)


def purged_k_fold(rows: FeatureLabelSet, folds: int, *, embargo_ns: int = 0) -> Iterator[Split]:
    """Yield splits that test each of some stretches of time, and train on the others.

    Of a training row before the test, the label must be known by the test's first row; a training
    row after it must be emitted once all labels of the test are known, and the embargo is over.

    Args:
        rows: In order of emission.
        folds: How many stretches, of about as many rows each.
        embargo_ns: Train on nothing emitted less than this after the test's last label.

    Raises:
        FeatureError: If a part would be empty, or the rows are not in order.
    """
    spans = _spans(rows)
    edges = _edges(spans, folds)
    everywhere = np.arange(len(spans.begin))
    for first, last in pairwise(edges):
        opens, closes = spans.begin[first], spans.end[first:last].max()
        before = (everywhere < first) & (spans.end <= opens)
        after = (everywhere >= last) & (spans.begin >= closes + embargo_ns)
        yield _checked(Split(np.flatnonzero(before | after), np.arange(first, last)), embargo_ns)


def _spans(rows: FeatureLabelSet) -> _Spans:
    begin = rows.frame["emitted_at"].to_physical().to_numpy()
    known = rows.frame["label_visible_at"].to_physical()
    # a row without a label speaks of nothing but its own instant
    end = known.fill_null(rows.frame["emitted_at"].to_physical()).to_numpy()
    if (begin[1:] < begin[:-1]).any():
        raise FeatureError("`rows` must be in order of `emitted_at` to be split. Sort them.")
    return _Spans(begin, np.maximum(begin, end))


def _edges(spans: _Spans, parts: int) -> list[int]:
    """Return where the parts begin, and the end: never between rows of one instant."""
    count = len(spans.begin)
    if parts < 2 or count < parts:
        raise FeatureError(f"`folds` must leave a row for each part: got {parts} of {count} rows.")
    wanted = [part * count // parts for part in range(1, parts)]
    inner = [int(spans.begin.searchsorted(spans.begin[place], "left")) for place in wanted]
    edges = [0, *inner, count]
    if any(first >= last for first, last in pairwise(edges)):
        raise FeatureError(
            f"`folds` must be fewer: got {parts} parts of {count} rows, and one of them would be "
            "empty, as rows of one instant stay together."
        )
    return edges


def _checked(split: Split, embargo_ns: int) -> Split:
    if not len(split.train):
        raise FeatureError(
            "a split must leave rows to train on: got none, with an embargo of "
            f"{format_duration(embargo_ns)}. Take fewer folds, or a shorter embargo or lookahead."
        )
    return split
