"""Feature rows with their labels, and what a label is."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.config import LabelKind
from featurizer.graph import FeatureRows

__all__ = ["LabelledRows", "label_change"]

Array: TypeAlias = NDArray[Any]


def label_change(kind: LabelKind, before: Array, after: Array) -> Array:
    """Return how far values have moved.

    Args:
        kind: `difference`, `log_return` (NaN unless both values are positive), `sign` of the
            difference, or `level`: the value after.
        before: Values at the rows' instants. Shape (n,).
        after: Values one lookahead later. Shape (n,).

    Returns:
        Shape (n,). NaN where a value is NaN.

    Example:
        >>> label_change("sign", np.array([1.0, 2.0]), np.array([0.5, 2.0])).tolist()
        [-1.0, 0.0]
    """
    if kind == "difference":
        return after - before
    if kind == "sign":
        return np.sign(after - before)
    if kind == "level":
        return np.where(np.isnan(before), np.nan, after)
    known = (before > 0.0) & (after > 0.0)
    ratio = np.divide(after, before, out=np.full(len(before), np.nan), where=known)
    return np.log(ratio)


class LabelledRows(NamedTuple):
    """Feature rows and their labels.

    Attributes:
        rows: In order of emission.
        label: NaN where there is none. Shape (n,).
        label_visible_at: `MISSING` where there is no label. Shape (n,), ns.
    """

    rows: FeatureRows
    label: Array
    label_visible_at: Array
