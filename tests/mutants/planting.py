"""How a defect is planted: one method of the running product is changed from outside.

A plant is a function of pytest's `monkeypatch`. The product has no copy and no switch for it, and
it is gone when the test is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backtester import engine
from featurizer.graph import FeatureGraph
from inference.loop import InferenceLoop
from inference.schedule import LoopOutput

Patch = pytest.MonkeyPatch


def frozen(column: Any) -> Any:
    column = np.ascontiguousarray(column)
    column.flags.writeable = False
    return column


def without_express(patch: Patch) -> None:
    """Let every order go to the venue in Python, whose rules are changed."""
    patch.setattr(engine, "may_go", lambda _: False)


def wrap(patch: Patch, owner: type, name: str, make: Any) -> None:
    patch.setattr(owner, name, make(getattr(owner, name)))


def after_graph(patch: Patch, change: Any) -> None:
    def make(real: Any) -> Any:
        return lambda self, records, until: change(real(self, records, until))

    wrap(patch, FeatureGraph, "push", make)


def after_loop(patch: Patch, change: Any) -> None:
    def make(real: Any) -> Any:
        def begin(self: InferenceLoop, *args: Any) -> Callable[[], LoopOutput]:
            finish = real(self, *args)

            def changed() -> LoopOutput:
                made = finish()
                return made._replace(outcomes=change(made.outcomes))

            return changed

        return begin

    wrap(patch, InferenceLoop, "begin", make)


def after_push(patch: Patch, change: Any) -> None:
    def make(real: Any) -> Any:
        def begin(self: InferenceLoop, *args: Any) -> Callable[[], LoopOutput]:
            finish = real(self, *args)
            change(self)
            return finish

        return begin

    wrap(patch, InferenceLoop, "begin", make)
