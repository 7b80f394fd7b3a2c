"""Signs that a training set knows what it should not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clock.units import format_duration
from featurizer.dataset import FeatureLabelSet

if TYPE_CHECKING:
    from featurizer.splits import Split

__all__ = ["Leak", "leak_report"]

Array: TypeAlias = NDArray[Any]

_MISSING = -(2**63)


class Leak(NamedTuple):
    """One sign of a leak.

    Attributes:
        kind: `stamps`, `late_feature`, `equal`, `correlation` or `overlap`.
        where: The column, or the split, that shows it.
        rows: In how many rows.
        message: What was found, against which rule, and what to do.
    """

    kind: str
    where: str
    rows: int
    message: str


def leak_report(
    rows: FeatureLabelSet,
    splits: Iterable[Split] = (),
    *,
    max_correlation: float = 0.8,
) -> list[Leak]:
    """Return every sign of a leak in a training set; an empty list is no proof of none.

    Looked for, in this order: stamps that cannot be (a row visible before it was emitted, or made
    of an event after it; a label known before its row was emitted); a row that is visible only once
    its label is known; a feature that has the label's bits in all rows, or a rank correlation with
    it beyond *max_correlation*; splits with a training label that looks into the test.

    Args:
        rows: The set. A label that is a `level` rightly correlates with the feature that it is of:
            leave that one out (`FeatureLabelSet(frame, names)`), as a model should.
        splits: How it is divided, if it is.
        max_correlation: Largest rank correlation (Spearman's, in absolute value) of one feature
            with the label that is believed. Returns of real markets stay below 0.3.
    """
    return [*_stamps(rows), *_features(rows, max_correlation), *_overlaps(rows, splits)]


def _stamps(rows: FeatureLabelSet) -> list[Leak]:
    def stamp(name: str) -> Array:
        return rows.frame[name].to_physical().fill_null(_MISSING).to_numpy()

    emitted, visible, event = stamp("emitted_at"), stamp("visible_at"), stamp("event_time")
    known = stamp("label_visible_at")
    labelled = known != _MISSING
    found = []
    for where, wrong, rule in (
        ("visible_at", visible < emitted, "must not be before `emitted_at`"),
        ("event_time", event > emitted, "must not be after `emitted_at`: the row saw the future"),
        ("label_visible_at", labelled & (known < emitted), "must not be before `emitted_at`"),
    ):
        if wrong.any():
            found.append(
                Leak("stamps", where, int(wrong.sum()), f"`{where}` {rule}: {_share(wrong)}.")
            )
    late = labelled & (visible >= known)
    if late.any():
        worst = format_duration(int((visible - known)[late].max()))
        found.append(
            Leak(
                "late_feature",
                "visible_at",
                int(late.sum()),
                f"a row must be visible before its label is known: {_share(late)}, by up to "
                f"{worst}. A model could look the answer up. Take a longer lookahead.",
            )
        )
    return found


def _features(rows: FeatureLabelSet, max_correlation: float) -> list[Leak]:
    label = rows.frame["label"].fill_null(float("nan")).to_numpy()
    found = []
    for name in rows.names:
        values = rows.frame[name].to_numpy()
        known = ~(np.isnan(values) | np.isnan(label))
        count = int(known.sum())
        if count < 2:
            continue
        mine, theirs = values[known], label[known]
        if mine.tobytes() == theirs.tobytes():
            found.append(
                Leak(
                    "equal",
                    name,
                    count,
                    f"feature {name!r} must not be the label: it has its bits in all {count} rows.",
                )
            )
            continue
        correlation = _rank_correlation(mine, theirs)
        if abs(correlation) > max_correlation:
            found.append(
                Leak(
                    "correlation",
                    name,
                    count,
                    f"feature {name!r} is too good to be true: its rank correlation with the "
                    f"label is {correlation:+.3f}, beyond {max_correlation:g}. Does it look ahead?",
                )
            )
    return found


def _overlaps(rows: FeatureLabelSet, splits: Iterable[Split]) -> list[Leak]:
    begin = rows.frame["emitted_at"].to_physical().to_numpy()
    known = rows.frame["label_visible_at"].to_physical()
    labelled = known.is_not_null().to_numpy()
    end = known.fill_null(rows.frame["emitted_at"].to_physical()).to_numpy()
    found = []
    for number, split in enumerate(splits):
        shared = np.intersect1d(split.train, split.test)
        if len(shared):
            message = (
                f"split {number} must not train on what it tests: {len(shared)} rows are both."
            )
            found.append(Leak("overlap", f"split {number}", len(shared), message))
        tested = _merged(begin[split.test], np.maximum(begin, end)[split.test])
        mine = split.train[labelled[split.train]]
        wrong = _touches(begin[mine], end[mine], tested)
        if wrong.any():
            found.append(
                Leak(
                    "overlap",
                    f"split {number}",
                    int(wrong.sum()),
                    f"split {number} must not train on labels that look into its test: "
                    f"{int(wrong.sum())} of its {len(wrong)} training rows. Purge them "
                    "(`featurizer.splits`).",
                )
            )
    return found


def _merged(begin: Array, end: Array) -> tuple[Array, Array]:
    """Return the stretches of time that some spans cover, in order and apart."""
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], np.maximum.accumulate(end[order])
    if not len(begin):
        return begin, end
    opens = np.ones(len(begin), np.bool_)
    opens[1:] = begin[1:] > end[:-1]
    return begin[opens], end[np.append(np.flatnonzero(opens)[1:] - 1, len(end) - 1)]


def _touches(begin: Array, end: Array, spans: tuple[Array, Array]) -> Array:
    """Return which of some rows speak of time inside the spans: meeting at one instant is apart."""
    opens, closes = spans
    if not len(opens):
        return np.zeros(len(begin), np.bool_)
    first = closes.searchsorted(begin, "right")  # the first span that ends after the row begins
    inside = first < len(opens)
    return inside & (opens[np.minimum(first, len(opens) - 1)] < end)


def _rank_correlation(left: Array, right: Array) -> float:
    mine, theirs = _ranks(left), _ranks(right)
    mine, theirs = mine - mine.mean(), theirs - theirs.mean()
    scale = float(np.sqrt((mine * mine).sum() * (theirs * theirs).sum()))
    return float((mine * theirs).sum()) / scale if scale > 0.0 else 0.0


def _ranks(values: Array) -> Array:
    """Return mean ranks: equal values share theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse]


def _share(wrong: Array | Sequence[bool]) -> str:
    count = int(np.count_nonzero(wrong))
    return f"{count} of {len(wrong)} rows"
