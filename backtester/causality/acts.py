"""What user code does that no other future can reach: files, network, host time, other randomness.

A profiler watches every call that the user's own modules make, directly or through a library that
does it for them, while the real run goes on. While a model is loaded, reading its own artifact is
no act: that is what a predictor is given, and it stays the same in every other future.
"""

from __future__ import annotations

import os
import random
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import backtester
import clock
import featurizer
import inference

__all__ = ["Acts", "watched"]

_TIME = {"time", "datetime"}
_RANDOM = {"random", "_random", "secrets", "uuid"}
_NETWORK = {"socket", "_socket", "urllib.request", "http.client", "requests.api", "httpx"}
_FILES = {"io", "_io", "posix", "os"}
_NOW = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "now", "today", "utcnow"}
_OPENS = {"open", "listdir", "scandir", "fdopen"}
_READS = ("read_", "scan_", "load", "fromfile", "memmap", "genfromtxt", "ParquetFile", "dataset")
_READERS = (
    "polars", "pyarrow", "pandas", "numpy", "joblib", "pickle", "h5py", "duckdb", "pathlib",
)  # fmt: skip
_ENTROPY = {"urandom", "getrandom", "default_rng"}


_UNKNOWN = object()
_LOADING: list[Acts] = []
"""Those who watch a model being loaded."""

_OPENED = {"open", "os.listdir", "os.scandir"}
"""Audit events whose first argument names a file or a folder."""


class Acts:
    """What was seen: each act once, with the line that did it."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.network: dict[str, str] = {}
        self.host_time: dict[str, str] = {}
        self.randomness: dict[str, str] = {}
        self._given: tuple[Path, ...] | None = None

    @contextmanager
    def loading(self, artifacts: Iterable[Path]) -> Iterator[None]:
        """Let user code read these files, and what lies below these folders, during the block."""
        self._given = (*(path.resolve() for path in artifacts), *map(Path, _LIBRARIES))
        _hear_opened_files()
        _LOADING.append(self)
        try:
            yield
        finally:
            _LOADING.remove(self)
            self._given = None

    def opened(self, path: object) -> None:
        """Take a file that was opened while a model is loaded into account."""
        caller: FrameType | None = sys._getframe(1)
        while caller is not None and not _is_users(caller.f_code.co_filename):
            if caller.f_globals.get("__name__", "").startswith("importlib"):
                return  # a module, not data
            caller = caller.f_back
        if caller is not None and not self._is_given(path):
            where = f"{Path(caller.f_code.co_filename).name}, line {caller.f_lineno}"
            self.files.setdefault(where, f"open {path!r}")

    def _is_given(self, path: object) -> bool:
        if path is _UNKNOWN or self._given is None:
            return False
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a file, or bytes of one: it was opened before
        named = Path(os.fsdecode(path)).resolve()
        if any(folder in str(named) for folder in _INSTALLED):
            return True
        return any(named.is_relative_to(given) for given in self._given)

    def sentences(self) -> list[str]:
        """Return one sentence for each act, in the order of the code."""
        told = [
            (self.files, "reads files that no other future can reach"),
            (self.network, "uses the network"),
            (self.host_time, "reads the host's clock"),
            (self.randomness, "draws random numbers that the scenario does not seed"),
        ]
        return [f"{where} {what}: `{call}`" for seen, what in told for where, call in seen.items()]

    def note(self, caller: FrameType, module: str, name: str, argument: object = _UNKNOWN) -> None:
        """Take a call by user code into account, if it is one of the acts.

        Args:
            caller: The frame of the user's.
            module: Module of what is called.
            name: Its name.
            argument: The first argument, where that is known.
        """
        where = f"{Path(caller.f_code.co_filename).name}, line {caller.f_lineno}"
        call = f"{module}.{name}"
        if module in _TIME and name in _NOW:
            self.host_time.setdefault(where, call)
        elif module in _RANDOM or name in _ENTROPY or module.startswith("numpy.random"):
            self.randomness.setdefault(where, call)
        elif module in _NETWORK:
            self.network.setdefault(where, call)
        elif module in _FILES and name in _OPENS:
            if self._given is None:  # else it is heard of with its name: see `opened`
                self.files.setdefault(where, call)
        elif _reads_a_file(module, name) and not self._is_given(argument):
            self.files.setdefault(where, call)


@cache
def _hear_opened_files() -> None:
    """Have every file that is opened told to who watches a model being loaded."""

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if _LOADING and event in _OPENED:
            for acts in _LOADING:
                acts.opened(arguments[0])

    sys.addaudithook(hear)


def _first_argument(frame: FrameType) -> object:
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    return frame.f_locals.get(names[0], _UNKNOWN) if names else _UNKNOWN


def _reads_a_file(module: str, name: str) -> bool:
    return module.split(".")[0] in _READERS and name.startswith(_READS)


def _outside(frame: FrameType, library: str) -> FrameType | None:
    """Return the frame that called into a library, whose functions wrap one another."""
    caller = frame.f_back
    while caller is not None and caller.f_globals.get("__name__", "").startswith(library):
        caller = caller.f_back
    return caller


@contextmanager
def watched(seen: Acts | None = None) -> Iterator[Acts]:
    """Watch what user code does while the block runs.

    Args:
        seen: What was seen before, to be gone on with.
    """
    acts = Acts() if seen is None else seen
    mine: dict[str, bool] = {}

    def is_users(frame: FrameType) -> bool:
        file = frame.f_code.co_filename
        if file not in mine:
            mine[file] = _is_users(file)
        return mine[file]

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            if is_users(frame):
                owner = getattr(called, "__self__", None)
                module = getattr(called, "__module__", None) or type(owner).__module__
                if isinstance(owner, type):
                    module = owner.__module__
                acts.note(frame, module, called.__name__)
        elif event == "call" and frame.f_back is not None:
            module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
            if is_users(frame.f_back):
                acts.note(frame.f_back, module, name, _first_argument(frame))
            elif _reads_a_file(module, name):
                caller = _outside(frame, module.split(".")[0])
                if caller is not None and is_users(caller):
                    acts.note(caller, module, name, _first_argument(frame))

    before, states = sys.getprofile(), _global_states()
    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        yield acts
    finally:
        sys.setprofile(before)
        threading.setprofile(before)
        # NumPy's global functions are compiled in a way that no profiler sees
        if _global_states() != states and not acts.randomness:
            acts.randomness["user code"] = "a generator that all code shares"


def _global_states() -> tuple[object, ...]:
    state: Any = np.random.get_state()
    return random.getstate(), state[1].tobytes(), *state[2:]


_OURS = tuple(
    str(Path(package.__file__ or "").parent)
    for package in (backtester, clock, featurizer, inference)
)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})

_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))


def _is_users(file: str) -> bool:
    if file.startswith("<"):
        return False  # generated code, such as that of a dataclass
    if any(folder in file for folder in _INSTALLED):
        return False  # another environment's packages, which a path file or a parent adds
    return not file.startswith(_OURS) and not file.startswith(_LIBRARIES)
