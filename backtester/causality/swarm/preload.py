"""What the swarm's fork server does once: imports, and the kernels of a few drawn scenarios.

No thread is started, as a fork copies none: the scenarios run, and their results are not built.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from pathlib import Path

import numba
import polars
import pyarrow.parquet
from hypothesis import HealthCheck, Phase, given, seed, settings

import backtester.causality.swarm.trial
from backtester.causality.probe import Subject, run_of
from backtester.causality.strategies import Example, scenarios
from backtester.causality.workers import WARM_UP
from backtester.loading import open_catalog
from backtester.scenario import load_scenario
from clock.errors import SimulationError

__all__: list[str] = []

_IMPORTED = (numba, polars, pyarrow.parquet, backtester.causality.swarm.trial)


def _warm_up(example: Example) -> None:
    with suppress(SimulationError), example.written(kept=False) as file:
        scenario = load_scenario(file)
        run = run_of(Subject(scenario, str(file), Path.cwd()), open_catalog(scenario))
        for _ in run.advance():
            pass


if WARM_UP in os.environ:
    seed(0)(
        settings(
            max_examples=12,
            phases=(Phase.generate,),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )(given(scenarios())(_warm_up))
    )()
    gc.freeze()  # or the first collection of every fork would copy all of it
