"""What the flow of events takes: the market before a run, played in real time, ahead of it.

A profile asks a deployment out of nothing. A paper run asks it out of its loop: the host wakes,
hands over what came, computes the row, and only then asks. That part is measured here, with the
strategy and the deployment in place, on a stretch of market that is not the run's.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from backtester.errors import ScenarioError
from backtester.loading import load_strategy, open_catalog
from backtester.paper.readiness import undisturbed, warm_up
from backtester.paper.run import PAPER_WINDOW_ROWS, PaperRun
from clock.errors import InputError
from clock.units import format_duration, format_instant
from clock.wall import WallClock

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from clock.simulated import SimulatedClock
    from inference.backend import Backend, Reply
    from inference.predictors.base import Predictor

__all__ = ["FLOW_FILE", "measure_flow", "with_flow", "write_flow"]

Ints = NDArray[np.int64]

FLOW_FILE: Final = "flow.parquet"


class _Noting:
    """A backend that notes how late it is asked: host time after the instant that asks."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.feature_names = backend.feature_names
        self.lags: list[int] = []
        self.clocks: tuple[WallClock, SimulatedClock] | None = None

    def submit(self, values: NDArray[np.float64]) -> Future[Reply]:
        """Send one row."""
        if self.clocks is not None:
            wall, due = self.clocks
            self.lags.append(max(wall.now - due.now, 0))
        return self._backend.submit(values)

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Predict rows."""
        return self._backend.predict(values)

    def close(self) -> None:
        """Leave it to whoever made it."""


def measure_flow(
    scenario: Scenario, loop: str, predictor: Predictor, backend: Backend, length_ns: int
) -> Ints:
    """Play the market before a scenario's start in real time; return how late rows are asked about.

    Args:
        scenario: With one loop; its own range is not looked at.
        loop: The loop.
        predictor: Its model.
        backend: Who answers.
        length_ns: How much market is played, up to the scenario's start.

    Returns:
        For each request, ns from the instant that it was due until it was sent.

    Raises:
        ScenarioError: If there are several loops, or no row came.
        StrategyError: If a callback of the strategy raised.
    """
    if list(scenario.inference_config) != [loop]:
        raise ScenarioError(
            "`--flow` plays a scenario of one loop: got "
            f"{', '.join(scenario.inference_config)}. Leave it out, or take the others away."
        )
    start, until = scenario.data.start - length_ns, scenario.data.start
    data = scenario.data.model_copy(update={"start": start, "until": until})
    before = scenario.model_copy(update={"data": data})
    noting, models, catalog = _Noting(backend), {loop: predictor}, open_catalog(scenario)
    backends: Any = {loop: {"": noting}}
    clock = WallClock(start=start)
    strategy = scenario.strategy.class_path, scenario.strategy.params
    run = PaperRun(
        before, load_strategy(*strategy), catalog, models, backends=backends, clock=clock
    )
    warm_up(before, load_strategy(*strategy), catalog, models, backends)
    noting.clocks = clock, run.engine.clock
    played = f"`--flow` plays the {format_duration(length_ns)} before {format_instant(until)}"
    try:
        with undisturbed():
            run.execute(PAPER_WINDOW_ROWS)
    except InputError as error:
        raise ScenarioError(f"{played}: {error}") from error
    if not noting.lags:
        raise ScenarioError(
            f"{played}: got no feature row from it. Leave it out, or start the scenario later."
        )
    return np.array(noting.lags, np.int64)


def write_flow(lags: Ints, folder: Path) -> dict[str, float]:
    """Write the recording that `with_flow` names; return its quantiles as plain values, ms."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.array(lags, pa.int64()).cast(pa.duration("ns"))
    pq.write_table(pa.table({"lag": column}), folder / FLOW_FILE)
    points = np.quantile(lags, (0.5, 0.95, 0.99)) / 1e6
    found = dict(zip(("p50", "p95", "p99"), points.tolist(), strict=True))
    return {"count": len(lags), **found}


def with_flow(block: str, folder: Path) -> str:
    """Return an `inference_config` in YAML with what the flow of events takes on the way out."""
    import yaml

    head = "".join(line for line in block.splitlines(keepends=True) if line.startswith("#"))
    content = yaml.safe_load(block)
    network = content["inference_config"]["network"]
    flow = {"kind": "empirical", "path": str(folder / FLOW_FILE), "column": "lag"}
    network["out"] = {"kind": "sum", "terms": [network["out"], flow]}
    return head + yaml.safe_dump(content, sort_keys=False)
