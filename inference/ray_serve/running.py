"""The Rays of ours that run on this machine: a note of each, by which other commands find it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import NamedTuple

from clock.compiled import cache_root
from clock.wall import steady_ns
from inference.errors import ServingError
from inference.ray_serve.cluster import RayCluster
from inference.ray_serve.guard import living, processes

__all__ = ["Running", "announced", "running", "start_head"]

_SECOND = 1_000_000_000
STARTS_WITHIN_NS = 120 * _SECOND


class Running(NamedTuple):
    """A Ray that a process of ours started and keeps."""

    address: str
    pid: int
    started: str
    """When the process started, as the kernel counts: ids are used again."""
    detached: bool
    """Whether it waits to be stopped by a command."""

    @property
    def lives(self) -> bool:
        """Whether its process does."""
        return bool(living({(self.pid, self.started)}))

    def stop(self, within_ns: int = 30 * _SECOND) -> None:
        """End it, and wait until its process has.

        Raises:
            ServingError: If it does not end.
        """
        with suppress(ProcessLookupError):
            if self.lives:
                os.kill(self.pid, signal.SIGTERM)
        deadline, pause = steady_ns() + within_ns, Event()
        while self.lives:
            if steady_ns() > deadline:
                raise ServingError(
                    f"the Ray at {self.address} must end within {within_ns // _SECOND} s of being "
                    f"asked: process {self.pid} is still there. Kill it."
                )
            pause.wait(0.05)


def running() -> list[Running]:
    """Return the Rays of ours that run on this machine, the newest last; forget those that died."""
    notes = []
    for path in _folder().glob("*.json"):
        try:
            note = Running(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue  # it is being removed, or of another version
        if note.lives:
            notes.append((path.stat().st_mtime_ns, note))
        else:
            path.unlink(missing_ok=True)
    return [note for _, note in sorted(notes)]


@contextmanager
def announced(cluster: RayCluster, *, detached: bool = False) -> Iterator[None]:
    """Let other commands find a Ray of our own for the length of a block."""
    if not cluster.own:
        yield
        return
    pid = os.getpid()
    note = Running(cluster.address, pid, processes()[pid][1], detached)
    path = _folder() / f"{pid}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(note._asdict()))
    new.rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def start_head(within_ns: int = STARTS_WITHIN_NS, *, keep_off: Sequence[int] = ()) -> Running:
    """Start a process that keeps a Ray of ours until it is stopped, and wait until it is up.

    Args:
        within_ns: How long to wait.
        keep_off: Processors that it leaves to models.

    Raises:
        ServingError: If it does not come up.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "inference.ray_serve.head", *map(str, keep_off)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline, pause = steady_ns() + within_ns, Event()
    while steady_ns() < deadline and process.poll() is None:
        for found in running():
            if found.pid == process.pid:
                process.returncode = 0  # it is no child to wait for: it outlives us
                return found
        pause.wait(0.1)
    process.kill()
    process.wait()
    raise ServingError("a Ray of our own does not start on this machine. Deploy without --detach.")


def _folder() -> Path:
    return cache_root() / "ray"
