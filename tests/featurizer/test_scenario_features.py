"""The scenario of features of the real captures, from raw files to rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from clock.units import parse_instant
from featurizer.catalog import Catalog
from featurizer.config import FeaturizerConfig
from featurizer.dataset import FeatureLabelSet
from featurizer.dataset_store import write_dataset
from featurizer.graph import FeatureGraph
from featurizer.ingest.binance import ingest_binance_capture
from featurizer.leaks import leak_report
from featurizer.splits import purged_k_fold
from tests.real_data import capture_path

SCENARIO = yaml.safe_load(
    (Path(__file__).parents[2] / "scenarios" / "btc-features.yaml").read_text()
)
CAPTURES = ("binance-usdm-btcusdt-20240808.gz", "binance-usdm-ethusdt-20240808.gz")


def test_the_scenario_asks_for_more_than_two_dozen_features_of_both_on_a_grid() -> None:
    config = FeaturizerConfig.model_validate(SCENARIO["featurizer"])
    graph = FeatureGraph(config, SCENARIO["data"]["instruments"])
    assert len(graph.names) >= 25
    assert graph.blocks == 2
    assert config.sampling == 100_000_000
    assert config.label_lookahead


@pytest.mark.slow
@pytest.mark.real_data
def test_the_real_captures_give_rows_of_both_with_labels_and_no_sign_of_a_leak(
    tmp_path: Path,
) -> None:
    names = SCENARIO["data"]["instruments"]
    for file, name in zip(CAPTURES, names, strict=True):
        ingest_binance_capture(capture_path(file), name, tmp_path / "data", clock_offset="auto")
    config = FeaturizerConfig.model_validate(SCENARIO["featurizer"])
    start = parse_instant(SCENARIO["data"]["start"])
    until = start + 60 * 10**9
    write_dataset(Catalog(tmp_path / "data"), config, names, start, until, tmp_path / "set")
    rows = FeatureLabelSet.read(tmp_path / "set")
    assert len(rows.frame) == 2 * 600
    for name in names:
        own = rows.frame.filter(pl.col("instrument") == name)
        assert len(own) == 600
        assert own["label"].count() > 550
        warm = own.tail(100).select(rows.names).to_numpy()
        assert np.isfinite(warm).all()
    assert leak_report(rows, purged_k_fold(rows, 4, embargo_ns=10**9)) == []
