"""A Ray to deploy on: a quiet one of our own on this machine, or any cluster by its address.

Ray allows one connection a process, so there is one `RayCluster` at a time. What we started ends
with us: on leaving the block, by whatever exception (Ctrl-C and SIGTERM raise one), and when this
process is killed, as Ray's own processes then lose their parent and its workers their raylet.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clock.errors import InputError
from inference.errors import ServingError

__all__ = ["RayCluster", "ray_cluster"]

OBJECT_STORE_BYTES = 100_000_000
"""Rows and replies are small: they travel inside messages and hardly touch the store."""

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "GRPC_VERBOSITY": "ERROR",
}
_LOG = logging.getLogger("lightcone.ray")


class RayCluster:
    """The connection of this process to a Ray.

    Attributes:
        address: `host:port`, by which another process connects.
        own: Whether we started it, and stop it on `close`.
    """

    def __init__(self, address: str, *, own: bool, folder: Path | None = None) -> None:
        self.address = address
        self.own = own
        self._folder = folder
        self._open = True

    def close(self) -> None:
        """Disconnect, and stop the Ray that we started; idempotent."""
        if not self._open:
            return
        self._open = False
        _disconnect()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def ray_cluster(address: str | None = None, *, num_cpus: int | None = None) -> Iterator[RayCluster]:
    """Start a Ray on this machine, or connect to one, for the length of a block.

    Call it from the main thread, or from one that lives as long as the block: the kernel ends our
    Ray with the thread that started it.

    Args:
        address: `host:port` of a running cluster; None starts one of our own.
        num_cpus: How many processors our own may give away; by default as many as there are.

    Raises:
        ServingError: If this process is connected already, or there is no Ray at the address.
    """
    cluster = _start(num_cpus) if address is None else _connect(address)
    try:
        yield cluster
    finally:
        cluster.close()


def _start(num_cpus: int | None) -> RayCluster:
    ray = _quiet_ray()
    # short, as the path of a socket below it has at most 107 characters
    folder = Path(tempfile.mkdtemp(prefix=f"lightcone-ray-{os.getpid()}-", dir="/tmp"))
    try:
        context = ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(folder),
            **_QUIETLY,
        )
        _start_serve()
        return RayCluster(str(context.address_info["gcs_address"]), own=True, folder=folder)
    except BaseException:
        _disconnect()
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _connect(address: str) -> RayCluster:
    ray = _quiet_ray()
    try:
        ray.init(address=address, **_QUIETLY)
        _start_serve()
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        _disconnect()
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NoClusterError(
            f"`--address` must lead to a running Ray: got '{address}' ({first})."
        ) from error
    except BaseException:
        _disconnect()
        raise
    return RayCluster(address, own=False)


class NoClusterError(ServingError, InputError):
    """There is no Ray where one was expected."""


_QUIETLY: dict[str, Any] = {
    "log_to_driver": False,
    "configure_logging": False,
    "logging_level": logging.ERROR,
}


def _quiet_ray() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own use of other libraries
        import ray
        import ray.serve
        from ray._private import worker
    for name in ("ray", "ray.serve"):  # the import sets them
        logging.getLogger(name).setLevel(logging.ERROR)
    if ray.is_initialized():
        raise ServingError(
            "a process connects to one Ray at a time: this one is connected already. Close that "
            "connection first, or use it."
        )
    # Ray prints what its raylet has to say on standard output, which belongs to our caller
    worker.print_to_stdstream = _to_the_log
    return ray


def _to_the_log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    for line in data.get("lines", ()):
        _LOG.info("%s: %s", data.get("pid"), line)


def _start_serve() -> None:
    from ray import serve

    serve.start(
        proxy_location="Disabled",
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    logging.getLogger("ray.serve").setLevel(logging.ERROR)


def _disconnect() -> None:
    import ray
    from ray.serve import context

    # the first job of every cluster has the same id, so that Serve would take a new one for the old
    with suppress(Exception):
        context._disconnect()
    ray.shutdown()
