"""The compiled walk against XGBoost itself, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.predictors import tree_walk
from inference.predictors.tree_walk import read_forest, same_bits, threshold_rows
from inference.predictors.xgboost import XGBoostPredictor

pytestmark = pytest.mark.slow

NAMES = ["a", "b", "c", "d"]


def train(seed: int, params: dict[str, Any], rounds: int, *, missing: float = 0.0) -> Any:
    generator = np.random.default_rng(seed)
    scale = 10.0 ** generator.integers(-6, 7, size=4)
    values = generator.normal(size=(160, 4)) * scale
    values[:, 3] = np.round(values[:, 3] / scale[3] * 2)  # few values: rows lie on thresholds
    labels = np.sin(values[:, 0] / scale[0]) + values[:, 3]
    values[generator.random(values.shape) < missing] = np.nan
    objective = str(params.get("objective", ""))
    if "logi" in objective or objective == "multi:softprob":
        labels = (labels > 0).astype(float)
    data = xgboost.DMatrix(values, labels, feature_names=NAMES, nthread=1)
    return xgboost.train({"nthread": 1, "seed": 0, **params}, data, rounds)


def hard_rows(booster: Any, forest: Any, seed: int) -> Any:
    """Return rows at the thresholds, of all magnitudes, infinite and missing ones."""
    generator = np.random.default_rng(seed)
    random = generator.normal(size=(200, 4)) * 10.0 ** generator.integers(-40, 41, size=(200, 4))
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300, 1e-300, 3.4028235e38])
    strange = generator.choice(odd, size=(200, 4))
    rows = np.concatenate((threshold_rows(forest, 4), random, strange))
    mixed = generator.permuted(rows, axis=0)
    return np.concatenate((rows, mixed))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    depth=st.integers(1, 7),
    rounds=st.integers(1, 30),
    objective=st.sampled_from(
        ["reg:squarederror", "binary:logistic", "binary:logitraw", "reg:pseudohubererror"]
    ),
    missing=st.sampled_from([0.0, 0.3]),
    method=st.sampled_from(["hist", "exact"]),
    base=st.sampled_from([None, 0.25]),
    parallel=st.sampled_from([1, 3]),
)
def test_the_walk_has_the_bits_of_xgboost(
    seed: int,
    depth: int,
    rounds: int,
    objective: str,
    missing: float,
    method: str,
    base: float | None,
    parallel: int,
) -> None:
    params = {"objective": objective, "max_depth": depth, "tree_method": method, "eta": 0.4}
    params |= {"num_parallel_tree": parallel} | ({} if base is None else {"base_score": base})
    booster = train(seed, params, rounds, missing=missing)
    forest = read_forest(booster)
    assert forest is not None
    rows = hard_rows(booster, forest, seed)
    assert same_bits(forest, booster, rows)
    alone = np.concatenate([forest.predict(rows[i : i + 1]) for i in range(0, len(rows), 17)])
    assert alone.tobytes() == forest.predict(rows[::17]).tobytes()


def full_tree(leaves: Any, like: Any) -> Any:
    """Return a forest of one tree that leads a row k to leaf k; their number is a power of two."""
    depth = len(leaves).bit_length() - 1
    halves = [(np.arange(2**level) * 2 + 1) * 2 ** (depth - level - 1) for level in range(depth)]
    inner = np.concatenate(halves).astype(np.float32)
    nodes = len(inner) + len(leaves)
    return like._replace(
        feature=np.where(np.arange(nodes) < len(inner), 0, -1).astype(np.int32),
        split=np.concatenate((inner, leaves)).astype(np.float32),
        left=(np.arange(nodes) * 2 + 1).astype(np.int32),
        missing=np.zeros(nodes, np.int32),
        roots=np.zeros(1, np.int32),
        base=np.float32(0),
    )


def test_a_million_sums_have_the_sigmoid_of_xgboost() -> None:
    booster = train(1, {"objective": "binary:logistic", "max_depth": 1, "eta": 1e-6}, 1)
    forest = read_forest(booster)
    assert forest is not None
    sums = np.random.default_rng(1).uniform(-120, 120, 2**20).astype(np.float32)
    rows, none = np.zeros((len(sums), 4)), np.zeros(1, np.float32)
    said = booster.inplace_predict(rows, base_margin=sums, validate_features=False)
    leaf = booster.inplace_predict(rows[:1], base_margin=none, predict_type="margin")[0]
    walked = full_tree(sums + leaf, forest).predict(np.arange(2.0**20)[:, None])
    assert walked.astype(np.float32).tobytes() == said.tobytes()


@pytest.mark.parametrize(
    "params",
    [
        {"booster": "dart", "rate_drop": 0.5},
        {"booster": "gblinear"},
        {"objective": "count:poisson"},
        {"objective": "multi:softprob", "num_class": 3},
    ],
)
def test_what_xgboost_does_not_merely_walk_is_left_to_it(params: dict[str, Any]) -> None:
    if params.get("objective") == "count:poisson":
        values = np.random.default_rng(0).normal(size=(50, 4))
        data = xgboost.DMatrix(values, np.arange(50.0), feature_names=NAMES, nthread=1)
        booster = xgboost.train({"nthread": 1, **params}, data, 3)
    else:
        booster = train(0, params, 4)
    assert read_forest(booster) is None
    linear = params.get("booster") == "gblinear"
    chosen = {"output": 1} if "num_class" in params else {}
    predictor = XGBoostPredictor(booster, **chosen)
    assert predictor.fast_rows == 0
    rows = np.random.default_rng(1).normal(size=(5, 4))
    named = xgboost.DMatrix(rows, feature_names=NAMES, nthread=1)
    said = booster.predict(named) if linear else booster.inplace_predict(rows)
    assert predictor.predict(rows).tolist() == said.reshape(5, -1)[:, 1 if chosen else 0].tolist()
    whole = predictor.probabilities(rows)
    assert (whole is None) != bool(chosen)


def test_categorical_splits_are_left_to_xgboost() -> None:
    values = np.random.default_rng(0).integers(0, 5, size=(200, 1)).astype(float)
    data = xgboost.DMatrix(
        values,
        (values[:, 0] == 3).astype(float),
        feature_names=["kind"],
        feature_types=["c"],
        enable_categorical=True,
        nthread=1,
    )
    booster = xgboost.train({"max_cat_to_onehot": 1, "nthread": 1}, data, 3)
    assert read_forest(booster) is None
    assert XGBoostPredictor(booster).fast_rows == 0


@pytest.mark.parametrize("what", ["threshold", "missing", "base", "order"])
def test_a_walk_of_which_one_bit_differs_is_not_used(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    booster = train(2, {"max_depth": 4}, 20)
    assert XGBoostPredictor(booster).fast_rows > 0
    assert XGBoostPredictor(booster, fast_rows=False).fast_rows == 0
    read = tree_walk.read_forest

    def wrong(of: Any) -> Any:
        forest = read(of)
        assert forest is not None
        split, missing = forest.split.copy(), forest.missing.copy()
        if what == "threshold":
            split[0] = np.nextafter(split[0], np.float32(np.inf))
        if what == "missing":
            missing[0] = 1 - missing[0]
        base = np.nextafter(forest.base, np.float32(9)) if what == "base" else forest.base
        roots = forest.roots[::-1].copy() if what == "order" else forest.roots
        return forest._replace(split=split, missing=missing, base=base, roots=roots)

    monkeypatch.setattr(tree_walk, "read_forest", wrong)
    assert XGBoostPredictor(booster).fast_rows == 0


def test_few_rows_and_many_have_the_same_bits_across_the_crossover() -> None:
    booster = train(3, {"max_depth": 3}, 12)
    predictor = XGBoostPredictor(booster)
    assert predictor.batch_invariant
    rows = np.random.default_rng(1).normal(size=(predictor.fast_rows + 3, 4))
    whole = predictor.predict(rows)
    for size in (1, predictor.fast_rows, predictor.fast_rows + 1):
        assert predictor.predict(rows[:size]).tobytes() == whole[:size].tobytes()
    assert whole.tobytes() == booster.inplace_predict(rows).astype(float).tobytes()


def test_of_two_classes_the_second_column_is_the_value() -> None:
    predictor = XGBoostPredictor(train(4, {"objective": "binary:logistic"}, 5))
    rows = np.random.default_rng(1).normal(size=(6, 4))
    both = predictor.probabilities(rows)
    assert both is not None
    assert both[:, 1].tobytes() == predictor.predict(rows).tobytes()
    assert both.sum(axis=1) == pytest.approx(np.ones(6))
    assert XGBoostPredictor(train(4, {}, 5)).probabilities(rows) is None
