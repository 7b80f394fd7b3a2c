"""The check of training: rows depend on nothing beyond them, do not overlap, are known in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backtester.causality.probe import Subject
from backtester.causality.retraining import retrain
from backtester.loading import open_catalog
from backtester.scenario import load_scenario
from featurizer.dataset import FeatureLabelSet
from featurizer.definitions.book import Imbalance

pytestmark = pytest.mark.slow

SCENARIO = """
name: trained
seed: 1
data:
  catalog: data
  synthetic: {seed: 3, duration: 60s, start: 2024-01-01T00:00:00Z, feed_latency: 1ms}
  instruments: [SIM.ALPHA]
  start: 2024-01-01T00:00:45Z
  until: 2024-01-01T00:00:59Z
training:
  start: 2024-01-01T00:00:01Z
  until: 2024-01-01T00:00:40Z
  model: mine
featurizer:
  sampling: 100ms
  label_feature: mid
  label_lookahead: 2s
  feature_configs:
    - {feature_definition: price.MidPrice, name: mid}
    - {feature_definition: book.Imbalance, name: imbalance}
inference_config: {model_uri: models:/mine/1, features: [imbalance]}
strategy: {class: backtester.strategies.MLStrategy}
portfolio: {quote: USD, balances: {USD: 100000}}
"""


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SCENARIO)

    def make(*settings: str) -> Subject:
        scenario = load_scenario("mine.yaml", settings)
        open_catalog(scenario)
        return Subject(scenario, "mine.yaml", tmp_path)

    return make


def test_an_honest_training_has_nothing_to_tell(subject: Any) -> None:
    assert retrain(subject(), 0) == []


def test_a_feature_scaled_by_the_rest_of_the_rows_is_told_of_both_ranges(
    subject: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Imbalance.push

    def scaled(self: Any, state: Any, batch: Any) -> Any:
        output = real(self, state, batch)
        mean = batch.columns[0].mean() if len(batch.times) else 0.0
        return output._replace(reads=output.reads - mean)

    monkeypatch.setattr(Imbalance, "push", scaled)
    told = retrain(subject(), 0)
    assert any("only what follows the first held-out row" in one for one in told)
    assert all("`imbalance` of the row emitted at" in one for one in told)


def test_a_scaler_that_reaches_as_far_as_the_held_out_rows_alone_is_told(
    subject: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = FeatureLabelSet.build

    def scaled(*args: Any, **named: Any) -> FeatureLabelSet:
        rows = build(*args, **named)
        column = rows.frame["imbalance"]
        known = column.drop_nans()
        frame = rows.frame.with_columns((column - known.mean()) / known.std())
        return FeatureLabelSet(frame, rows.names)

    monkeypatch.setattr(FeatureLabelSet, "build", scaled)
    told = retrain(subject(), 0)
    assert len(told) == 1
    assert "only what follows the first held-out row" in told[0]


def test_fitted_rows_that_reach_into_the_held_out_ones_are_counted(
    subject: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = FeatureLabelSet.split

    def overlapping(self: Any, test_start: float, *, purge: bool, embargo_ns: int) -> Any:
        return split(self, test_start, purge=False, embargo_ns=embargo_ns)

    monkeypatch.setattr(FeatureLabelSet, "split", overlapping)
    told = retrain(subject(), 0)
    assert len(told) == 1
    assert "that are fitted become visible after the first held-out row" in told[0]


def test_labels_that_become_visible_after_the_runs_start_are_counted(subject: Any) -> None:
    told = retrain(subject("training.until=2024-01-01T00:00:50Z"), 0)
    assert len(told) == 1
    assert "labels become visible at or after the run's start" in told[0]
    other = subject("training.until=2024-01-01T00:00:50Z", "training.model=another")
    assert retrain(other, 0) == [], "a model that the run does not ask is no leak of the run"
