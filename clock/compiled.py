"""The one way this project compiles a kernel, and where the machine code is kept.

Numba's cache does not see a change in a callee from another file. So each file's kernels lie in a
folder named by a digest of that file and all that it imports: an edit starts a fresh folder for the
kernels that it could reach, and for no others, and two versions never mix.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import binding  # type: ignore[import-untyped]
from numba import types

from clock.sources import Sources, source_digest

KEPT_CACHES = 16
"""Folders of older sources that stay, newest first; branches come and go."""

_CACHE_NAME = re.compile("[0-9a-f]{24}")
_ROOT = Path(__file__).resolve().parent.parent
_SOURCES = Sources(_ROOT)
_ONE_AT_A_TIME = Lock()

_F = TypeVar("_F", bound=Callable[..., Any])
_A = TypeVar("_A", bound=np.ndarray[Any, Any])


def cache_root() -> Path:
    """Return the folder for compiled kernels: `LIGHTCONE_CACHE_DIR`, or the user's cache folder."""
    own = os.environ.get("LIGHTCONE_CACHE_DIR")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "lightcone"


def cache_folder(root: Path | None = None) -> Path:
    """Return the folder of what depends on all our sources and on this processor; make it.

    Falls back to a private temporary folder, removed at exit, where *root* cannot be written: what
    is kept there is made anew in every process.
    """
    return _folder(root or cache_root(), _all_sources())


def kernel_folder(source: Path, root: Path | None = None) -> Path:
    """Return the folder of a file's kernels, named by all that they are made of; make it.

    A file that is none of ours is taken to be made of all of ours. Falls back as `cache_folder`.
    """
    if _SOURCES.closure(source) is None:
        return cache_folder(root)
    module = ".".join(source.relative_to(_ROOT).with_suffix("").parts)
    return _folder((root or cache_root()) / "kernels" / module, _SOURCES.digest(source))


def kernel(function: _F) -> _F:
    """Compile a function on its first call, and keep the machine code for later processes.

    Division by zero gives inf or NaN, as in NumPy. No fastmath: a sum taken in two chunks must
    have the bits of the sum taken in one. Call a kernel with one set of types only (arrays 1-D,
    C-contiguous, `int64` or `float64`; inputs read-only): each further set compiles again. It runs
    without the interpreter's lock, so that another thread can read or write meanwhile.
    """
    return _compiled(function, nogil=True)


def inlined_kernel(function: _F) -> _F:
    """Compile like `kernel`, and always into its caller: a loop over a call does not vectorise."""
    return _compiled(function, forceinline=True)


def readonly(array: _A) -> _A:
    """Return a read-only view of an array; the array itself stays as it was."""
    view = array.view()
    view.flags.writeable = False
    return view


def _compiled(function: _F, **options: bool) -> _F:
    folder = _kernels_of(function.__code__.co_filename)
    compiled = numba.njit(
        cache=True, error_model="numpy", fastmath=False, boundscheck=False, **options
    )
    with _ONE_AT_A_TIME:  # numba reads the setting now, and remembers what it was
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(folder)
        try:
            return _one_for_all_constants(compiled(function))
        finally:
            numba.config.CACHE_DIR = before


def _one_for_all_constants(kernel: Any) -> Any:
    """Let kernels that pass a constant call the one for its type: numba makes one for each value.

    It made 374 of some two hundred kernels, and each costs a user's first run its time.
    """
    if hasattr(kernel, "get_call_template"):  # not so where NUMBA_DISABLE_JIT asks for Python
        real = kernel.get_call_template

        def of_types(args: Any, named: Any) -> Any:
            plain = {name: types.unliteral(given) for name, given in named.items()}
            return real(tuple(map(types.unliteral, args)), plain)

        kernel.get_call_template = of_types
    return kernel


@cache
def _all_sources() -> str:
    return source_digest(_ROOT)


@cache
def _kernels_of(source: str) -> Path:
    return kernel_folder(Path(source).resolve())


def _folder(parent: Path, sources: str) -> Path:
    """Return the folder, below another, for these sources, this numba and this processor."""
    processor = binding.get_host_cpu_name()
    name = hashlib.blake2b(
        f"{sources}\0{numba.__version__}\0{processor}".encode(), digest_size=12
    ).hexdigest()
    folder = parent / name
    try:
        fresh = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)  # also proves that the folder is ours to write
        if not os.access(folder, os.W_OK):
            raise PermissionError(folder)
    except OSError:
        return _private_folder(name)
    if fresh:
        _forget_old_caches(folder)
    return folder


def _private_folder(name: str) -> Path:
    folder = _private_root() / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def _private_root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="lightcone-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


def _forget_old_caches(current: Path) -> None:
    """Delete all but the newest cache folders; a process still using one only compiles again."""
    siblings = []
    for path in current.parent.iterdir():
        try:
            if path != current and path.is_dir() and _CACHE_NAME.fullmatch(path.name):
                siblings.append((path.stat().st_mtime_ns, path))
        except OSError:
            continue  # another process deleted it first
    for _, path in sorted(siblings, reverse=True)[KEPT_CACHES:]:
        shutil.rmtree(path, ignore_errors=True)


CACHE_FOLDER = cache_folder()
"""Where this process keeps what depends on all our sources, and the kernels of others."""

numba.config.CACHE_DIR = str(CACHE_FOLDER)
# Intel's vector library, where it happens to be installed, has other last bits than the scalar one.
numba.config.DISABLE_INTEL_SVML = True
# Numba reads its settings anew whenever one of its variables has changed: it must find the same
os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR
os.environ["NUMBA_DISABLE_INTEL_SVML"] = "1"
