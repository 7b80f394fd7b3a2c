"""Before time begins to pass: everything that a paper run needs is compiled, loaded and at rest."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backtester.run import Run
from clock.errors import SimulationError

if TYPE_CHECKING:
    from backtester.paper.backends import Backends
    from backtester.scenario import Scenario
    from backtester.strategy import Strategy
    from featurizer.catalog import Catalog

__all__ = ["undisturbed", "warm_up"]

_WARM_UP_NS: Final = 10_000_000_000
_WARM_UP_WAIT_S: Final = 30.0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the collector from what is loaded by now, which stays, for the length of a block."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def warm_up(
    scenario: Scenario, strategy: Strategy, catalog: Catalog, models: Any, backends: Backends
) -> None:
    """Load and compile what the run will need: a first call of each kernel takes up to a second.

    The first seconds are backtested event by event, with a strategy of its own, and each deployment
    is asked about one row. What goes wrong here goes wrong again in the run, and is told there.
    """
    data = scenario.data
    until = min(data.until, data.start + _WARM_UP_NS)
    short = scenario.model_copy(update={"data": data.model_copy(update={"until": until})})
    with suppress(SimulationError):
        Run(short, strategy, catalog, models, mode="lockstep").execute()
    asked = [
        backend.submit(np.zeros(len(backend.feature_names)))
        for of_loop in backends.values()
        for backend in of_loop.values()
    ]
    wait(asked, _WARM_UP_WAIT_S)
    for future in asked:
        future.cancel()
