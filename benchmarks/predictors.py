"""One row, and a few, through the trees of an XGBoost model: what each library takes.

    python benchmarks/predictors.py [--calls 400] [--json] [--extra FOLDER]

The compiled walk of `inference.predictors.tree_walk` beside XGBoost's two ways, ONNX Runtime, and
Treelite where it is installed (`--extra` names a folder with `treelite` and `tl2cgen` in it; its
generated C needs a compiler). All on one thread. Each number is the median of so many calls of host
time, in microseconds; the ways take turns, call by call, so that a busy machine is busy for all of
them. `same_bits` compares with XGBoost's own batch. `crossover_rows` is the largest batch for which
the walk was not slower than XGBoost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import xgboost

from inference.predictors.tree_walk import read_forest
from inference.predictors.xgboost import XGBoostPredictor, fast_rows_of

SHAPES = {"small": (20, 3), "quickstart": (100, 4), "large": (500, 6)}
"""Trees and their depth."""

SIZES = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
WAYS_OF_BATCHES = ("walk", "inplace_predict")
FEATURES = 12

Way = Callable[[Any], Any]


def model(trees: int, depth: int) -> Any:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(6000, FEATURES))
    labels = np.sin(values[:, 0]) + values[:, 1] * values[:, 2] + generator.normal(size=6000)
    names = [f"x{n}" for n in range(FEATURES)]
    data = xgboost.DMatrix(values, labels, feature_names=names, nthread=1)
    params = {"max_depth": depth, "eta": 0.1, "nthread": 1, "tree_method": "hist"}
    return xgboost.train(params, data, trees)


def ways(booster: Any, folder: Path) -> dict[str, Way]:
    names = booster.feature_names
    forest = read_forest(booster)
    assert forest is not None

    def through_matrix(rows: Any) -> Any:
        return booster.predict(xgboost.DMatrix(rows, feature_names=names, nthread=1))

    found: dict[str, Way] = {
        "walk": forest.predict,
        "predictor": XGBoostPredictor(booster).predict,
        "inplace_predict": lambda rows: booster.inplace_predict(rows, validate_features=False),
        "dmatrix": through_matrix,
    }
    found |= onnx_way(booster, folder)
    return found | treelite_way(booster, folder)


def onnx_way(booster: Any, folder: Path) -> dict[str, Way]:
    from inference.onnx_export import to_onnx
    from inference.predictors.onnx import OnnxPredictor

    (folder / "model.onnx").write_bytes(to_onnx(XGBoostPredictor(booster)).SerializeToString())
    return {"onnxruntime": OnnxPredictor.load(folder / "model.onnx").predict}


def treelite_way(booster: Any, folder: Path) -> dict[str, Way]:
    """Return Treelite's interpreter and its generated C, where they are installed."""
    try:
        import treelite
    except ImportError:
        return {}
    read = treelite.frontend.from_xgboost_json(booster.save_raw("json").decode())
    found: dict[str, Way] = {
        "treelite": lambda rows: treelite.gtil.predict(read, rows.astype(np.float32), nthread=1)
    }
    try:
        import tl2cgen

        library = folder / "trees.so"
        with _silent():
            tl2cgen.export_lib(read, toolchain="gcc", libpath=library, params={})
            compiled = tl2cgen.Predictor(library, nthread=1)
    except Exception as error:  # no compiler, or one that refuses
        print(f"tl2cgen left out: {error}", file=sys.stderr)
        return found
    return found | {
        "tl2cgen": lambda rows: compiled.predict(tl2cgen.DMatrix(rows.astype(np.float32)))
    }


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what a library writes to standard output from C out of the JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def median_us(asked: dict[str, Way], rows: Any, calls: int) -> dict[str, float]:
    taken: dict[str, list[int]] = {name: [] for name in asked}
    for name, way in asked.items():
        for _ in range(3):
            way(rows)
        taken[name].clear()
    generator, names = np.random.default_rng(3), list(asked)
    for _ in range(calls):
        # shuffled: nobody always finds the caches as the same other left them
        for name in generator.permutation(names).tolist():
            way = asked[name]
            begun = time.perf_counter_ns()
            way(rows)
            taken[name].append(time.perf_counter_ns() - begun)
    return {name: round(float(np.median(all_)) / 1000, 2) for name, all_ in taken.items()}


def measure(trees: int, depth: int, calls: int) -> dict[str, Any]:
    booster = model(trees, depth)
    forest = read_forest(booster)
    assert forest is not None
    with tempfile.TemporaryDirectory() as folder:
        asked = ways(booster, Path(folder))
        rows = np.random.default_rng(2).normal(size=(max(SIZES), FEATURES))
        whole = booster.inplace_predict(rows).astype(np.float64)
        bits = {
            name: bool(
                np.asarray(way(rows[:64]), np.float64).ravel().tobytes() == whole[:64].tobytes()
            )
            for name, way in asked.items()
        }
        single = median_us(asked, rows[:1], calls)
        few = {name: asked[name] for name in WAYS_OF_BATCHES}
        by_size = {
            str(size): median_us(few, rows[:size], max(20, calls // 8)) for size in SIZES[1:]
        }
    won = [int(size) for size, one in by_size.items() if one["walk"] <= one["inplace_predict"]]
    return {
        "trees": trees,
        "depth": depth,
        "single_row_us": single,
        "same_bits": bits,
        "by_rows_us": by_size,
        "crossover_rows": max(won, default=1),
        "chosen_crossover_rows": fast_rows_of(forest),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--extra", help="folder of packages that are only compared")
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    asked = parser.parse_args()
    if asked.extra:
        sys.path.append(asked.extra)
    found: dict[str, Any] = {
        name: measure(trees, depth, asked.calls) for name, (trees, depth) in SHAPES.items()
    }
    told = {
        "calls": asked.calls,
        "models": found,
        "versions": {one: _version(one) for one in ("xgboost", "onnxruntime", "numba", "treelite")},
        "machine": f"{platform.node()} {platform.machine()}",
    }
    if asked.json:
        json.dump(told, sys.stdout, indent=2)
        print()
        return
    for name, one in found.items():
        print(f"{name}: {one['trees']} trees of depth {one['depth']}, one row, microseconds")
        for way, taken in one["single_row_us"].items():
            print(f"  {way:16}{taken:10.1f}{'  same bits' if one['same_bits'][way] else ''}")
        print(f"  the walk wins up to {one['crossover_rows']} rows")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


if __name__ == "__main__":
    main()
