"""A Ray to deploy on: a quiet one of our own on this machine, or any cluster by its address.

Ray allows one connection a process, so there is one `RayCluster` at a time. What we started ends
with us: on leaving the block, by whatever exception (Ctrl-C and SIGTERM raise one), and when this
process is killed (see `guard`).
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from inference.errors import NoClusterError, ServingError
from inference.ray_serve.processors import keeping_off
from inference.ray_serve.quiet import quiet_ray, quiet_routers, quiet_serve
from inference.ray_serve.watchdog import Address, Watchdog, answers

__all__ = ["RayCluster", "ray_cluster"]

OBJECT_STORE_BYTES = 100_000_000
"""Rows and replies are small: they travel inside messages and hardly touch the store."""

LOST_AFTER_S = {True: 1.5, False: 10.0}
"""How long a head of our own, or of another's, may be silent: only another's may come back."""

Lost = Callable[[str], None]


class RayCluster:
    """The connection of this process to a Ray.

    Attributes:
        address: `host:port`, by which another process of a machine of the cluster connects.
        own: Whether we started it, and stop it on `close`.
        lost: What happened, in a sentence, if the cluster is gone; else an empty text.
    """

    def __init__(self, address: str, *, own: bool, guard: Guard | None = None) -> None:
        self.address = address
        self.own = own
        self.lost = ""
        self._guard = guard
        self._open = True
        self._lock = threading.Lock()
        self._told: list[Lost] = []
        self._watchdog = Watchdog(_servers(address), LOST_AFTER_S[own], self._lose)

    def when_lost(self, tell: Lost) -> None:
        """Have a function called, in another thread, if the cluster is lost; at once if it is."""
        with self._lock:
            self._told.append(tell)
            lost = self.lost
        if lost:
            tell(lost)

    def forget(self, tell: Lost) -> None:
        """Call a function no longer."""
        with self._lock, suppress(ValueError):
            self._told.remove(tell)

    def close(self) -> None:
        """Disconnect, and stop the Ray that we started; idempotent."""
        with self._lock:
            was_open, self._open = self._open, False
        self._watchdog.stop()
        if was_open:
            _disconnect()
        if self._guard is not None:
            self._guard.close()

    def _lose(self, why: str) -> None:
        with self._lock:
            self.lost = f"the Ray at {self.address} is gone: {why}"
            told = list(self._told)
            was_open, self._open = self._open, False
        for tell in told:
            tell(self.lost)
        if was_open:
            _disconnect()  # before Ray ends this process for the loss of its head


class Guard:
    """The process that ends our Ray if we cannot, and the folder that both know it by."""

    def __init__(self) -> None:
        # short, as the path of a socket below it has at most 107 characters
        self.folder = Path(tempfile.mkdtemp(prefix=f"lightcone-ray-{os.getpid()}-", dir="/tmp"))
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                str(Path(__file__).with_name("guard.py")),
                str(os.getpid()),
                str(self.folder),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us, and it has work to do after that
        )

    def close(self) -> None:
        """Let it end what is left, and wait for it; idempotent."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def ray_cluster(
    address: str | None = None, *, num_cpus: int | None = None, keep_off: Sequence[int] = ()
) -> Iterator[RayCluster]:
    """Start a Ray on this machine, or connect to one, for the length of a block.

    Call it from the main thread, or from one that lives as long as the block: the kernel ends our
    Ray with the thread that started it. From the main thread, SIGTERM raises SystemExit meanwhile.

    Args:
        address: `host:port` of a running cluster, from one of its machines; None starts our own.
        num_cpus: How many processors our own may give away; by default as many as there are.
        keep_off: Processors that this process, and what it starts, leaves to models.

    Raises:
        NoClusterError: If there is no Ray at the address.
        ServingError: If this process is connected already, or Ray does not start.
    """
    with _ending_on_sigterm() as take_over, keeping_off(keep_off):
        cluster = _start(num_cpus) if address is None else _connect(address)
        try:
            take_over()
            yield cluster
        finally:
            cluster.close()


def _start(num_cpus: int | None) -> RayCluster:
    """Start a Ray of our own; on a busy host its servers miss Ray's own limit: then once more."""
    try:
        return _start_once(num_cpus)
    except _TooSlowError:
        return _start_once(num_cpus)


class _TooSlowError(ServingError):
    """Ray's servers did not come up within Ray's own limit."""


