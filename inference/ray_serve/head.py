"""A process that keeps a Ray of ours until it gets SIGTERM: `python -m inference.ray_serve.head`.

It is what `lightcone serve deploy --detach` leaves behind, and what the last `delete` ends. Its
arguments are the processors that it leaves to models.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from threading import Event
from typing import Any

from inference.ray_serve.cluster import ray_cluster
from inference.ray_serve.running import announced

__all__ = ["keep"]


def keep(processors: Sequence[int]) -> None:
    """Start a Ray, off some processors, and keep it until SIGTERM, or until it is lost."""
    over = Event()

    def leave(got: int, frame: Any) -> None:
        over.set()

    with ray_cluster(keep_off=processors) as cluster:
        cluster.when_lost(lambda why: over.set())
        signal.signal(signal.SIGTERM, leave)
        with announced(cluster, detached=True):
            over.wait()


if __name__ == "__main__":
    keep([int(text) for text in sys.argv[1:]])
