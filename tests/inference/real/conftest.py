"""One Ray for all tests of the real stack: a process connects to one at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inference.ray_serve import RayCluster, ray_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(num_cpus=2) as found:
        yield found
