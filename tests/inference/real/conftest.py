"""A small Ray of our own for all tests that share one, and a way to wait for what takes real time.

A process is connected to one Ray at a time: tests that start one of their own come after those that
share one, which ends first.
"""

from __future__ import annotations

import asyncio
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


class SharedRay:
    """Started when it is first asked for; ended when a test wants to be without."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._cluster: RayCluster | None = None

    def open(self) -> RayCluster:
        if self._cluster is None:
            self._cluster = self._stack.enter_context(ray_cluster(num_cpus=2))
        return self._cluster

    def close(self) -> None:
        if self._cluster is not None:
            self._stack.close()
            self._cluster = None
            assert not _reports(), "a router goes on reporting to a Ray that is gone"


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[SharedRay]:
    shared = SharedRay()
    yield shared
    shared.close()


@pytest.fixture(scope="module")
def cluster(shared_ray: SharedRay) -> RayCluster:
    return shared_ray.open()


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest, shared_ray: SharedRay) -> None:
    """Leave no Ray in this process but the one that a test starts, if it does not share ours."""
    if "cluster" not in request.fixturenames:
        shared_ray.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those that share a Ray come first, in the places of all that are here."""
    places = [at for at, item in enumerate(items) if HERE in item.path.parents]
    mine = sorted((items[at] for at in places), key=lambda item: not _shares(item))
    for at, item in zip(places, mine, strict=True):
        items[at] = item


def _reports() -> list[Any]:
    """Return what Serve's routers do by themselves in this process."""
    from ray.serve._private.router import SingletonThreadRouter

    loop = SingletonThreadRouter._asyncio_loop
    tasks = asyncio.all_tasks(loop) if loop is not None else []
    names = [getattr(task.get_coro(), "__qualname__", "") for task in tasks]
    return [name for name in names if name.startswith("MetricsPusher")]


HERE = Path(__file__).parent


def _shares(item: pytest.Item) -> bool:
    return "cluster" in getattr(item, "fixturenames", ())


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
