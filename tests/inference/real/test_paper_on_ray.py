"""A paper run whose rows replicas of Ray Serve answer, in real time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost

from backtester.paper.run import run_paper
from backtester.scenario import Scenario
from inference.ray_serve import RayCluster
from tests.inference.real.market import write_market

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]


def test_a_paper_run_on_replicas_accounts_for_every_row_and_leaves_nothing(
    cluster: RayCluster, tmp_path: Path
) -> None:
    mapping: dict[str, Any] = write_market(tmp_path)
    loop = mapping["inference_config"] | {"max_in_flight": 500, "max_ongoing_requests": 8}
    scenario = Scenario.model_validate(mapping | {"inference_config": loop})
    from ray import serve

    others = set(serve.status().applications)  # of tests that share this Ray
    # a quarter of the pace: a row every 8 ms of the host's
    result = run_paper(scenario, speed=0.25, backend="ray_serve", cluster=cluster)
    counts, paper = result.summary["predictions"], result.summary["paper"]
    assert (paper["backend"], paper["stopped"]) == ("ray_serve", None)
    assert paper["errors"] == {"main": {"count": 0, "newest": []}}
    assert counts["submitted"] == result.summary["feature_rows"] == 400
    assert counts["completed"] + counts["in_flight"] == 400
    assert counts["completed"] > 300

    # every answer is the model's own, and came back after it was asked, by a replica's own clock
    booster = xgboost.Booster()
    booster.load_model(tmp_path / "model.json")
    answered = result.predictions.filter(pl.col("outcome") == "completed")
    rows = _rows(tmp_path, answered["emitted_at"])
    assert (answered["value"].to_numpy() == booster.inplace_predict(rows)).all()
    measured = result.measured
    assert measured is not None
    assert measured["replica"].n_unique() == 2
    for leg in ("service_time", "outward", "back"):
        assert (measured[leg].dt.total_nanoseconds() > 0).all(), leg
    assert result.summary["orders"] > 0
    assert set(serve.status().applications) == others


def _rows(folder: Path, emitted_at: pl.Series) -> Any:
    """Return mid and imbalance of the quote behind each row, from the catalog's own file."""
    (path,) = (folder / "catalog" / "quotes").rglob("*.parquet")
    quotes = pl.read_parquet(path).select(
        "receipt_time",
        mid=(pl.col("bid_price") + pl.col("ask_price")) / 2,
        imbalance=(pl.col("bid_quantity") - pl.col("ask_quantity"))
        / (pl.col("bid_quantity") + pl.col("ask_quantity")),
    )
    asked = pl.DataFrame({"receipt_time": emitted_at.cast(quotes["receipt_time"].dtype)})
    found = asked.join(quotes, on="receipt_time", how="left", maintain_order="left")
    return np.ascontiguousarray(found.select("mid", "imbalance").to_numpy())
