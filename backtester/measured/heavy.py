"""The heavy subject: an XGBoost model with so much to do that requests wait for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from backtester.errors import ScenarioError
from backtester.loading import open_catalog
from backtester.measured.subject import Subject

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.config import InferenceConfig

__all__ = ["heavy_subject"]

TREES: Final = 400
"""Few enough to stay in a core's own cache. What is read from further away takes its time by what
other guests of the machine do: 2000 trees of depth 6 took from 7 to 13 ms in one run."""
PARAMS: Final = {"max_depth": 5, "eta": 0.05}
MOST_WAITING: Final = 1000
"""At its only replica: what a burst leaves there must not sleep in the router instead."""


def heavy_subject(
    scenario: Scenario, config: InferenceConfig, rows: int, folder: Path, requests: int
) -> Subject:
    """Return a large ensemble, trained on the scenario's rows and asked about many at once.

    It has one replica: of two cores the other one is left to the client and to Ray.

    Args:
        scenario: With a `training` block, for its rows and labels.
        config: The loop, for its router and batching.
        rows: Rows of a request.
        folder: Where its artifact is written.
        requests: Requests with rows of their own.

    Raises:
        ScenarioError: If the scenario describes no training, or its range holds too few rows.
    """
    from backtester.train import training_rows
    from inference.measure.cross_section import (
        CROSS_SECTION,
        CrossSectionPredictor,
        cross_sections,
        write_cross_section,
    )
    from inference.training import fit_booster

    found = training_rows(scenario, open_catalog(scenario))
    known = found.to_arrays()
    if len(known.labels) < rows:
        raise ScenarioError(
            f"the heavy model asks about {rows} rows at once: the scenario's `training` range has "
            f"{len(known.labels)}. Take a longer range, or fewer with `--heavy-rows`."
        )
    booster = fit_booster(known.features, known.labels, found.names, PARAMS, TREES)
    path = write_cross_section(booster, rows, folder / "model").absolute()
    given = config.model_dump(mode="json", exclude={"features", "num_replicas"})
    given |= {
        "model_uri": str(path),
        "predictor_class_name": CROSS_SECTION,
        "deployment_name": "heavy",
        "num_replicas": 1,
        "max_ongoing_requests": MOST_WAITING,
    }
    about = f"XGBoost, {TREES} trees, {rows} rows a request, one replica"
    asked = cross_sections(np.ascontiguousarray(known.features), rows, range(requests))
    where = "feature rows of the scenario's training range, in a row"
    predictor = CrossSectionPredictor.load(path)
    own = type(config).model_validate(given)
    return Subject("heavy", about, own, predictor, asked, where)