def _start_once(num_cpus: int | None) -> RayCluster:
    ray = _unconnected()
    guard = Guard()
    try:
        context = ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(guard.folder),
            **_QUIETLY,
        )
        _start_serve()
        return RayCluster(str(context.address_info["gcs_address"]), own=True, guard=guard)
    except Exception as error:
        _disconnect()
        _end_half_started(error)
        guard.close()
        kind = _TooSlowError if "timed out" in str(error).lower() else ServingError
        raise kind(f"Ray does not start on this machine: {_first_line(error)}") from error
    except BaseException as error:
        _disconnect()
        _end_half_started(error)
        guard.close()
        raise


def _connect(address: str) -> RayCluster:
    ray = _unconnected()
    if not answers(_host_and_port(address)):  # Ray itself would go on trying for minutes
        raise _no_cluster(address, "nothing answers there")
    _show_the_token()
    try:
        ray.init(address=address, **_QUIETLY)
        _start_serve()
        return RayCluster(address, own=False)
    except Exception as error:
        _disconnect()
        raise _no_cluster(address, _first_line(error)) from error
    except BaseException:
        _disconnect()
        raise


def _show_the_token() -> None:
    """Have the user's token shown to the cluster, where there is one: a Ray of our own asks."""
    with suppress(ImportError):  # of another version of Ray
        from ray._private.authentication import authentication_token_setup

        authentication_token_setup.maybe_enable_token_auth_if_token_available(
            warn_if_disabled=False
        )


def _no_cluster(address: str, why: str) -> NoClusterError:
    return NoClusterError(
        f"there must be a running Ray at the address: got '{address}' ({why}). Start one there, or "
        "leave the address out to have one started here."
    )


def _host_and_port(address: str) -> Address:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536) or "/" in host:
        raise NoClusterError(
            f"the address of a Ray is written `host:port`: got '{address}'. It is the one of the "
            "head, as `lightcone serve status` or `ray status` tells it."
        )
    return host, int(port)


_REAPED_WITHIN_S = 5.0

_QUIETLY: dict[str, Any] = {
    "log_to_driver": False,
    "configure_logging": False,
    "logging_level": logging.ERROR,
}


def _unconnected() -> Any:
    ray = quiet_ray()
    if ray.is_initialized():
        raise ServingError(
            "a process connects to one Ray at a time: this one is connected already. Close that "
            "connection first, or use it."
        )
    return ray


def _start_serve() -> None:
    from ray import serve

    serve.start(
        proxy_location="Disabled",
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    quiet_serve()


def _disconnect() -> None:
    import ray
    from ray.serve import context

    # the first job of every cluster has the same id, so that Serve would take a new one for the old
    with suppress(Exception):
        quiet_routers()
    with suppress(Exception):
        context._disconnect()
    from ray._private import worker

    started = _processes_of(worker._global_node)
    with suppress(Exception):
        ray.shutdown()
    _reap(started)


def _end_half_started(error: BaseException) -> None:
    """End the servers of a node that did not come up: where it failed alone they are known."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        node: Any = frame.f_locals.get("self")
        if started := _processes_of(node):
            with suppress(Exception):
                node.kill_all_processes(check_alive=False, allow_graceful=True)
            _reap(started)


def _processes_of(node: Any) -> list[Any]:
    """Return the processes that Ray started for us: it kills them, and does not look after them."""
    infos = getattr(node, "all_processes", {}).values()
    return [info.process for kind in infos for info in kind]


def _reap(processes: list[Any]) -> None:
    """Wait for what was ended: else it stays in the machine's table, and Python warns of it."""
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_REAPED_WITHIN_S)


def _servers(address: str) -> list[tuple[str, Address]]:
    """Return the servers on which this process depends: the head's, and its own node's."""
    import ray

    servers = [("head", _host_and_port(address))]
    mine = ray.get_runtime_context().get_node_id()
    for node in ray.nodes():
        if node["NodeID"] == mine:
            place = (str(node["NodeManagerAddress"]), int(node["NodeManagerPort"]))
            servers.append(("node", place))
    return servers


@contextmanager
def _ending_on_sigterm() -> Iterator[Callable[[], None]]:
    """Give a function after which SIGTERM raises SystemExit; what it did before is restored."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.getsignal(signal.SIGTERM)
    # Ray sets a handler of its own when it connects, which aborts after ours
    try:
        yield lambda: _raise_on(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _raise_on(number: int) -> None:
    def leave(got: int, frame: Any) -> None:
        raise SystemExit(128 + got)

    signal.signal(number, leave)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
