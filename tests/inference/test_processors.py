"""Threads that are bound to a processor, and all others that keep off it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from inference.config import InferenceConfig
from inference.errors import NoProcessorError
from inference.ray_serve.processors import bind_thread, keeping_off, of_models

ALLOWED = sorted(getattr(os, "sched_getaffinity", lambda _: [0])(0))

pytestmark = pytest.mark.skipif(len(ALLOWED) < 2, reason="takes two processors, on Linux")


class Worker:
    """A thread that does what it is told, one thing after the other."""

    def __init__(self) -> None:
        self._told: Callable[[], None] = lambda: None
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            self._told()
            self._done.release()

    def do(self, told: Callable[[], None]) -> None:
        self._told = told
        self._go.release()
        assert self._done.acquire(timeout=30)

    def allowed(self) -> list[int]:
        found: list[int] = []
        self.do(lambda: found.extend(sorted(os.sched_getaffinity(0))))
        return found


def test_a_thread_is_bound_and_no_other_one() -> None:
    bound, other = Worker(), Worker()
    bound.do(lambda: bind_thread(ALLOWED[-1]))
    assert bound.allowed() == [ALLOWED[-1]]
    assert other.allowed() == sorted(os.sched_getaffinity(0)) == ALLOWED


def test_all_threads_and_new_processes_keep_off_until_the_end_of_the_block() -> None:
    before = Worker()
    with keeping_off([ALLOWED[-1]]):
        during = Worker()
        assert before.allowed() == during.allowed() == ALLOWED[:-1]
        told = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
        assert subprocess.run(told, capture_output=True, text=True).stdout.strip() == str(
            ALLOWED[:-1]
        )
    assert before.allowed() == during.allowed() == sorted(os.sched_getaffinity(0)) == ALLOWED


def test_a_thread_with_a_processor_of_its_own_gets_it_back() -> None:
    own = Worker()
    own.do(lambda: bind_thread(ALLOWED[0]))
    with keeping_off([ALLOWED[-1]]):
        assert own.allowed() == [ALLOWED[0]]
    assert own.allowed() == [ALLOWED[0]]


@pytest.mark.parametrize("asked", [[4095], ALLOWED], ids=["not there", "all there are"])
def test_processors_that_are_not_there_or_leave_none_are_refused(asked: list[int]) -> None:
    told = "`processors` must be some of the host's, and leave"
    with pytest.raises(NoProcessorError, match=told), keeping_off(asked):
        pass
    assert sorted(os.sched_getaffinity(0)) == ALLOWED
    if asked == [4095]:
        with pytest.raises(NoProcessorError, match=r"got \[4095\], this process has \["):
            bind_thread(4095)


def test_loops_and_variants_share_the_list_of_what_is_kept_free() -> None:
    def config(**fields: object) -> InferenceConfig:
        return InferenceConfig.model_validate({"model_uri": "models:/a/1"} | fields)

    variants = {"a": {"share": 0.5, "processors": [3]}, "b": {"share": 0.5}}
    loops = [config(), config(processors=[2, 1]), config(variants=variants, routing="split")]
    assert of_models(loops) == (1, 2, 3)
    assert of_models([]) == ()
