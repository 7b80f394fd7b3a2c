"""What the fork server does once, so that no run has to: imports, kernels, models.

No user code is run here, and no thread is started: a fork copies neither safely.
"""

from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars
import pyarrow.parquet
import xgboost
from numpy.typing import NDArray

import backtester.run
import inference.loop
import inference.predictors.base
from backtester.causality.probe import Subject
from backtester.causality.workers import WARM_UP
from backtester.loading import open_catalog
from backtester.run import Mode, Run
from backtester.scenario import Scenario
from backtester.strategies import BuyAndHold
from clock.errors import SimulationError
from featurizer.graph import FeatureGraph

__all__: list[str] = []

_IMPORTED = (
    numba, polars, pyarrow.parquet, xgboost, backtester.run, inference.loop,
    inference.predictors.base,
)  # fmt: skip


_MODES: tuple[Mode, ...] = ("ahead", "lockstep")
_ROWS = 1024
_OF_OURS = {"feature_definition": "price.MidPrice", "name": "mid"}


def _warm_up(subject: Subject) -> None:
    """Run the beginning of a scenario with a strategy and features of ours alone, both ways."""
    content = subject.scenario.resolved()
    content["strategy"] = {"class": "backtester.strategies.BuyAndHold", "params": {}}
    features = content["featurizer"]
    if features is not None:
        mine = [c for c in features["feature_configs"] if _is_ours(c["feature_definition"])]
        if mine != features["feature_configs"]:
            features["feature_configs"] = mine or [_OF_OURS]
            content["inference_config"] = {}
            content["training"] = features["label_feature"] = None
    scenario = Scenario.model_validate(content)
    loops = scenario.inference_config
    predictors: Any = {}
    for name, config in loops.items():
        zero = _Zero(config.features or _names(scenario))
        predictors[name] = dict.fromkeys(config.variants, zero) if config.variants else zero
    for mode in _MODES:
        run = Run(scenario, BuyAndHold(), open_catalog(scenario), predictors, mode=mode)
        next(run.advance(_ROWS))


class _Zero:
    """A model that answers nothing: a real one may start threads, which no fork survives."""

    batch_invariant, accepts_nan, digest, version, training = True, True, "", "", None

    def __init__(self, names: Sequence[str]) -> None:
        self.feature_names = tuple(names)

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros(len(values))


def _names(scenario: Scenario) -> tuple[str, ...]:
    config = scenario.featurizer
    return () if config is None else FeatureGraph(config, scenario.data.instruments).names


def _is_ours(definition: str) -> bool:
    module = definition.rpartition(".")[0]
    return (
        find_spec(f"featurizer.definitions.{module}") is not None
        if module.isidentifier()
        else False
    )


if WARM_UP in os.environ:
    # what is wrong with the scenario, its run will say: here it only makes the check slower
    with suppress(SimulationError, ValueError):
        _warm_up(pickle.loads(Path(os.environ[WARM_UP]).read_bytes()))
gc.freeze()  # or the first collection of every fork would copy all of it
