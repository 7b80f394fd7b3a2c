"""A fresh process for every run: what user code keeps in a module must not reach the next one.

A fork server imports everything once, and runs the scenario's own kernels and models once, with no
user code; each run is forked from there, which takes a fiftieth of a second.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from clock.errors import SimulationError

__all__ = ["Job", "Workers"]

WARM_UP = "LIGHTCONE_CHECK_WARM_UP"
"""Names the file that tells the fork server what to warm up."""


class Job(NamedTuple):
    """A call that goes on in another process."""

    process: Any
    answer: Connection

    def result(self) -> Any:
        """Wait for what the call returned.

        Raises:
            Exception: What it raised.
            SimulationError: If its process died.
        """
        try:
            ok, value = self.answer.recv()
        except EOFError:
            self.process.join()
            raise SimulationError(
                f"a process of the check died with exit code {self.process.exitcode}, perhaps for "
                "want of memory. Take fewer with `--jobs 1`."
            ) from None
        self.process.join()
        self.answer.close()
        if ok:
            return value
        raise value


class Workers:
    """Starts calls in processes of their own, and ends what is left at the end of a block.

    Args:
        warm_up: What the module to preload is given, pickled.
        folder: Where to put it.
        preload: The module that the fork server imports once.
    """

    def __init__(
        self, warm_up: Any, folder: Path, preload: str = "backtester.causality.preload"
    ) -> None:
        path = folder / "warm_up.pickle"
        path.write_bytes(pickle.dumps(warm_up))
        os.environ[WARM_UP] = str(path)
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([preload])
        self._under_way: dict[Connection, Job] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._under_way.values():
            job.process.kill()
            job.process.join()
        os.environ.pop(WARM_UP, None)

    def start(self, call: Callable[..., Any], *args: Any, **named: Any) -> Job:
        """Start a call; function, arguments and result must pickle."""
        mine, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_answer, args=(theirs, call, args, named))
        process.daemon = True
        process.start()
        theirs.close()
        job = Job(process, mine)
        self._under_way[mine] = job
        return job

    def warm(self) -> None:
        """Wait until the fork server has done what is done once: kernels may take a minute."""
        self.result(self.start(int))

    def result(self, job: Job) -> Any:
        """Return what a call returned; see `Job.result`."""
        self._under_way.pop(job.answer, None)
        return job.result()

    def first(self, jobs: Iterable[Job]) -> Job:
        """Wait until one of the calls is over."""
        return self._under_way[wait([job.answer for job in jobs])[0]]  # type: ignore[index]

    def end(self, jobs: Iterable[Job]) -> None:
        """End calls whose answer nobody needs."""
        for job in jobs:
            job.process.kill()
            job.process.join()
            self._under_way.pop(job.answer, None)


def _answer(answer: Connection, call: Callable[..., Any], args: Any, named: Any) -> None:
    try:
        value: Any = (True, call(*args, **named))
    except Exception as error:  # told to the one who asked
        value = (False, _that_pickles(error))
    answer.send(value)
    answer.close()


def _that_pickles(error: Exception) -> Exception:
    """Return an exception that arrives: one whose class wants other arguments does not."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own reduction does
        return SimulationError("".join(traceback.format_exception(error)).rstrip())
    return error
