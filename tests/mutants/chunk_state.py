"""Plants whose outcome depends on how time is cut into pushes and windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from backtester.engine import Engine
from clock.sampler import Sampler
from featurizer.definitions.price import MidPrice
from featurizer.graph import FeatureGraph, FeatureRows
from inference.serving import state as f
from tests.laws.markets import STEP
from tests.mutants.planting import Patch, after_graph, after_push, frozen, wrap


def mid_less_the_mean_of_its_chunk(patch: Patch) -> None:
    """A feature is normalised by its chunk."""

    def value(self: MidPrice, bid: Any, ask: Any) -> Any:
        return (bid + ask) * 0.5 + (np.mean(bid) if np.size(bid) else 0.0) * 1e-6

    patch.setattr(MidPrice, "value", value)


def ties_counted_from_each_chunk(patch: Patch) -> None:
    """The ordinal of a row within its instant starts again with each push."""

    def change(rows: FeatureRows) -> FeatureRows:
        emitted = rows.emitted_at
        first = np.searchsorted(emitted, emitted, side="left")
        return rows._replace(tie=frozen(np.arange(len(emitted)) - first))

    after_graph(patch, change)


def rows_held_back(patch: Patch) -> None:
    """Rows of the last 5 ms before a watermark are handed out with the next push only."""

    def make(real: Any) -> Any:
        def push(self: FeatureGraph, records: Any, until: int) -> FeatureRows:
            made = real(self, records, until)
            held = getattr(self, "held", None)
            if held is not None:
                made = FeatureRows(*map(np.concatenate, zip(held, made, strict=True)))
            count = int((made.emitted_at < until - STEP).sum())
            self.held = FeatureRows(*(column[count:] for column in made))  # type: ignore[attr-defined]
            return FeatureRows(*(frozen(column[:count]) for column in made))

        return push

    wrap(patch, FeatureGraph, "push", make)


def answers_overtake_between_pushes(patch: Patch) -> None:
    """The way back forgets its last message with each push, so that a later answer overtakes."""
    after_push(
        patch, lambda loop: loop._stack._state.scalars.__setitem__(f.LAST_VISIBLE, f.MISSING)
    )


def round_robin_restarts(patch: Patch) -> None:
    """The router starts at the first replica with each push."""
    after_push(patch, lambda loop: loop._stack._state.scalars.__setitem__(f.ROUND_ROBIN, 0))


def latency_depends_on_the_window(patch: Patch) -> None:
    """The entry latency draws differently in each window."""
    windows = [0]

    def run_window(real: Any) -> Any:
        def run(self: Engine, *args: Any) -> None:
            windows[0] += 1
            real(self, *args)

        return run

    wrap(patch, Engine, "run_window", run_window)
    wrap(patch, Engine, "start", lambda real: lambda self: (windows.__setitem__(0, 0), real(self)))
    wrap(patch, Sampler, "draw", lambda real: lambda *args: real(*args) + windows[0])
