"""A small Ray for the tests that do not end it, and a way to wait for what takes real time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.backend import Reply
from inference.config import InferenceConfig
from inference.ray_serve import RayCluster, ray_cluster
from inference.ray_serve.guard import Identity, processes
from tests.inference.real.moody import write_model

PATIENCE_S = 60.0
"""For what should take a second or two: the machine may be busy with other things."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those go first that share a Ray: a process connects to one at a time."""
    items.sort(key=lambda item: "alone" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def _shared() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def cluster(_shared: ExitStack) -> RayCluster:
    """A Ray that the tests of several files deploy to; what a file deploys it takes down."""
    return _shared.enter_context(ray_cluster(num_cpus=2))


@pytest.fixture
def alone(_shared: ExitStack) -> None:
    """No Ray in this process but the one that the test starts."""
    _shared.close()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return what a condition gives once it is true, with a deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.05)
    return found


def answers(futures: list[Future[Reply]]) -> list[Reply]:
    return [future.result(PATIENCE_S) for future in futures]


def row(mood: int, argument: float = 0.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([mood, argument], np.float64)


def moody(path: Path, weight: float = 1.0, **fields: Any) -> InferenceConfig:
    return InferenceConfig.model_validate(
        {
            "model_uri": write_model(path, weight),
            "predictor_class_name": "tests.inference.real.moody.Moody",
            "health_check_period": "1s",
            "graceful_shutdown_timeout": "2s",
            **fields,
        }
    )


def family(pid: int) -> set[Identity]:
    """Return a process and all that descends from it."""
    known = processes()
    found = {pid}
    while more := {one for one, (parent, _, _) in known.items() if parent in found} - found:
        found |= more
    return {(one, known[one][1]) for one in found if one in known}


def rays_of_ours() -> list[str]:
    return [name for name in os.listdir("/tmp") if name.startswith("lightcone-ray-")]
