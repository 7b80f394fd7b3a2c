"""A process that keeps a Ray of ours until it gets SIGTERM: `python -m inference.ray_serve.head`.

It is what `lightcone serve deploy --detach` leaves behind, and what the last `delete` ends.
"""

from __future__ import annotations

import signal
from threading import Event
from typing import Any

from inference.ray_serve.cluster import ray_cluster
from inference.ray_serve.running import announced

__all__ = ["keep"]


def keep() -> None:
    """Start a Ray and keep it until SIGTERM, or until it is lost."""
    over = Event()

    def leave(got: int, frame: Any) -> None:
        over.set()

    with ray_cluster() as cluster:
        cluster.when_lost(lambda why: over.set())
        signal.signal(signal.SIGTERM, leave)
        with announced(cluster, detached=True):
            over.wait()


if __name__ == "__main__":
    keep()
