"""Ray, imported so that it says nothing on the standard output of whoever uses it."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from typing import Any

__all__ = ["quiet_ray", "quiet_routers", "quiet_serve"]

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # Serve goes on asking when its cluster is gone
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "GRPC_VERBOSITY": "ERROR",
    "RAY_worker_niceness": "0",  # 15 by default: replicas would yield to all else on the host
    # rows and answers go straight to the replica and back: half the processor time of an actor's
    # call, whose answer is a stream of two objects
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    # the model has a thread of its own in `Served`: another one around it only costs a hop
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
"""Read by Ray when it is imported, and by the processes that it starts."""

_LOG = logging.getLogger("lightcone.ray")


def quiet_ray() -> Any:
    """Return the module `ray`, with its progress, its telemetry and its warnings off.

    What its node has to say goes to the log `lightcone.ray`, at the level of information.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own use of other libraries
        import ray
        import ray.serve
        from ray._private import worker
    quiet_serve()
    # it prints this on standard output, which belongs to our caller
    worker.print_to_stdstream = _to_the_log
    return ray


def quiet_serve() -> None:
    """Keep Serve's logger quiet: connecting sets its level anew."""
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)


def quiet_routers() -> None:
    """End the reports of Serve's routers in this process, before it leaves its Ray.

    A router of a deployment with an autoscaler goes on reporting for ever, and logs each failure.
    """
    from ray.serve._private.router import SingletonThreadRouter

    loop = SingletonThreadRouter._asyncio_loop

    async def stop() -> None:
        for task in asyncio.all_tasks():
            if getattr(task.get_coro(), "__qualname__", "") == _REPORTS:
                task.cancel()

    if loop is not None:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(1.0)


_REPORTS = "MetricsPusher.metrics_task"


def _to_the_log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    for line in data.get("lines", ()):
        _LOG.info("%s: %s", data.get("pid"), line)
