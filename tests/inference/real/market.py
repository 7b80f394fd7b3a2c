"""A small market with a model of its moves, for runs whose rows replicas predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from tests.backtester.worlds import ALPHA, MIDS, Quote, content, make_catalog


def write_market(folder: Path, rows: int = 400) -> dict[str, Any]:
    """Write a market, a quote every 2 ms, and a model; return a scenario of them."""
    moves = np.cumsum(np.random.default_rng(4).integers(-1, 2, rows))
    quotes = [
        Quote(1 + 2 * at, 99.0 + move / 2, 101.0 + move / 2, 10.0 + at % 5)
        for at, move in enumerate(moves.tolist())
    ]
    make_catalog(folder / "catalog", {ALPHA: quotes})
    values = np.random.default_rng(1).normal(100, 3, size=(300, 2))
    names = ["mid", "imbalance"]
    data = xgboost.DMatrix(values, np.sin(values[:, 0]), feature_names=names)
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, data, 20)
    booster.save_model(folder / "model.json")
    return content(
        folder / "catalog",
        [ALPHA],
        featurizer=MIDS,
        inference={
            "model_uri": str(folder / "model.json"),
            "polling": "on_feature",
            "num_replicas": 2,
            "service_time": {"kind": "lognormal", "median": "4ms", "p99": "20ms"},
        },
        strategy={
            "class": "backtester.strategies.MLStrategy",
            "params": {"buy_delta": 0.01, "sell_delta": 0.01, "quantity": 1},
        },
    )
