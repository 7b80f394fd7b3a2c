"""From a scenario to a registered model: rows, labels, split, fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from backtester.errors import ScenarioError
from backtester.loading import open_catalog
from backtester.scenario import Scenario, TrainingConfig
from clock.units import format_duration, format_instant

if TYPE_CHECKING:
    from featurizer.catalog import Catalog
    from featurizer.config import FeaturizerConfig
    from featurizer.dataset import FeatureLabelSet, LabelledArrays
    from inference.config import InferenceConfig
    from inference.training import TrainedModel

__all__ = [
    "held_out_rows",
    "model_columns",
    "split_rows",
    "stacked_columns",
    "train_scenario",
    "training_rows",
]

MIN_ROWS = 50
"""Fewest labelled rows that a model is fitted to."""


def train_scenario(
    scenario: Scenario, progress: Callable[[int, int], None] | None = None
) -> TrainedModel:
    """Fit and register the model that a scenario's `training` block describes.

    The model is fitted to the first part of the range; the last part (`validation`), purged of
    labels that overlap, is held out for its metrics.

    Args:
        scenario: With `training` and `featurizer`.
        progress: Called with the simulated ns read and the total.

    Raises:
        InputError: If the scenario describes no training, or its range gives too few rows.
    """
    training, config = _described(scenario)
    catalog = open_catalog(scenario)
    from inference.predictors.base import TrainingRecord
    from inference.registry import Registry
    from inference.training import train_xgboost

    rows = training_rows(scenario, catalog, progress)
    to_fit, to_hold_out = split_rows(rows, training)
    fitted = to_fit.to_arrays()
    held_out = None if to_hold_out is None else to_hold_out.to_arrays()
    if len(fitted.labels) < MIN_ROWS:
        raise ScenarioError(
            f"`training` must give at least {MIN_ROWS} rows with features and label: got "
            f"{len(fitted.labels)} of {len(rows.frame)} in {format_instant(training.start)} to "
            f"{format_instant(training.until)}. Take a longer range, or shorter windows."
        )
    requests = [
        (name, kind) for name, kind in catalog.streams() if name in scenario.data.instruments
    ]
    known = [part.label_visible_at for part in (fitted, held_out) if part is not None]
    record = TrainingRecord(
        start=training.start,
        until=training.until,
        # of the held-out part too: its metrics may have been looked at
        last_label_visible_at=int(np.concatenate(known).max()),
        data_digest=catalog.digest(requests, training.start, training.until),
    )
    return train_xgboost(
        fitted.features,
        fitted.labels,
        rows.names,
        params=training.params,
        rounds=training.rounds,
        validation=None if held_out is None else (held_out.features, held_out.labels),
        provenance=record,
        model_name=training.model,
        registry=Registry(),
        extra_params=_extra(scenario, config),
    )


def training_rows(
    scenario: Scenario, catalog: Catalog, progress: Callable[[int, int], None] | None = None
) -> FeatureLabelSet:
    """Return the rows and labels of a scenario's training range, with the model's columns alone.

    Args:
        scenario: With `training` and `featurizer`.
        catalog: Where the records come from.
        progress: As in `train_scenario`.

    Raises:
        ScenarioError: If the scenario describes no training.
    """
    training, config = _described(scenario)
    from featurizer.dataset import FeatureLabelSet

    span = training.until - training.start
    rows = FeatureLabelSet.build(
        catalog,
        config,
        scenario.data.instruments,
        training.start,
        training.until,
        None if progress is None else lambda now: progress(now - training.start, span),
    )
    return FeatureLabelSet(rows.frame, model_columns(scenario, rows.names))


def held_out_rows(
    scenario: Scenario, catalog: Catalog, progress: Callable[[int, int], None] | None = None
) -> LabelledArrays | None:
    """Return the rows that `train_scenario` holds out for its metrics, None where there are none.

    Args:
        scenario: With `training` and `featurizer`.
        catalog: Where the records come from.
        progress: As in `train_scenario`.
    """
    training, _ = _described(scenario)
    held_out = split_rows(training_rows(scenario, catalog, progress), training)[1]
    return None if held_out is None else held_out.to_arrays()


def model_columns(scenario: Scenario, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that the scenario's first loop reads: the model is trained on those."""
    for loop in scenario.inference_config.values():
        if loop.features is not None:
            missing = [name for name in loop.features if name not in names]
            if missing:
                raise ScenarioError(
                    f"`inference_config.features` must be features of the scenario: got "
                    f"{', '.join(missing)}. Known: {', '.join(names)}."
                )
            return stacked_columns(loop, scenario.featurizer).features or names
        break
    return names


def stacked_columns(loop: InferenceConfig, config: FeaturizerConfig | None) -> InferenceConfig:
    """Return a loop's configuration with each feature it reads as the row's last `rows: n` values.

    A loop that names columns of earlier rows itself, `mid@-1`, is left as it is.
    """
    if config is None or config.rows == 1 or loop.features is None:
        return loop
    if any("@" in name for name in loop.features):
        return loop
    from featurizer.config import row_names

    return loop.model_copy(update={"features": row_names(loop.features, config.rows)})


def _described(scenario: Scenario) -> tuple[TrainingConfig, FeaturizerConfig]:
    training, config = scenario.training, scenario.featurizer
    if training is None or config is None or config.label_feature is None:
        raise ScenarioError(
            f"scenario {scenario.name!r} must describe a training: it has no "
            f"`{'training' if training is None else 'featurizer.label_feature'}`. Add it."
        )
    return training, config


def split_rows(
    rows: FeatureLabelSet, training: TrainingConfig
) -> tuple[FeatureLabelSet, FeatureLabelSet | None]:
    """Return the rows that a model is fitted to, and those held out for its metrics.

    Fitted rows whose label becomes visible after the first held-out one are purged. Where there
    are too few rows, or none is to be held out, all are fitted.
    """
    if not training.validation or len(rows.frame) < MIN_ROWS:
        return rows, None
    return rows.split(1 - training.validation, purge=True, embargo_ns=training.embargo)


def _extra(scenario: Scenario, config: FeaturizerConfig) -> dict[str, Any]:
    return {
        "scenario": scenario.name,
        "instruments": ",".join(scenario.data.instruments),
        "label": f"{config.label} of {config.label_feature}",
        "label_lookahead": format_duration(config.label_lookahead or 0),
        "sampling": str(config.model_dump(mode="json")["sampling"]),
    }
