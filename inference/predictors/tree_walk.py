"""A row's way through the trees of a booster, compiled: a few microseconds.

XGBoost sets up threads, blocks and buffers in each call, which a batch pays once and a row alone
pays whole. The walk reads the booster's own arrays and adds leaves as XGBoost does, in single
precision, tree by tree on top of the base score, so that its values have the same bits. That is
tested on the booster itself before it is used, on rows made of its own thresholds.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel

__all__ = ["Forest", "read_forest", "same_bits", "threshold_rows"]

_IDENTITY = {
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "binary:logitraw",
    "rank:pairwise",
    "rank:ndcg",
    "rank:map",
}
_SIGMOID = {"binary:logistic", "reg:logistic"}


class Forest(NamedTuple):
    """The trees of a booster, one after another; a node's children lie side by side.

    Of a leaf, `feature` is -1 and `split` its value. `left` is the first child, the second follows
    it; `missing` is 0 where a row without the feature goes to the first.
    """

    feature: NDArray[np.int32]
    split: NDArray[np.float32]
    left: NDArray[np.int32]
    missing: NDArray[np.int32]
    roots: NDArray[np.int32]
    base: np.float32
    sigmoid: bool

    @property
    def splits_a_row(self) -> float:
        """About how many splits a row passes: the trees' depths, were they balanced."""
        leaves = np.add.reduceat((self.feature < 0).astype(np.int64), self.roots)
        return float(np.log2(leaves).sum())

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        out = np.empty(len(values))
        _walk(
            np.ascontiguousarray(values, np.float64).reshape(-1),
            self.feature,
            self.split,
            self.left,
            self.missing,
            self.roots,
            self.base,
            self.sigmoid,
            out,
        )
        return out


@kernel
def _walk(
    values: NDArray[np.float64],
    feature: NDArray[np.int32],
    split: NDArray[np.float32],
    left: NDArray[np.int32],
    missing: NDArray[np.int32],
    roots: NDArray[np.int32],
    base: np.float32,
    sigmoid: bool,
    out: NDArray[np.float64],
) -> None:
    width = len(values) // max(len(out), 1)
    for row in range(len(out)):
        total = base
        for tree in range(len(roots)):
            node = roots[tree]
            column = feature[node]
            while column >= 0:
                value = np.float32(values[row * width + column])
                if value < split[node]:
                    node = left[node]
                elif value >= split[node]:
                    node = left[node] + 1
                else:  # NaN compares with nothing
                    node = left[node] + missing[node]
                column = feature[node]
            total = np.float32(total + split[node])
        if sigmoid:
            power = math.exp(min(np.float32(-total), np.float32(88.7)))
            total = np.float32(np.float32(1.0) / np.float32(np.float32(power) + np.float32(1.0)))
        out[row] = total


def read_forest(booster: Any) -> Forest | None:
    """Return the trees of a booster, or None where XGBoost does more than walk them.

    That is: several outputs, categorical splits, dropped trees (dart), linear models, or an
    objective that transforms the sum by something else than the identity or a sigmoid.
    """
    model = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective = str(model["objective"]["name"])
    shape = model["learner_model_param"]
    if objective not in _IDENTITY | _SIGMOID or model["gradient_booster"]["name"] != "gbtree":
        return None
    if int(shape.get("num_class", 0)) > 1 or int(shape.get("num_target", 1)) > 1:
        return None
    trees = model["gradient_booster"]["model"]["trees"]
    if not trees or any(not _is_plain(tree) for tree in trees):
        return None
    parts = [_in_order(tree) for tree in trees]
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    return Forest(
        feature=np.concatenate([part[0] for part in parts]),
        split=np.concatenate([part[1] for part in parts]),
        left=np.concatenate(
            [part[2] + np.int32(at) for part, at in zip(parts, starts, strict=False)]
        ),
        missing=np.concatenate([part[3] for part in parts]),
        roots=starts[:-1].astype(np.int32),
        base=_base_of(booster),
        sigmoid=objective in _SIGMOID,
    )


def threshold_rows(forest: Forest, width: int, most: int = 512) -> NDArray[np.float64]:
    """Return rows on, just below and just above the thresholds of a forest, some values missing.

    Shape (n, width), at most *most* rows, always the same ones.
    """
    inner = np.flatnonzero(forest.feature >= 0)
    count = min(most, max(64, 3 * len(inner)))
    rows = np.zeros((count, width))
    for column in range(width):
        splits = np.unique(forest.split[inner[forest.feature[inner] == column]])
        if not len(splits):
            continue
        near = np.concatenate(
            (
                splits,
                np.nextafter(splits, np.float32(-np.inf)),
                np.nextafter(splits, np.float32(np.inf)),
            )
        ).astype(np.float64)
        # a long stride scatters them, and another in each column
        step = 7919 + 2 * column
        rows[:, column] = near[(np.arange(count) * step + column) % len(near)]
    some = np.arange(0, count, 5)
    rows[some, some % width] = np.nan
    return rows


def same_bits(forest: Forest, booster: Any, rows: NDArray[np.float64]) -> bool:
    """Return whether the walk gives each row the bits that XGBoost gives it in a batch."""
    found = np.asarray(booster.inplace_predict(rows, validate_features=False), np.float64)
    return found.shape == (len(rows),) and found.tobytes() == forest.predict(rows).tobytes()


def _is_plain(tree: dict[str, Any]) -> bool:
    vector = int(tree["tree_param"].get("size_leaf_vector", 1)) > 1
    return not vector and not any(tree.get("split_type", ())) and not tree.get("categories")


def _in_order(tree: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return a tree's nodes breadth first, so that siblings are neighbours."""
    left, right = tree["left_children"], tree["right_children"]
    order, places = [0], {0: 0}
    for node in order:  # it grows while it is read
        if left[node] != -1:
            for child in (left[node], right[node]):
                places[child] = len(order)
                order.append(child)
    leaf = np.array([left[node] == -1 for node in order])
    feature = np.array([tree["split_indices"][node] for node in order], np.int32)
    feature[leaf] = -1
    split = np.array([tree["split_conditions"][node] for node in order], np.float32)
    first = np.array([places.get(left[node], 0) for node in order], np.int32)
    missing = np.array([0 if tree["default_left"][node] else 1 for node in order], np.int32)
    return feature, split, first, missing


def _base_of(booster: Any) -> np.float32:
    """Return what XGBoost adds the leaves to: its own answer, from a copy whose leaves are 0."""
    import xgboost

    told = json.loads(bytes(booster.save_raw("json")))
    for tree in told["learner"]["gradient_booster"]["model"]["trees"]:
        pairs = zip(tree["split_conditions"], tree["left_children"], strict=True)
        tree["split_conditions"] = [0.0 if left == -1 else value for value, left in pairs]
    empty = xgboost.Booster({"nthread": 1}, model_file=bytearray(json.dumps(told).encode()))
    row = np.zeros((1, booster.num_features()))
    return np.float32(empty.inplace_predict(row, predict_type="margin", validate_features=False)[0])
